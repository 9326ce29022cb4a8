from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from klines import bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.bronze.batch import read_batches
from lakehouse.bronze.plan import Plan, plan
from lakehouse.bronze.settle import joined
from lakehouse.bronze.standing import confirmed_by_newer

LATE = "AAAUSDT_1h_m.csv"


def waiting(lake: Lake) -> pl.DataFrame:
    """What the files that are not loaded yet state."""
    found = [stated for batch in read_batches(lake, plan(lake)) for stated in batch.statements.values()]
    return pl.concat(joined(stated, "open_time") for stated in found)


def lost(lake: Lake, rows: pl.DataFrame) -> list[int]:
    found = confirmed_by_newer(lake, rows, lake.bronze.open_or_create(), Plan((), 0))
    assert found.columns == list(lake.dataset.key)
    return sorted(found["open_time"].dt.hour())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Hours 1 and 2 were stated 20 s after START; a late file, stated at 10 s, comes with hours 0 to 3."""
    lake = Lake(place(tmp_path, "AAAUSDT_1h_x.csv", hours(1, 2), at=20).parents[1])
    ingest(lake)
    place(tmp_path, LATE, hours(0, 3, close=8.0), at=10)
    return lake


def test_without_a_ledger_nothing_is_lost(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, LATE, hours(0, 3)).parents[1])
    assert lost(lake, waiting(lake)) == []


@pytest.mark.parametrize(
    ("name", "at", "hours_lost"),
    [
        ("AAAUSDT_1h_a.csv", 9, []),
        ("AAAUSDT_1h_a.csv", 11, [1, 2]),
        ("AAAUSDT_1h_a.csv", 10, []),  # of the same time: the path decides
        ("AAAUSDT_1h_x.csv", 10, [1, 2]),
    ],
)
def test_a_row_loses_where_a_newer_file_states_its_key(
    name: str, at: int, hours_lost: list[int], tmp_path: Path
) -> None:
    lake = Lake(place(tmp_path, name, hours(1, 2), at=at).parents[1])
    ingest(lake)
    place(tmp_path, LATE, hours(0, 3, close=8.0), at=10)
    assert lost(lake, waiting(lake)) == hours_lost


def test_what_another_series_states_does_not_count(lake: Lake) -> None:
    place(Path(lake.root), "BBBUSDT_1h.csv", hours(3, 3), at=20)
    ingest(lake)
    place(Path(lake.root), LATE, hours(0, 3, close=7.0), at=15)
    assert lost(lake, waiting(lake)) == [1, 2]


def test_only_a_file_that_is_still_what_was_loaded_has_a_say(lake: Lake) -> None:
    rows = waiting(lake)
    assert lost(lake, rows) == [1, 2]
    newer = place(Path(lake.root), "AAAUSDT_1h_x.csv", hours(0, 3, close=9.0), at=30)
    assert lost(lake, rows) == []  # a later revision: it has its say when it is loaded
    newer.unlink()
    assert lost(lake, rows) == []


def test_a_file_that_was_rolled_back_has_no_say(lake: Lake) -> None:
    rows = waiting(lake)
    lake.bronze.restore(0)
    assert lost(lake, rows) == []


def test_a_file_that_agreed_has_a_say_before_the_ledger_knows_it(lake: Lake) -> None:
    place(Path(lake.root), "AAAUSDT_1h_y.csv", hours(2, 2), at=30)
    ingest(lake)
    place(Path(lake.root), LATE, hours(0, 3, close=7.0), at=25)
    rows = waiting(lake)
    shutil.rmtree(lake.ledger.uri)  # as if its writer had been stopped before
    assert lost(lake, rows) == [2]
    lake.bronze.restore(-2)
    assert lost(lake, rows) == []


def test_in_a_file_that_runs_backwards_an_earlier_line_wins(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, LATE, [bar(2), bar(1, close=12.0), bar(1, close=8.0), bar(0)]).parents[1])
    rows = waiting(lake)
    assert lost(lake, rows.filter(pl.col("_line") == 4)) == [1]
    assert lost(lake, rows.filter(pl.col("_line") != 4)) == []


def test_in_a_file_that_runs_forwards_an_earlier_line_has_no_say(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, LATE, [bar(0), bar(1, close=12.0), bar(1, close=8.0), bar(2)]).parents[1])
    assert lost(lake, waiting(lake)) == []
