"""What a series has and lacks: bars held against a grid without a hole.

The grid goes from the first bar to the last one of what is asked about: all of a series, or a window of it. Gold alone
asks about whole days, weeks and months, whatever of them a series covers; what is drawn from gold says so.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, overload

import polars as pl

MONTH = 2592000  # seconds that stand for a calendar month


@overload
def completeness(bars: int, expected: int) -> float: ...
@overload
def completeness(bars: pl.Expr, expected: pl.Expr) -> pl.Expr: ...
def completeness(bars: Any, expected: Any) -> Any:
    """Say how much of its grid is there: bars that were stated / slots of the grid, from 0 to 1.

    Args:
        bars: Bars that some file stated; what silver filled in does not count.
        expected: Slots of the grid, at least one.
    """
    return bars / expected


def count_missing(times: pl.Series, step: int) -> int:
    """Count the slots of the grid from the first bar to the last that no file stated.

    Args:
        times: open_time (UTC), sorted, at least one.
        step: The bars' length in seconds, `MONTH` for calendar months.
    """
    first, last = times[0], times[-1]
    months = 12 * (last.year - first.year) + last.month - first.month
    slots: int = 1 + (months if step == MONTH else (last - first) // dt.timedelta(seconds=step))
    return max(0, slots - len(times))


def find_gaps(times: pl.Series, step: int) -> pl.DataFrame:
    """List where slots of the grid are missing.

    Args:
        times: open_time (UTC), sorted.
        step: The bars' length in seconds.

    Returns:
        before, after (open times of the last bar before and the first one after), missing (Int64); the longest first,
        of equal ones the latest.
    """
    pairs = times.alias("after").to_frame().select(before=pl.col("after").shift(), after="after")
    apart = pl.col("after") - pl.col("before")
    gaps = pairs.filter(apart >= dt.timedelta(seconds=1.5 * step))  # few, of which the rest is worked out
    gaps = gaps.with_columns(missing=(apart.dt.total_seconds() / step).round().cast(pl.Int64) - 1)
    return gaps.filter(pl.col("missing") > 0).sort("missing", "after", descending=True)  # seconds are whole ones


def count_slots(times: pl.Series, step: int, unit: str) -> pl.DataFrame:
    """Count the bars that are there, and those that an unbroken grid from the first bar to the last would have.

    Args:
        times: open_time (UTC), sorted, at least one.
        step: The bars' length in seconds.
        unit: What a row of the result is: `1d` or `1mo`.

    Returns:
        cell (its start, UTC), present, expected (Int64); every day or month from the first bar to the last.
    """
    first, last = times[0], times[-1]
    begin = dt.datetime(first.year, first.month, 1 if unit == "1mo" else first.day, tzinfo=first.tzinfo)
    cell = pl.col("cell").dt.cast_time_unit("us")
    counts = times.alias("cell").to_frame().group_by(pl.col("cell").dt.truncate(unit)).len("present")
    cells = pl.datetime_range(begin, last, unit, eager=True, time_unit="us").alias("cell").to_frame()
    slots = (last - first) // dt.timedelta(seconds=step) + 1
    starts, ends = [
        (-((first - moment).dt.total_seconds() // step)).clip(0, slots)
        for moment in (pl.col("cell"), pl.col("cell").dt.offset_by(unit))
    ]
    return cells.join(counts.with_columns(cell), on="cell", how="left").select(
        "cell",
        pl.col("present").fill_null(0).cast(pl.Int64),
        expected=pl.lit(1, pl.Int64) if step == MONTH else ends - starts,
    )


def spacing(times: pl.Series) -> int:
    """Tell the interval of bars: the most frequent distance between neighbours.

    Args:
        times: Sorted times.

    Returns:
        Seconds, at least 1; `MONTH` if it is a calendar month; an hour if there are no two different times.
    """
    gaps = times.diff().drop_nulls().dt.total_milliseconds()
    usual = gaps.filter(gaps > 0).mode().min()
    if not isinstance(usual, int):
        return 3600
    seconds = max(1, round(usual / 1000))
    return MONTH if 28 * 86400 <= seconds <= 31 * 86400 else seconds
