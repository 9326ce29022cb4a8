from __future__ import annotations

import datetime as dt
import json
import re
from itertools import pairwise

import polars as pl
import pytest
from drawing import START, bars, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.candlestick import MAX_BARS, candles, rebar
from lakehouse.charts.changes import changes_map
from lakehouse.measures import resample, spacing


def test_four_quarters_make_an_hour() -> None:
    quarters = bars([10, 12, 9, 11, 20], minutes=15)  # highs 11 13 13 12 21, lows 9 9 8 8 10, volumes 1 to 5
    hours, step = rebar(quarters, most=2)
    assert step == 1800  # the span is an hour, so half-hours are two
    hours, step = rebar(quarters, most=1)
    assert step == 3600
    assert hours.rows() == [
        (START, 10.0, 13.0, 8.0, 11.0, 10.0),
        (START + dt.timedelta(hours=1), 11.0, 21.0, 10.0, 20.0, 5.0),
    ]


def test_bars_that_are_few_stay_as_they_are() -> None:
    few = bars([1, 2, 3])
    assert rebar(few)[0].equals(few)
    assert rebar(few)[1] == 3600


def test_a_single_bar_counts_as_an_hour() -> None:
    assert rebar(bars([1]))[1] == 3600


def test_bars_of_three_minutes_are_gathered_into_whole_multiples() -> None:
    coarse, step = rebar(bars([1.0] * 100, minutes=3), most=60)
    assert step == 900  # five minutes would hold one bar or two
    assert coarse["volume"].sum() == 5050  # 1 + 2 + … + 100


@pytest.mark.parametrize("years", [1, 30, 300])
def test_any_span_is_made_small(years: int) -> None:
    time = pl.datetime_range(START, START + dt.timedelta(days=365 * years), "8h", eager=True).alias("open_time")
    one = [pl.lit(1.0).alias(name) for name in ("open", "high", "low", "close", "volume")]
    coarse, _ = rebar(time.to_frame().with_columns(one))
    assert 50 < coarse.height <= MAX_BARS + 2
    assert coarse["volume"].sum() == time.len()


def test_the_spacing_is_the_most_frequent_one() -> None:
    hours = [0, 1, 2, 3, 30, 60, 60, 90]  # gaps and a repetition do not matter
    assert spacing(pl.Series([START + dt.timedelta(hours=hour) for hour in hours])) == 3600


def test_candles_have_prices_volume_and_a_strip_to_zoom_in() -> None:
    spec = drawn(candles(bars([10, 12, 11, 13]), "a title"))
    assert len(spec["vconcat"]) == 3
    assert {"low", "high", "open", "close", "volume", "left", "right", "time"} <= fields(spec)
    brush = next(param for param in spec["params"] if param["name"] == "brush")
    assert brush["select"] == {"type": "interval", "encodings": ["x"]}
    body = spec["vconcat"][0]["layer"][1]
    assert {"filter": {"param": "brush"}} in body["transform"]
    assert body["encoding"]["x"]["scale"] == {"type": "utc", "domain": {"param": "brush"}}
    assert subtitle(spec) == "4 bars, 2024-01-01 00:00 to 2024-01-01 03:00 UTC; drawn as bars of 1 hour"


def test_a_long_series_is_coarse_at_first_and_fine_when_zoomed() -> None:
    spec = drawn(candles(bars([100.0] * 2000), "a title", width=500))
    found = rows(spec, "step")
    assert {row["step"] for row in found} == {3600, 43200}
    assert sum(row["step"] == 3600 for row in found) == 2000
    assert sum(row["volume"] for row in found if row["step"] == 43200) == 2001000  # 1 + 2 + … + 2000
    assert "bars of 12 hours, of 1 hour where one zooms" in subtitle(spec)


def test_years_of_hours_are_gathered_by_way_of_days_to_what_they_themselves_come_to() -> None:
    """19 years: days of them are too many for the finest zoom, 3 days make no month, and a day no week of 3 days."""
    long = bars([float(7 * turn % 1000) for turn in range(19 * 365 * 4)], minutes=360)
    found = pl.DataFrame(rows(drawn(candles(long, "a title")), "step"))
    steps = {"3d": 259200, "1mo": 2592000}
    assert set(found["step"]) == set(steps.values())
    for every, step in steps.items():
        drawn_bars = found.filter(step=step).select("open", "high", "low", "close", "volume")
        assert drawn_bars.equals(resample(long, every).drop("open_time"))


