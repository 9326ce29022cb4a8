from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.raw.units import SOME_BARS, are_off, proven

LOWS, PIECES, PARTS = st.sampled_from([0.0, 1.0, 90.5]), st.sampled_from([0.0, 1.0, 3.0, 49.0, 50.0, 51.0, 2.5]), 12
BARS = st.tuples(LOWS, st.sampled_from([1.0, 1.1]), PIECES, st.integers(0, PARTS))


@given(st.lists(st.lists(BARS, min_size=1, max_size=SOME_BARS + 5), min_size=1, max_size=4))
def test_the_units_of_many_files_at_once_are_judged_as_those_of_each(
    files: list[list[tuple[float, float, float, int]]],
) -> None:
    """What is paid lies about low and high, just inside and just outside of what rounding explains."""
    paid = [
        [(low, low * rise, pieces, low * pieces * (0.9 + part / 40)) for low, rise, pieces, part in bars]
        for bars in files
    ]
    numbers = pl.Series([number for number, bars in enumerate(paid) for _ in bars])
    rows = pl.DataFrame([bar for bars in paid for bar in bars], ["low", "high", "volume", "quote_volume"], orient="row")
    each = [proven(("", *bar) for bar in bars[:SOME_BARS]) is False for bars in paid]
    assert are_off(rows, numbers) == each
