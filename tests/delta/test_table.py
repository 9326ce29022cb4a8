from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from klines import bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.errors import VersionError


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Versions 0 (made), 1 (five bars) and 2 (one corrected, one new); to be read only."""
    root = tmp_path_factory.mktemp("lake")
    lake = Lake(place(root, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    place(root, "AAAUSDT_1h.csv", [*hours(0, 3), bar(4, close=12.0), bar(5)], at=9)
    ingest(lake)
    return lake


@pytest.mark.parametrize(("version", "bars"), [(None, 6), (0, 0), (1, 5), (2, 6), (-1, 6), (-2, 5), (-3, 0)])
def test_a_version_is_scanned_and_negative_ones_count_from_the_end(lake: Lake, version: int | None, bars: int) -> None:
    assert lake.bronze.scan(version).collect().height == bars


@pytest.mark.parametrize("version", [3, -4])
def test_a_version_that_never_was_is_a_clear_error(lake: Lake, version: int) -> None:
    with pytest.raises(VersionError, match=rf"table 'bronze/candles' has versions 0 to 2, not {version}"):
        lake.bronze.scan(version)


def test_a_time_finds_the_version_that_was_current(lake: Lake) -> None:
    at = dict(lake.bronze.versions().select("version", "at").iter_rows())
    assert lake.bronze.scan(as_of=at[1]).collect().height == 5
    assert lake.bronze.scan(as_of=dt.datetime.now(dt.UTC)).collect().height == 6
    with pytest.raises(VersionError, match=r"begins at .* UTC; nothing is there at 2001"):
        lake.bronze.scan(as_of=dt.datetime(2001, 1, 1))
    with pytest.raises(VersionError, match="not both"):
        lake.bronze.scan(1, at[1])


def test_versions_tell_what_happened(lake: Lake) -> None:
    columns = ("version", "operation", "inserted", "updated", "deleted", "files")
    assert lake.bronze.versions().select(columns).rows() == [
        (2, "MERGE", 1, 1, 0, 1),
        (1, "WRITE", 5, 0, 0, 1),
        (0, "CREATE TABLE", 0, 0, 0, 0),
    ]
    assert lake.bronze.versions()["run"].n_unique() == 3


def test_a_table_that_does_not_exist_yet_says_so(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    assert lake.bronze.version() == -1
    with pytest.raises(VersionError, match="does not exist yet; `lakehouse run` makes it when it is needed"):
        lake.bronze.scan()
