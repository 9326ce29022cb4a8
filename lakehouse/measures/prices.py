"""What prices did, in parts of themselves: 0.05 is five percent."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def fall(opened: str, close: str, over: Sequence[str] = ()) -> pl.Expr:
    """How far each close lies below the highest price so far: the first open, or a close up to this one.

    Args:
        opened: The column of opens.
        close: The column of closes, sorted by time.
        over: The columns that name a series.

    Returns:
        A part of that highest price, 0 where it is not positive.
    """
    peak = pl.max_horizontal(pl.col(opened).first(), pl.col(close).cum_max())
    part = pl.when(peak > 0).then(1 - pl.col(close) / peak).otherwise(0.0)
    return part.over(over) if over else part


def draw_down(bars: pl.DataFrame) -> float:
    """Say how far a price fell at most: the largest `fall` of all the bars, a part from 0 to 1.

    Args:
        bars: open, close; one series, sorted by time, at least one.
    """
    return max(0.0, float(bars.lazy().select(fall("open", "close").max()).collect(engine="streaming").item()))


def change(bars: pl.DataFrame) -> float:
    """Say how far the last close lies from the first open, as a part of that open; 0 if it is 0.

    Args:
        bars: open, close; one series, sorted by time, at least one.
    """
    return float(last_close(bars) / bars["open"][0] - 1) if bars["open"][0] else 0.0


def last_close(bars: pl.DataFrame) -> float:
    """The close of the latest bar that is there, finished or not, in the quote asset.

    Args:
        bars: open_time, close; one series, at least one.
    """
    return float(bars.select(pl.col("close").get(pl.col("open_time").arg_max())).item())
