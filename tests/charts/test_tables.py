from __future__ import annotations

import datetime as dt

import polars as pl
from drawing import START, drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.tables import MAX_COMMITS, files_on_disk, versions_timeline
from lakehouse.delta.history import SCHEMA

DAY = dt.timedelta(days=1)


def commits(count: int) -> pl.DataFrame:
    """Version 0 makes the table; each other one inserts 10 rows of a file and updates one."""
    made = [(n, START + n * DAY, "MERGE", 10, 1, 0, 1, "a run") for n in range(1, count)]
    first = (0, START, "CREATE TABLE", 0, 0, 0, 0, None)
    return pl.DataFrame([first, *made][:count], schema=SCHEMA, orient="row").reverse()


def parquet(*spans: tuple[int, int], symbol: str = "BTCUSDT") -> pl.DataFrame:
    """Files from one day to another, of a mebibyte each."""
    return pl.DataFrame(
        [
            {
                **{"path": f"market=m/part-{first}.parquet", "size_bytes": 2**20, "num_records": 24 * (last - first)},
                **{"market": "m", "symbol": symbol, "interval": "1h"},
                **{"min.open_time": START + first * DAY, "max.open_time": START + last * DAY},
            }
            for first, last in spans
        ]
    )


def test_the_timeline_has_a_panel_for_each_count_that_is_not_zero() -> None:
    spec = drawn(versions_timeline(commits(3), "a title"))
    assert len(spec["vconcat"]) == 4  # inserted, updated, files, operation; nothing was deleted
    assert {"label", "inserted", "updated", "files", "kind"} <= fields(spec)
    assert [row["label"] for row in rows(spec, "label")] == ["v0", "v1", "v2"]
    assert subtitle(spec).endswith("20 inserted, 2 updated, 0 deleted rows")


def test_restores_are_one_kind_of_operation() -> None:
    again = commits(3).with_columns(operation=pl.format("RESTORE TO {}", "version"))
    assert {row["kind"] for row in rows(drawn(versions_timeline(again, "a title")), "kind")} == {"RESTORE"}


def test_many_commits_are_gathered_with_their_neighbours() -> None:
    found = rows(drawn(versions_timeline(commits(2 * MAX_COMMITS), "a title")), "label")
    assert len(found) == MAX_COMMITS
    assert found[1]["label"] == "v2 to v3"
    assert sum(row["inserted"] for row in found) == 10 * (2 * MAX_COMMITS - 1)


def test_files_one_after_another_are_one_line() -> None:
    spec = drawn(files_on_disk(parquet((0, 9), (10, 19), (20, 29)), "a title"))
    assert {"left", "right", "row", "size", "file"} <= fields(spec)
    assert [row["lane"] for row in rows(spec, "lane")] == [0, 0, 0]
    assert subtitle(spec) == "3 files, 3.0 MiB; 0 below 1 MiB"


def test_files_that_overlap_lie_below_each_other() -> None:
    found = rows(drawn(files_on_disk(parquet((0, 19), (10, 29), (20, 39)), "a title")), "lane")
    assert sorted((row["file"], row["lane"]) for row in found) == [
        ("part-0.parquet", 0),
        ("part-10.parquet", 1),
        ("part-20.parquet", 0),
    ]


def test_of_very_many_files_some_are_drawn() -> None:
    spec = drawn(files_on_disk(parquet(*[(2 * n, 2 * n + 1) for n in range(9000)]), "a title"))
    assert len(rows(spec, "lane")) == 3000
    assert subtitle(spec).endswith("3,000 files of 1 series are drawn")


def test_series_have_rows_of_their_own() -> None:
    both = pl.concat([parquet((0, 9)), parquet((0, 9), symbol="ETHUSDT")])
    found = rows(drawn(files_on_disk(both, "a title")), "lane")
    assert [(row["series"], row["row"]) for row in found] == [("m BTCUSDT 1h", 0), ("m ETHUSDT 1h", 1)]


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(versions_timeline(commits(0), "a title"))
    assert says_nothing(files_on_disk(parquet((0, 9)).clear(), "a title"))
    assert says_nothing(files_on_disk(pl.DataFrame(), "a title"))
