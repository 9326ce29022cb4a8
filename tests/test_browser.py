"""What people see, in a real browser that may not leave this machine. Skipped where there is no chromium."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from lakehouse.cli import LAB
from lakehouse.notebooks import run_notebook

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def asked(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the addresses off this machine that it asks for."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if is_away(request.url) else None)
    yield page, found
    page.close()


def is_away(url: str) -> bool:
    return not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|file:|data:|blob:|about:", url)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab as `lakehouse lab` starts it, on a copy of the notebooks; its address with the token."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    shutil.copytree(ROOT / "raw", home / "raw")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", *LAB, "--no-browser", "--allow-root", f"--port={port}"]
    places = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    env = {**os.environ, **places, "JUPYTER_TOKEN": "secret", "LAKEHOUSE_ROOT": str(home)}
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2):
                    break
            except OSError:
                assert time.monotonic() < end, (home / "lab.log").read_text()[-2000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/notebooks/{{name}}?token=secret"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.parametrize("name", ["00_quick_tour.ipynb"])
def test_the_tour_runs_in_jupyterlab_and_every_chart_is_drawn(
    name: str, lab: str, asked: tuple[Page, list[str]]
) -> None:
    page, away = asked
    page.goto(lab.format(name=name))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    charts = len(re.findall(r"(?m)^\s*\"(?:fates|candles)\(", (ROOT / "notebooks" / name).read_text()))
    assert charts >= 3
    page.wait_for_function(
        "n => { const p = document.querySelector('.jp-WindowedPanel-outer'); if (p) p.scrollTop += 400;"
        " window.seen = window.seen || new Set();"
        " document.querySelectorAll('.vega-embed canvas, .vega-embed svg').forEach(c => window.seen.add(c));"
        " return window.seen.size >= n }",
        arg=charts,
        timeout=120_000,
        polling=500,
    )
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert away == []


def test_the_report_opens_without_a_network_and_its_overview_can_be_brushed(
    asked: tuple[Page, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "raw", tmp_path / "raw")
    executed = run_notebook("report", {"root": str(tmp_path)}, tmp_path / "report.ipynb")
    html = executed.with_suffix(".html")
    assert html.stat().st_size < 3_000_000
    page, away = asked
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(html.as_uri())
    page.wait_for_function(
        "document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= 5", timeout=30_000
    )
    chart = page.locator("#chart-0 canvas, #chart-0 svg").first
    before = chart.screenshot()  # scrolls there
    box = chart.bounding_box()
    assert box
    low = box["y"] + box["height"] - 45  # the lowest strip
    page.mouse.move(box["x"] + box["width"] * 0.3, low)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, low, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert chart.screenshot() != before
    assert (errors, away) == ([], [])
