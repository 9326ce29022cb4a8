"""Silver: bronze's bars on a regular grid, short gaps filled, what looks odd flagged. No bar is dropped."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from deltalake import DeltaTable

from lakehouse.contracts import Gap, SilverCandle, check_rows
from lakehouse.delta import Span, file_stats, read_spans
from lakehouse.intervals import INTERVAL_SECONDS
from lakehouse.lake import Lake
from lakehouse.layers.refresh import Layer, RefreshReport, refresh

FILL_LIMIT = 3  # slots; longer gaps stay open
NEIGHBOURS = 15  # bars on each side that an outlier is held against
FAR = 1.0  # in natural logarithms: a factor of 2.7
RANGES = 10  # how often the usual range of a bar
AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
BARS = ("open_time", "open", "high", "low", "close", *AMOUNTS, "close_time", "_modified_at")
REACH = NEIGHBOURS + 1  # a bar influences what is said of so many bars before and after it


def refresh_silver(lake: Lake, *, rebuild: bool = False) -> RefreshReport:
    """Bring silver/candles and silver/gaps up to bronze; only what has changed there is computed.

    Args:
        lake: The lake.
        rebuild: Compute everything.

    Returns:
        What was done to silver/candles. Nothing new in bronze: nothing, and no version.

    Raises:
        VersionError: There is no bronze table yet.
        ConflictError: Other writers won at every attempt.

    Example:
        >>> refresh_silver(Lake("/data/lake")).inserted            # doctest: +SKIP
        2979
    """
    layer = Layer(
        targets=(lake.gaps, lake.silver),
        by=("market", "symbol", "interval"),
        time="open_time",
        apart=lambda group: 4 * REACH * step_of(group["interval"]),
        compute=_compute,
    )
    return refresh(layer, rebuild=rebuild)


def make_silver(bars: pl.DataFrame, interval: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put the bars of one series on the grid.

    Args:
        bars: Rows of bronze/candles, sorted by time.
        interval: Their length.

    Returns:
        The rows of silver/candles and of silver/gaps, sorted by time; see `contracts`.
    """
    slot, before = pl.col("_slot"), pl.col("_slot").shift()
    end = slot.dt.offset_by(interval)
    rows = (
        bars.lazy()
        .with_columns(_slot=pl.col("open_time").dt.truncate(interval))
        .with_columns(_missing=_number(slot, interval) - _number(before, interval) - 1, _before=before)
        .with_columns(
            log_return=_log_return(pl.col("close"), pl.col("close").shift()),
            is_filled=pl.lit(False),
            is_off_grid=pl.col("open_time") != slot,
            closes_early=(pl.col("close_time") < end - pl.duration(seconds=1)).fill_null(False),
            is_unfinished=pl.col("_modified_at").is_between(slot, end, closed="left"),
            _last=pl.col("close").shift(),
        )
        .pipe(flag_outliers)
        .collect()
    )
    holes = rows.filter(pl.col("_missing") > 0)
    gaps = holes.select(
        *("market", "symbol", "interval"),
        first=pl.col("_before").dt.offset_by(interval),
        last=slot.dt.offset_by(f"-{interval}"),
        missing="_missing",
        is_filled=pl.col("_missing") <= FILL_LIMIT,
    )
    return check_rows(SilverCandle, _filled(rows, holes, interval)), check_rows(Gap, gaps)


