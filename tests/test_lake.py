from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import Lake
from lakehouse.errors import LakeError


def test_a_root_is_the_nearest_folder_upwards_that_holds_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake" / "raw").mkdir(parents=True)
    inner = tmp_path / "lake" / "notebooks" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.delenv("LAKEHOUSE_ROOT", raising=False)
    monkeypatch.chdir(inner)
    assert Lake().root == str(tmp_path / "lake")


def test_the_environment_names_the_root_before_the_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "there"))
    assert Lake().root == str(tmp_path / "there")
    assert Lake(tmp_path / "here").root == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("root", "message"), [("missing", "no folder .*missing; name an existing one"), (".", "no raw/ folder in")]
)
def test_a_root_without_raw_is_a_clear_error(tmp_path: Path, root: str, message: str) -> None:
    with pytest.raises(LakeError, match=message):
        Lake(tmp_path / root)


def test_outside_of_any_lake_it_is_the_repository_else_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKEHOUSE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Lake().root == str(Path(__file__).parents[1])
    monkeypatch.setattr("lakehouse.lake.__file__", str(tmp_path / "site" / "lakehouse" / "lake.py"))
    with pytest.raises(LakeError, match="set LAKEHOUSE_ROOT or give a root"):
        Lake()


def test_tables_lie_below_the_root_also_of_a_url() -> None:
    lake = Lake("memory://bucket/prefix/")
    assert lake.bronze.uri == "memory://bucket/prefix/bronze/candles"
    assert (lake.quarantine.name, lake.ledger.name) == ("bronze/quarantine", "bronze/ledger")
