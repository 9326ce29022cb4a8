"""The first step of the quick tour can be a download."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.download import StandIn
from lakehouse.notebooks import read_results, run_notebook


@pytest.mark.slow
def test_the_tour_begins_with_a_download(there: StandIn, tmp_path: Path) -> None:
    there.publish_sample(["ETHUSDT"])
    parameters = {"symbol": "ETHUSDT", "month": "2024-12"}
    result = read_results(run_notebook("00_quick_tour", parameters, tmp_path / "out.ipynb"))
    assert result == {"symbol": "ETHUSDT", "bars": 744, "read": 744, "inserted": 744, "rejected": 0}
    assert "data/spot/monthly/klines/ETHUSDT/1h/ETHUSDT-1h-2024-12.zip" in there.asked


@pytest.mark.slow
def test_without_network_the_tour_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", "http://127.0.0.1:9")
    executed = run_notebook("00_quick_tour", {"month": "2024-12"}, tmp_path / "out.ipynb")
    assert read_results(executed)["read"] == 4431  # the example files
    text = executed.read_text(encoding="utf-8")
    assert "cannot be reached" in text
    assert "`lakehouse archive` serves a synthetic one" in text
