"""What the archive has: the files of a series, which of them state some days, and the list of all series."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from lakehouse.download.archive import Archive, Entry
from lakehouse.download.parallel import PARALLEL, in_parallel
from lakehouse.download.wishes import BINANCE, Wish, make_wishes, read_day
from lakehouse.errors import InputError

ONE_DAY = dt.timedelta(days=1)
SPANS = pl.Schema(
    {"symbol": pl.String, "interval": pl.String, "first": pl.Date, "last": pl.Date}
    | {"monthly": pl.Int64, "daily": pl.Int64, "bytes": pl.Int64}
)


@dataclass(frozen=True, slots=True)
class Published:
    """A file of the archive.

    Attributes:
        entry: As it is listed.
        first: The first day that it states, by the archive's clock.
        last: The last day, which is the same in a daily file.
        checksum: The path of the CHECKSUM beside it; empty if there is none.
    """

    entry: Entry
    first: dt.date
    last: dt.date
    checksum: str


def published(archive: Archive, wish: Wish, length: str, since: dt.date = dt.date.min) -> list[Published]:
    """List the files of a series, whatever days are wanted.

    Args:
        archive: Where.
        wish: Which series.
        length: `monthly` or `daily`.
        since: Earlier years need not be listed.

    Returns:
        The files in the order of their keys; what else lies there is left out.
    """
    if length not in wish.source.lengths:
        return []
    # The year alone: months without a leading zero sort elsewhere within it.
    after = wish.since(length, f"{since.year:04d}") if since.year > 1 else ""
    entries = archive.entries(wish.folder(length), after)
    beside = {entry.key for entry in entries}
    name, found = re.compile(wish.pattern(length)), []
    for entry in entries:
        if told := name.fullmatch(entry.key):
            period = told["first"], told.groupdict().get("last", told["first"])
            first, last = read_day(period[0], dt.date.min), read_day(period[1], dt.date.min, end=True)
            checksum = entry.key + wish.source.checksum  # itself, if there are none
            found.append(Published(entry, first, last, checksum if checksum in beside - {entry.key} else ""))
    return found


def all_published(archive: Archive, wish: Wish) -> list[list[Published]]:
    """List the monthly and the daily files of a series; see `published`."""
    return [published(archive, wish, length) for length in ("monthly", "daily")]


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
        f"{wish}: the archive has nothing {_in_words(first, last)}"
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


def _in_words(first: dt.date, last: dt.date) -> str:
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
    while place != wish.source.root:
        place, _, missed = place.rstrip("/").rpartition("/")
        place += "/"
        beside = (place.replace("monthly", length) for length in wish.source.lengths)
        if there := sorted({name for one in beside for name in archive.folders(one)}):
            if missed in there:
                return f"the archive has no files of {wish.interval} in {wish.folder('monthly')}"
            near = difflib.get_close_matches(missed, there, n=8, cutoff=0.5)
            shown = there if len(there) <= 20 else near
            few = f"; there are {len(there):,}" + (f", {', '.join(shown)}" if shown else "")
            return f"the archive has no {missed} in {place}{few}. `lakehouse download --list` shows all"
    return f"{archive.listing} holds nothing below {wish.source.root}: is it the archive? --archive names another"


def list_archive(
    symbols: Sequence[str] = (),
    intervals: Sequence[str] = (),
    *,
    market: str = "",
    kind: str = "klines",
    source: str = BINANCE.name,
    archive: str = "",
) -> pl.DataFrame:
    """List what the archive has.

    Args:
        symbols: Which; none: all, by name alone.
        intervals: Which; none: all that a symbol has.
        market: See `download`.
        kind: See `download`.
        source: See `download`.
        archive: See `download`.

    Returns:
        Without symbols, a column `symbol`. With them a row for each series: the first and last day that a file
        states, how many monthly and daily files there are, and their bytes. Both lengths state the same bars.

    Raises:
        InputError: An argument is not usable, or there is no such symbol.
        ArchiveError: The archive cannot be reached.
    """
    options = {"market": market, "kind": kind, "source": source}
    wishes = make_wishes(symbols or ["XUSDT"], intervals or ["1h"], **options)
    with Archive(archive, wishes[0].source) as there:
        if not symbols:
            (wish,) = wishes
            names = _names(there, wish, wish.symbol)
            return pl.DataFrame({"symbol": [name for name in names if re.fullmatch(wish.source.symbols, name)]})
        if not intervals:
            found = {wish: _intervals(there, wish) for wish in wishes}
            for wish in (wish for wish, names in found.items() if not names):
                choose(there, wish)  # says what there is instead
            wishes = [replace(wish, interval=name) for wish, names in found.items() for name in names]
        rows = list(in_parallel(there, lambda wish: _span(there, wish), wishes, PARALLEL))
    return pl.DataFrame(rows, schema=SPANS, orient="row").sort("symbol", "interval")


def _names(archive: Archive, wish: Wish, part: str) -> list[str]:
    """The folders that lie beside a series' symbol or interval, whatever the length of their files."""
    places = [wish.folder(length).rpartition(f"/{part}/")[0] + "/" for length in wish.source.lengths]
    return sorted({name for place in places for name in archive.folders(place)})


def _intervals(archive: Archive, wish: Wish) -> list[str]:
    if not (names := wish.source.intervals):
        return _names(archive, wish, wish.interval)
    return [name for name in names if any(all_published(archive, replace(wish, interval=name)))]


def _span(archive: Archive, wish: Wish) -> tuple[object, ...]:
    monthly, daily = all_published(archive, wish)
    if not (files := monthly + daily):
        choose(archive, wish)  # says what there is instead
    first, last = min(file.first for file in files), max(file.last for file in files)
    return wish.symbol, wish.interval, first, last, len(monthly), len(daily), sum(file.entry.size for file in files)
