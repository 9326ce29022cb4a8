"""Prices as candles: readable from a day to decades, because longer series are first gathered into coarser bars."""

from __future__ import annotations

import re
from collections.abc import Sequence

import altair as alt
import polars as pl
from altair.typing import ChartType

from lakehouse.charts.theme import CLOCK, FALL, GREEN, ORANGE, PURPLE, RISE, SKY, amounts, moments, nothing, spoken
from lakehouse.measures import MONTH, bollinger, counted, moving_average, resample, rsi, spacing

MAX_BARS = 2400  # that a chart holds for its finest zoom
BAR_PIXELS = 2.5  # narrower candles cannot be told apart
DAY = 86400  # seconds
STEPS = {
    **{5: "5s", 15: "15s", 30: "30s", 60: "1m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 7200: "2h"},
    **{14400: "4h", 28800: "8h", 43200: "12h", 86400: "1d", 259200: "3d", 604800: "1w"},
    **{MONTH: "1mo", 3 * MONTH: "3mo", 12 * MONTH: "1y"},
}  # seconds → what Polars calls it
UP = alt.condition("datum.open <= datum.close", alt.value(RISE), alt.value(FALL))
OHLCV = ("open", "high", "low", "close", "volume")
LAYER = re.compile(r"(ma|bollinger|rsi)(\d+)")
LINES = (ORANGE, PURPLE, GREEN, SKY)  # of averages, one after the other


def candles(
    bars: pl.DataFrame,
    title: str,
    *,
    layers: Sequence[str] = (),
    interval_seconds: int | None = None,
    width: int = 720,
) -> alt.VConcatChart:
    """Draw prices as candles, volume below, and below that a strip of the whole series in which one drags to zoom.

    Args:
        bars: open_time (UTC), open, high, low, close (quote asset), volume (base asset); one series, in any order.
        title: What is seen, and of which version.
        layers: Indicators, each with the number of bars that it looks back over: `ma20`, `bollinger20`, `rsi14`; see
            `measures`. They are of the bars as these are drawn, and skip holes.
        interval_seconds: The bars' length; told by their most frequent spacing if it is not given.
        width: In pixels.

    Returns:
        The chart. Blue bars rise, red ones fall. A long series is seen in coarse bars at first, and in its own
        (or in `MAX_BARS` at most) when zoomed.

    Raises:
        ValueError: There is no such indicator.
    """
    looks = [(name, *_read_layer(name)) for name in dict.fromkeys(layers)]
    if bars.is_empty():
        return alt.vconcat(nothing(title, width))
    bars = bars.select("open_time", *OHLCV).sort("open_time")
    days, own = _in_days(bars, interval_seconds or spacing(bars["open_time"]))
    fine, fine_step = rebar(days, interval_seconds=own)
    coarse, step = rebar(days, int(width / BAR_PIXELS), own)
    levels = [(coarse, step)] if step == fine_step else [(coarse, step), (fine, fine_step)]
    lines = {column: expr for name, kind, back in looks for column, expr in _columns(name, kind, back).items()}
    rows = pl.concat([level.with_columns(_millis("open_time"), step=pl.lit(size), **lines) for level, size in levels])
    slots = 1 + (bars["open_time"][-1] - bars["open_time"][0]).total_seconds() / step
    width = min(width, max(180, int(36 * slots)))  # few candles are not blown up
    overview = _overview(days, width, own)
    brush = alt.selection_interval(name="brush", encodings=["x"])
    wanted = f"isValid(brush.open_time) && span(brush.open_time) < {width // 2 * fine_step * 1000}"
    clock = "%Y-%m-%d %H:%M:%S" if fine_step < 60 else "%Y-%m-%d %H:%M"
    base = (
        alt.Chart(rows)
        .transform_filter(brush)  # so that the axis of prices fits what is seen
        .transform_filter(f"datum.step == ({wanted} ? {fine_step} : {step})")
        .transform_calculate(
            left="time(datum.open_time) + 120 * datum.step",
            middle="time(datum.open_time) + 500 * datum.step",
            right="time(datum.open_time) + 880 * datum.step",
            end="time(datum.open_time) + 1000 * datum.step",
            time=f"utcFormat(datum.open_time, '{clock} UTC')",
        )
    )
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["open_time"], empty=False)
    timed = alt.Axis(format=CLOCK, labelFlush=True, labelOverlap=True, title="UTC", tickCount=8)
    moves = [name for name, kind, _ in looks if kind == "rsi"]
    parts = ["prices", *(["volume"] if bars["volume"].sum() else []), *moves]
    axes = dict.fromkeys(parts[:-1], alt.Axis(labels=False, ticks=False)) | {parts[-1]: timed}
    panels: list[ChartType] = [_prices(base, brush, hover, axes["prices"], width, looks)]
    if "volume" in axes:
        panels.append(_volume(base, brush, hover, axes["volume"], width))
    panels += [_strength(base, brush, hover, axes[name], width, name) for name in moves]
    panels.append(_strip(overview, brush, width))
    told = _told(bars, step, fine_step)
    # Of these there is nothing to draw.
    short = {name for name, kind, back in looks if back + (kind == "rsi") > coarse.height}
    drawn = [f"{name} (too few bars)" if name in short else name for name, *_ in looks]
    subtitle = [f"{told};", f"with {', '.join(drawn)} of these"] if looks else told
    return alt.vconcat(*panels, spacing=8).properties(title=alt.Title(title, subtitle=subtitle))


