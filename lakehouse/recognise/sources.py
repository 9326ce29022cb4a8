"""`raw/sources.toml`: what people say of their files where the files cannot tell it."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from glob import escape
from typing import Any

import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.dataset import PRICES, Dataset
from lakehouse.errors import LakeError
from lakehouse.intervals import EXPECTED, read_interval
from lakehouse.raw import first_line, from_text, read_file

as_toml = partial(json.dumps, ensure_ascii=False)  # what JSON calls a string or a list is one in TOML
UNSAID = "…"  # stands in advices for what only the user knows, and must not be pasted as it is


@dataclass(frozen=True, slots=True)
class Declared:
    """What `raw/sources.toml` says of the files that match one glob; empty where it says nothing."""

    glob: str = ""  # which files, `*` for any letters, slashes too
    market: str = ""
    symbol: str = ""
    interval: str = ""
    time_zone: str = ""  # of times without an offset
    time_format: str = ""  # of the times of the bars
    date_in_name: bool = False  # the file's name tells the day, and its lines only the hours
    doubled_hour: str = ""  # `first` or `second`: which is meant by a time that clocks have twice and the file once
    label: str = ""  # `start` or `end` of a bar: which its time is
    columns: tuple[str, ...] = ()  # what the fields are, in their order
    named: tuple[tuple[str, tuple[str, ...]], ...] = ()  # column → the header's names of it: `columns` as a table
    decimal: str = ""  # the decimal mark
    price_scale: float = 0.0  # what prices are multiplied by
    volume_scale: float = 0.0  # what volumes in the base asset are multiplied by
    ignore: bool = False  # the files are left alone
    prefer: int | tuple[str, ...] = 0  # a rank, the higher wins; or globs, the first most preferred

    def rank(self, path: str) -> int:
        """The rank of one of its files: it wins over files of a lower one, whatever their times."""
        if isinstance(self.prefer, int):
            return self.prefer
        places = (len(self.prefer) - n for n, glob in enumerate(self.prefer) if fnmatch.fnmatchcase(path, glob))
        return next(places, 0)

    def as_text(self, path: str) -> str:
        """What it says of one of its files, for the ledger: equal texts mean that nothing has changed."""
        return _as_text(self, self.rank(path))

    @property
    def scales(self) -> dict[str, float]:
        """Column → what its numbers are multiplied by."""
        prices = dict.fromkeys(PRICES, self.price_scale) if self.price_scale else {}
        volumes = dict.fromkeys(("volume", "taker_buy_volume"), self.volume_scale) if self.volume_scale else {}
        return prices | volumes

    @property
    def tells_volumes(self) -> bool:
        """Whether it says what the volumes are: then it is taken at its word."""
        told = {*self.columns, *(column for column, _ in self.named)}
        return self.volume_scale > 0 or bool(told & {"volume", "quote_volume"})


@lru_cache
def _as_text(declared: Declared, rank: int) -> str:
    said = {f.name: value for f in fields(declared) if (value := getattr(declared, f.name)) != f.default}
    said = {name: value for name, value in said.items() if name not in ("glob", "prefer")}
    return json.dumps(said | ({"rank": rank} if rank else {}), sort_keys=True)


NOTHING = Declared()
_ONE_OF = {"doubled_hour": ("first", "second"), "label": ("start", "end"), "decimal": (".", ",")}
_EXPECTED = {
    bool: "true or false",
    float: "number above 0",
    int: "a whole number, the higher wins, or a list of globs",
    str: "text",
    tuple: 'list of names, or a table such as { open_time = "Date" }',
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A file of which it is asked what it is: its path, what rows are wanted, and what sources.toml says of it."""

    path: str
    dataset: Dataset
    declared: Declared = NOTHING

    def how(self, line: str) -> str:
        """How to write a line of TOML into `raw/sources.toml` about the file, as the end of a message."""
        if glob := self.declared.glob:  # the first entry that matches is the only one that counts
            where = f"write into its entry in raw/sources.toml, the one with glob = {as_toml(glob)}:"
        else:
            where = f"declare it in raw/sources.toml:\n    [[source]]\n    glob = {as_toml(escape(self.path))}"
        return f"{where}\n    {line}"


def read_sources(text: str) -> list[Declared]:
    """Read `raw/sources.toml`.

    Args:
        text: A TOML document with an array of tables `source`; each needs `glob`, and may give the other attributes
            of `Declared`. `columns` is a list in the order of the fields, or a table by the header's names.

    Returns:
        The declarations in their order; the first glob that matches a file wins.

    Raises:
        LakeError: The document is not TOML, or says what is not known.
    """
    try:
        document = tomllib.loads(text)
        entries = document.pop("source", [])
        if document or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            met = f"[{next(iter(document))}]" if document else "[source]"
            raise ValueError(f"{met} is not known; each entry begins with [[source]]")
        return [_declared(entry) for entry in entries]
    except ValueError as error:
        raise LakeError(f"raw/sources.toml: {error}") from error


