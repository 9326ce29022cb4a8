from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from histories import asked_for_all
from klines import bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.bronze import conflicts as conflicts_module
from lakehouse.bronze import withdraw
from lakehouse.status import read_status

A, B, C = (f"{name}_BTCUSDT_1h.csv" for name in "ABC")


def held(lake: Lake) -> list[tuple[int, float, str, str]]:
    """Hour, close, file and why of each conflict."""
    rows = lake.conflicts.scan().select(pl.col("open_time").dt.hour(), "close", "_file", "why")
    return sorted(rows.collect().iter_rows())


def closes(lake: Lake) -> list[float]:
    return lake.bronze.scan().sort("open_time").collect()["close"].to_list()


def lake_of(root: Path, *files: tuple[str, list[str], int]) -> Lake:
    """A lake into which files came one by one."""
    (root / "raw").mkdir(parents=True)
    lake = Lake(root)
    for name, lines, at in files:
        place(root, name, lines, at=at)
        ingest(lake)
    return lake


def declare(lake: Lake, text: str) -> None:
    (Path(lake.root) / "raw" / "sources.toml").write_text(text)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ((A, [bar(0, 11.0)], 0), (B, [bar(0, 12.0)], 5), (0, 11.0, A, "newer file")),
        ((B, [bar(0, 12.0)], 5), (A, [bar(0, 11.0)], 0), (0, 11.0, A, "newer file")),
        ((A, [bar(0, 11.0)], 0), (B, [bar(0, 12.0)], 0), (0, 11.0, A, "later path")),
        ((A, [bar(0, 11.0)], 0), (A, [bar(0, 12.0)], 5), (0, 11.0, A, "newer revision")),
        ((A, [bar(0, 11.0), bar(0, 12.0)], 0), (A, [bar(0, 11.0), bar(0, 12.0)], 0), (0, 11.0, A, "later line")),
    ],
)
def test_what_a_file_says_and_the_bar_does_not_show_is_kept_with_the_reason(
    first: tuple[str, list[str], int], second: tuple[str, list[str], int], why: tuple[object, ...], tmp_path: Path
) -> None:
    lake = lake_of(tmp_path / "lake", first, second)
    assert (held(lake), closes(lake)) == ([why], [12.0])


def test_conflicts_are_the_same_in_whatever_order_files_arrive(tmp_path: Path) -> None:
    files = [(A, hours(0, 2, 11.0), 0), (B, hours(1, 3, 12.0), 5), (C, hours(2, 4, 13.0), 9)]
    told, orders = [], list(permutations(files))[:: 1 if asked_for_all() else 2]
    for number, order in enumerate(orders):
        lake = lake_of(tmp_path / str(number), *((name, list(lines), at) for name, lines, at in order))
        told.append((closes(lake), [row[:2] for row in held(lake)]))
    assert told == [([11.0, 12.0, 13.0, 13.0, 13.0], [(1, 11.0), (2, 11.0), (2, 12.0), (3, 12.0)])] * len(orders)


def test_a_value_that_becomes_the_bars_own_is_no_conflict_any_more(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (A, [bar(0, 11.0)], 0), (B, [bar(0, 12.0)], 5), (C, [bar(0, 11.0)], 9))
    assert held(lake) == [(0, 12.0, B, "newer file")]


def test_of_a_series_and_month_so_many_bars_are_kept_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflicts_module, "KEPT", 3)
    lines = [hours(*span) for span in ((0, 9), (740, 760))]
    files = [
        (A, [*lines[0], *lines[1]], 0),
        (B, [line.replace("10.0,1.0", "12.0,1.0") for part in lines for line in part], 5),
    ]
    lake = lake_of(tmp_path / "lake", *files)
    report = ingest(lake, again="A*")
    assert report.overruled == 31
    days = lake.conflicts.scan().select("open_time").sort("open_time").collect()["open_time"]
    assert [f"{day:%m-%d %H}" for day in days] == [
        "03-01 00",
        "03-01 01",
        "03-01 02",
        "04-01 00",
        "04-01 01",
        "04-01 02",
    ]


