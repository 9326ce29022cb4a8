from __future__ import annotations

import datetime as dt

import polars as pl
from drawing import START, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.series import completeness
from lakehouse.measures import count_slots

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
    assert subtitle(spec) == "7 of 52 bars of 1 hour (13.46 %); 2 days with gaps, 1 of them empty"


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
    assert subtitle(drawn(completeness(months, "a title"))) == "13 of 13 bars of 1 month (100.00 %); no gaps"


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(completeness(hours(), "a title"))
