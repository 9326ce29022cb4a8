"""What changed between two versions, drawn: where in time, and from what to what."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from lakehouse.charts.theme import CHANGES, CLOCK, FALL, RISE, moments, nothing
from lakehouse.measures import counted

KINDS = list(CHANGES)
DAY = 86400
MAX_UPDATES = 200
MAX_CELLS, MAX_COLUMNS = 4500, 130
UNITS = {"1d": "day", "1w": "week", "1mo": "month", "1y": "year"}
DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


def changes_map(
    changes: pl.DataFrame, title: str, *, interval_seconds: int | None = None, width: int = 720
) -> alt.VConcatChart:
    """Draw where in time the changed bars lie: days from left to right, hours of the day upwards.

    Args:
        changes: open_time (UTC), change (inserted, updated, deleted); as `Table.diff` gives it.
        title: What is seen, and between which versions.
        interval_seconds: The bars' length; those of a day or longer have no hour.
        width: In pixels.

    Returns:
        The chart, a panel a kind of change; the more bars changed, the fuller the colour. Long spans are drawn by
        week, month or year.
    """
    if changes.is_empty():
        return alt.vconcat(nothing(title, width))
    cells, unit = _by_day_and_hour(changes)
    days = changes["open_time"].sort()
    begin, end = int(cells["left"].min()), int(cells["right"].max())  # type: ignore[arg-type]
    one_hour = cells["hour"].n_unique() == 1
    long = (interval_seconds or 0) >= DAY
    clock = None if one_hour else alt.Axis(values=[0, 6, 12, 18, 24], grid=False)
    hours = [cells["hour"][0], cells["hour"][0] + 1] if one_hour else [0, 24]
    panels = []
    for kind in (name for name in KINDS if name in cells["change"]):
        part = cells.filter(change=kind)
        most = int(part["bars"].max())  # type: ignore[arg-type]
        panel = (
            alt.Chart(part)
            .mark_rect(color=CHANGES[kind], clip=True)
            .encode(
                alt.X("left:T", title=None, axis=alt.Axis(format=CLOCK, tickCount=8, labelOverlap=True)).scale(
                    type="utc", domain=moments(begin, end)
                ),
                alt.X2("right"),
                alt.Y("hour:Q", title=kind if long else [kind, "(hour, UTC)"], axis=clock).scale(domain=hours),
                alt.Y2("next"),
                alt.Opacity("bars:Q", title=f"bars {kind}", legend=_shades(most, kind)).scale(
                    domain=[0, most], range=[0.25, 1]
                ),
                tooltip=["time:N", *([] if long else ["hour:Q"]), "change:N", alt.Tooltip("bars:Q", format=",")],
            )
        )
        panels.append(panel.properties(width=width, height=28 if one_hour else 120))
    counts = [f"{changes.filter(change=kind).height:,} {kind}" for kind in KINDS if kind in cells["change"]]
    told = f"{', '.join(counts)}; {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}; "
    in_all = "" if unit == "day" else f" of the day in all of a {unit}"
    told += f"a cell is the {unit} in which a bar opens" if long else f"a cell is an hour{in_all}"
    chart: alt.VConcatChart = alt.vconcat(*panels, spacing=12).resolve_scale(opacity="independent")
    return chart.properties(title=alt.Title(title, subtitle=told))


def before_after(changes: pl.DataFrame, column: str, title: str, *, width: int = 720) -> alt.VConcatChart:
    """Draw from what to what a column of updated bars changed, and by how many percent.

    Args:
        changes: open_time (UTC), change, `<column>_before`, `<column>_after`; as `Table.diff` gives it.
        column: A column of numbers, for example `close`.
        title: What is seen, and between which versions.
        width: In pixels.

    Returns:
        The chart, the bars in the order of time; of more than 200 those that changed most.
    """
    old, new = pl.col(f"{column}_before").cast(pl.Float64), pl.col(f"{column}_after").cast(pl.Float64)
    both = changes.filter(change="updated").select("open_time", before=old, after=new) if changes.height else changes
    moved = both.filter(pl.col("before") != pl.col("after")) if both.height else both
    if moved.is_empty():
        return alt.vconcat(nothing(title, width))
    percent = 100 * (pl.col("after") - pl.col("before")) / pl.col("before").abs()
    moved = moved.with_columns(percent=percent).sort(pl.col("percent").abs(), descending=True, nulls_last=True)
    rows = moved.head(MAX_UPDATES).sort("open_time", "before").with_row_index("place")
    rows = rows.with_columns(
        pl.col("open_time").dt.strftime("%Y-%m-%d %H:%M UTC"),
        pl.when(pl.col("percent").is_finite()).then("percent").alias("percent"),
        rises=pl.col("after") > pl.col("before"),
    )
    return _dumbbells(rows, column, width).properties(
        title=alt.Title(title, subtitle=_moves(moved, rows.height, column))
    )


def _by_day_and_hour(changes: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Count changes by kind, day and hour; by week, month or year where days would be too many or too narrow."""
    time = pl.col("open_time")
    for every, unit in UNITS.items():
        cells = changes.group_by("change", column=time.dt.truncate(every), hour=time.dt.hour().cast(pl.Int64)).len(
            "bars"
        )
        days = cells.select((pl.col("column").max() - pl.col("column").min()).dt.total_days()).item()
        if days <= MAX_COLUMNS * DAYS[unit] and cells.height <= MAX_CELLS:
            break
    column = pl.col("column")
    return cells.sort("change", "column", "hour").select(
        "change",
        "hour",
        pl.col("bars").cast(pl.Int64),
        next=pl.col("hour") + 1,
        left=column.dt.epoch("ms"),
        right=column.dt.offset_by(every).dt.epoch("ms"),
        time=column.dt.strftime("%a %Y-%m-%d" if unit == "day" else f"{unit} from %Y-%m-%d"),
    ), unit


