"""What people see, in a real browser that may not leave this machine. Skipped where there is no chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from lakehouse.notebooks.run import run_notebook

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
CHARTS = (
    *("candles", "fates", "rejects", "completeness", "distribution", "quality_over_time", "files_on_disk"),
    *("versions_timeline", "changes_map", "before_after", "conflicts_over_time", "beside", r"alt\.Chart"),
)
DRAWN = ".vega-embed:has(.marks)"
FITS = """() => [...document.querySelectorAll(".chart")].every(
    chart => chart.querySelector(".marks")?.getBoundingClientRect().width <= chart.parentElement.clientWidth)"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium"),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups, by which JupyterLab is ended"),
]


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


def brush(page: Page, chart: Locator) -> None:
    """Drag in the overview of a candle chart: the picture changes."""
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


def pick(page: Page, series: str, bars: str) -> None:
    """Choose another series in the list, and run what stands below: it is about that one."""
    page.locator(".jp-OutputArea-output select").first.select_option(label=series)
    page.locator(".jp-CodeCell", has_text="picked.bars()").locator(".jp-InputArea-editor").click()
    page.click("text=Run >> nth=0")
    page.locator(".lm-Menu-itemLabel", has_text="Run Selected Cell and All Below").click()
    counted = page.locator(".jp-CodeCell", has_text="bars.height").locator(".jp-OutputArea-output", has_text=bars)
    counted.first.wait_for(timeout=300_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=300_000)


@pytest.fixture(scope="module")
def lab(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`lakehouse lab` on a copy of the notebooks, and on a lake elsewhere; its address with the token."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    shutil.copytree(ROOT / "raw", home / "lake" / "raw")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("lakehouse")), "lab", "--root", str(home / "lake")]
    command += ["--no-browser", "--allow-root", f"--port={port}"]
    places = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    env = {**os.environ, **places, "JUPYTER_TOKEN": "secret", "PREFECT_API_URL": prefect_api}
    with (home / "lab.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2):
                    break
            except OSError:
                assert time.monotonic() < end, (home / "lab.log").read_text(encoding="utf-8")[-2000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/{{name}}?token=secret&reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # JupyterLab is its child
        server.wait(timeout=300)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_jupyterlab_and_every_chart_is_drawn(
    path: Path, lab: str, asked: tuple[Page, list[str]]
) -> None:
    page, away = asked
    page.goto(lab.format(name=path.name))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=300_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=300_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    charts = len(re.findall(rf"(?m)^\s*\"(?:{'|'.join(CHARTS)})\(", path.read_text(encoding="utf-8")))
    assert charts
    page.wait_for_function(f"n => document.querySelectorAll('{DRAWN}').length == n", arg=charts, timeout=300_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=300_000)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    if path.stem == "00_quick_tour":
        brush(page, page.locator(DRAWN).nth(1))  # the first is about the fates of lines
    if path.stem == "02_explore_bronze":
        pick(page, "ETHUSDT 1h (binance)", "1507")
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
    page.wait_for_function(f"document.querySelectorAll('{DRAWN}').length >= 7", timeout=300_000)
    brush(page, page.locator(DRAWN).first)
    page.set_viewport_size({"width": 390, "height": 900})  # a telephone
    page.reload()
    page.wait_for_function(f"document.querySelectorAll('{DRAWN}').length >= 7", timeout=300_000)
    page.wait_for_function(FITS, timeout=300_000)
    assert (errors, away) == ([], [])
