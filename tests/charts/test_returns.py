from __future__ import annotations

import datetime as dt
import math

import polars as pl
from drawing import START, bars, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.returns import distribution


def test_returns_are_binned_and_those_beyond_are_counted() -> None:
    steps = [0.01, -0.01] * 50 + [0.5]  # a hundred of one percent, and one of fifty
    closes = [100.0]
    for step in steps:
        closes.append(closes[-1] * math.exp(step))
    spec = drawn(distribution(bars(closes), "a title"))
    assert {"left", "right", "returns"} <= fields(spec)
    assert sum(row["returns"] for row in rows(spec, "returns")) == 100
    assert [data[0]["text"] for data in spec["datasets"].values() if "text" in data[0]] == ["← 0 beyond", "1 beyond →"]
    assert "101 returns" in subtitle(spec)
    assert "1 (0.99 %) beyond" in subtitle(spec)


def test_no_return_is_counted_across_a_gap() -> None:
    later = bars([200, 202], start=START + dt.timedelta(days=3))
    assert "3 returns" in subtitle(drawn(distribution(pl.concat([bars([100, 101, 102]), later]), "a title")))


def test_prices_that_never_move_are_drawn() -> None:
    assert "4 returns" in subtitle(drawn(distribution(bars([7.0] * 5), "a title")))


def test_months_differ_in_length_and_each_has_a_return() -> None:
    months = pl.DataFrame({"open_time": pl.datetime_range(START, START.replace(year=2025), "1mo", eager=True)})
    assert "12 returns" in subtitle(drawn(distribution(months.with_columns(close=pl.lit(1.0)), "a title")))


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(distribution(bars([1.0]).clear(), "a title"))
    assert says_nothing(distribution(bars([1.0]), "a title"))
