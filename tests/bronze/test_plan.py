from __future__ import annotations

import datetime as dt
import os
import random
import time
from importlib import import_module
from pathlib import Path

import pytest
from klines import START, hours, place

from lakehouse import Lake, ingest
from lakehouse.bronze.batch import groups
from lakehouse.bronze.plan import LARGE, plan
from lakehouse.status import read_status


def test_a_new_file_is_pending_and_a_handled_one_is_not(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    lake = Lake(tmp_path)
    assert [p.file.path for p in plan(lake).pending] == ["AAAUSDT_1h.csv"]
    ingest(lake)
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 3))
    todo = plan(lake)
    assert ([p.file.path for p in todo.pending], todo.untouched) == (["BBBUSDT_1h.csv"], 1)


def test_a_touched_file_with_the_same_bytes_is_left_alone(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    lake = Lake(tmp_path)
    ingest(lake)
    os.utime(path, (1e9, 1e9))
    assert plan(lake).pending == ()


def test_what_was_hashed_and_found_equal_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    lake = Lake(tmp_path)
    ingest(lake)
    os.utime(path, (1e9, 1e9))
    assert ingest(lake).files.is_empty()
    monkeypatch.setattr(import_module("lakehouse.bronze.plan"), "hash_file", lambda *_: pytest.fail("read again"))
    assert ingest(lake).files.is_empty()
    (tmp_path / "bronze" / "seen.parquet").write_bytes(b"torn")  # a cache may go
    monkeypatch.undo()
    assert ingest(lake).files.is_empty()


def test_a_large_file_that_was_refused_is_not_read_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path, "AAAUSDT_1h.zip", [], header=False)
    path.write_bytes(random.Random(1).randbytes(LARGE))
    os.utime(path, (1e9, 1e9))
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 3))
    lake = Lake(tmp_path)
    first = ingest(lake).failed.drop("run_id", "ingested_at", "declared", "read_by")
    assert first["error"].str.starts_with("cannot be unpacked").to_list() == [True]
    versions = lake.ledger.version()

    def reads(again: str = "") -> list[str]:
        opened = list[str]()
        with monkeypatch.context() as patch:
            for where, name in (
                ("raw.unpack", "read_file"),
                ("bronze.plan", "hash_file"),
            ):
                read = getattr(module := import_module(f"lakehouse.{where}"), name)
                patch.setattr(module, name, lambda store, path, read=read: opened.append(path) or read(store, path))
            failed = ingest(Lake(tmp_path), again=again).failed.drop(
                "run_id", "ingested_at", "declared", "read_by", "bronze_version"
            )
        assert failed.drop("modified_at", "stated_at").equals(first.drop("modified_at", "stated_at", "bronze_version"))
        return sorted(set(opened))

    assert reads() == []
    assert lake.ledger.version() == versions  # law 3
    assert reads(again="AAA*") == [path.name]
    (tmp_path / "raw" / "sources.toml").write_text('[[source]]\nglob = "AAA*"\nsymbol = "AAAUSDT"\n', encoding="utf-8")
    assert (reads(), reads()) == ([path.name], [])
    os.utime(path, (1e9 + 5, 1e9 + 5))
    assert (reads(), reads()) == ([path.name], [])
    monkeypatch.setattr(import_module("lakehouse.bronze.seen"), "program", lambda: "that of another day")
    assert (reads(), reads()) == ([path.name], [])


def test_a_file_asked_for_again_is_as_new_as_it_was(tmp_path: Path) -> None:
    """Two files of one time: the later path wins, whichever of them is asked for again."""
    for name, close in (("a", 9.5), ("b", 10.5)):
        place(tmp_path, f"{name}_BTCUSDT_1h.csv", hours(0, 3, close=close), at=100)
    lake = Lake(tmp_path)
    ingest(lake)
    for pattern in ("a_*", "b_*", "*"):
        assert ingest(lake, again=pattern).updated == 0
        assert lake.bronze.scan().collect()["close"].unique().to_list() == [10.5]
    assert lake.ledger.scan().collect().height == 2


