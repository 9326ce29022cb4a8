"""Read times: epoch numbers of any unit, and text in the listed formats or the file's own."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl

from lakehouse.dataset import Form
from lakehouse.intervals import FEW, seconds_of

UTC = pl.Datetime("us", "UTC")
EPOCH, MICROSECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)
BEGUN = (dt.datetime.min.replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND
Even = tuple[int, int, int]  # equally far apart: the first and the step, in microseconds; how many
FAR = dt.timedelta(days=3653)  # no series has a gap of ten years on both sides of one bar

# Text times, tried in this order. Without an offset they are UTC, or the `time_zone` of sources.toml.
# Day-first and month-first dates with slashes cannot be told apart: declare `time_format` for those.
TIME_FORMATS = (
    *("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%:z"),
    *("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f UTC"),
    *("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%MZ"),  # %#z: +00
    *("%Y/%m/%d %H:%M:%S%.f", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
    "%Y-%m-%d %I-%p",  # CryptoDataDownload before 2020: 2019-10-17 12-PM
    *("%d.%m.%Y %H:%M:%S%.f", "%d.%m.%Y %H:%M:%S%.f GMT%z", "%d.%m.%Y %H:%M", "%d.%m.%Y"),  # Dukascopy
    *("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p"),
    *("%Y%m%d %H%M%S", "%Y%m%d %H:%M:%S", "%Y%m%d %H:%M", "%Y%m%d"),  # HistData
    *("%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S"),  # MetaTrader
)

# Digits alone that are no epoch, by their number; only if all of a file's first lines read so.
COMPACT_TIMES = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def from_epoch(value: pl.Expr) -> pl.Expr:
    """Read epoch numbers, the unit told per value by its magnitude: seconds, ms, µs or ns.

    Seconds reach to 10¹¹ (the year 5138), milliseconds to 10¹³ (2286), microseconds from 10¹⁴ to 10¹⁷. What is
    smaller than 10⁸ (March 1973 in seconds) or has fourteen digits is no epoch: `20190101`, `20190101120000`, `5`.
    """
    size = value.abs()
    micros = (
        pl.when(size < 10**8).then(None).when(size < 10**11).then(value * 10**6).when(size < 10**13).then(value * 1000)
        .when(size < 10**14).then(None).when(size < 10**17).then(value).otherwise(value // 1000)
    )  # fmt: skip
    return micros.round().cast(pl.Int64, strict=False).cast(UTC)


def from_text(word: pl.Expr, time_format: str, zone: str) -> pl.Expr:
    """Read text times, to UTC; null where that fails, or where clocks have the time twice.

    Args:
        word: The text.
        time_format: As the chrono library has it, which is nearly as C and Python have it.
        zone: Where times without an offset were written down.
    """
    time = _naive(word, time_format)
    if not _OFFSET.search(time_format):
        time = time.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return time.dt.convert_time_zone("UTC")


_OFFSET = re.compile(r"%[:#]*z|%\+")


def _naive(word: pl.Expr, time_format: str) -> pl.Expr:
    if "%M" not in time_format and ("%I" in time_format or "%H" in time_format):
        word, time_format = word + " 00", time_format + " %M"  # Polars wants minutes beside hours
    return word.str.to_datetime(time_format, time_unit="us", strict=False, ambiguous="null", exact=True)


def has_doubled_hours(form: Form) -> bool:
    """Whether the file's clock is put back once a year, as far as its name tells."""
    return form.time_zone != "UTC" and not form.time_zone.startswith("Etc/")


