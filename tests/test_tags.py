"""A tag: the versions of all tables under one name."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from klines import hours, place

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.errors import InputError, VersionError
from lakehouse.layers import clone
from lakehouse.status import read_status


def run(lake: Lake) -> None:
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hours that close at 10, tagged `before`; then three of them corrected to 11.5, and three more."""
    root = tmp_path_factory.mktemp("tagged") / "lake"
    place(root, "m/AAAUSDT_1h.csv", hours(0, 4, close=10.0))
    lake = Lake(root)
    run(lake)
    lake.tag("before")
    place(root, "m/AAAUSDT_1h_fix.csv", hours(2, 7, close=11.5), at=9)
    run(lake)
    return root


@pytest.fixture
def lake(tagged: Path, tmp_path: Path) -> Lake:
    """A copy of that."""
    return Lake(shutil.copytree(tagged, tmp_path, dirs_exist_ok=True))


def closes(lake: Lake) -> dict[str, list[float]]:
    """Of bronze, silver and gold."""
    tables = (lake.bronze, lake.silver, lake.gold)
    return {table.name: table.scan().sort("open_time").collect()["close"].to_list() for table in tables}


def test_a_tag_reads_all_tables_as_they_were_and_the_lake_as_it_is(lake: Lake) -> None:
    then = Lake(lake.root, at="before")
    assert closes(then) == {"bronze/candles": [10.0] * 5, "silver/candles": [10.0] * 5, "gold/daily": [10.0]}
    assert closes(lake)["bronze/candles"] == [10.0] * 2 + [11.5] * 6
    assert lake.tags().select("tag", "bronze", "silver", "gold").rows() == [("before", 1, 1, 1)]
    assert then.ledger.scan().collect().height == 1
    assert not then.conflicts.exists()  # there was none: nothing had lost yet
    with pytest.raises(VersionError, match="did not exist yet when the tag was made"):
        then.conflicts.scan()


def test_of_a_tag_the_tagged_version_is_the_latest(lake: Lake) -> None:
    lake.tag("after")
    place(Path(lake.root), "m/AAAUSDT_1h_more.csv", hours(8, 9, close=12.0), at=20)
    ingest(lake)
    then = Lake(lake.root, at="after")
    assert then.bronze.version() == 2
    assert then.bronze.versions()["version"].to_list() == [2, 1, 0]
    assert then.bronze.versions()["inserted"].to_list() == [3, 5, 0]
    assert sorted(then.bronze.diff(-2, -1)["change"]) == ["inserted"] * 3 + ["updated"] * 3
    with pytest.raises(VersionError, match="has versions 0 to 2, not 3"):
        then.bronze.scan(3)


def test_what_lies_in_raw_now_does_not_wait_at_a_tag(lake: Lake) -> None:
    """The correction came after the tag: it is in bronze, and was neither there nor waiting then."""
    place(Path(lake.root), "m/notes.json", "{}")
    then, now = read_status(Lake(lake.root, at="before")), read_status(lake)
    assert then.waiting.is_empty()
    assert then.unread.is_empty()
    assert now.unread["path"].to_list() == ["m/notes.json"]


def test_what_is_tagged_survives_a_vacuum_and_is_gone_after_it_once_the_tag_is(lake: Lake) -> None:
    before = closes(Lake(lake.root, at="before"))
    for table in (lake.bronze, lake.silver, lake.gold):
        table.vacuum()
    assert closes(Lake(lake.root, at="before")) == before
    lake.untag("before")
    assert lake.bronze.vacuum()
    with pytest.raises(VersionError, match="vacuum has removed"):
        lake.bronze.scan(1)
    assert closes(lake)["bronze/candles"] == [10.0] * 2 + [11.5] * 6


def test_a_look_at_a_tag_whose_files_are_gone_says_so(lake: Lake) -> None:
    then = Lake(lake.root, at="before")
    assert "bronze/candles" in read_status(then).tables["table"]
    (gone,) = {*lake.bronze.at(1).file_uris()} - {*lake.bronze.open().file_uris()}
    Path(gone).unlink()
    with pytest.raises(VersionError, match="bronze/candles': vacuum has removed"):
        read_status(then)


def test_nothing_can_be_written_where_a_tag_is_read(lake: Lake) -> None:
    then = Lake(lake.root, at="before")
    place(Path(lake.root), "m/AAAUSDT_1h_more.csv", hours(8, 9), at=20)
    changes = [
        lambda: ingest(then),
        lambda: refresh_silver(then, rebuild=True),
        lambda: then.bronze.restore(0),
        then.bronze.optimize,
        then.bronze.vacuum,
    ]
    versions = lake.bronze.version(), lake.silver.version()
    for change in changes:
        with pytest.raises(InputError, match="read as a tag has it, and cannot be changed so"):
            change()
    assert (lake.bronze.version(), lake.silver.version()) == versions


def test_a_name_is_given_once_and_must_be_one(lake: Lake) -> None:
    with pytest.raises(InputError, match="there is a tag 'before' already"):
        lake.tag("before")
    for name in ("", "7d", "2024-12-01", "../up", "a/b"):
        with pytest.raises(InputError, match="cannot be the name of a tag"):
            lake.tag(name)
    with pytest.raises(InputError, match=r"no tag 'later' in .*; there are: before"):
        Lake(lake.root, at="later")
    with pytest.raises(InputError, match="no tag 'later'"):
        lake.untag("later")


def test_a_clone_has_the_tags_and_its_own_are_not_the_lake_s(lake: Lake, tmp_path: Path) -> None:
    other = clone(lake, tmp_path / "other")
    other.untag("before")
    assert lake.tags()["tag"].to_list() == ["before"]
    assert isinstance(other.tags(), pl.DataFrame)
    assert other.tags().is_empty()
