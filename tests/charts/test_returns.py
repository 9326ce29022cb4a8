from __future__ import annotations

import datetime as dt
import math

import polars as pl
from drawing import START, bars, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.returns import beside, distribution


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


def test_a_price_that_is_none_has_no_return() -> None:
    spec = drawn(distribution(bars([100.0, 101.0, math.nan, 102.0, 103.0, 104.5]), "a title"))
    assert "3 returns" in subtitle(spec)
    assert "nan" not in subtitle(spec).lower()


def test_prices_that_never_move_are_drawn() -> None:
    assert "4 returns" in subtitle(drawn(distribution(bars([7.0] * 5), "a title")))


def test_months_differ_in_length_and_each_has_a_return() -> None:
    months = pl.DataFrame({"open_time": pl.datetime_range(START, START.replace(year=2025), "1mo", eager=True)})
    assert "12 returns" in subtitle(drawn(distribution(months.with_columns(close=pl.lit(1.0)), "a title")))


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(distribution(bars([1.0]).clear(), "a title"))
    assert says_nothing(distribution(bars([1.0]), "a title"))


def test_series_beside_each_other_begin_at_their_first_common_bar() -> None:
    one, other = bars([10.0, 20.0, 30.0, 40.0]), bars([8.0, 4.0, 2.0], start=START + dt.timedelta(hours=1))
    spec = drawn(beside({"ONE": one, "OTHER": other}, "a title"))
    held = rows(spec, "change")
    assert [row["change"] for row in held if row["series"] == "ONE"] == [0.0, 50.0, 100.0]  # 20, 30, 40
    assert [row["change"] for row in held if row["series"] == "OTHER"] == [0.0, -50.0, -75.0]
    assert "ONE +100.00 %, OTHER −75.00 %" in subtitle(spec)
    long = beside({"ONE": bars([1.0, *[2.0] * 9999]), "OTHER": bars([1.0] * 10000)}, "a title", width=300)
    assert [row["change"] for row in rows(drawn(long), "change")][299] == 100.0
    apart = bars([1.0], start=START - dt.timedelta(days=9))
    assert says_nothing(beside({"ONE": one, "OTHER": apart}, "a title"))