def _in_zone(times: pl.Series, form: Form, beside: Sequence[pl.Series]) -> pl.Series:
    """From the file's clock to UTC. When clocks are put back, the first of two equal times is the earlier one.

    A time that stands there once is null then, unless `doubled_hour` tells which is meant; and so is one that clocks
    leave out in spring. Series are told apart by the columns `beside`.
    """
    zone = form.time_zone
    sure = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if has_doubled_hours(form) and sure.null_count() > times.null_count():  # as in few blocks
        frame = pl.DataFrame([column.alias(str(n)) for n, column in enumerate((times, *beside))])
        time, once = pl.col("0"), {"first": "earliest", "second": "latest"}.get(form.doubled_hour, "null")
        earlier = (pl.int_range(pl.len()).over(frame.columns) == 0) != (time.first() > time.last())
        which = pl.when(pl.len().over(frame.columns) < 2).then(pl.lit(once)).when(earlier).then(pl.lit("earliest"))
        ambiguous = which.otherwise(pl.lit("latest"))
        sure = frame.select(time.dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")).to_series()
    return sure.dt.convert_time_zone("UTC")


def _first_fit(words: pl.Series, formats: Sequence[str], form: Form, beside: Sequence[pl.Series]) -> pl.Series | None:
    """Read each word in a format that fits it, if any does. No two read one word otherwise: their order is free.

    Of two dozen most files need one: that of the first word comes first, and the others read what is left.
    """
    found: pl.Series | None = None
    local: pl.Series | None = None
    for time_format in _in_turn(words, formats):
        times = words.to_frame("word").select(_naive(pl.col("word"), time_format)).to_series()
        if times.null_count() == len(times):
            continue
        if _OFFSET.search(time_format):
            found = _either(found, times.dt.convert_time_zone("UTC"))
        else:
            local = _either(local, times)
        if times.null_count() == words.null_count():
            break
        words = words.zip_with(times.is_null(), words.clear(len(words)))
    return _either(found, local if local is None else _in_zone(local, form, beside))


def _in_turn(words: pl.Series, formats: Sequence[str]) -> Sequence[str]:
    """Formats, those that fit the first word before the others."""
    if not formats[1:] or words.null_count() == len(words):
        return formats
    word = pl.lit(words.drop_nulls()[0])
    if pl.select(_naive(word, formats[0]).is_not_null()).item():  # as mostly, and then the others are not asked
        return formats
    fits = pl.select(_naive(word, f).is_not_null().alias(f) for f in formats).row(0, named=True)
    return sorted(formats, key=lambda f: not fits[f])


def _either(first: pl.Series | None, second: pl.Series | None) -> pl.Series | None:
    return second if first is None else first if second is None else first.fill_null(second)


def from_words(word: pl.Expr, form: Form, beside: Sequence[str] = (), *, own_only: bool) -> pl.Expr:
    """Read times that may be written in any way, to UTC; null where none fits.

    Args:
        word: Text without blanks around it.
        form: The file's, with its time zone and, it may be, a format of its own.
        beside: Columns of the text that tell one series from another.
        own_only: Whether the format of its own, if it has one, is the only one allowed.
    """

    def read(columns: Sequence[pl.Series]) -> pl.Series:
        words, beside = columns[0], columns[1:]
        if words.str.ends_with("]").any():  # Java: 2024-03-14T09:30:00-03:00[America/Sao_Paulo]
            words = words.str.replace(r"\[[A-Za-z_/+\-0-9]+\]$", "")
        found = _first_fit(words, [form.time_format], form, beside) if form.time_format else None
        for dtype in () if form.time_format and own_only else (pl.Int64, pl.Float64):
            numbers = words.cast(dtype, strict=False)
            if numbers.null_count() < len(words):
                # A spreadsheet cuts 1709251200000 to 1.70925E+12.
                cut = words.str.contains(r"^\d(\.\d{0,5})?[eE]")
                epoch = pl.when(~pl.col("cut")).then(from_epoch(pl.col("number")))
                found = _either(found, pl.DataFrame({"number": numbers, "cut": cut}).select(epoch).to_series())
        if not (form.time_format and own_only):
            rest = words if found is None else words.zip_with(found.is_null(), words.clear(len(words)))
            found = _either(found, _first_fit(rest, TIME_FORMATS, form, beside))
        return pl.repeat(None, len(words), dtype=UTC, eager=True) if found is None else found

    return pl.map_batches([word, *map(pl.col, beside)], read, return_dtype=UTC)


def is_doubled(words: pl.Series, form: Form) -> pl.Series:
    """Which text times that could not be read are those that the file's clock has twice."""
    formats = (form.time_format,) if form.time_format else TIME_FORMATS
    time = pl.coalesce(_naive(pl.col(words.name), f) for f in formats if not _OFFSET.search(f))
    found = time.dt.replace_time_zone(form.time_zone, ambiguous="earliest", non_existent="null").is_not_null()
    return words.to_frame().select(found).to_series()


def told_label(times: pl.Series, interval: str, zone: str) -> str:
    """Tell whether bars carry the time at which they begin (`start`), or end (`end`); `?` if it may be either.

    Args:
        times: Of the first bars, UTC.
        interval: How long they are.
        zone: The clock by which days, weeks and months begin.
    """
    clock, some = ZoneInfo(zone), min(50, len(times))
    told = (times[n].astimezone(clock).replace(tzinfo=None) for n in range(some))  # mostly the first is enough
    if interval[-1:] in ("s", "m", "h", "d") and seconds_of(interval) > 1 and some > 1:
        whole = dt.timedelta(seconds=seconds_of(interval))
        late = whole - dt.timedelta(seconds=1)
        return "end" if all((time - dt.datetime.min) % whole >= late for time in told) else "start"
    local = [*told]
    most = some - (some > 1)  # the last bar may carry the day on which it was written down

    def are(true: Callable[[dt.datetime], bool]) -> bool:
        return sum(map(true, local)) >= most > 0

    if are(lambda time: (time.hour, time.minute) == (23, 59)):
        return "end"
    if not are(lambda time: time == time.replace(hour=0, minute=0, second=0)):
        return "start"
    if interval == "1mo":
        return "end" if are(lambda time: time.day >= 25) else "?" if are(lambda time: 4 < time.day < 25) else "start"
    return "?" if interval == "1w" and are(lambda time: time.weekday() in (4, 5, 6)) else "start"


def evenly(moments: Sequence[int]) -> Even | None:
    """Times as `Even`, if they are so and no time comes twice."""
    if len(moments) < 2 or not (step := moments[1] - moments[0]):
        return None
    even = range(moments[0], moments[0] + step * len(moments), step)
    return (moments[0], step, len(moments)) if moments == [*even] else None


def begins_early(moment: int, interval: str, zone: str) -> bool:
    """Whether the first of the bars is enough for `told_label` to say `start`.

    Args: as for `told_label`, but for the time of the first bar alone, in microseconds.
    """
    if zone != "UTC" or interval[-1:] not in ("s", "m", "h", "d") or seconds_of(interval) <= 1:
        return False
    return (moment - BEGUN) % (seconds_of(interval) * 10**6) < (seconds_of(interval) - 1) * 10**6


def to_start(time: pl.Expr, interval: str, zone: str) -> pl.Expr:
    """From a time within the bar, or just at its end, to that at which it begins.

    Args: as for `told_label`; the interval is empty if each line states it.
    """
    moment = pl.duration(microseconds=1)
    if interval and not interval.endswith(("d", "w", "mo")):
        return (time - moment).dt.truncate(interval)
    local = time.dt.convert_time_zone(zone).dt.replace_time_zone(None) - moment
    begun = local.dt.truncate(interval or pl.col("interval"))
    return begun.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def runs_on(times: pl.Series) -> bool:
    """Whether each time is later than the one before it, or each is earlier."""
    moments = times.cast(pl.Int64)
    if len(moments) < FEW:
        few = moments.to_list()
        return all(a < b for a, b in pairwise(few)) or all(a > b for a, b in pairwise(few))
    steps = moments.slice(1) - moments.slice(0, len(moments) - 1)  # no query, as `diff` is
    return bool(steps.min() > 0 or steps.max() < 0)  # type: ignore[operator]


def leaps(times: pl.Series) -> bool:
    """Whether times leap about by a month, and would run on if day and month were the other way round."""
    seen = times.unique().sort().to_list()
    if len(seen) < 2 or any(time.day > 12 for time in seen):
        return False
    other = sorted(time.replace(day=time.month, month=time.day) for time in seen)
    weeks = dt.timedelta(days=20)
    return any(b - a > weeks for a, b in pairwise(seen)) and all(b - a < weeks for a, b in pairwise(other))


def constant(value: object, dtype: pl.DataType) -> pl.Expr:
    """A literal; one of a time with a zone costs Polars several queries, one of its microseconds none."""
    return pl.lit((value - EPOCH) // MICROSECOND if isinstance(value, dt.datetime) else value).cast(dtype)


def reaches_far(times: pl.Series) -> bool:
    """Whether times are so far apart that one of them may be lonely."""
    return bool(times.max() - times.min() > FAR)  # type: ignore[operator]


def is_lonely(column: str) -> pl.Expr:
    """Which times are many years away from those of the lines around, as epochs are that have lost a digit."""
    apart = [(pl.col(column) - pl.col(column).shift(lines)).abs() for lines in (1, 2, -1, -2)]
    return (pl.min_horizontal(apart) > FAR).fill_null(False) & (pl.len() > 2)
