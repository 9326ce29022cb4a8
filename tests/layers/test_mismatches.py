"""Bars that do not add up: what is held against what, and that nothing is said of what cannot be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from klines import START, bar, hours, place

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.layers import read_mismatches, read_quality

HEADER = "open_time,open,high,low,close,volume,quote_volume,trades"


def line(hour: int, values: str) -> str:
    return f"{int((START + dt.timedelta(hours=hour)).timestamp() * 1000)},{values}"


def mismatches(root: Path) -> list[tuple[object, ...]]:
    """Ingest and refresh; what is told: interval, day, field, finer, stated, folded."""
    lake = Lake(root)
    ingest(lake)
    refresh_silver(lake)
    rows = lake.mismatches.scan().sort("interval", "open_time", "field").collect()
    day = [(time - START) / dt.timedelta(days=1) for time in rows["open_time"]]
    told = rows.select("interval", "field", "finer", "stated", "folded").rows()
    return [(interval, when, *rest) for (interval, *rest), when in zip(told, day, strict=True)]


def test_each_field_is_held_against_all_its_parts(tmp_path: Path) -> None:
    parts = [line(0, "10,12,9,11,1,10.5,3"), line(12, "11,15,8,14,2,26,4")]
    place(tmp_path, "m/AAAUSDT_12h.csv", [HEADER, *parts], header=False)
    place(tmp_path, "m/BBBUSDT_12h.csv", [HEADER, *parts], header=False)
    place(tmp_path, "m/AAAUSDT_1d.csv", [HEADER, line(0, "10,15,8,14,3,36.5,7")], header=False)
    place(tmp_path, "m/BBBUSDT_1d.csv", [HEADER, line(0, "11,16,7,12,4,40,8")], header=False)
    assert mismatches(tmp_path) == [
        ("1d", 0, "close", "12h", 12, 14),
        ("1d", 0, "high", "12h", 16, 15),
        ("1d", 0, "low", "12h", 7, 8),
        ("1d", 0, "open", "12h", 11, 10),
        ("1d", 0, "quote_volume", "12h", 40, 36.5),
        ("1d", 0, "trades", "12h", 8, 7),
        ("1d", 0, "volume", "12h", 4, 3),
    ]


def test_a_bar_of_which_a_part_is_missing_filled_or_off_its_grid_is_held_against_nothing(tmp_path: Path) -> None:
    late = [bar(hour).replace("000,", "250,", 1) for hour in (30, 96)]  # a quarter of a second
    place(tmp_path, "m/AAAUSDT_1h.csv", [*hours(0, 4), *hours(6, 29), late[0], *hours(31, 70), *hours(72, 119)])
    place(tmp_path, "m/AAAUSDT_1d.csv", [*(bar(24 * day, volume=99.0) for day in range(4)), late[1]])
    assert mismatches(tmp_path) == [("1d", 3, "volume", "1h", 99, 24)]


def test_the_longest_finer_interval_counts_that_is_whole_bar_by_bar(tmp_path: Path) -> None:
    place(tmp_path, "m/AAAUSDT_1h.csv", hours(0, 71))
    place(tmp_path, "m/AAAUSDT_6h.csv", [bar(6 * turn, volume=6.0) for turn in (0, 1, 2, 3, 5, 6, 7)])
    place(tmp_path, "m/AAAUSDT_7h.csv", [bar(7 * turn, volume=70.0) for turn in range(10)])  # no part of a day
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(24 * day, volume=23.0) for day in range(3)])
    found = [told for told in mismatches(tmp_path) if told[0] != "7h"]
    assert found == [("1d", day, "volume", finer, 23, 24) for day, finer in [(0, "6h"), (1, "1h"), (2, "1h")]]


def test_weeks_and_months_are_held_against_their_days(tmp_path: Path) -> None:
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(24 * day) for day in range(61)])  # March and April
    monday = 3 * 24  # 4 March 2024
    place(tmp_path, "m/AAAUSDT_1w.csv", [bar(monday, volume=7.0), bar(monday + 168, volume=8.0)])
    place(tmp_path, "m/AAAUSDT_1mo.csv", [bar(0, volume=31.0), bar(31 * 24, volume=31.0)])
    assert mismatches(tmp_path) == [("1mo", 31, "volume", "1d", 31, 30), ("1w", 10, "volume", "1d", 8, 7)]


def test_months_are_parts_of_nothing_for_they_are_not_of_one_length(tmp_path: Path) -> None:
    january = (dt.datetime(2071, 1, 1, tzinfo=dt.UTC) - START).days  # here 62 days begin; two months end before them
    place(tmp_path, "m/AAAUSDT_1mo.csv", [bar(24 * january), bar(24 * (january + 31))])
    place(tmp_path, "m/AAAUSDT_62d.csv", [bar(24 * january, volume=3.0), bar(24 * (january + 62))])
    assert mismatches(tmp_path) == []
    assert read_quality(Lake(tmp_path))["bars"].to_list() == [2, 2]


def test_what_is_not_known_says_nothing_and_the_last_digit_of_a_sum_neither(tmp_path: Path) -> None:
    tenths = [bar(hour, volume=0.1) for hour in range(24)]  # which come to 2.4000000000000004
    place(tmp_path, "m/AAAUSDT_1h.csv", [*tenths, *hours(24, 46), bar(47).rsplit(",", 1)[0] + ","])
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(0, volume=2.4), bar(24, volume=99.0)])
    assert mismatches(tmp_path) == []


@pytest.mark.slow
def test_only_the_parts_of_a_bar_that_has_changed_are_read(tmp_path: Path) -> None:
    """Law 4: the other months of hours, and the other symbol, are moved away."""
    for symbol in ("AAAUSDT", "BBBUSDT"):
        for month in range(3):
            place(tmp_path, f"m/{symbol}-1h-{month}.csv", hours(720 * month, 720 * month + 719))
            place(tmp_path, f"m/{symbol}-1d-{month}.csv", [bar(720 * month + 24 * day, volume=24) for day in range(30)])
            assert mismatches(tmp_path) == []
    lake = Lake(tmp_path)
    hourly = lake.silver.files().filter(interval="1h").sort("symbol", "max.open_time")
    assert hourly.height == 6
    place(tmp_path, "m/AAAUSDT-1d-new.csv", [bar(1200, volume=25.0)], at=9)
    ingest(lake)
    away = [Path(lake.silver.uri, path) for path in hourly["path"][[0, 2, 3, 4, 5]]]
    for path in away:
        path.rename(path.with_suffix(".away"))
    assert mismatches(tmp_path) == [("1d", 50, "volume", "1h", 25, 24)]
    for path in away:
        path.with_suffix(".away").rename(path)
    place(tmp_path, "m/AAAUSDT-1h-new.csv", [bar(1210, volume=2.0)], at=9)
    assert mismatches(tmp_path) == []


def test_what_does_not_add_up_is_told_by_series(tmp_path: Path) -> None:
    place(tmp_path, "m/AAAUSDT_1h.csv", hours(0, 95))
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(0, volume=24.0), bar(24, close=11.0, volume=9.0), bar(48, volume=0.1)])
    mismatches(tmp_path)
    lake = Lake(tmp_path)
    assert read_quality(lake).select("interval", "mismatched").rows() == [("1d", 2), ("1h", 0)]
    told = "2024-03-03 00:00, volume is 0.1, but its 1h bars come to 24.0"
    assert read_mismatches(lake).rows() == [("m", "AAAUSDT", "1d", 2, "1 close, 2 volume", told)]


@pytest.mark.parametrize("finer_first", [True, False])
def test_a_bar_is_held_against_parts_that_come_before_or_after_it(tmp_path: Path, finer_first: bool) -> None:
    files = [("m/AAAUSDT_1h.csv", hours(0, 47)), ("m/AAAUSDT_1d.csv", [bar(0, volume=24.0), bar(24, volume=23.0)])]
    first, then = files if finer_first else reversed(files)
    place(tmp_path, *first)
    assert mismatches(tmp_path) == []
    place(tmp_path, *then)
    assert mismatches(tmp_path) == [("1d", 1, "volume", "1h", 23, 24)]
