from __future__ import annotations

from pathlib import Path

import pytest
from klines import bar, place

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.layers.quality import find_breaches, read_quality


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Of hours 0 to 24 there are 4, one short gap is filled; of days 0 to 9 there are 2."""
    place(tmp_path, "m/AAAUSDT_1h.csv", [bar(hour) for hour in (0, 1, 3, 24)], at=10**7)
    place(tmp_path, "m/AAAUSDT_1d.csv", [bar(0), bar(24 * 9)], at=10**7)
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    return lake


def test_a_lake_without_silver_has_no_series(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    assert read_quality(Lake(tmp_path)).is_empty()


def test_what_a_series_has_and_lacks_is_counted_and_a_filling_is_no_bar(lake: Lake) -> None:
    quality = read_quality(lake)
    assert quality.select("interval", "bars", "missing", "filled").rows() == [("1d", 2, 8, 0), ("1h", 4, 21, 1)]
    assert quality["completeness"].to_list() == [2 / 10, 4 / 25]


def test_thresholds_are_held_against_what_was_read_and_what_is_there(lake: Lake) -> None:
    quality = read_quality(lake)
    place(Path(lake.root), "m/BBBUSDT_1h.csv", [bar(0), "bad", bar(1), bar(2)], at=10**7)
    account = ingest(lake)
    assert find_breaches(account, quality, 0.25, 0.1) == []
    rejected, sparse = find_breaches(account, quality, 0.24, 0.17)
    assert rejected == "1 of 4 lines were rejected, 25.00 %; at most 24.00 % was asked for"
    assert sparse == "m AAAUSDT 1h is 16.00 % complete; at least 17.00 % was asked for"
