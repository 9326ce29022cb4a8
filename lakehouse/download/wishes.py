"""What is wanted, and which files of which archive state it. The listing says what exists, never the calendar."""

from __future__ import annotations

import calendar
import datetime as dt
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import InputError
from lakehouse.intervals import EXPECTED, read_interval

_PARTS = {
    "year": r"\d{4}",
    "first": r"(?P<first>\d{4}-\d{1,2}(?:-\d{1,2})?)",
    "last": r"(?P<last>\d{4}-\d{1,2}-\d{1,2})",
}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A public archive; sources.toml says what each field is."""

    name: str
    files: str
    markets: Mapping[str, str]
    kinds: Mapping[str, str]
    lengths: Sequence[str]
    key: str
    checksum: str
    names: Mapping[str, str]
    listing: str = ""
    intervals: Mapping[str, str] = field(default_factory=dict)
    symbols: str = r"\w+"
    hours: int = 0

    @property
    def root(self) -> str:
        """The folder that holds all of it."""
        return self.key.partition("/")[0] + "/"

    @property
    def ahead(self) -> dt.timedelta:
        """How much its clock shows more than UTC."""
        return dt.timedelta(hours=self.hours)


def _read_sources() -> dict[str, Source]:
    tables = tomllib.loads(Path(__file__).with_name("sources.toml").read_text(encoding="utf-8"))
    return {name: Source(name, **table) for name, table in tables.items()}


SOURCES = _read_sources()
BINANCE = SOURCES["binance"]


@dataclass(frozen=True, slots=True)
class Wish:
    """One series, and the days of it that are wanted, by the archive's clock."""

    symbol: str
    interval: str
    market: str = "spot"
    kind: str = "klines"
    first: dt.date = dt.date.min
    last: dt.date = dt.date.max
    source: Source = BINANCE

    def key(self, length: str, **days: str) -> str:
        """The path of a file in the archive, or of days that are patterns a pattern of paths.

        Args:
            length: `monthly` or `daily`.
            **days: year, first and last, as text; those that are left out stay as they are in `Source.key`.
        """
        own = {"market": self.source.markets[self.market], "kind": self.source.kinds[self.kind], "length": length}
        own |= {"symbol": self.symbol, "interval": self.source.intervals.get(self.interval, self.interval)}
        return self.source.key.format_map({name: f"{{{name}}}" for name in _PARTS} | own | days)

    def pattern(self, length: str) -> str:
        """A regular expression of the paths of its files, with the groups `first` and maybe `last`."""
        marks = {name: f"<{name}>" for name in _PARTS}
        found = re.escape(self.key(length, **marks))
        for name, part in _PARTS.items():
            found = found.replace(re.escape(marks[name]), part)
        return found

    def since(self, length: str, year: str = "") -> str:
        """How the paths of its files begin, those of a year or all of them."""
        return re.split(r"{(?:year|first)}", self.key(length))[0] + year

    def folder(self, length: str) -> str:
        """Where the archive keeps its files of one length."""
        return self.since(length).rpartition("/")[0] + "/"

    def __str__(self) -> str:
        where = f"{self.market}, {self.kind}" if self.source is BINANCE else f"{self.source.name} {self.market}"
        return f"{self.symbol} {self.interval} ({where})"


def make_wishes(
    symbols: Sequence[str],
    intervals: Sequence[str],
    first: str = "",
    last: str = "",
    market: str = "",
    kind: str = "klines",
    source: str = BINANCE.name,
) -> list[Wish]:
    """Check what people write, and make of it one wish for each symbol and interval.

    Args:
        symbols: Names such as BTCUSDT.
        intervals: Bar lengths such as 1h; months are `1mo`.
        first: First month or day, `2020-01` or `2020-01-15`; empty: from the beginning.
        last: Last month or day, included; empty: to the end.
        market: Of Binance spot, um or cm, of Bybit linear; empty: the first of these.
        kind: klines, or of Binance's futures mark, index or premium.
        source: binance or bybit.

    Raises:
        InputError: One of them is not usable.
    """
    if isinstance(symbols, str) or isinstance(intervals, str):
        raise InputError(f"symbols and intervals are lists, such as ['BTCUSDT'], not {symbols!r} and {intervals!r}")
    if source not in SOURCES:
        raise InputError(f"source {source!r} is not known; the known ones are {', '.join(SOURCES)}")
    there = SOURCES[source]
    market = market or next(iter(there.markets))
    for given, known, name in ((market, there.markets, "market"), (kind, there.kinds, "kind")):
        if given not in known:
            raise InputError(f"{name} {given!r} is not known at {source}; the known ones are {', '.join(known)}")
    if strange := next((word for word in symbols if not re.fullmatch(r"\w+", word)), None):
        raise InputError(f"symbol {strange!r} is not written as the archive writes it, without / and -: BTCUSDT")
    if strange := next((word for word in symbols if not re.fullmatch(there.symbols, word.upper())), None):
        raise InputError(
            f"symbol {strange!r} is not quoted in USDT: the volumes of {source}'s contracts in coins count dollars, so "
            "that they are not taken"
        )
    if strange := next((word for word in intervals if not read_interval(word)), None):
        raise InputError(f"interval {strange!r} is none; expected {EXPECTED}")
    names = [read_interval(word) for word in intervals]
    if there.intervals and (strange := next((name for name in names if name not in there.intervals), None)):
        raise InputError(f"{source} has no files of {strange}; it has {', '.join(there.intervals)}")
    span = read_day(first, dt.date.min), read_day(last, dt.date.max, end=True)
    if span[1] < span[0]:
        raise InputError(f"the last day {last} is before the first, {first}: did you swap them?")
    return [Wish(s.upper(), name, market, kind, *span, there) for s in symbols for name in names]


def read_wishes(path: Path) -> list[Wish]:
    """Read the tables `[[download]]` of a file.

    Args:
        path: raw/download.toml; each table has symbols, intervals, and may have source, from, to, market and kind.

    Raises:
        InputError: There is no such file, or it says what cannot be understood.
    """
    example = '[[download]]\nsymbols = ["BTCUSDT"]\nintervals = ["1h"]\nfrom = "2020-01"'
    if not path.exists():
        raise InputError(f"no symbol was named, and there is no {path} that says what to download, such as\n{example}")
    names = {"symbols": "symbols", "intervals": "intervals", "from": "first", "to": "last"}
    names |= {name: name for name in ("source", "market", "kind")}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["download"]
        unknown = {name for table in tables for name in table} - names.keys()
        if unknown:
            raise InputError(f"{path}: {', '.join(sorted(unknown))} is not known; the names are {', '.join(names)}")
        return [wish for table in tables for wish in make_wishes(**{names[n]: value for n, value in table.items()})]
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be understood: {error}; expected tables such as\n{example}") from error


def read_day(text: str, default: dt.date, *, end: bool = False) -> dt.date:
    """Read a day, or the first or last one of a month.

    Args:
        text: `2020-01` or `2020-01-15`.
        default: If it is empty.
        end: Of a month the last day.

    Raises:
        InputError: It is neither.
    """
    if not text:
        return default
    try:
        year, month, *days = (int(part) for part in text.split("-"))
        length = calendar.monthrange(year, month)[1]
        return dt.date(year, month, *(days or [length if end else 1]))
    except (ValueError, TypeError) as error:
        raise InputError(f"{text!r} is neither a month such as 2020-01 nor a day such as 2020-01-15") from error
