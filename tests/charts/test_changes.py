from __future__ import annotations

import datetime as dt

import polars as pl
from drawing import START, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.changes import MAX_UPDATES, before_after, changes_map

HOUR = dt.timedelta(hours=1)


def changes(*found: tuple[int, str, float | None, float | None]) -> pl.DataFrame:
    """Hours since the start, kind of change, close before, close after."""
    schema = {"hour": pl.Int64, "change": pl.String, "close_before": pl.Float64, "close_after": pl.Float64}
    frame = pl.DataFrame(list(found), schema=schema, orient="row")
    return frame.select(pl.exclude("hour"), open_time=pl.lit(START) + pl.duration(hours="hour"))


def test_the_map_counts_changes_by_day_and_hour_for_each_kind() -> None:
    spec = drawn(
        changes_map(changes((1, "inserted", None, 5), (1, "inserted", None, 6), (30, "updated", 1, 2)), "a title")
    )
    assert {"left", "right", "hour", "bars"} <= fields(spec)
    assert len(spec["vconcat"]) == 2
    (inserted,) = next(data for data in spec["datasets"].values() if data[0]["change"] == "inserted")
    assert (inserted["time"], inserted["hour"], inserted["bars"]) == ("Mon 2024-01-01", 1, 2)
    assert subtitle(spec) == "2 inserted, 1 updated; 2024-01-01 to 2024-01-02; a cell is an hour"


def test_a_long_span_is_mapped_by_week_or_month() -> None:
    spec = drawn(changes_map(changes(*[(25 * n, "inserted", None, 1) for n in range(3000)]), "a title"))  # nine years
    assert sum(row["bars"] for row in rows(spec, "bars")) == 3000
    assert subtitle(spec).endswith("a cell is an hour of the day in all of a month")


def test_dumbbells_go_from_before_to_after() -> None:
    found = changes((0, "updated", 100, 110), (1, "updated", 100, 95), (2, "inserted", None, 7), (3, "updated", 1, 1))
    spec = drawn(before_after(found, "close", "a title"))
    assert {"before", "after", "percent", "place"} <= fields(spec)
    assert [(row["before"], row["after"], row["percent"]) for row in rows(spec, "percent")] == [
        (100, 110, 10),
        (100, 95, -5),
    ]
    assert subtitle(spec) == "close of 2 updated bars: 1 up, 1 down; ○ before, ● after"


def test_only_the_largest_changes_are_drawn() -> None:
    found = changes(*[(n, "updated", 100, 101 + n) for n in range(300)])
    drawn_rows = rows(drawn(before_after(found, "close", "a title")), "percent")
    assert [row["after"] for row in drawn_rows] == [float(101 + n) for n in range(300 - MAX_UPDATES, 300)]


def test_a_change_from_zero_has_no_percentage() -> None:
    (row,) = rows(drawn(before_after(changes((0, "updated", 0, 5)), "close", "a title")), "percent")
    assert row["percent"] is None


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(changes_map(changes(), "a title"))
    assert says_nothing(before_after(changes(), "close", "a title"))
    assert says_nothing(before_after(changes((0, "inserted", None, 5)), "close", "a title"))
