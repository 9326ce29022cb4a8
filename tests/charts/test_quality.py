from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl
from drawing import START, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.quality import conflicts_over_time, count_quality, quality_over_time


def days(parts: Mapping[int, float], symbol: str = "AAAUSDT", outliers: Sequence[int] = ()) -> pl.DataFrame:
    """Days of gold: how many days after START → completeness."""
    return pl.DataFrame(
        {
            "market": "m",
            "symbol": symbol,
            "open_time": [START + dt.timedelta(days=day) for day in parts],
            "completeness": list(parts.values()),
            "filled": [1 if part < 1 else 0 for part in parts.values()],
            "outliers": [1 if day in outliers else 0 for day in parts],
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )


def test_each_symbol_has_a_strip_and_each_day_a_class() -> None:
    frame = pl.concat([days({0: 1.0, 1: 0.995, 2: 0.5, 4: 0.2}, outliers=[2]), days({1: 1.0}, "BBBUSDT")])
    spec = drawn(quality_over_time(frame, "Which days can be trusted?"))
    assert {"name", "begin", "end", "bars", "completeness", "filled", "outliers"} <= fields(spec)
    cells = rows(spec, "bars")
    told = [cell["bars"] for cell in cells if cell["name"] == "AAAUSDT m"]
    assert told == ["all", "99 % or more", "half or more", "none", "under half"]
    assert [cell["bars"] for cell in cells if cell["name"] == "BBBUSDT m"] == ["all"]
    assert subtitle(spec) == "a cell is a day: 3 days with gaps, 1 empty; 1 outlier (triangles)"


def test_without_outliers_nothing_is_placed_by_them() -> None:
    """Vega warns on the page's console of marks that no row places: "Infinite extent for field middle"."""
    spec = drawn(quality_over_time(days({0: 1.0, 1: 0.5}), "x"))
    assert "middle" not in fields(spec)
    assert subtitle(spec) == "a cell is a day: 1 day with gaps, 0 empty; no outliers"


def test_many_days_are_gathered_to_weeks_and_years_to_months() -> None:
    weeks = drawn(quality_over_time(days(dict.fromkeys(range(500), 1.0)), "x"))
    assert len(rows(weeks, "bars")) == 72  # 500 / 7, and a Monday begins the first
    months = drawn(quality_over_time(days(dict.fromkeys(range(4000), 1.0)), "x"))
    assert len(rows(months, "bars")) == 132  # 2024-01 to 2034-12


def test_a_cell_is_the_mean_of_its_days_and_a_day_that_is_not_there_counts_nothing() -> None:
    weeks = count_quality(days({0: 1.0, 6: 0.75, 7: 1.0}, outliers=[0, 6]), "1w")
    assert weeks.select("completeness", "filled", "outliers", "cell").rows() == [
        (1.75 / 7, 1, 2, "week of 2024-01-01"),
        (1.0, 0, 0, "week of 2024-01-08"),
    ]


def test_no_days_are_said_to_be_none() -> None:
    assert says_nothing(quality_over_time(days({}), "a title"))


def test_conflicts_are_counted_by_day_and_pair_of_files() -> None:
    at = [dt.datetime(2024, 3, day, hour, tzinfo=dt.UTC) for day, hour in ((1, 0), (1, 5), (2, 0))]
    told = {"open_time": at, "_file": ["a.csv", "a.csv", "b.csv"], "_file_won": "c.csv", "why": "newer file"}
    spec = drawn(conflicts_over_time(pl.DataFrame(told), "a title"))
    assert [(row["pair"], row["bars"]) for row in rows(spec, "pair")] == [
        ("a.csv says, c.csv stands", 2),
        ("b.csv says, c.csv stands", 1),
    ]
    assert subtitle(spec) == "3 statements that the table does not show, of 2 pairs of files"
