"""Coarser bars, and the indicators that are drawn over them: Polars expressions over bars sorted by time."""

from __future__ import annotations

import polars as pl


def resample(bars: pl.DataFrame, every: str) -> pl.DataFrame:
    """Gather bars to coarser ones: `15m`, `4h`, `1d`, `1w`, `1mo`.

    Args:
        bars: open_time (UTC), open, high, low, close, volume; one series, sorted by time.
        every: The length of the coarser bars, a multiple of theirs.

    Returns:
        The same columns; where no bar is there is none.
    """
    return bars.group_by_dynamic("open_time", every=every).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )


def moving_average(bars: int, column: str = "close") -> pl.Expr:
    """The mean of a bar and those before it; null until there are enough.

    Args:
        bars: How many, this one included.
        column: Of which column.
    """
    return pl.col(column).rolling_mean(bars)


def bollinger(bars: int = 20, width: float = 2.0, column: str = "close") -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Bollinger's bands: the moving average, and so many standard deviations (of the population) to both sides of it.

    Args:
        bars: How many the average and the deviation are of.
        width: Deviations.
        column: Of which column.

    Returns:
        The lower band, the average, the upper band.
    """
    middle, deviation = moving_average(bars, column), pl.col(column).rolling_std(bars, ddof=0)
    return middle - width * deviation, middle, middle + width * deviation


def rsi(bars: int = 14, column: str = "close") -> pl.Expr:
    """Wilder's relative strength: the part of the rises in all that moved, from 0 to 100.

    Rises and falls are averaged as Wilder does: each bar weighs 1 / `bars`, those before it the rest. The first average
    is a plain mean of the first `bars` moves.

    Args:
        bars: Over how many.
        column: Of which column.

    Returns:
        Null until there are enough; 50 where nothing moves.
    """
    move = pl.col(column).diff()
    rises, falls = _smooth(move.clip(lower_bound=0), bars), _smooth(-move.clip(upper_bound=0), bars)
    both = rises + falls
    return pl.when(both > 0).then(100 * rises / both).when(both == 0).then(50.0)


def _smooth(moves: pl.Expr, bars: int) -> pl.Expr:
    """Wilder's average: the mean of the first moves, put in their stead, and smoothed from there."""
    place = pl.int_range(pl.len())
    seeded = pl.when(place == bars).then(moves.rolling_mean(bars)).when(place > bars).then(moves)
    return seeded.ewm_mean(alpha=1 / bars, adjust=False, ignore_nulls=True)
