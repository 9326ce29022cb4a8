"""The look that all charts share: colours, fonts, the chart of nothing, words for lengths of time.

Channels are written as objects, `alt.Text("words:N")` and not `text="words:N"`: to find the class of a plain string
Altair looks through all that it has, each time anew, which takes longer than to draw what it is for.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl
from altair.theme import ThemeConfig

from lakehouse.measures import counted

# Okabe and Ito's palette: told apart by colour-blind people, and in print. https://jfly.uni-koeln.de/color/
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE, YELLOW, GREY = "#E69F00", "#D55E00", "#CC79A7", "#F0E442", "#999999"
RISE, FALL = BLUE, VERMILION
CHANGES = {"inserted": BLUE, "updated": ORANGE, "deleted": VERMILION}

CLOCK = {
    **{"year": "%Y", "quarter": "%b %d", "month": "%b %d", "week": "%b %d", "date": "%b %d", "day": "%b %d"},
    **{"hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S", "milliseconds": "%S.%L"},
}  # labels of a time axis, by the coarsest unit that a tick begins

NAME = "lakehouse"
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
INK, PAPER = {False: "#1f2328", True: "#e8eaed"}, {False: "#ffffff", True: "#15181e"}
FAINT, LINES = {False: "#59636e", True: "#a2abb5"}, {False: "#e5e8eb", True: "#2c323a"}


def theme(dark: bool = False) -> None:
    """Draw all charts of this process in the house's look; the colours of the data are the same in both.

    Args:
        dark: Light on dark, for a dark JupyterLab.
    """
    alt.theme.enable(NAME, dark=dark)


@alt.theme.register(NAME, enable=False)
def _themed(dark: bool = False) -> ThemeConfig:
    return {"config": look(dark=dark)}


def look(*, dark: bool = False) -> Any:
    """The house's look as the configuration of a Vega-Lite specification.

    Args:
        dark: Light on dark.

    Returns:
        The `config` of a specification.
    """
    ink, paper, faint, lines = (tones[dark] for tones in (INK, PAPER, FAINT, LINES))
    words = {
        "labelFont": FONT,
        "titleFont": FONT,
        "labelColor": faint,
        "titleColor": faint,
        "labelFontSize": 11,
        "titleFontSize": 11,
    }
    axis = {
        "gridColor": lines,
        "domainColor": lines,
        "tickColor": lines,
        "titleFontWeight": "normal",
        "tickSize": 4,
        "labelPadding": 4,
    }
    config: Any = {
        "background": paper,
        "font": FONT,
        "padding": 12,
        "view": {"stroke": None},
        "title": {
            **{"font": FONT, "subtitleFont": FONT, "color": ink, "subtitleColor": faint, "anchor": "start"},
            **{"fontSize": 15, "subtitleFontSize": 12, "subtitlePadding": 5, "offset": 12},
        },
        "axis": {**words, **axis},
        "axisX": {"grid": False, "labelFlush": False, "labelSeparation": 8},
        "legend": {**words, "titleFontWeight": "normal", "symbolType": "square"},
        "header": words,
        "text": {"color": faint, "font": FONT, "fontSize": 11},
        "rule": {"color": faint},
    }
    return config


def nothing(title: str, width: int) -> alt.Chart:
    """The chart of an empty frame.

    Args:
        title: What would be seen.
        width: In pixels.

    Returns:
        An empty view whose subtitle says that there is nothing to show.
    """
    empty = alt.Chart(pl.DataFrame({"nothing": [0]})).mark_point(opacity=0)  # a chart must have a mark
    chart: alt.Chart = empty.properties(
        width=width, height=20, title=alt.Title(title, subtitle="nothing to show: the frame has no such rows")
    )
    return chart


def spoken(seconds: int) -> str:
    """Say the length of a bar: `15 minutes`, `1 hour`; months have 30 days and years 12 months."""
    units = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31104000}
    unit = max((unit for unit, size in units.items() if seconds % size == 0), key=units.__getitem__)
    return counted(seconds // units[unit], unit)


def amounts(ticks: int, *, whole: bool = True) -> alt.Axis:
    """An axis for amounts of any size: 20k, 3M, 1B.

    Args:
        ticks: About how many.
        whole: Whether they are counts, which have no halves.

    Returns:
        The axis.
    """
    label = "replace(datum.label, 'G', 'B')"
    if whole:
        label = f"datum.value % 1 ? '' : {label}"
    return alt.Axis(format="~s", tickCount=ticks, labelExpr=label)


def moments(first: object, last: object) -> alt.ExprRef:
    """The domain of an axis of time.

    Vega-Lite writes plain numbers as `datetime(number)`, which Vega's interpreter, the one that a page's policy lets
    run, takes for a year: nothing is drawn then.

    Args:
        first: In milliseconds.
        last: The same.
    """
    return alt.ExprRef(f"[{first}, {last}]")