def test_two_things_under_one_name_are_told_apart_by_the_advice(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (A, list(hours(0, 9, 11.0)), 0))
    place(tmp_path / "lake", B, hours(0, 9, 12.0), at=5)
    report = ingest(lake)
    assert (report.updated, report.contradicting["path"].to_list(), report.complete) == (10, [B], True)
    note = report.contradicting["note"][0]
    assert note.startswith(
        f"10 of the 10 bars that it shares with {A} are others there (100.0%): 2024-03-01 00:00 has close 12.0 by "
        f"line 2 of {B}, which won, and close 11.0 by line 2 of {A}."
    )
    assert "give each its own `market` in raw/sources.toml; if they are one thing, `prefer` the better one" in note
    declare(lake, f'[[source]]\nglob = "{A}"\nmarket = "a"\n[[source]]\nglob = "{B}"\nmarket = "b"\n')
    assert ingest(lake).inserted == 20
    rows = lake.bronze.scan().group_by("market", "close").len().sort("market").collect().rows()
    assert (rows, held(lake)) == ([("a", 11.0, 10), ("b", 12.0, 10)], [])


def test_prefer_settles_a_contradiction_and_says_nothing_more(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (A, list(hours(0, 9, 11.0)), 0), (B, list(hours(0, 9, 12.0)), 5))
    declare(lake, '[[source]]\nglob = "*"\nprefer = ["A*", "B*"]\n')
    ingest(lake)
    assert closes(lake) == [11.0] * 10
    place(tmp_path / "lake", B, hours(0, 10, 13.0), at=9)
    report = ingest(lake)
    assert (report.overruled, report.inserted, report.files["note"].to_list()) == (10, 1, [None])
    assert {row[3] for row in held(lake)} == {"preferred source"}
    declare(lake, "")
    ingest(lake)
    assert closes(lake) == [13.0] * 11


@pytest.mark.parametrize("second", [(A, list(hours(0, 9, 12.0)), 5), (B, list(hours(0, 2, 12.0)), 5)])
def test_a_new_revision_or_a_correction_of_a_few_bars_is_not_alarming(
    second: tuple[str, list[str], int], tmp_path: Path
) -> None:
    lake = lake_of(tmp_path / "lake", (A, list(hours(0, 9, 11.0)), 0))
    place(tmp_path / "lake", second[0], second[1], at=second[2])
    report = ingest(lake)
    assert (report.contradicting.height, report.updated) == (0, len(second[1]))
    told = [note is not None and "The files' times decided" in note for note in report.files["note"]]
    assert told == [second[0] == B]


def test_a_time_in_the_future_is_said_aloud(tmp_path: Path) -> None:
    path = place(tmp_path, A, hours(0, 3))
    os.utime(path, (4e9, 4e9))
    assert "is in the future" in ingest(Lake(tmp_path)).files["note"][0]


def test_a_restore_takes_the_conflicts_back_with_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (A, [bar(0, 11.0)], 0), (B, [bar(0, 12.0)], 5), (C, [bar(0, 13.0)], 9))
    lake.bronze.restore(2)
    assert (closes(lake), held(lake)) == ([12.0], [(0, 11.0, A, "newer file")])
    lake.bronze.restore(1)
    assert (closes(lake), held(lake)) == ([11.0], [])
    lake.bronze.restore(3)
    assert (closes(lake), held(lake)) == ([13.0], [(0, 11.0, A, "newer file"), (0, 12.0, B, "newer file")])
    lake.bronze.restore(1)
    ingest(lake, again="*")
    assert (closes(lake), [row[1] for row in held(lake)]) == ([13.0], [11.0, 12.0])


@pytest.mark.parametrize("how", ["prefer", "market", "withdraw"])
def test_a_contradiction_that_is_settled_is_no_news_of_the_status(how: str, tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (A, list(hours(0, 9, 11.0)), 0), (B, list(hours(0, 9, 12.0)), 5))
    ingest(lake)
    assert read_status(lake).contradicting.height == 1
    if how == "withdraw":
        withdraw(lake, A)
    else:
        said = {"prefer": "prefer = 1", "market": 'market = "a"'}[how]
        declare(lake, f'[[source]]\nglob = "{A}"\n{said}\n')
        ingest(lake)
    assert read_status(lake).contradicting.is_empty()