def test_a_gap_breaks_the_strip() -> None:
    later = bars([1, 2, 3], start=START + dt.timedelta(days=5))
    spec = drawn(candles(pl.concat([later, bars([1, 2, 3])]), "a title"))
    strip = rows(spec, "run")
    assert [row["run"] for row in strip] == [0, 0, 0, 0, 1, 1, 1, 1]  # three bars and the end of the last, twice


def test_without_volume_there_is_no_panel_for_it() -> None:
    silent = bars([1, 2, 3]).with_columns(volume=pl.lit(None, pl.Float64))
    assert len(drawn(candles(silent, "a title"))["vconcat"]) == 2


def test_one_bar_is_drawn() -> None:
    assert subtitle(drawn(candles(bars([10]), "a title"))) == "1 bar, 2024-01-01 00:00 UTC"


def test_no_bars_are_said_to_be_none() -> None:
    assert says_nothing(candles(bars([10]).clear(), "a title"))


def test_no_axis_of_time_has_plain_numbers_for_its_ends() -> None:
    """Vega's interpreter, which a page's policy demands, takes one for a year, and draws nothing."""
    changes = bars([1.0, 2.0, 3.0]).select("open_time", change=pl.lit("inserted"))
    for chart in (candles(bars([1.0, 2.0, 3.0]), "a title"), changes_map(changes, "a title")):
        scales = re.findall(r'"scale": ({(?:[^{}]|{[^{}]*})*})', json.dumps(chart.to_dict()))
        timed = [json.loads(scale) for scale in scales if '"utc"' in scale]
        assert timed
        assert not [scale for scale in timed if isinstance(scale.get("domain"), list)]


def test_indicators_are_layers_of_the_bars_as_they_are_drawn() -> None:
    """Closes 1 2 3 4 4: averages of three; deviations of 1 2 3 and 2 3 4 are √(2/3), of 3 4 4 √(2/9)."""
    spec = drawn(candles(bars([1.0, 2.0, 3.0, 4.0, 4.0]), "a title", layers=["ma3", "bollinger3", "rsi2"]))
    held = rows(spec, "ma3")
    assert [row["ma3"] for row in held] == [None, None, 2.0, 3.0, pytest.approx(11 / 3)]
    assert [row["bollinger3"] for row in held] == [row["ma3"] for row in held]
    wide, narrow = 2 * (2 / 3) ** 0.5, 2 * (2 / 9) ** 0.5
    assert [row["bollinger3 low"] for row in held[2:]] == pytest.approx([2 - wide, 3 - wide, 11 / 3 - narrow])
    assert [row["bollinger3 high"] for row in held[2:]] == pytest.approx([2 + wide, 3 + wide, 11 / 3 + narrow])
    assert [row["rsi2"] for row in held] == [None, None, 100.0, 100.0, 100.0]  # nothing fell
    assert len(spec["vconcat"]) == 4  # prices, volume, strength, the strip
    assert {"ma3", "bollinger3", "bollinger3 low", "rsi2"} <= fields(spec)
    assert spec["title"]["subtitle"][1] == "with ma3, bollinger3, rsi2 of these"


def test_an_indicator_that_looks_back_further_than_there_are_bars_says_so() -> None:
    spec = candles(bars([1.0, 2.0]), "a title", layers=["ma2", "ma50"]).to_dict()
    assert spec["title"]["subtitle"][1] == "with ma2, ma50 (too few bars) of these"


def test_an_indicator_of_a_long_series_is_of_each_zoom_s_own_bars() -> None:
    spec = drawn(candles(bars([float(n) for n in range(4000)], minutes=1), "a title", layers=["ma2"]))
    by_step: dict[int, list[dict[str, float]]] = {}
    for row in rows(spec, "ma2"):
        by_step.setdefault(row["step"], []).append(row)
    assert len(by_step) == 2
    for level in by_step.values():
        assert level[0]["ma2"] is None
        for before, row in pairwise(level):
            assert row["ma2"] == pytest.approx((before["close"] + row["close"]) / 2)


@pytest.mark.parametrize("name", ["sma20", "ma", "ma0", "rsi-1"])
def test_an_indicator_that_is_none_is_said(name: str) -> None:
    with pytest.raises(ValueError, match=f"no indicator '{name}'; expected such as ma20"):
        candles(bars([1, 2]), "a title", layers=[name])
