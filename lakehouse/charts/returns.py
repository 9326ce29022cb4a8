"""How series of bars move: a histogram of returns, and several series beside each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import reduce
from typing import Literal

import altair as alt
import numpy as np
import polars as pl
from altair.typing import ChartType

from lakehouse.charts.theme import BLUE, CLOCK, FALL, GREEN, GREY, ORANGE, PURPLE, RISE, amounts, nothing
from lakehouse.measures import counted, spacing, spell_change, spell_part

HALF = 40  # bins to either side of the one about zero
DEVIATIONS = 6


def distribution(bars: pl.DataFrame, title: str, *, interval_seconds: int | None = None, width: int = 560) -> ChartType:
    """Draw how the logarithmic returns from bar to next bar are distributed.

    Args:
        bars: open_time (UTC), close (quote asset); one series, in any order. No return is counted across a gap.
        title: What is seen, and of which version.
        interval_seconds: The bars' length; told by their most frequent spacing if it is not given.
        width: In pixels.

    Returns:
        The chart: 81 bins over at most six robust standard deviations on either side; the edges count what is beyond.
    """
    returns = _returns(bars, interval_seconds)
    if returns.is_empty():
        return nothing(title, width)
    deviation, edge = _spread(returns)
    beyond = {"below": int((returns < -edge).sum()), "above": int((returns > edge).sum())}
    told = f"{counted(returns.len(), 'return')}, robust standard deviation {deviation:.3g} %; {sum(beyond.values()):,} "
    told += f"({spell_part(sum(beyond.values()) / returns.len())}) beyond ±{edge:.3g} %, "
    told += f"the furthest {_number(returns.min()):+.3g} % and {_number(returns.max()):+.3g} %".replace("-", "−")
    drawn = (
        alt.Chart(_bins(returns, edge))
        .mark_bar()
        .encode(
            alt.X("left:Q", title="log return from bar to next bar (%)").scale(domain=[-edge, edge], nice=False),
            alt.X2("right"),
            alt.Y("returns:Q", title="returns (count)", axis=amounts(6)),
            alt.Y2Datum(0),
            alt.Color("sign:N", legend=None).scale(domain=[-1, 0, 1], range=[FALL, GREY, RISE]),
            tooltip=[
                alt.Tooltip("left:Q", format="+.4~f", title="from (%)"),
                alt.Tooltip("right:Q", format="+.4~f", title="to (%)"),
                alt.Tooltip("returns:Q", format=","),
            ],
        )
    )
    sides: dict[Literal["left", "right"], str] = {
        "left": f"← {beyond['below']:,} beyond",
        "right": f"{beyond['above']:,} beyond →",
    }
    notes = [
        alt.Chart(pl.DataFrame({"text": [text]}))
        .mark_text(align=side, dx=4 if side == "left" else -4, baseline="top")
        .encode(alt.XValue(0 if side == "left" else "width"), alt.YValue(4), alt.Text("text:N"))
        for side, text in sides.items()
    ]
    return alt.layer(drawn, *notes).properties(width=width, height=260, title=alt.Title(title, subtitle=told))


def beside(series: Mapping[str, pl.DataFrame], title: str, *, width: int = 720) -> ChartType:
    """Draw how far the closes of several series moved from one moment on, so that they can be compared.

    Args:
        series: Name → open_time (UTC), close (quote asset); sorted by time; at least one.
        title: What is seen, and of which version.
        width: In pixels; of each series so many points are drawn, the last of each stretch.

    Returns:
        The chart: the change in percent since the first time that all of them have a bar, up to the last one.
    """
    frames = {name: bars.select("open_time", "close").drop_nulls() for name, bars in series.items()}
    times = [bars.select("open_time") for bars in frames.values()]
    common = reduce(lambda some, more: some.join(more, on="open_time", how="semi"), times).sort("open_time")
    if common.is_empty():
        return nothing(title, width)
    first, last = common["open_time"][0], common["open_time"][-1]
    rows = []
    for name, bars in frames.items():
        part = bars.filter(pl.col("open_time").is_between(first, last))
        moved = 100 * (pl.col("close") / pl.col("close").first() - 1)
        place = pl.int_range(pl.len()) * min(width, part.height) // pl.len()
        part = part.select("open_time", change=moved.round(4), series=pl.lit(name), place=place)
        rows.append(part.group_by("place", maintain_order=True).last().drop("place"))
    points = pl.concat(rows).with_columns(time=pl.col("open_time").dt.strftime("%Y-%m-%d %H:%M UTC"))
    ends = [f"{name} {spell_change(frame['change'][-1] / 100)}" for name, frame in zip(frames, rows, strict=True)]
    told = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC: {', '.join(ends)}"
    colours = alt.Scale(domain=list(frames), range=[BLUE, ORANGE, GREEN, PURPLE, GREY])
    clock = alt.Axis(format=CLOCK, labelOverlap=True, tickCount=8)
    drawn: alt.Chart = (
        alt.Chart(points.with_columns(pl.col("open_time").dt.epoch("ms")))
        .mark_line(strokeWidth=1.3)
        .encode(
            alt.X("open_time:T", title="UTC", axis=clock).scale(type="utc"),
            alt.Y("change:Q", title="change since the first common bar (%)"),
            alt.Color("series:N", title=None, scale=colours, sort=list(frames), legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("time:N"),
                alt.Tooltip("change:Q", format="+.2f", title="change (%)"),
            ],
        )
        .properties(width=width, height=240, title=alt.Title(title, subtitle=told))
    )
    return drawn


def _returns(bars: pl.DataFrame, interval_seconds: int | None) -> pl.Series:
    """Logarithmic returns in percent, of neighbours that are one interval apart."""
    bars = bars.select("open_time", "close").sort("open_time")
    step = dt.timedelta(seconds=interval_seconds or spacing(bars["open_time"]))
    near = pl.col("open_time").diff().is_between(0.9 * step, 1.1 * step)  # months differ
    close, before = pl.col("close"), pl.col("close").shift()
    moved = pl.when(near, close > 0, before > 0).then(100 * (close / before).log())
    return bars.lazy().select(r=moved).filter(pl.col("r").is_finite()).collect(engine="streaming")["r"]


def _spread(returns: pl.Series) -> tuple[float, float]:
    """The standard deviation that a normal distribution with this median deviation has; where the bins end."""
    sizes = returns.abs()
    usual = 1.4826 * _median((returns - _median(returns)).abs())
    edge = DEVIATIONS * usual or 1.05 * _number(sizes.quantile(0.99)) or 1.05 * _number(sizes.max()) or 1.0
    return usual, min(edge, 1.05 * _number(sizes.max()) or 1.0)


def _median(values: pl.Series) -> float:
    return float(np.median(values.to_numpy()))  # Polars sorts them all, which takes four times as long


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _bins(returns: pl.Series, edge: float) -> pl.DataFrame:
    size = 2 * edge / (2 * HALF + 1)
    place = (pl.col("r") / size).round().clip(-HALF, HALF).cast(pl.Int64)
    inside = returns.to_frame("r").lazy().filter(pl.col("r").abs() <= edge)
    bins = inside.group_by(place=place).len("returns").sort("place").collect(engine="streaming")
    return bins.select(
        pl.col("returns").cast(pl.Int64),
        left=(pl.col("place") - 0.5) * size,
        right=(pl.col("place") + 0.5) * size,
        sign=pl.col("place").sign(),
    )
