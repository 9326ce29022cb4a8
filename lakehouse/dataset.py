"""What a bronze table is about, and how raw files state it: the types of which `recognise.layouts` is the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dataframely as dy
import polars as pl

from lakehouse.contracts import rules


@dataclass(frozen=True, slots=True)
class Positional:
    """A headerless layout: the canonical column of each field, "" for a field that is not kept."""

    name: str
    market: str
    fields: tuple[str, ...]
    separators: str = ",;\t|"


@dataclass(frozen=True, slots=True)
class Headed:
    """A vendor known by folded header names. It only gives the layout its name and a default market."""

    name: str
    market: str
    signature: frozenset[str]
    symbol: str = ""  # where the vendor publishes just one
    alone: bool = False  # only if the header has no other names

    def is_of(self, folded: Sequence[str]) -> bool:
        """Whether a header has its signature."""
        return self.signature <= {*folded} and not (self.alone and {*folded} - self.signature - {""})


@dataclass(frozen=True, slots=True)
class Form:
    """How to read one file: which field is which column, and what its lines do not say."""

    layout: str
    separator: str
    columns: tuple[str, ...]  # canonical name of each field, "" for one that is not kept
    banner: int = 0  # lines before the first data line, the header included
    header: str = ""  # the header line as text; empty without one
    market: str = ""
    symbol: str = ""  # empty: each line states its own
    interval: str = ""
    numbered: bool = False  # a bare number in the name tells the interval: the bars must agree
    time_zone: str = "UTC"
    time_format: str = ""
    told: Mapping[str, object] = field(default_factory=dict, hash=False)  # provenance, the same for every row


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of CSV that must not be taken for candles: every pattern is found among the folded fields."""

    patterns: tuple[str, ...]
    unless: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """One bronze table and how raw files state it. Bronze's code knows nothing else of candles."""

    name: str
    contract: type[dy.Schema]
    key: tuple[str, ...]
    time: str
    partition: tuple[str, ...]
    synonyms: dict[str, tuple[str, ...]]  # canonical column → folded header names, the preferred first; a+b: both
    positional: tuple[Positional, ...]
    headed: tuple[Headed, ...]
    refusals: tuple[Refusal, ...]
    names: tuple[re.Pattern[str], ...]  # file names that tell the symbol and the interval
    spelling: Mapping[str, Callable[[pl.Expr], pl.Expr]]  # column → how its words are written one way

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The table's columns and dtypes, provenance last."""
        columns = self.contract.create_empty().schema
        return dict(sorted(columns.items(), key=lambda item: item[0].startswith("_")))

    @cached_property
    def rules(self) -> dict[str, pl.Expr]:
        """The contract's rules; see `contracts.rules`."""
        return rules(self.contract)

    @cached_property
    def values(self) -> list[str]:
        """The columns that a statement may change: neither key nor provenance."""
        return [name for name in self.schema if name not in self.key and not name.startswith("_")]

    @cached_property
    def required(self) -> list[str]:
        """The columns that a raw line must give."""
        columns = self.contract.columns()
        return [n for n in self.schema if not columns[n].nullable and not n.startswith("_") and n not in self.partition]


def fold(name: str) -> str:
    """Fold a header name: `Volume_(BTC)` and `volume btc` both become `volumebtc`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
