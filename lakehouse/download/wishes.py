"""What is wanted, and which files of the archive state it. The listing says what exists, never the calendar."""

from __future__ import annotations

import calendar
import datetime as dt
import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.download.archive import Archive, Entry
from lakehouse.errors import InputError
from lakehouse.intervals import INTERVAL_WORDS, INTERVALS

MARKETS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
KINDS = {"klines": "klines", "mark": "markPriceKlines", "index": "indexPriceKlines", "premium": "premiumIndexKlines"}
LENGTHS = ("monthly", "daily")
CHECKSUM = ".CHECKSUM"
ONE_DAY = dt.timedelta(days=1)


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


@dataclass(frozen=True, slots=True)
class Published:
    """A zip of the archive.

    Attributes:
        entry: As it is listed.
        first: The first day that it states.
        last: The last day, which is the same in a daily file.
        has_checksum: Whether a CHECKSUM lies beside it.
    """

    entry: Entry
    first: dt.date
    last: dt.date
    has_checksum: bool


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
    if strange := next((word for word in intervals if word not in INTERVAL_WORDS), None):
        raise InputError(f"interval {strange!r} is not known; the known ones are {', '.join(INTERVALS)}")
    span = _day(first, dt.date.min), _day(last, dt.date.max, end=True)
    if span[1] < span[0]:
        raise InputError(f"the last day {last} is before the first, {first}: did you swap them?")
    return [Wish(s.upper(), INTERVAL_WORDS[interval], market, kind, *span) for s in symbols for interval in intervals]


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
        tables = tomllib.loads(path.read_text())["download"]
        unknown = {name for table in tables for name in table} - names.keys()
        if unknown:
            raise InputError(f"{path}: {', '.join(sorted(unknown))} is not known; the names are {', '.join(names)}")
        return [wish for table in tables for wish in make_wishes(**{names[n]: value for n, value in table.items()})]
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be understood: {error}; expected tables such as\n{example}") from error


def _day(text: str, default: dt.date, *, end: bool = False) -> dt.date:
    if not text:
        return default
    try:
        year, month, *days = (int(part) for part in text.split("-"))
        length = calendar.monthrange(year, month)[1]
        return dt.date(year, month, *(days or [length if end else 1]))
    except (ValueError, TypeError) as error:
        raise InputError(f"{text!r} is neither a month such as 2020-01 nor a day such as 2020-01-15") from error


def published(archive: Archive, wish: Wish, length: str, since: dt.date = dt.date.min) -> list[Published]:
    """List the files of a series, whatever days are wanted.

    Args:
        archive: Where.
        wish: Which series.
        length: `monthly` or `daily`.
        since: Earlier years need not be listed.

    Returns:
        The zips in the order of their keys; what else lies there is left out.
    """
    folder, head = wish.folder(length), f"{wish.symbol}-{wish.interval}"
    # The year alone: months without a leading zero sort elsewhere within it.
    after = f"{folder}{head}-{since.year:04d}" if since.year > 1 else ""
    entries = archive.entries(folder, after)
    beside = {entry.key for entry in entries}
    day = r"-(\d{1,2})" if length == "daily" else ""
    name = re.compile(rf"{re.escape(folder + head)}-(\d{{4}})-(\d{{1,2}}){day}\.zip")
    found = []
    for entry in entries:
        if told := name.fullmatch(entry.key):
            period = "-".join(told.groups())
            first, last = _day(period, dt.date.min), _day(period, dt.date.min, end=True)
            found.append(Published(entry, first, last, entry.key + CHECKSUM in beside))
    return found


def choose(archive: Archive, wish: Wish) -> tuple[list[Published], list[str]]:
    """Choose the files that state what is wanted: whole months as monthly files, the rest as daily ones.

    A month that is wanted in part comes as days too, or as a month if there are no days.

    Args:
        archive: What is listed.
        wish: What is wanted.

    Returns:
        The files, and for people what was wanted and never published.

    Raises:
        InputError: None of it is there; the message says what is.
    """
    monthly = published(archive, wish, "monthly")
    open_days = holes(_whole(monthly, wish.first, wish.last), wish.first, wish.last)
    daily = published(archive, wish, "daily", open_days[0][0]) if open_days else []
    chosen = cover(monthly, daily, wish.first, wish.last)
    if not chosen:
        raise InputError(f"{wish}: {what_there_is(archive, wish, monthly + daily)}")
    return chosen, [
        f"{wish}: the archive has nothing {_span(first, last)}"
        for first, last in holes(chosen, wish.first, wish.last)
        if not (first == dt.date.min or last == dt.date.max)
    ]


def cover(monthly: Sequence[Published], daily: Sequence[Published], first: dt.date, last: dt.date) -> list[Published]:
    """Choose files that state some days, as `choose` does, of those that are listed already.

    Args:
        monthly: The monthly files of a series.
        daily: Its daily files.
        first: The first day.
        last: The last day.
    """
    whole = _whole(monthly, first, last)
    open_days = holes(whole, first, last)
    days = [day for day in daily if any(start <= day.first <= end for start, end in open_days)]
    parts = [month for month in monthly if month.first <= last and first <= month.last and month not in whole]
    parts = [month for month in parts if not any(month.first <= day.first <= month.last for day in days)]
    return whole + parts + days


def _whole(monthly: Sequence[Published], first: dt.date, last: dt.date) -> list[Published]:
    return [month for month in monthly if first <= month.first and month.last <= last]


def holes(files: Iterable[Published], first: dt.date, last: dt.date) -> list[tuple[dt.date, dt.date]]:
    """The days from `first` to `last` that no file states, as spans.

    Args:
        files: In any order.
        first: The first day.
        last: The last day.
    """
    found, at = [], first
    for file in sorted(files, key=lambda file: file.first):
        if at < file.first:
            found.append((at, file.first - ONE_DAY))
        if file.last >= last:
            return found
        at = max(at, file.last + ONE_DAY)
    return [*found, (at, last)]


def _span(first: dt.date, last: dt.date) -> str:
    return f"of {first}" if first == last else f"from {first} to {last}"


def what_there_is(archive: Archive, wish: Wish, listed: Sequence[Published]) -> str:
    """Go up in the archive until there is something, and tell it.

    Args:
        archive: The archive.
        wish: What nothing was found for.
        listed: What the wish's folder has all the same.
    """
    if listed:
        first, last = min(file.first for file in listed), max(file.last for file in listed)
        return f"nothing from {wish.first} to {wish.last}; the archive has {first} to {last}"
    place, missed = wish.folder("monthly"), ""
    while place != "data/":
        place, _, missed = place.rstrip("/").rpartition("/")
        place += "/"
        if there := sorted({n for length in LENGTHS for n in archive.folders(place.replace("monthly", length))}):
            near = difflib.get_close_matches(missed, there, n=8, cutoff=0.5)
            shown = there if len(there) <= 20 else near
            few = f"; there are {len(there):,}" + (f", {', '.join(shown)}" if shown else "")
            return f"the archive has no {missed} in {place}{few}. `lakehouse download --list` shows all"
    return f"{archive.listing} holds nothing below data/: is it the archive? --archive names another"
