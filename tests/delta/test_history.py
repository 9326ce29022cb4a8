from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from klines import START, bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.delta.history import AGREED, LOOK_BACK, agreements, live_versions, read_versions
from lakehouse.errors import VersionError


def grown(path: Path, versions: int) -> DeltaTable:
    """A table with a row a version, versions 0 to `versions` - 1."""
    for number in range(versions):
        notes = {"lakehouse.inserted": "1", "lakehouse.run": f"run-{number}"} if number else {}
        properties = CommitProperties(custom_metadata=notes)
        write_deltalake(str(path), pl.DataFrame({"x": [number]}), mode="append", commit_properties=properties)
    return DeltaTable(str(path))


def test_versions_are_told_latest_first_with_what_their_commits_noted(tmp_path: Path) -> None:
    began = dt.datetime.now(dt.UTC).replace(microsecond=0)
    found = read_versions(grown(tmp_path, 3))
    told = [(2, "WRITE", 1, 0, 0, "run-2"), (1, "WRITE", 1, 0, 0, "run-1"), (0, "WRITE", 0, 0, 0, None)]
    assert found.select("version", "operation", "inserted", "updated", "files", "run").rows() == told
    assert found["at"].min() >= began  # type: ignore[operator]


@pytest.mark.slow
def test_files_that_agreed_are_told_until_a_restore_or_many_commits_later(tmp_path: Path) -> None:
    table = grown(tmp_path, 2)
    at = dt.datetime(2025, 1, 1, 12, 0, 0, 7, tzinfo=dt.UTC)
    for path in ("a.csv", "b.csv"):
        notes = {AGREED: json.dumps([(path, "5a", at.isoformat())])}
        write_deltalake(table, pl.DataFrame({"x": [1]}), mode="append", commit_properties=CommitProperties(notes))
    assert sorted(agreements(table).rows()) == [("a.csv", "5a", at), ("b.csv", "5a", at)]
    table.restore(2)
    assert agreements(table).rows() == [("a.csv", "5a", at)]
    assert agreements(grown(tmp_path, LOOK_BACK)).is_empty()


def test_a_version_holds_the_commits_that_no_restore_has_undone(tmp_path: Path) -> None:
    table = grown(tmp_path, 4)
    assert live_versions(table, 3) == {0, 1, 2, 3}
    table.restore(1)  # version 4
    write_deltalake(table, pl.DataFrame({"x": [9]}), mode="append")  # version 5
    assert live_versions(table, 5) == {5, 4, 1, 0}
    table.restore(3)  # version 6 takes the first restore back, and what came after it
    assert live_versions(table, 6) == {6, 3, 2, 1, 0}
    assert live_versions(table, 3) == {3, 2, 1, 0}
    assert live_versions(table, 6, since=2) == {6, 3, 2}


def test_a_diff_tells_what_changed_and_which_line_stated_it(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_new.csv", [bar(3, close=12.0), bar(4), bar(5)], at=9)
    ingest(lake)
    diff = lake.bronze.diff(-2, -1)
    told = diff.select(
        diff["open_time"].dt.hour(), "change", "close_before", "close_after", "_line_before", "_line_after"
    )
    assert told.rows() == [(3, "updated", 10.0, 12.0, 5, 2), (5, "inserted", None, 10.0, None, 4)]
    assert diff["_file_after"].to_list() == ["AAAUSDT_1h_new.csv"] * 2
    back = lake.bronze.diff(-1, -2)
    assert back["change"].to_list() == ["updated", "deleted"]


def test_the_last_digit_of_a_number_that_a_program_wrote_anew_is_no_change_unless_asked_for(tmp_path: Path) -> None:
    line = "{},BTC/USDT,10,12,9,11,3,{},7"
    head = "unix,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount"
    times = [int(START.timestamp()) * 1000 + hour * 3_600_000 for hour in range(3)]
    said = ["33.179982633478894", "32.351259586418414", "30.5"]
    anew = ["33.179982633478885", "32.351259586418405", "30.50000001"]  # two are rounded, one is another number
    for at, amounts in enumerate((said, anew)):
        lines = [line.format(time, amount) for time, amount in zip(times, amounts, strict=True)]
        place(tmp_path, "cdd/Binance_BTCUSDT_1h.csv", [head, *lines], at=at, header=False)
        ingest(Lake(tmp_path))
    bronze = Lake(tmp_path).bronze
    assert bronze.versions()["updated"][0] == 3
    assert bronze.diff(-2, -1)["quote_volume_after"].to_list() == [30.50000001]
    assert bronze.diff(-2, -1, tolerance=0)["change"].to_list() == ["updated"] * 3


def test_from_nothing_everything_is_inserted_and_of_a_version_with_itself_nothing(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "we%20ird ü/A'B#C-1h-2024-03.csv", hours(0, 4)).parents[2])
    ingest(lake)
    assert lake.bronze.diff(0, 1)["change"].to_list() == ["inserted"] * 5
    assert lake.bronze.diff(0, 1)["open_time"][0] == START
    assert lake.bronze.diff(-1, -1).is_empty()


def test_a_diff_opens_no_file_that_both_versions_have(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    untouched = Path(lake.bronze.open().file_uris()[0])
    place(tmp_path, "AAAUSDT_1h_new.csv", hours(5, 6), at=9)
    ingest(lake)
    untouched.rename(untouched.with_suffix(".away"))
    assert lake.bronze.diff(1, 2)["change"].to_list() == ["inserted"] * 2
    with pytest.raises(VersionError, match="a file of version 0 or 1 is gone"):
        lake.bronze.diff(0, 1)


def test_compaction_is_no_change(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_new.csv", hours(5, 6), at=9)
    ingest(lake)
    lake.bronze.open().optimize.compact()
    assert lake.bronze.versions()["operation"][0] == "OPTIMIZE"
    assert lake.bronze.diff(-2, -1).is_empty()
