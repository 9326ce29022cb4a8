from __future__ import annotations

import datetime as dt
import math

import polars as pl
from drawing import START, bars, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.series import completeness, count_slots, distribution

HOUR = dt.timedelta(hours=1)


def hours(*places: int) -> pl.DataFrame:
    times = [START + place * HOUR for place in places]
    return pl.DataFrame({"open_time": times}, schema={"open_time": pl.Datetime("us", "UTC")})


def test_slots_are_counted_from_the_first_bar_to_the_last() -> None:
    # from 22:00 of the first day to 01:00 of the fourth: 2 + 24 + 24 + 2 slots
    times = hours(22, 23, 25, 26, 27, 72, 73)["open_time"]
    cells = count_slots(times, 3600, "1d")
    assert cells["present"].to_list() == [2, 3, 0, 2]
    assert cells["expected"].to_list() == [2, 24, 24, 2]


def test_slots_of_bars_that_open_off_the_hour() -> None:
    times = hours(0, 4, 8).select(pl.col("open_time") + dt.timedelta(minutes=90))["open_time"]
    assert count_slots(times, 14400, "1d").row(0) == (START, 3, 3)


def test_empty_days_inside_the_range_are_shown() -> None:
    spec = drawn(completeness(hours(22, 23, 25, 26, 27, 72, 73), "a title"))
    assert {"week", "weekday", "filled", "present", "expected"} <= fields(spec)
    found = [(row["cell"], row["filled"]) for row in rows(spec, "filled")]
    assert found == [
        ("Mon 2024-01-01", "all"),
        ("Tue 2024-01-02", "under half"),
        ("Wed 2024-01-03", "none"),
        ("Thu 2024-01-04", "all"),
    ]
    assert subtitle(spec) == "7 of 52 bars of 1 hour (13.46%); 2 days with gaps, 1 of them empty"


def test_a_grid_can_be_given() -> None:
    spec = drawn(completeness(hours(0, 2, 4), "a title", interval_seconds=3600))
    assert subtitle(spec).startswith("3 of 5 bars of 1 hour")


def test_repeated_bars_are_too_many() -> None:
    assert rows(drawn(completeness(hours(0, 1, 1, 2), "a title")), "filled")[0]["filled"] == "too many"


def test_several_years_have_a_row_each_and_decades_a_cell_a_month() -> None:
    days = [24 * day for day in range(800)]  # into 2026
    spec = drawn(completeness(hours(*days), "a title"))
    assert spec["facet"]["row"]["field"] == "year"
    assert {row["year"] for row in rows(spec, "filled")} == {2024, 2025, 2026}
    decades = drawn(completeness(hours(*range(0, 24 * 365 * 20, 24)), "a title"))
    assert rows(decades, "filled")[1]["cell"] == "February 2024"
    assert rows(decades, "filled")[1]["expected"] == 29


def test_months_differ_in_length_and_none_is_missing() -> None:
    months = pl.DataFrame({"open_time": pl.datetime_range(START, START.replace(year=2025), "1mo", eager=True)})
    prices = months.with_columns(close=pl.lit(1.0))
    assert subtitle(drawn(completeness(months, "a title"))) == "13 of 13 bars of 1 month (100.00%); no gaps"
    assert "12 returns" in subtitle(drawn(distribution(prices, "a title")))


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
    assert "1 (0.99%) beyond" in subtitle(spec)


def test_no_return_is_counted_across_a_gap() -> None:
    later = bars([200, 202], start=START + dt.timedelta(days=3))
    assert "3 returns" in subtitle(drawn(distribution(pl.concat([bars([100, 101, 102]), later]), "a title")))


def test_prices_that_never_move_are_drawn() -> None:
    assert "4 returns" in subtitle(drawn(distribution(bars([7.0] * 5), "a title")))


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(completeness(hours(), "a title"))
    assert says_nothing(distribution(bars([1.0]).clear(), "a title"))
    assert says_nothing(distribution(bars([1.0]), "a title"))
