from __future__ import annotations

from pathlib import Path

import pytest
from klines import bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.errors import VersionError


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three files of bars, in versions 1 to 3; the name of the symbol needs quoting in a path."""
    lake = Lake(place(tmp_path, "A'B#C-1h-2024-03.csv", hours(0, 4)).parents[1])
    for turn in range(3):
        place(tmp_path, f"m/{turn}/A'B#C-1h-2024-03.csv", hours(5 * turn, 5 * turn + 4), at=turn)
        (tmp_path / "raw" / "A'B#C-1h-2024-03.csv").unlink(missing_ok=True)
        ingest(lake)
    return lake


def test_optimize_joins_small_files_and_changes_no_row(lake: Lake) -> None:
    before = lake.bronze.scan().sort("open_time").collect()
    assert (lake.bronze.optimize(), lake.bronze.files().height) == (2, 1)
    assert lake.bronze.scan().sort("open_time").collect().equals(before)
    assert lake.bronze.diff(-2, -1).is_empty()
    version = lake.bronze.version()
    assert (lake.bronze.optimize(), lake.bronze.version()) == (0, version)


def test_a_vacuumed_version_is_a_clear_error_and_a_kept_one_is_not(lake: Lake) -> None:
    lake.bronze.optimize()
    would = lake.bronze.vacuum(keep_versions=[1], dry_run=True)
    assert lake.bronze.scan(2).collect().height == 10
    assert lake.bronze.vacuum(keep_versions=[1]) == would
    assert len(would) == 2
    assert lake.bronze.scan(1).collect().height == 5
    assert lake.bronze.scan().collect().height == 15
    for ask in (lambda: lake.bronze.scan(2), lambda: lake.bronze.diff(2, -1), lambda: lake.bronze.restore(3)):
        with pytest.raises(VersionError, match=r"table 'bronze/candles': vacuum has removed \d file"):
            ask()


def test_vacuum_with_nothing_to_remove_adds_no_version(lake: Lake) -> None:
    assert lake.bronze.vacuum() == []
    assert lake.bronze.version() == 3
    with pytest.raises(VersionError, match="has versions 0 to 3, not 9"):
        lake.bronze.vacuum(keep_versions=[9])


def test_ingest_goes_on_after_upkeep(lake: Lake) -> None:
    lake.bronze.optimize()
    lake.bronze.vacuum()
    place(Path(lake.root), "m/9/A'B#C-1h-2024-03.csv", [bar(0, close=7.0), bar(20)], at=30)
    report = ingest(lake)
    assert (report.updated, report.inserted) == (1, 1)