def flag_outliers(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Name the rule that a bar breaks. Robust: held against medians, which a few wild bars do not move.

    Far is a factor of e, or ten times the median range (ln high / low) of the bars around, if that is more.

    - `spike`: open or close is far from the median close of the 15 bars before and also from that of the 15 after, at
      least three each. A crash is far from what was before, and not from what comes after.
    - `wick`: low or high is far from the bar's own body; a low of 0 or less is.

    Prices that are not positive have no ratio, and are held against nothing else.

    Args:
        rows: open, high, low, close; sorted by time.

    Returns:
        The rows with `outlier`, null where no rule is broken.
    """
    opened, high, low, close = (_positive(name) for name in ("open", "high", "low", "close"))
    medians = rows.with_columns(
        _past=close.shift().rolling_median(NEIGHBOURS, min_samples=3),
        _next=close.reverse().shift().rolling_median(NEIGHBOURS, min_samples=3).reverse(),
        _usual=(high / low).log().rolling_median(2 * NEIGHBOURS + 1, min_samples=1, center=True),
    )
    far, highest, lowest = pl.col("_far"), pl.max_horizontal(opened, close), pl.min_horizontal("open", "close")
    spikes = [
        ((price / pl.col("_past")).log().abs() > far) & ((price / pl.col("_next")).log().abs() > far)
        for price in (opened, close)
    ]
    fallen = (pl.col("low") <= 0) & (lowest > 0)
    wicks = (high / highest).log() > far, (lowest / low).log() > far, fallen
    rule = pl.when(pl.any_horizontal(spikes)).then(pl.lit("spike")).when(pl.any_horizontal(wicks)).then(pl.lit("wick"))
    return medians.with_columns(_far=pl.max_horizontal(FAR, RANGES * pl.col("_usual"))).with_columns(outlier=rule)


def _positive(name: str) -> pl.Expr:
    return pl.when(pl.col(name) > 0).then(pl.col(name))


def step_of(interval: str) -> dt.timedelta:
    """How long a bar of an interval is; months are taken as 31 days."""
    return dt.timedelta(seconds=INTERVAL_SECONDS.get(interval, 31 * 86400))


def _compute(
    source: DeltaTable, group: Mapping[str, str], low: dt.datetime, high: dt.datetime
) -> tuple[dt.datetime, dt.datetime, tuple[pl.DataFrame, pl.DataFrame]]:
    """Compute a stretch of one series anew, as far as its changes reach."""
    bars = _read_around(source, group, low, high)
    candles, gaps = make_silver(bars, group["interval"])
    times = bars["open_time"]
    left, right = times.search_sorted(low, side="left") - REACH, times.search_sorted(high, side="right") + REACH - 1
    first = times[left] if left >= 0 else min([low, *times.head(1)])
    last = times[right] if right < len(times) else max([high, *times.tail(1)])
    inside = pl.col("open_time").is_between(first, last), pl.col("first").is_between(first, last)
    return first, last, (gaps.filter(inside[1]), candles.filter(inside[0]))


def _read_around(source: DeltaTable, group: Mapping[str, str], low: dt.datetime, high: dt.datetime) -> pl.DataFrame:
    """Read a stretch of a series and, on both sides, twice as many bars as a change reaches."""
    stats = file_stats(source, list(group)).filter([pl.col(name) == value for name, value in group.items()])
    if stats.is_empty():
        return pl.scan_delta(source).head(0).select(*group, *BARS).collect()
    begin: Any = stats["min.open_time"].min()
    end: Any = stats.select(pl.col("max.open_time").max() + pl.duration(microseconds=999)).item()  # cut in the log
    nothing, margin = dt.timedelta(0), 3 * REACH * step_of(group["interval"])
    while True:
        back, forth = max(nothing, min(margin, low - begin)), max(nothing, min(margin, end - high))
        span = Span(group, "open_time", low - back, high + forth)
        bars = read_spans(source, [span]).select(*group, *BARS).collect().sort("open_time")
        before = bars["open_time"].search_sorted(low, side="left")
        after = bars.height - bars["open_time"].search_sorted(high, side="right")
        if (before >= 2 * REACH or margin >= low - begin) and (after >= 2 * REACH or margin >= end - high):
            return bars
        margin *= 8


def _number(slot: pl.Expr, interval: str) -> pl.Expr:
    """Number the slots of the grid without a hole."""
    if interval == "1mo":
        return slot.dt.year().cast(pl.Int64) * 12 + slot.dt.month()
    return slot.dt.epoch("us") // (INTERVAL_SECONDS[interval] * 10**6)


def _log_return(close: pl.Expr, last: pl.Expr) -> pl.Expr:
    change = (close / last).log()
    return pl.when(pl.col("_missing") <= FILL_LIMIT, close > 0, last > 0, change.is_finite()).then(change)


def _filled(rows: pl.DataFrame, holes: pl.DataFrame, interval: str) -> pl.DataFrame:
    """Carry the last price over short gaps."""
    schema = SilverCandle.create_empty().schema
    short = holes.filter(pl.col("_missing") <= FILL_LIMIT)
    if short.is_empty():
        return rows.select(schema.keys())
    count, unit = re.fullmatch(r"(\d+)(\w+)", interval).groups()  # type: ignore[union-attr]
    turn = pl.int_ranges(1, pl.col("_missing") + 1).alias("_turn")
    later = pl.col("_before").dt.offset_by(pl.format(f"{{}}{unit}", pl.col("_turn") * int(count)))
    zero = [pl.when(pl.col(n).is_not_null()).then(0).cast(schema[n]).alias(n) for n in schema if n in AMOUNTS]
    fillings = (
        short.with_columns(turn)
        .explode("_turn")
        .select(
            *("market", "symbol", "interval"),
            later.alias("open_time"),
            *(pl.col("_last").alias(name) for name in ("open", "high", "low", "close")),
            *zero,
            close_time=pl.lit(None, schema["close_time"]),
            log_return=pl.when(pl.col("_last") > 0).then(0.0),
            is_filled=pl.lit(True),
            **dict.fromkeys(("is_off_grid", "closes_early", "is_unfinished"), pl.lit(False)),
            outlier=pl.lit(None, pl.String),
        )
    )
    return pl.concat([rows.select(schema.keys()), fillings.select(schema.keys())]).sort(
        "open_time", maintain_order=True
    )