def _read_layer(name: str) -> tuple[str, int]:
    if not (told := LAYER.fullmatch(name)) or not int(told[2]):
        raise ValueError(f"no indicator '{name}'; expected such as ma20, bollinger20 or rsi14")
    return told[1], int(told[2])


def _columns(name: str, kind: str, back: int) -> dict[str, pl.Expr]:
    """The columns that draw an indicator."""
    if kind == "bollinger":
        found = dict(zip((f"{name} low", name, f"{name} high"), bollinger(back), strict=True))
    else:
        found = {name: moving_average(back) if kind == "ma" else rsi(back)}
    return {column: expr.round_sig_figs(8) for column, expr in found.items()}


def rebar(bars: pl.DataFrame, most: int = MAX_BARS, interval_seconds: int | None = None) -> tuple[pl.DataFrame, int]:
    """Make bars coarse enough to draw.

    Args:
        bars: open_time, open, high, low, close, volume; sorted by time.
        most: How many bars the whole span may hold, gaps among them; some two more may come out.
        interval_seconds: The bars' length; told by their most frequent spacing if it is not given.

    Returns:
        The bars in the same columns, and their length in seconds: their own, or one of `STEPS`. A single bar of unknown
        length counts as an hour.
    """
    bars = bars.select("open_time", *OHLCV)
    if bars.height < 2:
        return bars, interval_seconds or 3600
    own = interval_seconds or spacing(bars["open_time"])
    span = (bars["open_time"][-1] - bars["open_time"][0]).total_seconds()
    coarser = [size for size in STEPS if size > own and (size % own == 0 or size >= MONTH)]
    step = next((size for size in [own, *coarser] if span / size <= most), max([own, *coarser]))
    if step == own:
        return bars, own
    return resample(bars, STEPS[step]), step


def _in_days(bars: pl.DataFrame, own: int) -> tuple[pl.DataFrame, int]:
    """Gather years of minutes once to days, of which all bars are made that will be drawn; and say their length."""
    span = (bars["open_time"][-1] - bars["open_time"][0]).total_seconds()
    finest = span / MAX_BARS > max(size for size in STEPS if size < DAY)  # no bar that is drawn is shorter than a day
    return (resample(bars, "1d"), DAY) if own < DAY and DAY % own == 0 and finest else (bars, own)


def _told(bars: pl.DataFrame, step: int, fine_step: int) -> str:
    first, last = bars["open_time"][0], bars["open_time"][-1]
    told = f"{counted(bars.height, 'bar')}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    if bars.height == 1:
        return f"1 bar, {first:%Y-%m-%d %H:%M} UTC"
    told += f"; drawn as bars of {spoken(step)}"
    if step != fine_step:
        told += f", of {spoken(fine_step)} where one zooms: drag in the lowest strip"
    return told


def _millis(column: str) -> pl.Expr:
    return pl.col(column).dt.epoch("ms")  # a third of the characters of a time in text


def _x(field: str, brush: alt.Parameter, axis: alt.Axis | None) -> alt.X:
    return alt.X(f"{field}:T", title=None, axis=axis).scale(type="utc", domain=brush)


def _column(
    base: alt.Chart, brush: alt.Parameter, hover: alt.Parameter, height: int, axis: alt.Axis | None
) -> alt.Chart:
    """The whole height of a bar: it takes the pointer, and lights up under it."""
    tip = [alt.Tooltip("time:N", title="opens"), *[alt.Tooltip(f"{name}:Q", format=",.12~r") for name in OHLCV]]
    chart: alt.Chart = base.mark_bar(color="#888888", clip=True).encode(
        _x("open_time", brush, axis),
        alt.X2("end"),
        alt.YValue(0),
        alt.Y2Value(height),
        alt.OpacityValue(**alt.condition(hover, alt.value(0.2), alt.value(0))),
        tooltip=tip,
    )
    return chart


