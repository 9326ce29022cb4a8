"""`raw/sources.toml`: what people say of their files where the files cannot tell it."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from glob import escape
from typing import Any

import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.errors import LakeError
from lakehouse.intervals import EXPECTED, read_interval
from lakehouse.raw import first_line, from_text, read_file

UNSAID = "…"  # stands in advices for what only the user knows, and must not be pasted as it is


@dataclass(frozen=True, slots=True)
class Declared:
    """What `raw/sources.toml` says of the files that match one glob; empty where it says nothing.

    Attributes:
        glob: Which files, `*` for any letters, slashes too.
        market: This and the next two are what the bars are about.
        symbol: The same.
        interval: The same.
        time_zone: Of times without an offset.
        time_format: Of the times of the bars.
        date_in_name: The file's name tells the day, and its lines only the hours.
        doubled_hour: `first` or `second`: which is meant by a time that clocks have twice and the file once.
        label: `start` or `end` of a bar: which its time is.
        columns: What the fields are, in their order.
        named: Column → the header's names of it, where `columns` is a table.
        decimal: The decimal mark.
        price_scale: What prices are multiplied by.
        volume_scale: What volumes in the base asset are multiplied by.
        ignore: The files are left alone.
    """

    glob: str = ""
    market: str = ""
    symbol: str = ""
    interval: str = ""
    time_zone: str = ""
    time_format: str = ""
    date_in_name: bool = False
    doubled_hour: str = ""
    label: str = ""
    columns: tuple[str, ...] = ()
    named: tuple[tuple[str, tuple[str, ...]], ...] = ()
    decimal: str = ""
    price_scale: float = 0.0
    volume_scale: float = 0.0
    ignore: bool = False
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
    for name, value in entry.items():
        if name == "prefer":
            globs = isinstance(value, list) and all(isinstance(glob, str) for glob in value)
            if isinstance(value, bool) or not (globs or isinstance(value, int)):
                raise ValueError(f"'prefer' is {value!r}; expected a whole number, the higher wins, or a list of globs")
            continue
        if name not in known:
            raise ValueError(f"unknown key '{name}'; known are {', '.join(known)}")
        number = known[name] is float and isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if not (number or (_are_columns(value) if name == "columns" else type(value) is known[name] is not float)):
            kind = {
                tuple: 'list of names, or a table such as { open_time = "Date" }',
                **{bool: "true or false", str: "text", float: "number above 0"},
            }[known[name]]
            raise ValueError(f"'{name}' is {value!r}; expected {kind}")
        if name in _ONE_OF and value not in _ONE_OF[name]:
            raise ValueError(f"'{name}' is '{value}'; expected {' or '.join(map(repr, _ONE_OF[name]))}")
        if value == UNSAID:
            raise ValueError(f"'{name}' is still {UNSAID}; write there what it is")
    if not entry.get("glob"):
        raise ValueError("an entry has no 'glob', which says which files it is about")
    interval = read_interval(entry.get("interval", ""))
    if entry.get("interval") and not interval:
        raise ValueError(f"interval '{entry['interval']}'; expected {EXPECTED}")
    columns = entry.get("columns", ())
    told: dict[str, Any] = {name: float(value) if known[name] is float else value for name, value in entry.items()}
    told |= {"interval": interval, "columns": () if isinstance(columns, dict) else tuple(columns)}
    if isinstance(prefer := entry.get("prefer", 0), list):
        told["prefer"] = tuple(prefer)
    if isinstance(columns, dict):
        named = {column: (words,) if isinstance(words, str) else tuple(words) for column, words in columns.items()}
        told["named"] = tuple(named.items())
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


def _are_columns(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(words, str) or _are_words(words) for words in value.values())
    return _are_words(value)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


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


def how_to_declare(path: str, line: str, declared: Declared | None = None) -> str:
    """Show what to write into `raw/sources.toml` about a file, as the end of a message.

    Args:
        path: The file.
        line: What the entry is to say, as TOML.
        declared: The entry that the file has already; the first one that matches is the only one that counts.
    """
    if declared and declared.glob:
        glob = json.dumps(declared.glob, ensure_ascii=False)
        return f"write into its entry in raw/sources.toml, the one with glob = {glob}:\n    {line}"
    glob = json.dumps(escape(path), ensure_ascii=False)  # what JSON calls a string is one in TOML
    return f"declare it in raw/sources.toml:\n    [[source]]\n    glob = {glob}\n    {line}"
