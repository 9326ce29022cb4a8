"""Which series a notebook is about, and which days of it: one rule for all notebooks, the command line and batches."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Mapping
from typing import Any

import polars as pl

from lakehouse.delta import file_stats, read_files
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.status import read_series

NAMED = 20  # series that a message names
OHLCV = ("open", "high", "low", "close", "volume")


def choose_series(lake: Lake, symbol: str = "", interval: str = "", market: str = "") -> dict[str, Any]:
    """Choose the one series of bronze that is meant: of all that fit the one with most bars, then the first by name.

    Args:
        lake: The lake.
        symbol: Empty for any; also the two that follow.
        interval: Its bar length.
        market: Where it is traded.

    Returns:
        Its row of `read_series`: market, symbol, interval, rows, first, last.

    Raises:
        InputError: Nothing fits; the message names the nearest that there is.
    """
    series = read_series(lake, closes=False)
    wanted = {"symbol": symbol, "interval": interval, "market": market}
    found = series.filter(**{name: value for name, value in wanted.items() if value})
    if found.height:
        return found.sort("rows", "market", "symbol", "interval", descending=[True, False, False, False]).row(
            0, named=True
        )
    words = [name for name, value in wanted.items() if value]
    near = difflib.get_close_matches(
        " ".join(wanted[name] for name in words), series.select(pl.concat_str(words, separator=" ")).to_series(), 1
    )
    there = series.select(pl.format("{} {} ({})", "symbol", "interval", "market")).to_series().to_list()
    more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
    raise InputError(
        f"no series {' '.join(wanted[name] for name in words)} in {lake.root}"
        + (f", did you mean {near[0]}?" if near else "")
        + f"; there are: {', '.join(there[:NAMED]) or 'none'}{more}"
    )


def read_days(start: str, end: str) -> tuple[dt.date, dt.date]:
    """Turn the words for the first and the last day into days; an empty one is open.

    Args:
        start: Such as 2024-12-01.
        end: The last day, included.

    Raises:
        InputError: A word is no day, or they are in the wrong order.
    """
    days = []
    for name, word, open_end in (("start", start, dt.date.min), ("end", end, dt.date.max)):
        try:
            days.append(dt.date.fromisoformat(word) if word else open_end)
        except ValueError as error:
            raise InputError(f"{name} '{word}' is no day ({error}); write it as 2024-12-31") from error
    if days[0] > days[1]:
        raise InputError(f"start {start} is after end {end}; did you swap them?")
    return days[0], days[1]


def choose_bars(
    lake: Lake, symbol: str = "", interval: str = "", market: str = "", start: str = "", end: str = ""
) -> tuple[dict[str, Any], dt.date, dt.date]:
    """Choose a series and the days of it that are meant.

    Args:
        lake: The lake.
        symbol: As of `choose_series`; also the two that follow.
        interval: Its bar length.
        market: Where it is traded.
        start: As of `read_days`; also the one that follows.
        end: The last day.

    Returns:
        The series as of `choose_series`, the first day and the last one, `date.min` and `date.max` for open ends.

    Raises:
        InputError: There is no such series, no such day, or no bar of it in these days.
    """
    first, last = read_days(start, end)
    held = choose_series(lake, symbol, interval, market)
    if held["last"].date() < first or held["first"].date() > last:
        asked = f"from {start or '…'} to {end or '…'}"
        name = " ".join(held[column] for column in ("symbol", "interval"))
        raise InputError(f"{name} has bars from {held['first']:%Y-%m-%d} to {held['last']:%Y-%m-%d}, none {asked}")
    return held, first, last


def read_bars(lake: Lake, held: Mapping[str, Any], first: dt.date, last: dt.date, version: int = -1) -> pl.DataFrame:
    """Read the bars that `choose_bars` has chosen.

    Args:
        lake: The lake.
        held: The series.
        first: The first day.
        last: The last day, included.
        version: Of bronze; -1 is the latest.

    Returns:
        open_time, open, high, low, close, volume; sorted by time.
    """
    opened, partition = lake.bronze.at(version), list(lake.dataset.partition)
    lowest, highest = pl.col("min.open_time").dt.date(), pl.col("max.open_time").dt.date()
    files = file_stats(opened, partition).filter(**{name: held[name] for name in partition})
    # Files in the order of their bars: what then is in order need not be sorted, for which more time and memory go than
    # for reading it.
    files = files.filter(lowest <= last, highest >= first).sort("min.open_time")
    rows = read_files(opened, files, lake.bronze.schema, partition).select("open_time", *OHLCV)
    within = (
        pl.lit(True)
        if (first, last) == (dt.date.min, dt.date.max)
        else pl.col("open_time").dt.date().is_between(first, last)
    )
    bars = rows.filter(within).collect(engine="streaming")
    if bars["open_time"].is_sorted():
        return bars.with_columns(pl.col("open_time").set_sorted())
    return bars.sort("open_time")