def _prices(
    base: alt.Chart,
    brush: alt.Parameter,
    hover: alt.Parameter,
    axis: alt.Axis,
    width: int,
    looks: Sequence[tuple[str, str, int]],
) -> ChartType:
    marks, height = base.encode(alt.ColorValue(**UP)), 280
    price = alt.Y("low:Q", title="price (quote asset)").scale(zero=False)
    wicks = marks.mark_rule(clip=True).encode(_x("middle", brush, axis), price, alt.Y2("high"))
    bodies = marks.mark_bar(clip=True, strokeWidth=0.8).encode(  # the stroke shows a bar that closes where it opened
        _x("left", brush, axis), alt.X2("right"), alt.Y("open:Q"), alt.Y2("close"), alt.StrokeValue(**UP)
    )
    column = _column(base, brush, hover, height, axis).add_params(hover)
    over = [(name, kind) for name, kind, _ in looks if kind != "rsi"]
    names = [name for name, _ in over]
    colour = alt.Scale(domain=names, range=[LINES[place % len(LINES)] for place in range(len(names))])
    middle = _x("middle", brush, axis)
    drawn = [
        layer
        for name, kind in over
        for layer in (
            *([base.mark_area(clip=True, opacity=0.13, color=SKY).encode(
                middle, alt.Y(f"{name} low:Q"), alt.Y2(f"{name} high"))] if kind == "bollinger" else []),
            base.transform_calculate(layer=f"'{name}'").mark_line(clip=True, strokeWidth=1.4).encode(
                middle,
                alt.Y(f"{name}:Q"),
                alt.Color("layer:N", title=None, scale=colour, sort=names, legend=alt.Legend(orient="top-left")),
            ),
        )
    ]  # fmt: skip
    return alt.layer(wicks, bodies, *drawn, column).properties(width=width, height=height)


def _strength(
    base: alt.Chart, brush: alt.Parameter, hover: alt.Parameter, axis: alt.Axis, width: int, name: str
) -> ChartType:
    """Of the moves, rises as a part: above 70 many call it overbought, below 30 oversold."""
    height = 70
    scale = alt.Y(f"{name}:Q", title=name, axis=alt.Axis(values=[0, 30, 70, 100])).scale(domain=[0, 100])
    line = base.mark_line(clip=True, strokeWidth=1.2, color=PURPLE).encode(_x("middle", brush, axis), scale)
    return alt.layer(line, _column(base, brush, hover, height, axis)).properties(width=width, height=height)


def _volume(base: alt.Chart, brush: alt.Parameter, hover: alt.Parameter, axis: alt.Axis, width: int) -> ChartType:
    height = 70
    amount = alt.Y("volume:Q", title=["volume", "(base asset)"], axis=amounts(3, whole=False))
    drawn = (
        base.encode(alt.ColorValue(**UP))
        .mark_bar(clip=True)
        .encode(_x("left", brush, axis), alt.X2("right"), amount.scale(zero=True), alt.Y2Datum(0))
    )
    return alt.layer(drawn, _column(base, brush, hover, height, axis)).properties(width=width, height=height)


def _overview(bars: pl.DataFrame, width: int, interval_seconds: int) -> pl.DataFrame:
    """The closes of the whole series in steps, broken where a gap is wide enough to see."""
    rows, step = rebar(bars, width, interval_seconds)
    span = (rows["open_time"][-1] - rows["open_time"][0]).total_seconds()
    rows = rows.select(_millis("open_time"), "close")
    apart = pl.col("open_time").diff().fill_null(0) > 1000 * max(1.5 * step, span / 150)
    rows = rows.with_columns(run=apart.cum_sum())
    ends = rows.group_by("run", maintain_order=True).last().with_columns(pl.col("open_time") + 1000 * step)
    return pl.concat([rows, ends.select(rows.columns)]).sort("run", "open_time")


def _strip(overview: pl.DataFrame, brush: alt.Parameter, width: int) -> alt.Chart:
    ends = moments(overview["open_time"].min(), overview["open_time"].max())
    chart: alt.Chart = (
        alt.Chart(overview)
        .mark_area(interpolate="step-after", line={"color": "#888888", "strokeWidth": 1}, color="#888888", opacity=0.3)
        .encode(
            alt.X(
                "open_time:T", title=None, axis=alt.Axis(format=CLOCK, labelFlush=True, labelOverlap=True, tickCount=8)
            ).scale(type="utc", domain=ends),
            alt.Y("close:Q", axis=None, stack=None).scale(zero=False),
            alt.Y2Value(45),
            alt.Detail("run:N"),
        )
        .add_params(brush)
        .properties(width=width, height=45)
    )
    return chart