def _shades(most: int, kind: str) -> alt.Legend:
    steps = sorted({1, (1 + most) // 2, most})
    # Below its panel: beside it, it would be cut off where a page gives the panel all its width.
    place: Any = {"orient": "bottom", "direction": "horizontal", "titleOrient": "left"}
    marks: Any = {"symbolFillColor": CHANGES[kind], "symbolStrokeWidth": 0, "symbolOpacity": 1}
    return alt.Legend(values=steps, format=",d", **place, **marks)


def _dumbbells(rows: pl.DataFrame, column: str, width: int) -> alt.VConcatChart:
    width = min(width, max(200, 40 * rows.height))
    colour = alt.ColorValue(**alt.condition("datum.rises", alt.value(RISE), alt.value(FALL)))
    sides = [alt.Tooltip(f"{name}:Q", format=",.12~r") for name in ("before", "after")]
    base = alt.Chart(rows).encode(
        colour,
        tooltip=[alt.Tooltip("open_time:N"), *sides, alt.Tooltip("percent:Q", format="+.3~f", title="change (%)")],
    )
    table = (
        "{"
        + ", ".join(f"{place}: '{time[:16]}'" for place, time in rows.select("place", "open_time").iter_rows())
        + "}"
    )
    bare = alt.X("place:O", title=None, axis=None)
    step = width / rows.height
    value = alt.Y("before:Q", title=column).scale(zero=False)
    lines = base.mark_rule(strokeWidth=max(1, min(3, step / 4))).encode(bare, value, alt.Y2("after"))
    size = max(8, min(60, step * step))
    ends = base.mark_point(filled=True, size=size, opacity=1).encode(bare, alt.Y("after:Q"))
    starts = base.mark_point(filled=False, size=size, strokeWidth=1.2, opacity=1).encode(bare, alt.Y("before:Q"))
    ticks = rows["place"].gather_every(max(1, rows.height // 6)).to_list()
    axis = alt.Axis(values=ticks, labelExpr=f"{table}[datum.value]", labelAngle=0, labelOverlap=True, title="bar (UTC)")
    share = base.mark_bar().encode(
        alt.X("place:O", axis=axis), alt.Y("percent:Q", title=["change", "(%)"], axis=alt.Axis(tickCount=4))
    )
    return alt.vconcat(
        (lines + starts + ends).properties(width=width, height=240), share.properties(width=width, height=90), spacing=8
    )


def _moves(moved: pl.DataFrame, drawn: int, column: str) -> str:
    up = moved.filter(pl.col("after") > pl.col("before")).height
    told = (
        f"{column} of {counted(moved.height, 'updated bar')}: {up:,} up, {moved.height - up:,} down; ○ before, ● after"
    )
    return told + (f"; the {drawn} largest changes" if drawn < moved.height else "")