def test_a_file_taken_again_is_rolled_back_only_where_none_of_its_commits_stands(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    lake = Lake(tmp_path)
    ingest(lake)
    taken = lake.bronze.version()
    lake.bronze.restore(0)
    assert ingest(lake, again="*").inserted == 4
    assert lake.ledger.scan().collect()["status"].sort().to_list() == ["loaded", "rolled_back"]
    lake.bronze.restore(taken)
    assert read_status(lake).rolled_back.is_empty()
    lake.bronze.restore(0)
    assert read_status(lake).rolled_back["path"].to_list() == ["AAAUSDT_1h.csv"]


def test_a_file_changed_within_two_seconds_is_hashed_though_its_stat_is_the_same(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    now = time.time()
    os.utime(path, (now, now))
    lake = Lake(tmp_path)
    ingest(lake)
    path.write_text(path.read_text(encoding="utf-8").replace("10.0,1.0", "11.0,1.0"), encoding="utf-8")
    os.utime(path, (now, now))
    assert [p.file.path for p in plan(lake).pending] == ["AAAUSDT_1h.csv"]


def test_a_new_revision_counts_as_newer_though_the_clock_went_back(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3), at=100)
    lake = Lake(tmp_path)
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3, close=11.0), at=50)
    (pending,) = plan(lake).pending
    assert pending.stated_at == START + dt.timedelta(seconds=100, microseconds=1)


def test_pending_files_come_oldest_first(tmp_path: Path) -> None:
    for name, at in (("A", 30), ("B", 10), ("C", 20), ("D", 10)):
        place(tmp_path, f"{name * 3}USDT_1h.csv", hours(0, 1), at=at)
    assert [p.file.path[0] for p in plan(Lake(tmp_path)).pending] == ["B", "D", "C", "A"]


def test_a_failed_file_is_tried_again_and_an_ignored_one_is_not(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", ["<html>"], header=False)
    lake = Lake(tmp_path)
    assert ingest(lake).failed.height == 1
    assert len(plan(lake).pending) == 1
    (tmp_path / "raw" / "sources.toml").write_text('[[source]]\nglob = "AAA*"\nignore = true\n', encoding="utf-8")
    assert plan(lake).pending == ()


@pytest.mark.parametrize(
    ("last", "cut"), [(4, [["A", "B"], ["C"], ["D"]]), (1, [["A", "B"], ["C", "D"]])]
)  # a rest of less than a quarter of the budget joins what is before it
def test_groups_keep_to_the_budget_and_a_larger_file_is_alone(last: int, cut: list[list[str]], tmp_path: Path) -> None:
    for name, bars in (("A", 1), ("B", 1), ("C", 50), ("D", last)):
        place(tmp_path, f"{name * 3}USDT_1h.csv", hours(1, bars))
    found = [[p.file.path[0] for p in group] for group in groups(plan(Lake(tmp_path)).pending, 500)]
    assert found == cut


def test_a_plan_is_dealt_to_parts_of_whole_symbols_and_of_about_equal_size(tmp_path: Path) -> None:
    for symbol, bars in (("AAAUSDT", 90), ("BBBUSDT", 40), ("CCCUSDT", 30), ("DDDUSDT", 10)):
        place(tmp_path, f"{symbol}-1h-2.csv", hours(0, bars))
        place(tmp_path, f"z/{symbol}-1h-1.csv", hours(0, 1), at=-5)
    place(tmp_path, "what.csv", hours(0, 1))  # tells no symbol
    todo = plan(lake := Lake(tmp_path))
    parts = todo.parts(lake.dataset, 2)
    named = [[item.file.path for item in part.pending] for part in parts]
    assert named == [  # each in the order of the statements
        ["z/AAAUSDT-1h-1.csv", "AAAUSDT-1h-2.csv", "what.csv"],
        [f"{folder}{s}USDT-1h-{n}.csv" for folder, n in (("z/", 1), ("", 2)) for s in ("BBB", "CCC", "DDD")],
    ]
    assert [part.sources for part in parts] == [todo.sources] * 2
    assert len(todo.parts(lake.dataset, 50)) == 5
