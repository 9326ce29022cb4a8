"""Why is there a hole? The archive's listing, the files in raw/ and the gaps of silver, held against each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lakehouse.download.archive import Archive
from lakehouse.download.fetch import PUBLISHED_BROKEN, VERIFIED, standing
from lakehouse.download.look import ONE_DAY, Published, all_published, cover, what_there_is
from lakehouse.download.parallel import PARALLEL, in_parallel
from lakehouse.download.run import WANTED, raw_folder
from lakehouse.download.wishes import BINANCE, Wish, make_wishes, read_wishes
from lakehouse.errors import InputError, LakeError
from lakehouse.intervals import seconds_of
from lakehouse.lake import SERIES, Lake

NOT_FETCHED = "not fetched"  # the archive has a file that is not here
NOT_LOADED = "not loaded"  # the file is here; no run has taken it, or it failed
BEFORE_LISTING = "before listing"  # no file: the archive's first one is later
DELISTED = "delisted"  # no file: the archive's last one is earlier, and other symbols here go on
NOT_YET = "not yet published"  # no file: the archive's last one is earlier
NEVER = "never published"  # no file, and there are earlier and later ones
OUTAGE = "outage"  # the file is here and lacks these bars, and so do those of all other symbols of the market
SHORT = "file is short"  # the file is here and lacks these bars

MISSING: dict[str, pl.DataType] = {
    **dict.fromkeys(("source", "market", "symbol", "interval", "reason"), pl.String()),
    **dict.fromkeys(("first", "last"), pl.Datetime("us", "UTC")),
    **{"missing": pl.Int64(), "fetch": pl.List(pl.String), "bytes": pl.Int64(), "note": pl.String()},
}

NEAREST = (SHORT, NOT_LOADED, NOT_FETCHED, PUBLISHED_BROKEN)  # of several files that state a day, the first says why
WITHOUT_BARS = {VERIFIED: NOT_LOADED, PUBLISHED_BROKEN: PUBLISHED_BROKEN}  # by how the file in raw/ stands
LATE = dt.timedelta(days=3)  # daily files come within a day or two

type Series = tuple[str, str, str]
type Stretch = tuple[dt.datetime, dt.datetime]  # from a slot on until before another


def missing(
    lake: Lake,
    symbols: Sequence[str] = (),
    intervals: Sequence[str] = ("1h",),
    *,
    first: str = "",
    last: str = "",
    market: str = "",
    kind: str = "klines",
    source: str = BINANCE.name,
    archive: str = "",
) -> pl.DataFrame:
    """Say of each hole of some series why it is there. Nothing is fetched.

    A hole is what silver/gaps lists, and what the archive, or the days that are asked for, have before the first bar of
    the lake and after its last.

    Args:
        lake: Which; silver must be up to date.
        symbols: Such as BTCUSDT; none: what the tables `[[download]]` of raw/download.toml name, and that alone.
        intervals: Such as 1h.
        first: First month or day, by the archive's clock; empty: the archive's first.
        last: Last month or day, included; empty: the archive's last.
        market: See `download`.
        kind: See `download`.
        source: See `download`.
        archive: See `download`.

    Returns:
        A row for each stretch of one reason, sorted by series and time: source, market (the archive's), symbol,
        interval, reason (see the constants of this module), first and last (its slots), missing (how many they are),
        fetch (the files of the archive that state these days and are not here as they are listed), bytes (theirs) and
        note.

    Raises:
        InputError: An argument is not usable, or the archive has no such series.
        LakeError: Silver is behind bronze.
        ArchiveError: The archive cannot be reached.
    """
    raw = raw_folder(lake)
    span = first, last, market, kind, source
    wishes = make_wishes(symbols, intervals, *span) if symbols else read_wishes(raw / WANTED)
    here, rows = _look(lake), list[tuple[object, ...]]()
    for archive_of in dict.fromkeys(wish.source for wish in wishes):
        own = [wish for wish in wishes if wish.source is archive_of]
        with Archive(archive, archive_of) as there:
            listed = list(in_parallel(there, lambda wish: (wish, _list(there, wish)), own, PARALLEL))
        rows += [row for wish, files in listed for row in _explain(wish, files, here, raw)]
    return pl.DataFrame(rows, schema=MISSING, orient="row").sort("source", "market", "symbol", "interval", "first")


@dataclass(frozen=True, slots=True)
class _Here:
    """What the lake has: of each series its first and last slot, and its gaps; of each path the latest ledger row."""

    ledger: pl.DataFrame
    ends: dict[Series, Stretch]
    gaps: dict[Series, list[Stretch]]


def _look(lake: Lake) -> _Here:
    ledger = lake.ledger.scan().collect() if lake.ledger.exists() else pl.DataFrame(schema=lake.ledger.schema)
    latest = ledger.sort("stated_at", "ingested_at").unique("path", keep="last", maintain_order=True)
    ends, gaps = dict[Series, Stretch](), dict[Series, list[Stretch]]()
    if lake.bronze.exists():
        bronze = lake.bronze.open()
        consumed = lake.silver.open().transaction_version(lake.silver.consumes(bronze)) if lake.silver.exists() else -1
        if consumed != bronze.version():
            raise LakeError(f"silver does not know v{bronze.version()} of bronze yet; `lakehouse run` first")
        for *series, first, last in lake.gaps.scan().select(*SERIES, "first", "last").sort("first").collect().rows():
            gaps.setdefault(tuple(series), []).append((first, _after(last, series[-1])))
        if not (files := lake.silver.files()).is_empty():
            spans = files.group_by(SERIES).agg(pl.col("min.open_time").min(), pl.col("max.open_time").max())
            for *series, first, last in spans.rows():
                slots = pl.Series([first, last]).dt.truncate(series[-1])
                ends[tuple(series)] = slots[0], slots[1]
    return _Here(latest, ends, gaps)


def _list(archive: Archive, wish: Wish) -> list[list[Published]]:
    lists = all_published(archive, wish)
    if not any(lists):
        raise InputError(f"{wish}: {what_there_is(archive, wish, [])}")
    return lists


def _explain(wish: Wish, lists: list[list[Published]], here: _Here, raw: Path) -> Iterator[tuple[object, ...]]:
    files = [file for files in lists for file in files]
    verdicts = {file.entry.key: standing(file.entry, raw) for file in files}
    series = _series(wish, here.ledger)
    others = {name: ends for name, ends in here.ends.items() if name[::2] == series[::2] and name != series}
    end, going_on = max(file.last for file in files), max((last for _, last in others.values()), default=None)
    gone = going_on is not None and going_on.date() > end + LATE
    span = [min(file.first for file in files), end]
    why = _why(files, verdicts, dict(here.ledger.select("path", "status").iter_rows()))
    notes = {BEFORE_LISTING: f"the archive's first file is of {span[0]}", NOT_YET: f"its last file is of {end}"}
    notes[DELISTED] = f"{notes[NOT_YET]}, and other symbols here go on until {going_on:%Y-%m-%d}" if going_on else ""

    def reason(day: dt.date) -> str:
        outside = BEFORE_LISTING if day < span[0] else (DELISTED if gone else NOT_YET) if day > end else NEVER
        return why.get(day, outside)

    for hole in _holes(wish, span, here.ends.get(series), here.gaps.get(series, [])):
        for told, stretch in _cut(hole, wish, reason):
            parts = _compare(stretch, others, here.gaps) if told == SHORT else [(told, stretch, notes.get(told, ""))]
            for kind, (start, stop), note in parts:
                last = _after(start, wish.interval, _count(start, stop, wish.interval) - 1)
                spanned = [(time + wish.source.ahead).date() for time in (start, last)]
                days = cover(lists[0], lists[1], *spanned) if kind in (NOT_FETCHED, SHORT) else []
                fetch = [file.entry for file in days if not verdicts[file.entry.key]]
                keys, size = [entry.key for entry in fetch], sum(entry.size for entry in fetch)
                count = _count(start, stop, wish.interval)
                yield (
                    wish.source.name,
                    wish.market,
                    wish.symbol,
                    wish.interval,
                    kind,
                    start,
                    last,
                    count,
                    keys,
                    size,
                    note,
                )


def _series(wish: Wish, ledger: pl.DataFrame) -> Series:
    """What the lake calls a series: as the archive's files of it were recognised, or as files of other places are."""
    own = [pl.col("path").str.contains(f"^{wish.pattern(length)}$") for length in wish.source.lengths]
    told = ledger.filter(pl.any_horizontal(own), status="loaded").drop_nulls("symbol").sort("ingested_at")
    if told.height:
        return told.select(SERIES).row(-1)
    return (
        wish.source.names[wish.market] + ("" if wish.kind == "klines" else f"-{wish.kind}"),
        wish.symbol,
        wish.interval,
    )


def _why(files: Sequence[Published], verdicts: dict[str, str], taken: dict[str, str]) -> dict[dt.date, str]:
    """Of each day that a file of the archive states, why the lake may lack bars of it."""
    found = dict[dt.date, str]()
    for file in files:
        key = file.entry.key
        why = SHORT if taken.get(key) in ("loaded", "empty") else WITHOUT_BARS.get(verdicts[key], NOT_FETCHED)
        for number in range((file.last - file.first).days + 1):
            day = file.first + number * ONE_DAY
            found[day] = min(found.get(day, why), why, key=NEAREST.index)
    return found


def _holes(wish: Wish, span: Sequence[dt.date], ends: Stretch | None, gaps: Sequence[Stretch]) -> Iterator[Stretch]:
    """What silver lacks of the days that are asked for, or else of those that the archive has."""
    days = [wish.first if wish.first > dt.date.min else span[0], wish.last if wish.last < dt.date.max else span[1]]
    begin, stop = (_midnight(day, wish) for day in (days[0], days[1] + ONE_DAY))
    if ends:
        begin = _after(ends[0], wish.interval, _count(ends[0], begin, wish.interval))  # the next slot of its grid
    inner = [(begin, ends[0]), *gaps, (_after(ends[1], wish.interval), stop)] if ends else [(begin, stop)]
    for start, end in inner:
        if max(start, begin) < min(end, stop):
            yield max(start, begin), min(end, stop)


def _midnight(day: dt.date, wish: Wish) -> dt.datetime:
    """When a day begins by the archive's clock."""
    return dt.datetime.combine(day, dt.time(), dt.UTC) - wish.source.ahead


def _cut(hole: Stretch, wish: Wish, reason: Callable[[dt.date], str]) -> Iterator[tuple[str, Stretch]]:
    """Cut a hole where the reason changes, which is at midnight."""
    start, at, day = hole[0], hole[0], (hole[0] + wish.source.ahead).date()
    while at < hole[1]:
        then = min(hole[1], max(_midnight(day + ONE_DAY, wish), _after(at, wish.interval)))
        today, day = day, (then + wish.source.ahead).date()
        if then == hole[1] or reason(day) != reason(today):
            yield reason(today), (start, then)
            start = then
        at = then


def _compare(
    stretch: Stretch, others: dict[Series, Stretch], gaps: dict[Series, list[Stretch]]
) -> Iterator[tuple[str, Stretch, str]]:
    """Tell the part of a hole that all other symbols of the market have too from that which is this symbol's own."""
    at, stop = stretch
    alive = [name for name, (first, last) in others.items() if first < at and stop <= last]
    common = [stretch] if alive else []
    for name in alive:
        pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in gaps.get(name, [])]
        common = [(start, end) for start, end in pairs if start < end]
    many = f"{len(alive)} other symbol{'s' * (len(alive) != 1)} of the market"
    own = f"not so with all of the {many} here" if alive else "no other symbol of the market is here to compare with"
    for start, end in common:
        if at < start:
            yield SHORT, (at, start), own
        yield OUTAGE, (start, end), f"so it is with the {many} here"
        at = end
    if at < stop:
        yield SHORT, (at, stop), own


def _after(slot: dt.datetime, interval: str, count: int = 1) -> dt.datetime:
    if interval != "1mo":
        return slot + count * dt.timedelta(seconds=seconds_of(interval))
    months = slot.year * 12 + slot.month - 1 + count
    return slot.replace(year=months // 12, month=months % 12 + 1)


def _count(slot: dt.datetime, stop: dt.datetime, interval: str) -> int:
    """How many slots lie from one on before a time; negative if it is earlier."""
    if interval != "1mo":
        return -((slot - stop) // dt.timedelta(seconds=seconds_of(interval)))
    return (stop.year - slot.year) * 12 + stop.month - slot.month + (stop.day > slot.day)
