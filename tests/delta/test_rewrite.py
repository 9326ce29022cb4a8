"""Files give way to successors: what changes, what stays as it is, and who else may write meanwhile."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from deltalake import TableFeatures, write_deltalake
from deltalake.exceptions import CommitFailedError
from klines import START

from lakehouse.delta import rewrite
from lakehouse.delta.commits import Changes, commit
from lakehouse.delta.parquet import file_stats, files_holding
from lakehouse.delta.table import Table
from lakehouse.errors import LakeError

SCHEMA = {"symbol": pl.String(), "open_time": pl.Datetime("us", "UTC"), "close": pl.Float64()}
KEY = ("symbol", "open_time")
HOUR = dt.timedelta(hours=1)


def bars(close: float, *hours: float, symbol: str = "A B") -> pl.DataFrame:
    return pl.DataFrame([(symbol, START + hour * HOUR, close) for hour in hours], schema=SCHEMA, orient="row")


def table_of(tmp_path: Path, *partition: str) -> Table:
    """Hours 0 to 3 and 4 to 7 of A B, 0 to 3 of C: a file each."""
    table = Table("bronze/bars", str(tmp_path / "own bars"), SCHEMA, KEY, partition)
    for rows in (bars(1.0, *range(4)), bars(1.0, *range(4, 8)), bars(1.0, *range(4), symbol="C")):
        commit(table.open_or_create(), KEY, Changes(rows), guards=[])
    return table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return table_of(tmp_path, "symbol")


def rows(table: Table) -> dict[tuple[str, float], float]:
    return {(symbol, (at - START) / HOUR): close for symbol, at, close in table.scan().collect().iter_rows()}


BEFORE = {("A B", hour): 1.0 for hour in range(8)} | {("C", hour): 1.0 for hour in range(4)}


@pytest.mark.parametrize("partition", [("symbol",), ()])
@pytest.mark.parametrize("at_a_time", [1, 7, 100])
def test_rows_change_in_one_commit_however_many_files_are_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: tuple[str, ...], at_a_time: int
) -> None:
    table = table_of(tmp_path, *partition)
    monkeypatch.setattr(rewrite, "ROWS_AT_A_TIME", at_a_time)
    changes = Changes(bars(3.0, 9), pl.concat([bars(2.0, 5, 1), bars(2.0, 3, symbol="C")]), bars(0.0, 6))
    assert commit(table.open(), KEY, changes, guards=["x"], consumed={"← y": 7}) == 4
    want = BEFORE | {("A B", 9): 3.0, ("A B", 5): 2.0, ("A B", 1): 2.0, ("C", 3): 2.0}
    assert rows(table) == {place: close for place, close in want.items() if place != ("A B", 6)}
    opened = table.open()
    assert (opened.transaction_version("x"), opened.transaction_version("← y")) == (4, 7)
    assert table.versions().select("operation", "inserted", "updated", "deleted").row(0) == ("MERGE", 1, 3, 1)


def test_files_without_a_row_that_changes_stay_as_they_are(table: Table) -> None:
    before = table.files()
    commit(table.open(), KEY, Changes(bars(0.0), bars(2.0, 2, 0)), guards=[])
    files = table.files().join(before, on="path", how="anti")
    assert files.select("symbol", "num_records").rows() == [("A B", 4)]
    gone = before.join(table.files(), on="path", how="anti")
    assert gone["max.open_time"].to_list() == [START + 3 * HOUR]
    assert files["path"][0].startswith("symbol=")
    assert pl.read_parquet(Path(table.uri, unquote(files["path"][0])))["open_time"].is_sorted()


def test_a_file_of_which_every_row_goes_has_no_successor(table: Table) -> None:
    commit(table.open(), KEY, Changes(bars(0.0), deleted=bars(0.0, *range(4), symbol="C")), guards=[])
    assert rows(table) == {place: close for place, close in BEFORE.items() if place[0] != "C"}
    assert table.files().height == 2


def test_the_change_feed_tells_each_row_that_came_changed_or_went(table: Table) -> None:
    changes = Changes(bars(3.0, 9), bars(2.0, 5), bars(0.0, 2, symbol="C"))
    commit(table.open(), KEY, changes, guards=[])
    feed = pl.DataFrame(table.open().load_cdf(starting_version=4))
    told = {(kind, symbol, close) for symbol, close, kind in feed.select("symbol", "close", "_change_type").iter_rows()}
    assert told == {
        ("insert", "A B", 3.0),
        ("update_preimage", "A B", 1.0),
        ("update_postimage", "A B", 2.0),
        ("delete", "C", 1.0),
    }
    assert feed.height == 4


def test_what_is_said_to_change_and_is_not_there_is_not_written(table: Table) -> None:
    with pytest.raises(AssertionError, match="1 of 2 rows that change are not in the table"):
        commit(table.open(), KEY, Changes(bars(0.0), bars(2.0, 1, 8)), guards=[])
    assert rows(table) == BEFORE


def test_writers_of_two_partitions_stand_beside_each_other(table: Table) -> None:
    first, second = table.open(), table.open()
    commit(first, KEY, Changes(bars(0.0), bars(2.0, 1)), guards=["A B"])
    assert commit(second, KEY, Changes(bars(0.0), bars(3.0, 1, symbol="C")), guards=["C"]) == second.version() == 5
    assert commit(first, KEY, Changes(bars(0.0), bars(4.0, 1)), guards=["A B"]) == 6
    assert rows(table) == BEFORE | {("A B", 1): 4.0, ("C", 1): 3.0}


def test_whoever_comes_second_to_a_partition_decides_anew_and_leaves_nothing_behind(table: Table) -> None:
    there, change = table.open(), Changes(bars(9.0, 20), bars(2.0, 1))
    late = [table.open() for _ in range(3)]
    commit(there, KEY, Changes(bars(0.0), bars(3.0, 5)), guards=["A B"])
    files = {path for path in Path(table.uri).rglob("*.parquet") if "_delta_log" not in path.parts}
    with pytest.raises(CommitFailedError, match="a transaction of A B"):  # another file, yet the same guard
        commit(late[0], KEY, change, guards=["A B"])
    with pytest.raises(CommitFailedError, match="is new"):  # nobody's guard, yet the same partition
        commit(late[1], KEY, change, guards=["other"])
    with pytest.raises(CommitFailedError, match="a transaction of A B"):  # an append
        commit(late[2], KEY, Changes(bars(9.0, 20)), guards=["A B"])
    assert {path for path in Path(table.uri).rglob("*.parquet") if "_delta_log" not in path.parts} == files
    assert rows(table) == BEFORE | {("A B", 5): 3.0}


def test_a_table_that_was_given_a_column_meanwhile_is_not_written_over(table: Table) -> None:
    late = table.open()
    wider = Table(table.name, table.uri, {**SCHEMA, "note": pl.String()}, KEY, ("symbol",))
    opened = wider.open_or_create()
    with pytest.raises(CommitFailedError, match="metaData has changed"):
        commit(late, KEY, Changes(bars(0.0), bars(2.0, 1)), guards=["x"])
    noted = bars(2.0, 1).with_columns(note=pl.lit("late"))
    commit(opened, KEY, Changes(noted.clear(), noted), guards=["x"])
    assert wider.scan().filter(pl.col("note") == "late").collect()["close"].to_list() == [2.0]
    assert wider.scan().collect()["note"].null_count() == 11
    assert (wider.optimize(), wider.scan().collect().height) == (1, 12)  # files with the column and without it


def test_files_are_found_by_each_column_of_the_key(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    commit(table.open(), KEY, Changes(bars(1.0, 2.5 + 1e-6, symbol="B" * 100)), guards=[])
    files = file_stats(table.open())

    def holding(*some: pl.DataFrame) -> list[int]:
        return sorted(files_holding(files, pl.concat(some), KEY, ())["num_records"])

    assert holding(bars(1.0, 2.5, symbol="AA")) == []
    assert holding(bars(1.0, 3.5)) == []
    assert holding(bars(1.0, 3)) == [4]
    assert holding(bars(1.0, 5, symbol="C")) == []
    assert holding(bars(1.0, 30, symbol="C"), bars(1.0, 30)) == []
    assert holding(bars(1.0, 2.5 + 1e-6, symbol="B" * 100)) == [1]


def test_rows_of_any_writer_are_rewritten(table: Table) -> None:
    """Also of one who knows nothing of our guards, properties and files."""
    write_deltalake(table.uri, bars(1.0, 30, 29), mode="append")
    commit(table.open(), KEY, Changes(bars(0.0), bars(2.0, 30)), guards=[])
    assert rows(table) == BEFORE | {("A B", 29): 1.0, ("A B", 30): 2.0}


def test_a_table_of_which_another_program_asks_more_is_not_written(table: Table) -> None:
    table.open().alter.add_feature(TableFeatures.RowTracking, allow_protocol_versions_increase=True)
    files = {*Path(table.uri).rglob("*")}
    for changes in (Changes(bars(9.0, 20)), Changes(bars(0.0), bars(2.0, 1))):
        with pytest.raises(LakeError, match=r"another program has given .* rowTracking"):
            commit(table.open(), KEY, changes, guards=["A B"])
    assert {*Path(table.uri).rglob("*")} == files
