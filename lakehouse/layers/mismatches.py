"""Do bars add up? Each bar of silver is held against the finer ones of its symbol, wherever all of them are there.

Of several finer intervals the longest counts of which no bar is missing, and that is told bar by bar: what stands here
hangs on nothing but the bar and its parts. Fillings are not there, and what opens off the grid is held against nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from deltalake import DeltaTable

from lakehouse.contracts import Mismatch, check_rows
from lakehouse.intervals import seconds_in, seconds_of
from lakehouse.lake import SERIES, Lake
from lakehouse.layers.difference import Computed
from lakehouse.layers.refresh import Layer, RefreshReport, refresh
from lakehouse.layers.stretches import Snapshot, join_near
from lakehouse.measures import fold_prices, in_order

PRICES = ("open", "high", "low", "close")
AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
BAR = ("market", "symbol", "open_time")
TOLERANCE = 1e-9  # as a part of the larger one: what a thousand additions of floats may be off
SMALL = 1e-8  # of a sum: the last digit that exchanges write
APART = pl.duration(days=1)
STEP = pl.duration(seconds=seconds_in("interval"))


def refresh_mismatches(lake: Lake, *, rebuild: bool = False) -> RefreshReport:
    """Bring silver/mismatches up to silver/candles; only bars that have changed, or parts of them, are looked at.

    Args:
        lake: The lake.
        rebuild: Look at all of them.

    Returns:
        What was done.

    Raises:
        VersionError: There is no silver table yet.
        ConflictError: Other writers won at every attempt.
    """
    return refresh(Layer((lake.mismatches,), SERIES, "open_time", APART, _compute), rebuild=rebuild)


def read_mismatches(lake: Lake, opened: DeltaTable | None = None) -> pl.DataFrame:
    """Say of each series which of its bars do not add up.

    Args:
        lake: The lake.
        opened: Its silver/mismatches, if that is open already.

    Returns:
        market, symbol, interval, bars (how many), counts (of each field) and worst (one of them), in words; sorted.
    """
    table = lake.mismatches
    opened = opened or (table.open() if table.exists() else None)
    rows = table.read(opened) if opened else pl.LazyFrame(schema=table.schema)
    fields = rows.group_by(*SERIES, "field").agg(bars=pl.len()).sort("field").group_by(SERIES)
    counts = fields.agg(counts=pl.format("{} {}", "bars", "field").str.join(", "))
    far = (pl.col("stated") - pl.col("folded")).abs() / pl.max_horizontal(pl.col("stated", "folded").abs())
    figures = [pl.col(name).round_sig_figs(12) for name in ("stated", "folded")]
    moment = pl.col("open_time").dt.strftime("%Y-%m-%d %H:%M")
    worst = pl.format("{}, {} is {}, but its {} bars come to {}", moment, "field", figures[0], "finer", figures[1])
    series = rows.group_by(SERIES).agg(
        bars=pl.col("open_time").n_unique().cast(pl.Int64), worst=worst.sort_by(far, "open_time", "field").last()
    )
    return series.join(counts, on=SERIES).select(*SERIES, "bars", "counts", "worst").sort(SERIES).collect()


def _compute(source: Snapshot, stretches: pl.DataFrame) -> Computed:
    """Hold whatever bars changes lie in against their parts."""
    frames = [stretches, source.files] if source.files.height else [stretches]
    there = pl.concat([frame.select(SERIES) for frame in frames]).unique().with_columns(_length=seconds_in("interval"))
    there = there.with_columns(_finest=pl.col("_length").min().over("market", "symbol"))
    begin, end = (pl.col(name).dt.truncate(pl.col("interval")) for name in ("begin", "end"))
    reached = (
        stretches.with_columns(_least=seconds_in("interval"))
        .drop("interval")
        .join(there, on=["market", "symbol"])
        .filter(pl.col("_length") >= pl.col("_least"))
        .with_columns(begin=begin, end=end.dt.offset_by(pl.col("interval")) - pl.duration(microseconds=1))
    )
    # What has nothing finer need not be read: most symbols have one interval, and cost nothing here.
    coarse = _stated(source.read(reached.filter(pl.col("_length") > pl.col("_finest")).select(stretches.columns)))
    bars = coarse.unique(["interval", *BAR]).collect()
    found = [part for (name,), rows in bars.group_by("interval") for part in _held(source, there, str(name), rows)]
    return reached.select(stretches.columns), (check_rows(Mismatch, pl.concat([Mismatch.create_empty(), *found])),)


def _held(source: Snapshot, there: pl.DataFrame, interval: str, bars: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Hold bars of one interval against one finer interval after another, until each has met one that is complete."""
    finer = there.filter(pl.col("_length") < seconds_of(interval), pl.col("interval") != "1mo")
    for part in finer.sort("_length", descending=True)["interval"].unique(maintain_order=True):
        folded = _fold(source, bars, interval, part)
        both = bars.join(folded, on=BAR, suffix="_folded")
        for name in (*PRICES, *AMOUNTS):
            stated, sum_ = pl.col(name).cast(pl.Float64), pl.col(f"{name}_folded")
            size = pl.max_horizontal(stated.abs(), sum_.abs())
            differs = (stated - sum_).abs() > TOLERANCE * size + (SMALL if name in AMOUNTS else 0)
            told = {"field": pl.lit(name), "finer": pl.lit(part), "stated": stated, "folded": sum_}
            yield both.filter(differs).select(*SERIES, "open_time", **told).select(Mismatch.column_names())
        bars = bars.join(folded, on=BAR, how="anti")
        if bars.is_empty():
            return


def _fold(source: Snapshot, bars: pl.DataFrame, interval: str, finer: str) -> pl.DataFrame:
    """Fold the finer bars that lie in the slots of some bars; a slot that lacks one is left out."""
    slots, slot = join_near(bars.select(*SERIES, begin="open_time", end="open_time"), SERIES, STEP), pl.col("_slot")
    end = pl.col("end").dt.offset_by(interval) - pl.duration(microseconds=1)
    known = {
        name: pl.when(pl.col(name).null_count() == 0).then(in_order(pl.col(name).cast(pl.Float64))) for name in AMOUNTS
    }
    length = pl.duration(seconds=seconds_of(finer))
    rows = _stated(source.read(slots.with_columns(end=end, interval=pl.lit(finer))))
    return (
        rows.with_columns(_slot=pl.col("open_time").dt.truncate(interval))
        .filter((pl.col("open_time") - slot).dt.total_microseconds() % (seconds_of(finer) * 10**6) == 0)
        .sort(BAR)
        .group_by("market", "symbol", "_slot", maintain_order=True)
        .agg(**fold_prices(), **known, _parts=pl.len())
        .filter(slot + pl.col("_parts") * length == slot.dt.offset_by(interval))
        .rename({"_slot": "open_time"})
        .collect()
    )


def _stated(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(~pl.col("is_filled")).select(*SERIES, "open_time", *PRICES, *AMOUNTS)
