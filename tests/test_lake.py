from __future__ import annotations

from pathlib import Path

import pytest
from klines import hours, place
from systems import any_name

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.errors import LakeError


def test_a_root_is_the_nearest_folder_upwards_that_holds_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake" / "raw").mkdir(parents=True)
    inner = tmp_path / "lake" / "notebooks" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.delenv("LAKEHOUSE_ROOT", raising=False)
    monkeypatch.chdir(inner)
    assert Lake().root == (tmp_path / "lake").as_posix()


def test_the_environment_names_the_root_before_the_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "there"))
    assert Lake().root == (tmp_path / "there").as_posix()
    assert Lake(tmp_path / "here").root == (tmp_path / "here").as_posix()


@pytest.mark.parametrize("elsewhere", ["/nowhere/at/all", "s3://bucket/lake"])
def test_a_lake_that_is_named_does_not_ask_for_the_one_of_the_environment(
    elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    for name, word in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "r"}.items():
        monkeypatch.setenv(name, word)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("LAKEHOUSE_ROOT", elsewhere)
    monkeypatch.setenv("LAKEHOUSE_RAW", elsewhere)
    assert Lake(tmp_path).raw_uri == f"{tmp_path.as_posix()}/raw"


@pytest.mark.parametrize("name", ["my José 😀 a'b {c}", pytest.param('"c" st*r', marks=any_name)])
def test_a_folder_may_be_called_as_people_call_folders(name: str, tmp_path: Path) -> None:
    place(tmp_path / name, "AAAUSDT_1h.csv", hours(0, 4))
    lake = Lake(tmp_path / name)
    assert ingest(lake).inserted == 5
    place(tmp_path / name, "AAAUSDT_1h_later.csv", hours(4, 4, close=11.0), at=9)
    assert ingest(lake).updated == lake.bronze.diff(-2, -1).height == 1
    assert refresh_silver(lake).inserted == 5
    assert refresh_gold(lake)[0].inserted == 1
    lake.bronze.vacuum()
    assert lake.bronze.scan().collect().height == 5


@pytest.mark.parametrize(
    "name", ["a%20b", "h#1", "br[1]", *(pytest.param(name, marks=any_name) for name in ("q?x", "back\\slash"))]
)
def test_a_folder_that_deltalake_cannot_open_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "raw").mkdir(parents=True)
    with pytest.raises(LakeError, match="which deltalake cannot open; rename the folder"):
        Lake(tmp_path / name)


@pytest.mark.parametrize(
    ("root", "message"), [("missing", "no folder .*missing; name an existing one"), (".", "no raw/ folder in")]
)
def test_a_root_without_raw_is_a_clear_error(tmp_path: Path, root: str, message: str) -> None:
    with pytest.raises(LakeError, match=message):
        Lake(tmp_path / root)


def test_tables_lie_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    assert lake.bronze.uri == f"{tmp_path.as_posix()}/bronze/candles"
    assert (lake.quarantine.name, lake.ledger.name) == ("bronze/quarantine", "bronze/ledger")


def test_where_nothing_upwards_is_a_lake_the_package_s_own_example_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKEHOUSE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LakeError, match=f"no raw/ folder in {tmp_path} or above it; go into a lake, make one"):
        Lake()
    (tmp_path / "raw").mkdir()  # as it advises
    assert Lake().root == str(tmp_path)