def _declared(entry: Mapping[str, Any]) -> Declared:
    known = {field.name: type(field.default) for field in fields(Declared) if field.name != "named"}
    told: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"unknown key '{name}'; known are {', '.join(known)}")
        if (kept := _kept(name, value, known[name])) is None:
            raise ValueError(f"'{name}' is {value!r}; expected {_EXPECTED[known[name]]}")
        if name in _ONE_OF and value not in _ONE_OF[name]:
            raise ValueError(f"'{name}' is '{value}'; expected {' or '.join(map(repr, _ONE_OF[name]))}")
        if value == UNSAID:
            raise ValueError(f"'{name}' is still {UNSAID}; write there what it is")
        told["named" if isinstance(value, dict) else name] = kept
    if not entry.get("glob"):
        raise ValueError("an entry has no 'glob', which says which files it is about")
    told["interval"] = read_interval(entry.get("interval", ""))
    if entry.get("interval") and not told["interval"]:
        raise ValueError(f"interval '{entry['interval']}'; expected {EXPECTED}")
    declared = Declared(**told)
    if _read_time(pl.lit("2024-03-14"), "%Y-%m-%d", declared.time_zone or "UTC") is None:
        raise ValueError(f"time_zone '{declared.time_zone}'; expected a name such as UTC or Europe/Berlin")
    if declared.time_format and not declared.date_in_name:
        moment = dt.datetime(2024, 3, 14, 13, 30, tzinfo=dt.UTC)
        word = pl.lit(moment).dt.strftime(declared.time_format.replace("%#z", "%z"))  # %#z is for reading only
        found = _read_time(word, declared.time_format, "UTC")
        if found is None or found.date() != moment.date():
            raise ValueError(f"time_format '{declared.time_format}' tells no day; expected one like '%d/%m/%Y %H:%M'")
    return declared


def _kept(name: str, value: object, kind: type) -> object:
    """A value as `Declared` keeps it; None if it is none of this kind."""
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return float(value) if number else None  # type: ignore[arg-type]
    if isinstance(value, list) and name in ("columns", "prefer"):
        return _words(value)
    if isinstance(value, dict) and name == "columns":
        named = {column: _words([said] if isinstance(said, str) else said) for column, said in value.items()}
        return None if None in named.values() else tuple(named.items())
    return value if type(value) is kind else None


def _words(value: object) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def _read_time(word: pl.Expr, time_format: str, zone: str) -> dt.datetime | None:
    try:
        found: dt.datetime | None = pl.select(from_text(word, time_format, zone)).item()
    except pl.exceptions.PolarsError:  # there is no such format, or no such zone
        return None
    return found


def declared_for(path: str, sources: Sequence[Declared]) -> Declared:
    """Find the first declaration whose glob matches a path; an empty one if none does."""
    return next((s for s in sources if fnmatch.fnmatchcase(path, s.glob)), NOTHING)


def how_redeclared(path: str, sources: Sequence[Declared], was: str | None, identity: Mapping[str, str | None]) -> str:
    """Tell whether the declarations now say something else of a file than when it was taken.

    Args:
        path: The file.
        sources: What is declared now.
        was: `Declared.as_text` of then; None if an older version of this program took it, which did not write it down.
        identity: The market, symbol and interval that it was taken as, which then have to do.

    Returns:
        "other" if it is to be read in another way or ignored, "rank" if its rank alone has changed, else "".
    """
    text = declared_for(path, sources).as_text(path)
    if text == was:
        return ""
    now: dict[str, Any] = json.loads(text)
    if was is None:
        folded = {name: re.sub(r"[^a-z0-9]", "", (word or "").lower()) for name, word in identity.items()}
        said = {name: re.sub(r"[^a-z0-9]", "", str(now.get(name, "")).lower()) for name in identity}
        return "other" if now.get("ignore") or any(said[n] and said[n] != folded[n] for n in folded) else ""
    before: dict[str, Any] = json.loads(was)
    ranks = before.pop("rank", 0), now.pop("rank", 0)
    return "other" if before != now else "rank" if ranks[0] != ranks[1] else ""


def load_sources(store: ObjectStore) -> list[Declared]:
    """Read raw/sources.toml; no declarations if there is none."""
    try:
        return read_sources(read_file(store, "sources.toml").decode("utf-8-sig"))
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise LakeError(f"raw/sources.toml is not UTF-8 text: {error}") from error
    except (BaseError, OSError) as error:
        raise LakeError(f"raw/sources.toml cannot be read: {first_line(error)}") from error
