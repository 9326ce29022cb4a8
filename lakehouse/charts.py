"""Frame in, Altair chart out. The charts know nothing of the lake; whatever is large is aggregated in Polars first."""

from __future__ import annotations

import datetime as dt

import altair as alt
import polars as pl

# Okabe and Ito's palette: told apart by colour-blind people, and in print. https://jfly.uni-koeln.de/color/
RISE, FALL = "#0072B2", "#D55E00"
FATES = {
    "inserted": "#0072B2",
    "updated": "#E69F00",
    "unchanged": "#009E73",
    "superseded": "#999999",
    "rejected": "#D55E00",
}
MAX_BARS = 400  # more candles than this cannot be told apart on a page
STEPS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 259200, 604800, 2592000)


def candles(bars: pl.DataFrame, title: str, *, width: int = 720) -> alt.VConcatChart:
    """Draw prices as candles, volume below; longer series are first re-barred to a coarser interval.

    Args:
        bars: open_time, open, high, low, close, volume; one series.
        title: What is seen, and of which version.
        width: In pixels.

    Returns:
        The chart. Blue bars rise, red ones fall.
    """
    rows, step = rebar(bars.sort("open_time"))
    half = pl.duration(seconds=0.35 * step)
    rows = rows.with_columns(left=pl.col("open_time") - half, right=pl.col("open_time") + half)
    colour = alt.condition("datum.open <= datum.close", alt.value(RISE), alt.value(FALL))
    time = alt.X("open_time:T", title=None)
    shown = ("open", "high", "low", "close", "volume")
    tip = [alt.Tooltip("open_time:T", format="%Y-%m-%d %H:%M"), *[alt.Tooltip(f"{name}:Q") for name in shown]]
    base = alt.Chart(rows).encode(color=colour, tooltip=tip)
    wicks = base.mark_rule().encode(time, alt.Y("low:Q", title="price").scale(zero=False), alt.Y2("high"))
    bodies = base.mark_bar().encode(alt.X("left:T", title=None), alt.X2("right"), alt.Y("open:Q"), alt.Y2("close"))
    volume = base.mark_bar().encode(
        alt.X("left:T", title="UTC"),
        alt.X2("right"),
        alt.Y("volume:Q", title="volume", axis=alt.Axis(format="~s", tickCount=3)).scale(zero=True),
        alt.Y2Datum(0),
    )
    prices = (wicks + bodies).properties(width=width, height=280)
    return alt.vconcat(prices, volume.properties(width=width, height=70), spacing=6).properties(
        title=alt.Title(title, subtitle=f"bars of {_spoken(step)}")
    )


def rebar(bars: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Make bars coarse enough to draw.

    Args:
        bars: open_time, open, high, low, close, volume; sorted by time.

    Returns:
        At most some `MAX_BARS` bars in the same columns, and their length in seconds.
    """
    if bars.height < 2:
        return bars, 3600
    own = int(bars["open_time"].diff().drop_nulls().dt.total_seconds().median())  # type: ignore[arg-type]
    span = (bars["open_time"][-1] - bars["open_time"][0]).total_seconds()
    step = next((s for s in STEPS if s >= own and span / s <= MAX_BARS), max(own, STEPS[-1]))
    if step <= own:
        return bars.select("open_time", "open", "high", "low", "close", "volume"), own
    coarse = bars.group_by_dynamic("open_time", every=dt.timedelta(seconds=step)).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    return coarse, step


def fates(files: pl.DataFrame, title: str, *, width: int = 480) -> alt.Chart:
    """Draw what became of each file's lines: law 1 as stacked bars.

    Args:
        files: path and the counts inserted, updated, unchanged, superseded, rejected; a row a file.
        title: What is seen.
        width: In pixels.

    Returns:
        The chart, a bar a file.
    """
    long = files.unpivot(on=list(FATES), index="path", variable_name="fate", value_name="lines")
    long = long.filter(pl.col("lines") > 0).with_columns(order=pl.col("fate").replace_strict(_ranks(), default=9))
    chart: alt.Chart = (
        alt.Chart(long)
        .mark_bar()
        .encode(
            alt.X("lines:Q", title="lines"),
            alt.Y("path:N", title=None, axis=alt.Axis(labelLimit=260)),
            alt.Color("fate:N", title=None, sort=list(FATES)).scale(domain=list(FATES), range=list(FATES.values())),
            order="order:Q",
            tooltip=["path", "fate", "lines"],
        )
        .properties(width=width, title=title)
    )
    return chart


def _ranks() -> dict[str, int]:
    return {name: rank for rank, name in enumerate(FATES)}


def _spoken(seconds: int) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
