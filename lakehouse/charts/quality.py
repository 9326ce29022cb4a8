"""How far the days of gold can be trusted, over time."""

from __future__ import annotations

import altair as alt
import polars as pl
from altair.typing import ChartType

from lakehouse.charts.series import CLASSES, class_of
from lakehouse.charts.theme import CLOCK, PURPLE, nothing
from lakehouse.measures import counted

UNITS = {"1d": "day", "1w": "week", "1mo": "month"}
MAX_CELLS = 400  # a symbol; beyond it a cell is a week, then a month
MAX_PAIRS = 20  # rows that one reads at a glance
TWO_LINES = "[split(datum.label, ' says, ')[0] + ' says,', split(datum.label, ' says, ')[1]]"


def quality_over_time(days: pl.DataFrame, title: str, *, width: int = 720) -> ChartType:
    """Draw how complete the days of each symbol are, and where outliers lie: a strip a symbol.

    Args:
        days: market, symbol, open_time (UTC), completeness, filled, outliers; rows of gold/daily, in any order.
        title: What is seen, and of which version.
        width: In pixels.

    Returns:
        The chart. A cell is a day, or a week or month where there are many; days that gold lacks count as empty.
    """
    if days.is_empty():
        return nothing(title, width)
    span = (days["open_time"].max() - days["open_time"].min()).days  # type: ignore[operator, union-attr]
    unit = next((unit for unit, length in {"1d": 1, "1w": 7}.items() if span / length <= MAX_CELLS), "1mo")
    cells = count_quality(days, unit)
    there = [name for name in CLASSES if name in cells["bars"]]
    axis = alt.Axis(format=CLOCK, labelOverlap=True, title="UTC", tickCount=8)
    counts = [alt.Tooltip(f"{name}:Q", format=",") for name in ("filled", "outliers")]
    tips = [alt.Tooltip("name:N"), alt.Tooltip("cell:N"), alt.Tooltip("completeness:Q", format=".3%"), *counts]
    base = alt.Chart(cells).encode(alt.Y("name:N", title=None), tooltip=tips)
    strips = base.mark_bar(height={"band": 0.62}).encode(
        alt.X("begin:T", axis=axis).scale(type="utc"),
        alt.X2("end:T"),
        alt.Color("bars:N", title="bars present of bars expected", sort=there)
        .scale(domain=there, range=[CLASSES[name] for name in there])
        .legend(orient="bottom"),
    )
    marks = (
        base.transform_filter("datum.outliers > 0")
        .mark_point(shape="triangle-down", filled=True, size=70, color=PURPLE, yOffset=-18, opacity=1)
        .encode(alt.X("middle:T"))
    )
    height = 46 * cells["name"].n_unique()
    part, cell = pl.col("completeness"), UNITS[unit]
    empty, gaps = cells.filter(part == 0).height, cells.filter(part > 0, part < 1).height
    told = f"a cell is a {cell}: {counted(gaps, cell)} with gaps, {empty:,} empty; "
    outliers = int(cells["outliers"].sum())
    told += f"{counted(outliers, 'outlier')} (triangles)" if outliers else "no outliers"
    drawn = alt.layer(strips, marks) if outliers else strips  # Vega warns of a scale that nothing spans
    return drawn.properties(width=width, height=height, title=alt.Title(title, subtitle=told))


def count_quality(days: pl.DataFrame, unit: str) -> pl.DataFrame:
    """Gather the quality of days to days, weeks or months without a hole.

    Args:
        days: market, symbol, open_time (UTC), completeness, filled, outliers; rows of gold/daily.
        unit: `1d`, `1w` or `1mo`.

    Returns:
        name (of market and symbol), begin, end, middle (UTC), cell (the day or the days in words), completeness (the
        mean over its days; a day that is not there counts 0), filled, outliers and bars (its class); sorted by name
        and begin.
    """
    name = pl.format("{} {}", "symbol", "market").alias("name")
    series = days.select(name, "open_time", "completeness", "filled", "outliers").sort("name", "open_time")
    grid = (
        series.group_by("name", maintain_order=True)
        .agg(pl.datetime_ranges(pl.col("open_time").min(), pl.col("open_time").max(), "1d").first().alias("open_time"))
        .explode("open_time")
    )
    whole = grid.join(series, on=["name", "open_time"], how="left").fill_null(0)
    cells = whole.group_by("name", begin=pl.col("open_time").dt.truncate(unit)).agg(
        pl.col("completeness").mean(), pl.col("filled", "outliers").sum(), first=pl.col("open_time").min()
    )
    end = pl.col("begin").dt.offset_by(unit)
    words = {"1d": "%a %Y-%m-%d", "1w": "week of %Y-%m-%d", "1mo": "%B %Y"}[unit]
    return cells.select(
        *("name", "begin"),
        *("completeness", "filled", "outliers"),
        end=end,
        middle=pl.col("begin") + (end - pl.col("begin")) / 2,
        cell=pl.col("begin").dt.strftime(words),
        bars=class_of(pl.col("completeness")),
    ).sort("name", "begin")


def conflicts_over_time(conflicts: pl.DataFrame, title: str, *, width: int = 480) -> ChartType:
    """Draw where in time files say of bars otherwise than the table does: a row a pair of files, a tick a day.

    Args:
        conflicts: open_time (UTC), _file, _file_won, why; rows of bronze/conflicts, in any order.
        title: What is seen.
        width: In pixels.

    Returns:
        The chart; the more bars of a day differ, the larger the mark. Of many pairs the `MAX_PAIRS` with most bars.
    """
    if conflicts.is_empty():
        return nothing(title, width)
    pair = pl.format("{} says, {} stands", "_file", "_file_won").alias("pair")
    days = conflicts.group_by(pair, "why", day=pl.col("open_time").dt.truncate("1d")).agg(bars=pl.len().cast(pl.Int64))
    most = days.group_by("pair").agg(pl.col("bars").sum()).sort("bars", "pair", descending=[True, False])
    shown = days.join(most.head(MAX_PAIRS), on="pair", how="semi").sort("pair", "day")
    drawn: alt.Chart = (
        alt.Chart(shown)
        .mark_circle(opacity=0.8)
        .encode(
            alt.X("day:T", title="UTC", axis=alt.Axis(format=CLOCK, labelOverlap=True)).scale(type="utc"),
            alt.Y(
                "pair:N",
                title=None,
                sort=most["pair"].to_list(),
                axis=alt.Axis(labelLimit=320, labelPadding=12, labelExpr=TWO_LINES),
            ),
            alt.Size("bars:Q", title="bars a day").legend(orient="bottom"),
            alt.Color("why:N", title="stands because it is").legend(orient="bottom"),
            tooltip=[
                alt.Tooltip("pair:N"),
                alt.Tooltip("why:N"),
                alt.Tooltip("day:T", format="%Y-%m-%d"),
                alt.Tooltip("bars:Q", format=","),
            ],
        )
    )
    told = f"{counted(conflicts.height, 'statement')} that the table does not show"
    told += f", of {counted(most.height, 'pair')} of files"
    return drawn.properties(width=width, height=alt.Step(40), title=alt.Title(title, subtitle=told))
