from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.delta.stores import open_store
from lakehouse.errors import LakeError


def listed(uri: str) -> list[str]:
    store = open_store(uri)
    return sorted(entry["path"] for part in store.list() for entry in part)


def test_a_folder_is_listed_and_read_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a b" / "ü").mkdir(parents=True)
    (tmp_path / "a b" / "ü" / "x#1.csv").write_text("1", encoding="utf-8")
    (tmp_path / "y.csv").write_text("22", encoding="utf-8")
    assert listed(str(tmp_path)) == ["a b/ü/x#1.csv", "y.csv"]
    assert bytes(open_store(str(tmp_path)).get("a b/ü/x#1.csv").bytes()) == b"1"


def test_a_url_is_opened_alike() -> None:
    store = open_store("memory:///")
    store.put("y.csv", b"22")
    assert bytes(store.get("y.csv").bytes()) == b"22"


@pytest.mark.parametrize("uri", ["nonsense://x", "/no/such/folder"])
def test_what_cannot_be_opened_is_named(uri: str) -> None:
    with pytest.raises(LakeError, match=f"^{uri} cannot be opened: "):
        open_store(uri)
