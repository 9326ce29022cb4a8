from __future__ import annotations

from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from klines import bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.bronze.batch import read_batches
from lakehouse.bronze.ingest import write_batch
from lakehouse.bronze.plan import plan
from lakehouse.errors import InputError


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Version 1: five bars; version 2: hour 4 corrected, hour 5 new; version 3: hour 9 of another file."""
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_late.csv", [bar(4, close=12.0), bar(5)], at=9)
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_last.csv", [bar(9)], at=12)
    ingest(lake)
    return lake


def closes(lake: Lake) -> dict[int, float]:
    return dict(
        lake.bronze.scan().sort("open_time").select(pl.col("open_time").dt.hour(), "close").collect().iter_rows()
    )


def statuses(lake: Lake) -> dict[str, str]:
    return dict(lake.ledger.scan().sort("stated_at", "ingested_at").select("path", "status").collect().iter_rows())


OLD = dict.fromkeys(range(5), 10.0)


def test_a_restore_is_a_new_version_and_the_ledger_tells_what_it_undid(lake: Lake) -> None:
    assert lake.bronze.restore(1) == 4
    assert closes(lake) == OLD
    told = lake.bronze.versions().select("version", "operation", "inserted", "updated", "deleted").row(0)
    assert told == (4, "RESTORE TO 1", 0, 1, 2)
    assert statuses(lake) == {
        "AAAUSDT_1h.csv": "loaded",
        "AAAUSDT_1h_late.csv": "rolled_back",
        "AAAUSDT_1h_last.csv": "rolled_back",
    }


def test_what_was_rolled_back_stays_away_until_it_changes_or_is_asked_for(lake: Lake) -> None:
    lake.bronze.restore(1)
    assert ingest(lake).files.is_empty()
    assert (lake.bronze.version(), closes(lake)) == (4, OLD)
    place(Path(lake.root), "AAAUSDT_1h_last.csv", [bar(9), bar(10)], at=12)
    ingest(lake)
    assert closes(lake) == OLD | {9: 10.0, 10: 10.0}
    report = ingest(lake, again="*late*")
    assert (report.updated, report.inserted) == (1, 1)
    assert closes(lake) == OLD | {4: 12.0, 5: 10.0, 9: 10.0, 10: 10.0}
    report = ingest(lake, again="*")
    assert (report.unchanged, report.overruled) == (8, 1)  # hour 4 is stated twice
    assert set(statuses(lake).values()) == {"loaded"}


def test_going_forth_again_loads_again_what_a_restore_had_undone(lake: Lake) -> None:
    lake.bronze.restore(1)
    lake.bronze.restore(3)
    assert closes(lake) == OLD | {4: 12.0, 5: 10.0, 9: 10.0}
    assert set(statuses(lake).values()) == {"loaded"}
    lake.bronze.restore(4)  # which was version 1
    assert (closes(lake), list(statuses(lake).values()).count("rolled_back")) == (OLD, 2)


def test_the_latest_version_needs_no_restore(lake: Lake) -> None:
    before = lake.ledger.version()
    assert lake.bronze.restore(-1) == lake.bronze.version() == 3
    assert lake.ledger.version() == before


def test_asking_for_files_that_are_not_there_is_an_error(lake: Lake) -> None:
    with pytest.raises(InputError, match=r"again: no file in .*/raw is like 'nothing\*'"):
        ingest(lake, again="nothing*")


def test_a_restore_between_candles_and_ledger_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer has committed its candles; before it enters the file, another goes back."""
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_new.csv", hours(5, 6), at=9)
    (batch,) = read_batches(lake, plan(lake))
    module = import_module("lakehouse.bronze.ingest")

    keep = module._keep_account

    def then_restore(*args: object) -> None:
        keep(*args)  # type: ignore[arg-type]
        lake.bronze.restore(1)

    monkeypatch.setattr(module, "_keep_account", then_restore)
    (row,) = write_batch(lake, batch, "run", plan(lake))
    assert row["status"] == "rolled_back"
    assert statuses(lake)["AAAUSDT_1h_new.csv"] == "rolled_back"
    assert closes(lake) == OLD


def test_other_tables_can_go_back_too(lake: Lake) -> None:
    assert lake.ledger.restore(1) == 4
    assert lake.ledger.scan().collect().height == 1
