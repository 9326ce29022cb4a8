from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from klines import bar, hours, place

from lakehouse import Lake, ingest, withdraw
from lakehouse.bronze import plan, standing
from lakehouse.contracts import Revision
from lakehouse.errors import InputError
from lakehouse.status import read_status

A, B = "A_BTCUSDT_1h.csv", "B_BTCUSDT_1h.csv"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A states hours 0 to 4, B corrects hours 3 to 5."""
    place(tmp_path, A, hours(0, 4, 11.0))
    place(tmp_path, B, hours(3, 5, 12.0), at=5)
    lake = Lake(tmp_path)
    ingest(lake)
    return lake


def closes(lake: Lake) -> dict[int, float]:
    rows = lake.bronze.scan().sort("open_time").select(pl.col("open_time").dt.hour(), "close")
    return dict(rows.collect().iter_rows())


def statuses(lake: Lake) -> list[tuple[str, str]]:
    return sorted(lake.ledger.scan().select("path", "status").collect().iter_rows())


def declare(lake: Lake, text: str) -> None:
    (Path(lake.root) / "raw" / "sources.toml").write_text(text)


def test_bars_go_back_to_what_other_files_state_and_the_others_go(lake: Lake) -> None:
    before = lake.bronze.version()
    report = withdraw(lake, "B*")
    assert report.files.select("path", "status").rows() == [(B, "withdrawn")]
    assert closes(lake) == dict.fromkeys(range(5), 11.0)
    assert lake.conflicts.scan().collect().is_empty()
    told = lake.bronze.versions().select("operation", "updated", "deleted").row(0)
    assert told == ("WITHDRAW", 2, 1)
    assert lake.bronze.scan(version=before).collect().height == 6


def test_what_was_withdrawn_stays_away_until_it_changes_or_is_asked_for(lake: Lake) -> None:
    withdraw(lake, B)
    versions = lake.bronze.version(), lake.ledger.version()
    assert ingest(lake).files.is_empty()
    assert (lake.bronze.version(), lake.ledger.version()) == versions
    assert read_status(lake).withdrawn["path"].to_list() == [B]
    assert ingest(lake, again=B).updated == 2
    assert closes(lake) == {**dict.fromkeys(range(3), 11.0), 3: 12.0, 4: 12.0, 5: 12.0}
    withdraw(lake, B)
    place(Path(lake.root), B, [bar(0, 13.0)], at=5)
    assert ingest(lake).updated == 1


def test_a_file_that_is_gone_from_raw_can_be_withdrawn(lake: Lake) -> None:
    (Path(lake.root) / "raw" / A).unlink()
    withdraw(lake, A)
    assert closes(lake) == {3: 12.0, 4: 12.0, 5: 12.0}


def test_a_file_that_only_confirmed_is_withdrawn_with_what_it_kept_standing(tmp_path: Path) -> None:
    """A and C agree; B, of a time between theirs, says otherwise and lost against C, which no row shows."""
    place(tmp_path, A, [bar(0, 11.0)], at=0)
    lake = Lake(tmp_path)
    ingest(lake)
    place(tmp_path, "C_BTCUSDT_1h.csv", [bar(0, 11.0)], at=9)
    ingest(lake)
    place(tmp_path, B, [bar(0, 12.0)], at=5)
    ingest(lake)
    assert closes(lake) == {0: 11.0}
    withdraw(lake, "C*")
    assert closes(lake) == {0: 12.0}


def test_a_withdrawal_can_be_gone_back_behind(lake: Lake) -> None:
    withdraw(lake, B)
    lake.bronze.restore(1)
    assert (closes(lake)[5], statuses(lake)) == (12.0, [(A, "loaded"), (B, "loaded")])
    lake.bronze.restore(2)
    assert (5 in closes(lake), statuses(lake)) == (False, [(A, "loaded"), (B, "withdrawn")])


def test_however_much_overlaps_a_withdrawal_it_is_read_slice_by_slice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "SLICE_BYTES", 100)
    before = lake.bronze.version()
    withdraw(lake, "B*")
    assert closes(lake) == dict.fromkeys(range(5), 11.0)
    assert lake.conflicts.scan().collect().is_empty()
    assert lake.bronze.version() > before + 1
    lake.bronze.restore(before)
    assert (closes(lake)[5], statuses(lake)) == (12.0, [(A, "loaded"), (B, "loaded")])


def test_a_file_without_bars_that_is_declared_otherwise_is_looked_at_once(lake: Lake) -> None:
    place(Path(lake.root), "C_BTCUSDT_1h.csv", [], at=9)
    ingest(lake)
    declare(lake, '[[source]]\nglob = "C*"\nsymbol = "ETHUSDT"\n')
    assert ingest(lake).files["status"].to_list() == ["empty"]
    assert plan(lake).pending == ()


def test_withdrawing_what_does_not_stand_is_an_error(lake: Lake) -> None:
    with pytest.raises(InputError, match=r"withdraw: no file that stands in the ledger is like 'X\*'"):
        withdraw(lake, "X*")


def test_a_file_that_is_declared_to_be_something_else_is_stated_anew(lake: Lake) -> None:
    declare(lake, '[[source]]\nglob = "B*"\nsymbol = "ETHUSDT"\n')
    report = ingest(lake)
    assert (report.inserted, report.files["symbol"].to_list()) == (3, ["ETHUSDT"])
    rows = lake.bronze.scan().group_by("symbol", "close").len().sort("symbol").collect().rows()
    assert rows == [("BTCUSDT", 11.0, 5), ("ETHUSDT", 12.0, 3)]
    assert ingest(lake).files.is_empty()
    declare(lake, "")
    ingest(lake)
    assert closes(lake) == {0: 11.0, 1: 11.0, 2: 11.0, 3: 12.0, 4: 12.0, 5: 12.0}


def test_a_file_that_is_ignored_from_now_on_is_taken_back_and_comes_again_when_it_is_not(lake: Lake) -> None:
    declare(lake, '[[source]]\nglob = "B*"\nignore = true\n')
    assert ingest(lake).files.is_empty()
    assert closes(lake) == dict.fromkeys(range(5), 11.0)
    versions = lake.bronze.version(), lake.ledger.version()
    ingest(lake)
    assert (lake.bronze.version(), lake.ledger.version()) == versions
    declare(lake, "")
    ingest(lake)
    assert closes(lake)[5] == 12.0


def test_a_preference_costs_no_bar_of_a_file_that_is_gone(lake: Lake) -> None:
    (Path(lake.root) / "raw" / A).unlink()
    declare(lake, '[[source]]\nglob = "B*"\nprefer = 1\n')
    ingest(lake)
    assert closes(lake) == {0: 11.0, 1: 11.0, 2: 11.0, 3: 12.0, 4: 12.0, 5: 12.0}


def test_a_ledger_of_an_older_lake_is_read_and_brought_forward(lake: Lake) -> None:
    """Before 0.2 it had no `overruled`, and nothing of what was declared."""
    new = ["overruled", "note", "contradicts", "declared", "read_as", "read_by", "withdrawn_version"]
    rows = lake.ledger.scan().drop(new).collect()
    write_deltalake(lake.ledger.uri, rows, mode="overwrite", schema_mode="overwrite")
    assert list(read_status(lake).runs["overruled"]) == [0]
    assert lake.ledger.scan().collect().columns == Revision.column_names()
    assert ingest(lake).files.is_empty()
    declare(lake, '[[source]]\nglob = "B*"\nsymbol = "ETHUSDT"\n')
    assert ingest(lake).inserted == 3
    assert closes(lake).keys() == {0, 1, 2, 3, 4, 5}
    assert lake.bronze.scan().filter(symbol="BTCUSDT").collect().height == 5
