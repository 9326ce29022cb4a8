"""What is wanted, and which files of the archive state it. The listing says what exists, never the calendar."""

from __future__ import annotations

import calendar
import datetime as dt
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import InputError
from lakehouse.intervals import EXPECTED, read_interval

MARKETS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
KINDS = {"klines": "klines", "mark": "markPriceKlines", "index": "indexPriceKlines", "premium": "premiumIndexKlines"}
LENGTHS = ("monthly", "daily")
CHECKSUM = ".CHECKSUM"


@dataclass(frozen=True, slots=True)
class Wish:
    """One series, and the days of it that are wanted."""

    symbol: str
    interval: str
    market: str = "spot"
    kind: str = "klines"
    first: dt.date = dt.date.min
    last: dt.date = dt.date.max

    def folder(self, length: str) -> str:
        """Where the archive keeps its files of one length, `monthly` or `daily`."""
        return f"data/{MARKETS[self.market]}/{length}/{KINDS[self.kind]}/{self.symbol}/{self.interval}/"

    def __str__(self) -> str:
        return f"{self.symbol} {self.interval} ({self.market}, {self.kind})"


def make_wishes(
    symbols: Sequence[str],
    intervals: Sequence[str],
    first: str = "",
    last: str = "",
    market: str = "spot",
    kind: str = "klines",
) -> list[Wish]:
    """Check what people write, and make of it one wish for each symbol and interval.

    Args:
        symbols: Names such as BTCUSDT.
        intervals: Bar lengths such as 1h; months are `1mo`.
        first: First month or day, `2020-01` or `2020-01-15`; empty: from the beginning.
        last: Last month or day, included; empty: to the end.
        market: spot, um or cm.
        kind: klines, mark, index or premium.

    Raises:
        InputError: One of them is not usable.
    """
    if isinstance(symbols, str) or isinstance(intervals, str):
        raise InputError(f"symbols and intervals are lists, such as ['BTCUSDT'], not {symbols!r} and {intervals!r}")
    for given, known, name in ((market, MARKETS, "market"), (kind, KINDS, "kind")):
        if given not in known:
            raise InputError(f"{name} {given!r} is not known; the known ones are {', '.join(known)}")
    if strange := next((word for word in symbols if not re.fullmatch(r"\w+", word)), None):
        raise InputError(f"symbol {strange!r} is not written as the archive writes it, without / and -: BTCUSDT")
    if strange := next((word for word in intervals if not read_interval(word)), None):
        raise InputError(f"interval {strange!r} is none; expected {EXPECTED}")
    span = read_day(first, dt.date.min), read_day(last, dt.date.max, end=True)
    if span[1] < span[0]:
        raise InputError(f"the last day {last} is before the first, {first}: did you swap them?")
    return [Wish(s.upper(), read_interval(interval), market, kind, *span) for s in symbols for interval in intervals]


def read_wishes(path: Path) -> list[Wish]:
    """Read the tables `[[download]]` of a file.

    Args:
        path: raw/download.toml; each table has symbols, intervals, and may have from, to, market and kind.

    Raises:
        InputError: There is no such file, or it says what cannot be understood.
    """
    example = '[[download]]\nsymbols = ["BTCUSDT"]\nintervals = ["1h"]\nfrom = "2020-01"'
    if not path.exists():
        raise InputError(f"no symbol was named, and there is no {path} that says what to download, such as\n{example}")
    names = {"symbols": "symbols", "intervals": "intervals", "from": "first", "to": "last"}
    names |= {"market": "market", "kind": "kind"}
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
