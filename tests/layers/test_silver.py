from __future__ import annotations

import datetime as dt
import math
import random
from pathlib import Path

import polars as pl
import pytest
from klines import HEADER, START, bar, place

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.layers.silver import flag_outliers


def silver_of(root: Path, *lines: str, name: str = "AAAUSDT_1h.csv") -> pl.DataFrame:
    lake = Lake(place(root, name, lines, at=10**7).parents[1])
    ingest(lake)
    refresh_silver(lake)
    return lake.silver.scan().sort("open_time").collect()


def test_short_gaps_are_filled_with_the_last_price_and_long_ones_are_only_listed(tmp_path: Path) -> None:
    rows = silver_of(tmp_path, bar(0, 11.0), bar(4, 12.0), bar(9, 13.0))
    told = rows.select(pl.col("open_time").dt.hour(), "close", "volume", "is_filled").rows()
    filled = [(hour, 11.0, 0.0, True) for hour in (1, 2, 3)]
    assert told == [(0, 11.0, 1.0, False), *filled, (4, 12.0, 1.0, False), (9, 13.0, 1.0, False)]
    assert rows["log_return"].to_list() == [None, 0.0, 0.0, 0.0, math.log(12 / 11), None]
    gaps = Lake(tmp_path).gaps.scan().sort("first").collect()
    hours_of = gaps.select(pl.col("first", "last").dt.hour(), "missing", "is_filled").rows()
    assert hours_of == [(1, 3, 3, True), (5, 8, 4, False)]


def test_a_wick_and_a_spike_are_flagged_and_a_crash_is_not(tmp_path: Path) -> None:
    start = int(START.timestamp() * 1000)
    usual, wick, spike, fallen = "10,10.1,9.9,10,1", "10,10.1,0.06,10,1", "95,96,94,95,1", "1,1.1,0.9,1,1"
    bars = [usual] * 20 + [wick] + [usual] * 19 + [spike] + [usual] * 19 + [fallen] * 40  # a fall to a tenth that stays
    lines = [f"{start + hour * 3_600_000},{values}" for hour, values in enumerate(bars)]
    rows = silver_of(tmp_path, *lines)
    assert rows.filter(pl.col("outlier").is_not_null()).select("open_time", "outlier").rows() == [
        (START.replace(day=1, hour=20), "wick"),
        (START.replace(day=2, hour=16), "spike"),
    ]


@pytest.mark.parametrize(
    ("values", "flagged"),
    [("0,0,0,0,1", None), ("-3,-2,-9,-3,1", None), ("10,10.1,0,10,1", "wick"), ("10,10.1,-5,10,1", "wick")],
)
def test_prices_that_are_not_positive_have_no_ratio(values: str, flagged: str | None, tmp_path: Path) -> None:
    start = int(START.timestamp() * 1000)
    bars = [values if hour == 20 else "10,10.1,9.9,10,1" for hour in range(40)]
    rows = silver_of(tmp_path, *(f"{start + hour * 3_600_000},{bar}" for hour, bar in enumerate(bars)))
    assert rows["outlier"].to_list() == [flagged if hour == 20 else None for hour in range(40)]
    assert rows["log_return"].null_count() == (1 if flagged else 3)


def test_odd_bars_are_kept_and_flagged(tmp_path: Path) -> None:
    millis = int(START.timestamp() * 1000)
    lines = [
        f"{millis},10,20,5,10,1,{millis + 3_599_999}",
        f"{millis + 3_600_000 + 90_000},10,20,5,10,1,{millis + 7_199_999}",  # opens late
        f"{millis + 7_200_000},10,20,5,10,1,{millis + 9_000_000}",  # closes early
    ]
    place(tmp_path, "AAAUSDT_1h.csv", [f"{HEADER},close_time", *lines], at=2 * 3600 + 1800, header=False)
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    flags = ("is_off_grid", "closes_early", "is_unfinished", "is_filled")
    assert lake.silver.scan().sort("open_time").select(flags).collect().rows() == [
        (False, False, False, False),
        (True, False, False, False),
        (False, True, True, False),  # its file was written while it was running
    ]


@pytest.mark.parametrize("interval", ["1w", "1mo"])
def test_weeks_and_months_have_a_grid_too(tmp_path: Path, interval: str) -> None:
    days = (
        ["2024-01-01", "2024-02-01", "2024-04-01"] if interval == "1mo" else ["2024-01-01", "2024-01-08", "2024-01-22"]
    )
    lines = [f"{day} 00:00:00,10,20,5,10,1" for day in days]
    rows = silver_of(tmp_path, *lines, name=f"AAAUSDT_{interval}.csv")
    missing = "2024-03-01" if interval == "1mo" else "2024-01-15"
    assert rows.filter("is_filled")["open_time"].dt.date().cast(pl.String).to_list() == [missing]
    assert not rows["is_off_grid"].any()


@pytest.mark.parametrize("factor", [1.1, 1.6, 1.7, 2.6, 9.0])
def test_a_series_that_is_passed_over_as_calm_has_nothing_that_breaks_a_rule(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one that is wild or not, and whichever way it moves; held against the rules themselves."""
    dice = random.Random(7)
    rows = []
    for symbol, wildest in (("A", factor), ("B", 1.2)):
        for number in range(200):
            most = wildest if number % 20 == 19 else 1.05
            low, high = 100 / dice.uniform(1, most), 100 * dice.uniform(1, most)
            opened, close = (dice.uniform(low, high) for _ in range(2))
            rows.append((symbol, START + dt.timedelta(hours=number), opened, high, low, close))
    schema = ["symbol", "open_time", "open", "high", "low", "close"]
    bars = pl.DataFrame(rows, schema, orient="row").lazy()
    quick = flag_outliers(bars, ("symbol",)).collect()["outlier"]
    monkeypatch.setattr("lakehouse.layers.silver.CALM", 0.0)
    assert quick.to_list() == flag_outliers(bars, ("symbol",)).collect()["outlier"].to_list()
    assert quick.drop_nulls().is_empty() == (factor < 2)
