"""What a bronze table is about, and how raw files state it: the types of which `recognise.layouts` is the data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache

import polars as pl

from lakehouse.contracts import Contract, rules


@dataclass(frozen=True, slots=True)
class Positional:
    """A headerless layout: the canonical column of each field, "" for a field that is not kept."""

    name: str
    market: str
    fields: tuple[str, ...]
    separators: str = ",;\t|"
    written: str = ""  # how this vendor, and no other, writes times: a regular expression
    time_zone: str = ""  # the vendor's clock, where it is known not to be UTC
    note: str = ""  # what is to be said of every such file


@dataclass(frozen=True, slots=True)
class Headed:
    """A vendor known by folded header names. It only gives the layout its name and a default market."""

    name: str
    market: str
    signature: frozenset[str]
    symbol: str = ""  # where the vendor publishes just one
    price_scale: float = 1.0  # of prices without a decimal mark
    note: str = ""  # what is to be said of every such file
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
    day: str = ""  # 2024-01-02, where the file's name tells the day and its lines only the hours
    doubled_hour: str = ""  # of a time that clocks have twice and the file once: the `first` or the `second`
    label: str = ""  # `end`: its times are those at which the bars end
    decimal: str = ""  # the decimal mark, if the first lines tell it
    scales: Mapping[str, float] = field(default_factory=dict, hash=False)  # column → what its numbers are multiplied by
    notes: tuple[str, ...] = ()  # what was assumed, and is to be said
    # Provenance, the same for every row; how a file is read does not hang on it.
    told: Mapping[str, object] = field(default_factory=dict, compare=False)

    def as_text(self) -> str:
        """How it is read, for the ledger: equal texts mean that lines are understood alike."""
        return _as_text(self)


@lru_cache(4096)  # most files are read as some before them
def _as_text(form: Form) -> str:
    apart = {"header", "numbered", "notes", "told"}
    said = {f.name: value for f in fields(form) if f.name not in apart and (value := getattr(form, f.name))}
    return json.dumps(said, sort_keys=True, default=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of CSV that must not be taken for candles: every pattern is found among the folded fields."""

    patterns: tuple[str, ...]
    unless: str
    message: str
    of_data: bool = False  # by the first line that holds numbers; else by one that holds none


@dataclass(frozen=True, eq=False)
class Dataset:
    """One bronze table and how raw files state it. Bronze's code knows nothing else of candles."""

    name: str
    contract: type[Contract]
    key: tuple[str, ...]
    time: str
    partition: tuple[str, ...]
    synonyms: dict[str, tuple[str, ...]]  # canonical column → folded header names, the preferred first; a+b: both
    positional: tuple[Positional, ...]
    headed: tuple[Headed, ...]
    refusals: tuple[Refusal, ...]
    amounts: tuple[str, ...]  # folded header names that may be a volume or a quote volume, whichever the prices prove
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
    def numeric(self) -> frozenset[str]:
        """The columns that do not hold text."""
        return frozenset(name for name, dtype in self.schema.items() if dtype != pl.String)

    @cached_property
    def required(self) -> list[str]:
        """The columns that a raw line must give."""
        columns = self.contract.columns()
        return [n for n in self.schema if not columns[n].nullable and not n.startswith("_") and n not in self.partition]

    def name_columns(self, names: Sequence[str], wanted: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
        """Tell which column each field of a header is.

        Args:
            names: The header's fields.
            wanted: Names that are declared for some columns, and outdo the synonyms.

        Returns:
            Columns, "" for a field that is not kept. It may lack required ones.
        """
        plain, wanted = plain_names(names), wanted or {}
        places = {name: i for i, name in reversed(list(enumerate(plain)))}
        declared = {fold(name) for words in wanted.values() for name in words}
        found: dict[int, str] = {}
        for column, words in self.synonyms.items():
            for word in words if column not in wanted else ():
                parts = word.split("+")
                at = [places.get(part, -1) for part in parts]
                if -1 not in at and at == sorted(at) and not declared & {fold(names[i]) for i in at}:
                    found |= dict.fromkeys(at, column)
                    break
        own = {fold(name): i for i, name in reversed(list(enumerate(names)))}
        for column, wishes in wanted.items():
            found |= {own[fold(name)]: column for name in wishes if fold(name) in own}
        return tuple(found.get(i, "") for i in range(len(names)))


QUALIFIERS = frozenset({"bid", "ask", "mid", "mark", "index", "premium", "adj", "adjusted", "unadjusted", "raw"})
PRICES = ("open", "high", "low", "close")


def plain_names(names: Sequence[str]) -> list[str]:
    """Fold the names of a header, without what all prices of one asset are decorated with.

    `AAA.Open`, `Close_7203.T`, `1. open` and `('Open', 'AAA')` are open and close; `bid_open` is not, for it says of
    what the prices are.
    """
    folded = [fold(name) for name in names]
    if set(PRICES) <= set(folded):
        return folded
    tokens = [[part for part in re.split(r"[^a-z0-9]+", name.lower()) if part] for name in names]
    tokens = [parts[1:] if len(parts) > 1 and parts[0].isdigit() else parts for parts in tokens]
    priced = [set(parts) for parts in tokens if len(set(parts) & set(PRICES)) == 1]
    common = set.intersection(*priced) - set(PRICES) if priced else set[str]()
    plain = ["".join(part for part in parts if part not in common) for parts in tokens]
    one_asset = all(plain.count(price) == 1 for price in PRICES) and not common & QUALIFIERS
    return plain if one_asset else folded


def fold(name: str) -> str:
    """Fold a header name: `Volume_(BTC)` and `volume btc` both become `volumebtc`."""
    return re.sub(r"[\W_]", "", name.lower())
