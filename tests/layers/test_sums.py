"""Law 5 down to the last digit: what a day comes to depends on nothing but its own bars."""

from __future__ import annotations

import datetime as dt
import math
import os
import subprocess
import sys
from functools import reduce
from operator import add
from pathlib import Path
from random import Random

import polars as pl
import pytest
from histories import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from klines import START

from lakehouse.contracts import SilverCandle
from lakehouse.layers.gold import make_days, make_periods

AMOUNTS = ("volume", "quote_volume", "log_return")
BARS = 288  # a day: more than the 128 that Polars adds up as a block
DIGEST = """
import sys
import polars as pl
from test_sums import bars_of
from lakehouse.layers.gold import make_days, make_periods
days = make_days(bars_of(range(40), 7))
print(pl.thread_pool_size(), days.hash_rows().implode().hash().item(), make_periods(days, "1w").hash_rows().to_list())
"""


def bars_of(days: range, seed: int) -> pl.DataFrame:
    """Silver bars of five minutes, amounts of any size and often unknown; a day is the same in any range."""
    schema = SilverCandle.create_empty().schema
    flags = dict.fromkeys(("is_filled", "is_off_grid", "closes_early", "is_unfinished"), False)
    series = {"market": "m", "symbol": "A", "interval": "5m", "high": 120.0, "low": 80.0}
    rows = []
    for day in days:
        draw = Random(seed * 1000 + day)
        known = draw.choice([1.0, 0.9])  # days that lack nothing stand beside others that do
        for turn in range(BARS):
            told = {name: math.exp(draw.uniform(-15, 15)) if draw.random() < known else None for name in AMOUNTS}
            at = START + dt.timedelta(days=day, minutes=5 * turn)
            rows.append({"open_time": at, "open": draw.uniform(90, 110), "close": draw.uniform(90, 110), **told})
    return pl.DataFrame([{**series, **flags, **row} for row in rows], schema=schema)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 5), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_day_has_the_same_bits_beside_any_neighbours(seed: int, sizes: list[int], shuffler: Random) -> None:
    bars = bars_of(range(sum(sizes)), seed)
    whole = make_days(bars)
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    parts = [bars[BARS * (end - size) : BARS * end] for end, size in zip(ends, sizes, strict=True)]
    assert pl.concat([make_days(part) for part in parts]).equals(whole, null_equal=True)
    shuffler.shuffle(parts)
    assert make_days(pl.concat(parts, rechunk=False)).equals(whole, null_equal=True)
    weeks = make_periods(whole, "1w")
    first = weeks["open_time"].to_list()
    alone = [make_periods(whole.filter(pl.col("open_time").dt.truncate("1w") == week), "1w") for week in first]
    assert pl.concat(alone).equals(weeks, null_equal=True)


def test_a_sum_is_that_of_its_rows_one_by_one() -> None:
    bars, days = bars_of(range(3), 5), make_days(bars_of(range(3), 5))
    for day in range(3):
        volumes = bars[BARS * day : BARS * (day + 1)]["volume"].drop_nulls().to_list()
        assert days["volume"][day] == reduce(add, volumes, 0.0)


@pytest.mark.slow
def test_a_day_has_the_same_bits_with_any_number_of_threads() -> None:
    told = []
    for threads in ("1", "4"):
        env = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONPATH": str(Path(__file__).parent)}
        env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[1])
        done = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, env=env)
        told.append(done.stdout.split(maxsplit=1))
    assert [threads for threads, _ in told] == ["1", "4"]
    assert told[0][1] == told[1][1]
