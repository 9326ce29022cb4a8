"""What data say is text on a page: no name and no rejected line runs as script, and no chart is lost by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from klines import hours, place
from playwright.sync_api import sync_playwright

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.notebooks import run_notebook

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="no chromium")]
IMAGE = '<img src=x onerror="window.broken_in=1">'
WAYS_IN = [  # market, file
    (IMAGE, f"BTCUSDT_1h {IMAGE}.csv"),
    ("<script>window.broken_in=1<", "BTCUSDT_1h.csv"),
    ("](javascript:window.broken_in=1)", "<!--<script>_BTCUSDT_1h.csv"),
]


@pytest.mark.parametrize(("market", "name"), WAYS_IN)
def test_names_and_rejected_lines_stay_text_and_every_chart_is_drawn(market: str, name: str, tmp_path: Path) -> None:
    bad = [IMAGE, "<script>window.broken_in=1</script>", "[x](javascript:window.broken_in=1)"]
    place(tmp_path, f"{market}/{name}", [*hours(0, 99), *bad], at=100)
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    output = tmp_path / "report.ipynb"
    run_notebook("report", {"symbol": "BTCUSDT", "interval": "1h", "root": str(tmp_path)}, output)
    page = output.with_suffix(".html")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab, asked = browser.new_page(), list[str]()
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        drawn = "[...document.querySelectorAll('.chart')].every(place => place.querySelector('canvas, svg'))"
        tab.wait_for_function(drawn, timeout=300_000)
        places, broken = tab.evaluate("[document.querySelectorAll('.chart').length, window.broken_in ?? 0]")
        browser.close()
    assert broken == 0
    assert asked == [page.as_uri()]
    assert places >= 5
