"""What a series of bars lacks: a calendar of completeness."""

from __future__ import annotations

import altair as alt
import polars as pl
from altair.typing import ChartType

from lakehouse.charts.theme import (
    BLUE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    nothing,
    spoken,
)
from lakehouse.measures import completeness as complete
from lakehouse.measures import count_slots, counted, spacing, spell_part

DAY = 86400
CLASSES = {
    **{"none": VERMILION, "under half": ORANGE, "half or more": YELLOW, "99 % or more": SKY},
    **{"all": BLUE, "too many": PURPLE},
}  # of bars expected
MAX_YEARS = 12  # that are shown day by day
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def completeness(bars: pl.DataFrame, title: str, *, interval_seconds: int | None = None, width: int = 720) -> ChartType:
    """Draw how many of the bars that a grid without gaps would hold are there: a calendar, a cell a day.

    Args:
        bars: open_time (UTC); one series, in any order.
        title: What is seen, and of which version.
        interval_seconds: The bars' length; told by their most frequent spacing if it is not given.
        width: In pixels.

    Returns:
        The chart. The first day counts from the first bar on, the last one to the last bar. More than `MAX_YEARS`
        years, and bars longer than a day, have a cell a month.
    """
    if bars.is_empty():
        return nothing(title, width)
    times = bars["open_time"].sort()
    step = interval_seconds or spacing(times)
    monthly = step > DAY or times[-1].year - times[0].year >= MAX_YEARS
    cells = count_slots(times, step, "1mo" if monthly else "1d")
    draw = _by_month if monthly else _by_day
    return draw(cells, width).properties(title=alt.Title(title, subtitle=_told(cells, step, monthly)))


def class_of(part: pl.Expr) -> pl.Expr:
    """Name the class in `CLASSES` of a part of the bars that are expected."""
    return (
        pl.when(part > 1).then(pl.lit("too many"))
        .when(part == 1).then(pl.lit("all"))
        .when(part >= 0.99).then(pl.lit("99 % or more"))
        .when(part >= 0.5).then(pl.lit("half or more"))
        .when(part > 0).then(pl.lit("under half"))
        .otherwise(pl.lit("none"))
    )  # fmt: skip


def _told(cells: pl.DataFrame, step: int, monthly: bool) -> str:
    present, expected = int(cells["present"].sum()), int(cells["expected"].sum())
    gaps = cells.filter(pl.col("present") < pl.col("expected"))
    empty = gaps.filter(pl.col("present") == 0).height
    unit = "month" if monthly else "day"
    told = f"{present:,} of {expected:,} bars of {spoken(step)} ({spell_part(complete(present, expected))}); "
    return told + (f"{counted(gaps.height, unit)} with gaps, {empty:,} of them empty" if gaps.height else "no gaps")


def _by_day(cells: pl.DataFrame, width: int) -> ChartType:
    """Weeks from left to right, days of the week from top to bottom; more than a year has a row a year."""
    day, first = pl.col("cell").dt, cells["cell"][0]
    years = cells["cell"][-1].year - first.year + 1
    one_row = cells.height <= 53 * 7 - first.weekday()
    start = pl.lit(first) if one_row else pl.col("cell").dt.truncate("1y")
    since = (pl.col("cell") - start).dt.total_days() + start.dt.weekday() - 1
    rows = cells.with_columns(week=since // 7, weekday=day.weekday() - 1, year=day.year())
    month_starts = rows.filter(day.day() == 1) if one_row else rows.filter(day.day() == 1, year=rows["year"].max())
    if one_row:
        names = {
            week: MONTHS[cell.month - 1] + (f" {cell.year}" if place == 0 or cell.month == 1 else "")
            for place, (week, cell) in enumerate(month_starts.select("week", "cell").iter_rows())
        }
        names = names or {0: f"{first:%d %b %Y}"}
    else:
        names = {round(30.44 * month / 7): name for month, name in enumerate(MONTHS)}
    weeks = int(rows["week"].max()) + 1 if one_row else 53  # type: ignore[arg-type]
    size = min(22, width / (weeks + 1))
    chart = _tiles(rows, "%a %Y-%m-%d").encode(
        alt.X("week:O", title=None, axis=_named(names)).scale(domain=list(range(weeks)), paddingInner=0.12),
        alt.Y("weekday:O", title=None, axis=_named({n: WEEKDAYS[n] for n in (0, 2, 4, 6)})).scale(
            domain=list(range(7)), paddingInner=0.12
        ),
    )
    chart = chart.properties(width=round(size * weeks), height=round(size * 7))
    if one_row or years == 1:
        return chart
    return chart.facet(row=alt.Row("year:O", title=None), spacing=8)


def _by_month(cells: pl.DataFrame, width: int) -> alt.Chart:
    month = pl.col("cell").dt
    rows = cells.with_columns(month=month.month() - 1, year=month.year())
    chart: alt.Chart = (
        _tiles(rows, "%B %Y")
        .encode(
            alt.X("month:O", title=None, axis=_named(dict(enumerate(MONTHS)))).scale(
                domain=list(range(12)), paddingInner=0.05
            ),
            alt.Y("year:O", title=None).scale(paddingInner=0.1),
        )
        .properties(width=min(width, 480), height=alt.Step(16))
    )
    return chart


def _tiles(rows: pl.DataFrame, clock: str) -> alt.Chart:
    filled = class_of(complete(pl.col("present"), pl.col("expected")))
    rows = rows.with_columns(pl.col("cell").dt.strftime(clock), filled=filled)
    there = [name for name in CLASSES if name in rows["filled"]]
    colours = alt.Scale(domain=there, range=[CLASSES[name] for name in there])
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_rect(cornerRadius=1.5)
        .encode(
            alt.Color(
                "filled:N",
                title="bars present of bars expected",
                scale=colours,
                sort=there,
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                *[alt.Tooltip("cell:N"), alt.Tooltip("present:Q", format=",")],
                *[alt.Tooltip("expected:Q", format=","), alt.Tooltip("filled:N")],
            ],
        )
    )
    return chart


def _named(names: dict[int, str]) -> alt.Axis:
    table = ", ".join(f"'{value}': '{name}'" for value, name in names.items())
    return alt.Axis(
        values=list(names),
        labelExpr=f"{{{table}}}[datum.value]",
        labelAngle=0,
        ticks=False,
        domain=False,
        labelOverlap=True,
    )
