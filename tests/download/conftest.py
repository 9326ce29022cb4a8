"""A stand-in on this machine for the archive, and a lake without a file; nothing here asks a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse import Lake
from lakehouse.download import StandIn, archive


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(archive, "BACK_OFF", 0.01)
    monkeypatch.setattr(archive, "READ", 1.0)
    with StandIn(page=7) as standin:
        monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", standin.url)
        standin.publish_sample(["BTCUSDT"])
        yield standin


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / "raw").mkdir()
    return Lake(tmp_path)
