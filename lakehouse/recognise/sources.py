"""`raw/sources.toml`: what people say of their files where the files cannot tell it."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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
    """What `raw/sources.toml` says of the files that match one glob; empty where it says nothing."""

    glob: str = "*"
    market: str = ""
    symbol: str = ""
    interval: str = ""
    time_zone: str = "UTC"
    time_format: str = ""
    columns: tuple[str, ...] = ()
    ignore: bool = False


def read_sources(text: str) -> list[Declared]:
    """Read `raw/sources.toml`.

    Args:
        text: A TOML document with an array of tables `source`; each needs `glob`, and may give
            `market`, `symbol`, `interval`, `time_zone`, `time_format`, `columns`, `ignore`.

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
    known = {field.name: type(field.default) for field in fields(Declared)}
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"unknown key '{name}'; known are {', '.join(known)}")
        words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        if not (words if name == "columns" else isinstance(value, known[name])):
            kind = {tuple: "list of names", bool: "true or false", str: "text"}[known[name]]
            raise ValueError(f"'{name}' is {value!r}; expected {kind}")
        if value == UNSAID:
            raise ValueError(f"'{name}' is still {UNSAID}; write there what it is")
    if "glob" not in entry:
        raise ValueError("an entry has no 'glob', which says which files it is about")
    interval = read_interval(entry.get("interval", ""))
    if entry.get("interval") and not interval:
        raise ValueError(f"interval '{entry['interval']}'; expected {EXPECTED}")
    declared = Declared(**{**entry, "columns": tuple(entry.get("columns", ())), "interval": interval})
    if _read_time(pl.lit("2024-03-14"), "%Y-%m-%d", declared.time_zone) is None:
        raise ValueError(f"time_zone '{declared.time_zone}'; expected a name such as UTC or Europe/Berlin")
    if declared.time_format:
        moment = dt.datetime(2024, 3, 14, 13, 30, tzinfo=dt.UTC)
        word = pl.lit(moment).dt.strftime(declared.time_format.replace("%#z", "%z"))  # %#z is for reading only
        found = _read_time(word, declared.time_format, "UTC")
        if found is None or found.date() != moment.date():
            raise ValueError(f"time_format '{declared.time_format}' tells no day; expected one like '%d/%m/%Y %H:%M'")
    return declared


def _read_time(word: pl.Expr, time_format: str, zone: str) -> dt.datetime | None:
    try:
        found: dt.datetime | None = pl.select(from_text(word, time_format, zone)).item()
    except pl.exceptions.PolarsError:  # there is no such format, or no such zone
        return None
    return found


def declared_for(path: str, sources: Sequence[Declared]) -> Declared:
    """Find the first declaration whose glob matches a path; an empty one if none does."""
    return next((s for s in sources if fnmatch.fnmatchcase(path, s.glob)), Declared())


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


def how_to_declare(path: str, line: str) -> str:
    """Show what to write into `raw/sources.toml` about a file, as the end of a message.

    Args:
        path: The file.
        line: What the entry is to say, as TOML.
    """
    glob = json.dumps(escape(path), ensure_ascii=False)  # what JSON calls a string is one in TOML
    return f"declare it in raw/sources.toml:\n    [[source]]\n    glob = {glob}\n    {line}"
