from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from drawing import bars
from klines import bar, hours, place

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.layers.quality import read_quality
from lakehouse.measures import (
    MONTH,
    bollinger,
    change,
    completeness,
    count_missing,
    draw_down,
    find_gaps,
    moving_average,
    resample,
    rsi,
    spell,
    spell_change,
    spell_part,
)
from lakehouse.reports import choose_bars, read_bars
from lakehouse.status import read_series


@pytest.mark.parametrize("power", range(-9, 13))
def test_numbers_keep_their_meaning_from_a_billionth_to_a_billion_thousand(power: int) -> None:
    value = 1.23456789 * 10.0**power
    told = spell(value)
    assert "e" not in told.lower()
    assert math.isclose(float(told.replace(",", "")), value, rel_tol=1e-11)
    assert spell(int(Decimal("1.917325577") * 10**9)) == "1,917,325,577"
    assert (spell(0.1 + 0.2), spell(15502243078.700001), spell(0.000019)) == ("0.3", "15,502,243,078.7", "0.000019")


def test_only_all_of_it_is_a_hundred_percent() -> None:
    assert [spell_part(part) for part in (1.0, 0.999999, 2199 / 2208, 0.29, 0.0, None)] == [
        *("100.00 %", "99.99 %", "99.59 %", "29.00 %", "0.00 %", "–"),
    ]
    assert (spell_change(0.0828), spell_change(-0.5)) == ("+8.28 %", "−50.00 %")


def test_a_draw_down_is_the_largest_fall_from_any_height_before_not_that_of_a_day() -> None:
    falling = bars([100.0, 120.0, 90.0, 95.0, 60.0, 110.0])
    assert draw_down(falling) == pytest.approx(1 - 60 / 120)
    assert change(falling) == pytest.approx(110 / 100 - 1)
    assert draw_down(bars([1.0, 2.0, 3.0])) == 0.0


def test_all_that_counts_missing_bars_agrees(tmp_path: Path) -> None:
    """The series itself, the gaps that are listed, silver's account: 0 to 9 and 15 to 20 of 21 hours."""
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 9), *hours(15, 20)])
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    times = lake.bronze.scan().collect()["open_time"].sort()
    (quality,) = read_quality(lake).rows(named=True)
    assert count_missing(times, 3600) == find_gaps(times, 3600)["missing"].sum() == quality["missing"] == 5
    assert completeness(16, 21) == quality["completeness"]
    assert read_series(lake)["last_close"].item() == lake.silver.scan().sort("open_time").collect()["close"][-1]


def test_a_bar_that_is_late_by_less_than_a_second_is_no_gap() -> None:
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    times = pl.Series([begin + dt.timedelta(seconds=second) for second in (0, 1.6, 5)])
    assert find_gaps(times, 1)["missing"].to_list() == [2]


def test_missing_months_are_counted_by_the_calendar() -> None:
    months = [dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 5, 12)]
    assert count_missing(pl.Series(months), MONTH) == 12 - 4


def test_bars_gather_to_coarser_ones() -> None:
    four = resample(bars([1.0, 5.0, 2.0, 4.0, 7.0]), "4h")
    assert four.select("open", "high", "low", "close", "volume").rows() == [
        (1.0, 6.0, 0.0, 4.0, 1.0 + 2 + 3 + 4),
        (4.0, 8.0, 3.0, 7.0, 5.0),
    ]


def test_a_moving_average_and_bollinger_s_bands_as_worked_out_by_hand() -> None:
    rows = bars([1.0, 2.0, 3.0, 6.0])
    assert rows.select(moving_average(3)).to_series().to_list() == [None, None, 2.0, 11 / 3]
    lower, middle, upper = (rows.select(band).to_series()[2] for band in bollinger(3))
    deviation = math.sqrt((1 + 0 + 1) / 3)
    assert (middle, lower, upper) == (2.0, pytest.approx(2 - 2 * deviation), pytest.approx(2 + 2 * deviation))


def test_wilder_s_strength_as_worked_out_by_hand() -> None:
    # moves +1 −1 +2 +1 of two: averages 0.5 | 0.5, then (0.5 + 2)/2 | 0.25, then (1.25 + 1)/2 | 0.125
    found = bars([1.0, 2.0, 1.0, 3.0, 4.0]).select(rsi(2)).to_series().to_list()
    assert found == [None, None, 50.0, pytest.approx(100 * 1.25 / 1.5), pytest.approx(100 * 1.125 / 1.25)]
    assert bars([1.0, 1.0, 1.0]).select(rsi(2)).to_series()[2] == 50.0


def test_a_month_of_gold_falls_by_days_which_may_be_less_than_its_bars_do(tmp_path: Path) -> None:
    """As the report says beside both: from the middle of one day to that of the next, only daily closes count."""
    closes = {0: 10.0, 1: 20.0, 2: 16.0, 24: 12.0, 25: 8.0, 26: 12.0}
    place(tmp_path, "m/AAAUSDT_1h.csv", [bar(hour, close) for hour, close in closes.items()], at=10**7)
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    held, first, last = choose_bars(lake)
    assert draw_down(read_bars(lake, held, first, last)) == pytest.approx(1 - 8 / 20)
    (month,) = lake.monthly.scan().collect()["max_drawdown"]
    within_a_day, between_closes = max(1 - 16 / 20, 1 - 8 / 12), 1 - 12 / 16
    assert month == pytest.approx(max(within_a_day, between_closes))
