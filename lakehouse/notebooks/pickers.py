"""Choosing a series and its days with the mouse: in JupyterLab only, and always beginning with the parameters."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from lakehouse.lake import Lake
from lakehouse.notebooks.pages import is_live
from lakehouse.reports import choose_bars
from lakehouse.status import read_series


class Picker:
    """The series and the days that a notebook is about: those of its parameters, until somebody picks others.

    In JupyterLab it shows a list of the lake's series and two days; elsewhere it shows nothing.

    Args:
        lake: The lake.
        symbol: As of `choose_bars`; also those that follow.
        interval: Its bar length.
        market: Where it is traded.
        start: The first day.
        end: The last day.

    Raises:
        InputError: The parameters name no series, or no bar of it.

    Example:
        >>> picked = Picker(lake, symbol="BTCUSDT")            # doctest: +SKIP
        >>> held, first, last = picked.bars()                  # doctest: +SKIP
    """

    def __init__(
        self, lake: Lake, symbol: str = "", interval: str = "", market: str = "", start: str = "", end: str = ""
    ) -> None:
        self.lake = lake
        self.words = {"symbol": symbol, "interval": interval, "market": market, "start": start, "end": end}
        held, _, _ = self.bars()
        self.words |= {name: held[name] for name in ("symbol", "interval", "market")}

    def bars(self) -> tuple[dict[str, Any], dt.date, dt.date]:
        """What is picked now, as `choose_bars` gives it."""
        return choose_bars(self.lake, **self.words)

    def widget(self) -> Any:
        """The controls; what is chosen in them is what `bars` gives from then on."""
        import ipywidgets as w  # noqa: PLC0415  only where somebody can click

        series = read_series(self.lake, closes=False).select("symbol", "interval", "market")
        names = series.select(pl.format("{} {} ({})", "symbol", "interval", "market")).to_series().to_list()
        rows = dict(zip(names, series.rows(named=True), strict=True))
        now = next(name for name, row in rows.items() if row.items() <= self.words.items())
        chosen = w.Dropdown(options=names, value=now, description="series")
        given = {name: dt.date.fromisoformat(word) if (word := self.words[name]) else None for name in ("start", "end")}
        days = {name: w.DatePicker(value=day, description=name) for name, day in given.items()}

        def take(_change: object) -> None:
            self.words |= rows[chosen.value]
            self.words |= {name: day.value.isoformat() if day.value else "" for name, day in days.items()}

        for control in (chosen, *days.values()):
            control.observe(take, names="value")
        told = w.HTML("Pick, then run the cells below: <i>Run → Run Selected Cell and All Below</i>.")
        return w.VBox([w.HBox([chosen, *days.values()], layout=w.Layout(flex_flow="row wrap")), told])

    def _ipython_display_(self) -> None:
        if is_live():
            from IPython.display import display  # noqa: PLC0415

            display(self.widget())  # type: ignore[no-untyped-call]
