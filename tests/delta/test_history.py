from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake

from lakehouse.delta.history import AGREED, LOOK_BACK, agreements, live_versions, read_versions


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
