from __future__ import annotations

import math
from pathlib import Path

import pytest
from klines import START, bar, place

from lakehouse import Lake, ingest, refresh_gold, refresh_silver


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Four hours of one day with one missing, an hour of the next; and a bar of a whole day of the same symbol."""
    closes = {0: 10.0, 1: 12.0, 3: 9.0, 24: 11.0}
    place(tmp_path, "m/AAAUSDT_1h.csv", [bar(hour, close, volume=2.0) for hour, close in closes.items()], at=10**7)
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(0, 19.0), bar(24 * 9, 15.0)], at=10**7)
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    return lake


def test_a_day_is_made_from_the_finest_bars_that_it_has(lake: Lake) -> None:
    days = lake.gold.scan().sort("open_time").collect()
    assert days.select("source", "open", "high", "low", "close", "volume", "bars", "expected", "filled").rows() == [
        ("1h", 10.0, 20.0, 5.0, 9.0, 6.0, 3, 24, 1),
        ("1h", 10.0, 20.0, 5.0, 11.0, 2.0, 1, 24, 0),
        ("1d", 10.0, 20.0, 5.0, 15.0, 1.0, 1, 1, 0),
    ]
    first = days.row(0, named=True)
    assert first["open_time"] == START
    assert first["vwap"] == pytest.approx((35 + 37 + 34) / 9)  # typical prices, of equal volumes
    assert first["realised_volatility"] == pytest.approx(math.hypot(math.log(12 / 10), math.log(9 / 12)))
    assert first["max_drawdown"] == pytest.approx(1 - 9 / 12)
    assert first["completeness"] == 3 / 24


def test_weeks_and_months_are_made_from_days(lake: Lake) -> None:
    weeks = lake.weekly.scan().sort("open_time").collect()
    assert weeks["open_time"].dt.to_string("%a %d %b").to_list() == ["Mon 26 Feb", "Mon 04 Mar"]
    month = lake.monthly.scan().collect().row(0, named=True)
    assert (month["open"], month["close"], month["volume"], month["bars"]) == (10.0, 15.0, 9.0, 5)
    assert month["expected"] == 31 * 24
    assert month["source"] == "1h"


def test_a_price_is_weighted_only_by_what_has_a_weight_and_counts_may_be_absurd(tmp_path: Path) -> None:
    head = "open_time,open,high,low,close,volume,quote_volume,trades"
    lines = ["2024-03-01 00:00,10,20,5,10,,100,9000000000000000000", "2024-03-01 01:00,10,20,5,10,1,10,"]
    more = [
        "2024-03-01 02:00,1e-300,1e-300,1e-300,1e-300,,,9000000000000000000",
        "2024-03-01 03:00" + ",1e300" * 4 + ",,,",
    ]
    place(tmp_path, "AAAUSDT_1h.csv", [head, *lines, *more], header=False)
    lake = Lake(tmp_path)
    assert ingest(lake).inserted == 4
    refresh_silver(lake)
    refresh_gold(lake)
    for table in (lake.gold, lake.monthly):
        vwap, trades, volatility = table.scan().select("vwap", "trades", "realised_volatility").collect().row(0)
        assert (vwap, trades) == (10.0, None)
        assert volatility == pytest.approx(math.log(10 / 1e-300))  # the leap to 1e300 is beyond all numbers


def test_prices_of_nothing_and_amounts_beyond_all_numbers_spoil_no_day(tmp_path: Path) -> None:
    times = [int(START.timestamp()) * 1000 + hour * 3_600_000 for hour in range(3)]
    place(tmp_path, "m/AAAUSDT_1h.csv", [f"{time},0,0,0,0,0" for time in times])
    place(tmp_path, "m/BBBUSDT_1h.csv", [f"{time},1e300,1e300,1e300,1e300,1e308" for time in times])
    place(
        tmp_path,
        "m/CCCUSDT_1h.csv",
        [f"{time},-2,-1,-9,{close},1" for time, close in zip(times, (-2, -8, -3), strict=True)],
    )
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    days = lake.gold.scan().sort("symbol").select("symbol", "volume", "vwap", "max_drawdown").collect().rows()
    assert days == [("AAAUSDT", 0.0, None, 0.0), ("BBBUSDT", None, None, 0.0), ("CCCUSDT", 3.0, days[2][2], 0.0)]
    assert days[2][2] == pytest.approx(((-1 - 9 - 2) + (-1 - 9 - 8) + (-1 - 9 - 3)) / 9)
    assert lake.monthly.scan().collect().height == 3
