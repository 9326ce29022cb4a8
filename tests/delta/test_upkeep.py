from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
import polars as pl
import pytest
from deltalake import DeltaTable
from klines import START, bar, hours, place
from obstore.store import ObjectStore

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.delta.commits import Changes, commit
from lakehouse.delta.history import readable_versions
from lakehouse.delta.parquet import file_stats
from lakehouse.delta.table import Table
from lakehouse.delta.upkeep import CLEAN_EVERY, MANY, PERIODS, _remove_outdated, _worth_joining, plan_care
from lakehouse.errors import InputError, VersionError

SCHEMA = {"symbol": pl.String(), "open_time": pl.Datetime("us", "UTC"), "close": pl.Float64()}
KEY = ("symbol", "open_time")


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


def bars(night: int, *symbols: str) -> pl.DataFrame:
    rows = [(symbol, START + dt.timedelta(days=night, hours=h), 1.0) for symbol in symbols for h in range(24)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def nights(table: Table, first: int, last: int, *symbols: str) -> DeltaTable:
    for night in range(first, last + 1):
        base = table.open_or_create()
        commit(base, KEY, Changes(bars(night, *symbols)), guards=[table.guard()])
        table.tidy(base, bars(night, *symbols))
    return base


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table("own/bars", str(tmp_path / "own bars"), SCHEMA, KEY, ("symbol",))


def test_the_sixteenth_small_file_of_a_partition_is_joined_with_the_others(table: Table) -> None:
    assert nights(table, 1, 15, "A'B#C", "D").version() == 15
    assert table.files().height == 30
    assert nights(table, 16, 16, "A'B#C").version() == 17  # one commit, and one of upkeep, which leaves D alone
    assert sorted(table.files().group_by("symbol").len().rows()) == [("A'B#C", 1), ("D", 15)]
    assert table.versions()["operation"][0] == "OPTIMIZE"
    assert table.diff(-2, -1).is_empty()
    assert table.scan().collect().height == 24 * (16 + 15)
    assert table.scan(16).collect().height == 24 * (16 + 15)


@pytest.mark.slow
def test_a_table_of_a_year_has_few_files_and_rewrites_each_row_a_few_times(table: Table) -> None:
    nights(table, 1, 200, "A")
    assert table.files().height <= 3 * MANY
    joined = table.versions().filter(operation="OPTIMIZE")["version"]
    seen, rewritten = set[str](), 0
    for version in joined:
        files = file_stats(table.at(version)).filter(pl.col("num_records") > 24, ~pl.col("path").is_in(seen))
        seen |= set(files["path"])
        rewritten += files["num_records"].sum()
    assert joined.len() == 13  # each takes sixteen files away and leaves one
    assert rewritten < 8 * 200 * 24
    assert table.scan().collect().height == 200 * 24


def test_files_without_a_partition_are_joined_too(tmp_path: Path) -> None:
    whole = Table("own/whole", str(tmp_path / "whole"), SCHEMA, KEY)
    nights(whole, 1, MANY, "A", "B")
    assert whole.files().height == 1


def test_a_table_opens_from_a_checkpoint_that_is_never_far_away(table: Table) -> None:
    nights(table, 1, 12, "A")
    assert [path.name for path in Path(table.uri, "_delta_log").glob("*.checkpoint.parquet")] == [
        "00000000000000000009.checkpoint.parquet"
    ]


def test_a_table_of_an_older_lake_is_given_the_properties_of_new_ones_once(table: Table) -> None:
    empty = pl.DataFrame(schema=SCHEMA).to_arrow()
    old = {"delta.enableChangeDataFeed": "true", "delta.logRetentionDuration": "interval 99 days"}
    DeltaTable.create(table.uri, empty.schema, partition_by=["symbol"], configuration=old)
    nights(table, 1, 1, "A")
    known = table.open().metadata().configuration
    assert (known["delta.checkpointInterval"], known["delta.logRetentionDuration"]) == ("10", "interval 99 days")
    assert known["delta.deletedFileRetentionDuration"] == "interval 3650 days"
    assert (table.version(), nights(table, 2, 2, "A").version()) == (2, 3)


@pytest.mark.slow
def test_retention_is_a_setting_of_the_lake_and_removes_nothing_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.delta.upkeep.CLEAN_EVERY", 3)
    monkeypatch.setattr("lakehouse.delta.upkeep.CHECKPOINT_EVERY", 3)  # what lies before one could be cut off
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    refresh_silver(lake)
    lake = Lake(tmp_path, retention_days=7)
    for turn in range(8):
        place(tmp_path, "AAAUSDT_1h.csv", [bar(0, close=11.0 + turn / 10)], at=turn + 1)
        ingest(lake)
        refresh_silver(lake)
    known = lake.silver.open().metadata().configuration
    assert {known[name] for name in PERIODS} == {"interval 7 days"}
    assert [lake.silver.scan(version).collect().height for version in (0, 1, 5, -1)] == [0, 5, 5, 5]
    refresh_silver(Lake(tmp_path))
    assert lake.silver.open().metadata().configuration[PERIODS[0]] == "interval 7 days"
    with pytest.raises(InputError, match="retention_days is 0; give at least 1"):
        Lake(tmp_path, retention_days=0)


def test_files_that_no_version_of_the_promised_time_needs_are_removed(table: Table) -> None:
    base = nights(table, 1, 3, "A")
    table.optimize()
    base = table.open()
    base.alter.set_table_properties(dict.fromkeys(PERIODS, "interval 0 days"))
    _remove_outdated(base)
    assert len(list(Path(table.uri).rglob("*.parquet"))) == 1
    assert table.scan().collect().height == 72


def test_the_automatic_clean_up_never_takes_a_tagged_version(table: Table) -> None:
    """By the writer itself, at a version at which it looks for what is out of date."""
    base, tagged = nights(table, 1, 18, "A"), replace(table, tagged=lambda: [3, 5])
    base.alter.set_table_properties(dict.fromkeys(PERIODS, "interval 0 days"))
    while base.version() < CLEAN_EVERY - 1:
        commit(base, KEY, Changes(bars(1, "A").clear()), guards=[table.guard()], even_empty=True)
    commit(base, KEY, Changes(bars(19, "A")), guards=[table.guard()])
    tagged.tidy(base, bars(19, "A"))
    assert "VACUUM END" in table.versions()["operation"]
    readable = [version for version in range(1, 19) if not fails(partial(table.scan, version))]
    assert [version for version in readable if version <= 16] == [1, 2, 3, 4, 5]  # the seventeenth joined sixteen
    assert [tagged.scan(version).collect().height for version in (3, 5, -1)] == [3 * 24, 5 * 24, 19 * 24]


def test_without_a_tag_the_log_of_versions_out_of_date_is_cut(table: Table) -> None:
    base = nights(table, 1, 18, "A")
    base.alter.set_table_properties(dict.fromkeys(PERIODS, "interval 0 days"))
    table.tidy(nights(table, 19, 19, "A"), bars(19, "A"))
    assert not Path(table.uri, "_delta_log", f"{3:020}.json").exists()
    assert table.scan().collect().height == 19 * 24


def fails(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except VersionError:
        return True
    return False


def test_joining_pays_where_few_bytes_are_written_anew_for_each_file_fewer() -> None:
    mib = 2**20

    def worth(*sizes: float) -> list[int]:
        files = pl.DataFrame({"symbol": "A", "size_bytes": [int(size * mib) for size in sizes]})
        return sorted(_worth_joining(files, ["symbol"])["size_bytes"])

    assert len(worth(0.005, 0.006)) == 2
    assert len(worth(*[1.0] * 16)) == 16  # two of 8 MiB
    assert worth(1.0) == worth(0.005, 3.9) == worth(3.9, 3.9) == worth(*[3.0] * 16) == []
    assert len(worth(*[0.005] * 9, 3.9, 8.0)) == 10  # not the one that is large enough


def test_what_a_plan_says_is_what_then_happens(table: Table) -> None:
    nights(table, 1, 3, "A", "B")
    commit(table.open(), KEY, Changes(bars(1, "A").clear(), bars(2, "A").with_columns(close=2.0)), guards=["x"])
    plan = plan_care(table.open(), [2], hours=0)
    there = {path.relative_to(table.uri).as_posix(): path.stat().st_size for path in parquet(table)}
    assert (plan.version, plan.files, plan.joined, plan.into) == (4, 6, 6, 2)
    table.optimize()
    gone = table.vacuum([2], hours=0)
    assert list(plan.removed) == gone
    assert plan.freed == sum(there[path] for path in gone)
    left = {path.relative_to(table.uri).as_posix() for path in parquet(table)}
    assert plan.freed == sum(size for path, size in there.items() if path not in left)
    assert plan.lost == [version for version in range(5) if fails(partial(table.scan, version))] == [3, 4]
    later = plan_care(table.open(), [2], hours=0)
    assert (later.joined, later.removed, later.lost) == (0, [], [])


def test_files_of_the_change_feed_stay_until_retention_has_passed(table: Table) -> None:
    nights(table, 1, 1, "A")
    commit(table.open(), KEY, Changes(bars(1, "A").clear(), bars(1, "A").with_columns(close=2.0)), guards=["x"])
    (feed,) = Path(table.uri).rglob("_change_data/**/*.parquet")
    table.vacuum(hours=0)
    assert feed.is_file()
    os.utime(feed, (0, 0))
    table.vacuum(hours=None)
    assert not feed.exists()


def test_a_version_that_a_restore_brought_back_needs_its_files_again(table: Table) -> None:
    nights(table, 1, 2, "A")
    table.restore(1)
    table.restore(2)
    files = {path.relative_to(table.uri).as_posix() for path in parquet(table)}
    (second,) = {*map(unquote, file_stats(table.at(2))["path"])} - {*map(unquote, file_stats(table.at(1))["path"])}
    assert readable_versions(table.open(), files) == [0, 1, 2, 3, 4]
    assert readable_versions(table.open(), files - {second}) == [0, 1, 3]
    assert readable_versions(table.at(1), files - {second}) == [0, 1]


def parquet(table: Table) -> list[Path]:
    return [path for path in Path(table.uri).rglob("*.parquet") if not path.parts[-2].startswith("_")]


def test_another_writer_goes_before_upkeep(table: Table) -> None:
    base = nights(table, 1, 15, "A")
    commit(base, KEY, Changes(bars(16, "A")), guards=[table.guard()])
    other = table.open()
    commit(other, KEY, Changes(bars(1, "A").clear(), bars(16, "A").with_columns(close=2.0)), guards=[table.guard()])
    table.tidy(base, bars(16, "A"))  # the file of night 16 is not there any more
    assert table.scan().filter(pl.col("close") == 2.0).collect().height == 24
    assert table.versions()["operation"][0] == "MERGE"


def test_two_writers_that_join_the_same_files_do_not_double_a_row(table: Table) -> None:
    """deltalake's own compaction does."""
    base = nights(table, 1, 15, "A'B C")
    commit(base, KEY, Changes(bars(16, "A'B C")), guards=[table.guard()])
    other = table.open()
    table.tidy(base, bars(16, "A'B C"))
    table.tidy(other, bars(16, "A'B C"))
    assert table.versions()["operation"].to_list().count("OPTIMIZE") == 1
    assert table.scan().collect().height == 16 * 24
    written = list(Path(table.uri).rglob("*.parquet"))
    assert len([path for path in written if "checkpoint" not in path.name]) == 16 + 1  # nothing of the second is left


def test_a_join_whose_answer_is_lost_stands(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commit is asked for again then, and is there already: its files must not be taken for left-overs."""
    put = obstore.put

    def put_again(store: ObjectStore, path: str, *args: Any, **options: Any) -> object:
        put(store, path, *args, **options)
        return put(store, path, *args, **options) if path.startswith("_delta_log") else None

    monkeypatch.setattr(obstore, "put", put_again)
    base = nights(table, 1, 15, "A")
    commit(base, KEY, Changes(bars(16, "A")), guards=[table.guard()])
    table.tidy(base, bars(16, "A"))
    assert table.versions()["operation"].to_list().count("OPTIMIZE") == 1
    assert table.scan().collect().height == 16 * 24


def test_a_join_stands_beside_what_another_writer_has_added(table: Table) -> None:
    base = nights(table, 1, 15, "A")
    commit(base, KEY, Changes(bars(16, "A")), guards=[table.guard()])
    commit(table.open(), KEY, Changes(bars(17, "A")), guards=[table.guard()])
    table.tidy(base, bars(16, "A"))
    assert table.versions()["operation"].head(2).to_list() == ["OPTIMIZE", "WRITE"]
    assert sorted(table.files()["num_records"]) == [24, 16 * 24]
    assert table.diff(-2, -1).is_empty()


def test_joined_files_are_sorted_and_leave_the_order_of_keys_to_prune_by(table: Table) -> None:
    for night in (*range(9, 17), *range(1, 9)):
        nights(table, night, night, "A", "B")
    times = table.scan().filter(symbol="A").collect()["open_time"]
    assert times.is_sorted()
    assert table.files().height == 2
