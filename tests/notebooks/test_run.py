from __future__ import annotations

import asyncio
import copy
import gc
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess as Done

import nbformat
import papermill
import pytest
from histories import asked_for_all
from jupyter_client.kernelspec import KernelSpecManager

from lakehouse.cli.notebooks import lab
from lakehouse.errors import InputError, NotebookFailed
from lakehouse.notebooks import read_results, run_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TUTORIALS = [path for path in NOTEBOOKS if path.stem[0].isdigit()]  # the others have no exercises
FLOWS = [path for path in TUTORIALS if "lakehouse.flows" in path.read_text(encoding="utf-8")]
FIRST = {"00_quick_tour", "01_raw_to_bronze"}  # the others are slow
# By default charts are specified and not drawn, which takes longest, and chapter 08 finds nothing installed.
SPARED = "use_charts(pictures=False)\nfind_spec = lambda name: None"
FORBIDDEN = (r"^!", r"^%cd", r"\binput\(", r"/home/", r"/tmp/", r"datetime\.now", r"https?://", r"\bmkdtemp\b")

RESULTS = {  # what each records, on the example files or a lake of its own
    "00_quick_tour": {"symbol": "BTCUSDT", "bars": 2199, "read": 4431, "inserted": 3706, "rejected": 5},
    "01_raw_to_bronze": {"symbol": "BTCUSDT", "bars": 2199, "revisions": 7, "read": 4431, "rejected": 5},
    "02_explore_bronze": {
        **{"symbol": "BTCUSDT", "bars": 2199, "gaps": 1, "wildest": "2024-11-13 15:00"},
        **{"rejected_for": 6, "files": 2, "opened": 1},
    },
    "03_time_travel": {  # vacuum removes three deliveries and what two merges made of December
        **{"symbol": "BTCUSDT", "interval": "1h", "bars": 92 * 24},
        **{"updated": 12, "restored": 5, "again": 12, "saved": 2, "removed": 5},
    },
    "04_silver": {
        **{"symbol": "BTCUSDT", "interval": "1h", "bars": 92 * 24, "filled": 3, "outliers": 2},
        **{"corrected": 1 + 3 + 1, "closed": 8, "rebuilt": 0, "version": 3},
    },
    "05_gold": {
        **{"symbol": "BTCUSDT", "completeness": 0.5, "days": 30 + 31 + 31, "months": 3, "fine_days": 31 + 31},
        **{"partial": 1, "changed": 2 + 1 + 1 + 1},
    },
    "06_which_is_right": {  # a week of agreement; from then on all but a hole of six bars is in dispute
        **{"symbol": "BTCUSDT", "interval": "1h", "bars": 31 * 24, "superseded": 7 * 24, "overruled": 24 * 24 - 6},
        **{"corrected": 3, "withdrawn": 1, "version": 4},
    },
    "07_care": {  # sixteen nightly files; then one night corrected, and three more: all but the tagged version goes
        **{"symbol": "BTCUSDT", "interval": "1h", "bars": 19 * 24, "nightly": 15, "joined": 4, "fewer": 3},
        **{"removed": 16 + 4, "lost": 16 + 4, "tagged": 17},
    },
    "08_scale_out": {  # the same with SeaweedFS, Dask and DuckDB as without; every tenth bar of a month is corrected
        **{"symbols": 6, "interval": "1h", "bars": 6 * 61 * 24, "parts": 4, "corrected": 75, "same": True},
    },
}


def cells(path: Path, tag: str = "") -> list[nbformat.NotebookNode]:
    found = nbformat.read(str(path), as_version=4).cells
    return [cell for cell in found if not tag or tag in cell.metadata.get("tags", [])]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake of its own with the example files."""
    shutil.copytree(ROOT / "raw", tmp_path / "lake" / "raw")
    return tmp_path / "lake"


@pytest.fixture
def api(path: Path, request: pytest.FixtureRequest) -> None:
    """Prefect's server, for those alone that run a flow."""
    if path in FLOWS:
        _ = request.getfixturevalue("shared_api") or request.getfixturevalue("prefect_api")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_bare_and_well_formed(path: Path) -> None:
    for cell in cells(path):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert len(cells(path, "parameters")) == 1
    for cell in (*cells(path, "solution"), *cells(path, "check")):  # of a folded cell JupyterLab shows the first line
        assert (cell.metadata["jupyter"]["source_hidden"], cell.source.startswith("# Folded")) == (True, True)
    for cell in cells(path):
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 17
            for line in cell.source.splitlines():
                assert not any(re.search(pattern, line.strip()) for pattern in FORBIDDEN), line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_figure_and_its_noun_agree_whichever_it_is(path: Path) -> None:
    """A lake may hold one file, and a window one bar: `counted` writes both; `interval` bars are no count."""
    nouns = "bars|files|lines|days|gaps|months|rows|versions|repeats|returns"
    code = "\n".join(cell.source for cell in cells(path) if cell.cell_type == "code")
    found = re.findall(rf"\{{([^{{}}]*)\}} (?:{nouns})\b", code)
    assert [name for name in found if name not in ("interval", "coarse", "fine", "shared")] == []


MONTHS = r"\b(January|February|October|November|December)\b"
FIGURE = rf"\d{{3}}|\d[.,]\d|\d ?%|\b\d+ (bars|lines|files|days)|[A-Z]{{3,}}USDT|{MONTHS}"


def fixed_figures(prose: str) -> list[str]:
    """The sentences that tell a figure, a symbol or a month which need not be those of what is drawn."""
    bare = re.sub(r"`[^`]*`|\]\([^)]*\)|from 0 to 100", "", prose)  # code, links, the scale of an indicator
    sentences = re.split(r"(?<=[.?!])\s+|\n\n", bare)
    return [told for told in sentences if re.search(FIGURE, told) and "example files" not in told]


@pytest.mark.parametrize("name", ["00_quick_tour", "02_explore_bronze", "report"])
def test_prose_that_stands_by_any_series_has_no_figure_of_one(name: str) -> None:
    """What these notebooks say of a series, an interval or a lake is worked out in a cell, or said of the examples."""
    prose = [cell.source for cell in cells(ROOT / "notebooks" / f"{name}.ipynb") if cell.cell_type == "markdown"]
    assert [told for text in prose for told in fixed_figures(text)] == []
    for wrong in (
        "Nine bars of 17 December are missing.",
        "99.6 % are there.",
        "BTCUSDT fell.",
        "*We see 2,199 bars.*",
    ):
        assert fixed_figures(wrong) == [wrong]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_have_a_frame_and_more_prose_than_code(path: Path) -> None:
    prose = "\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")
    code = [cell.source for cell in cells(path) if cell.cell_type == "code"]
    for word in ("**You will**", "**Needs**", "**Leaves behind**", "**Time**", "## Checks", "## Recap", "## Exercises"):
        assert word in prose
    lines = [line for source in code for line in source.splitlines() if line.strip() and not line.startswith("#")]
    assert 12 <= len(prose.split()) / len(lines) <= 24


@pytest.mark.slow
def test_the_quick_tour_runs_headless_on_another_symbol(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    parameters = {"symbol": "ETHUSDT", "source": str(lake / "raw")}
    result = read_results(run_notebook("00_quick_tour", parameters, tmp_path / "out.ipynb"))
    assert result == RESULTS["00_quick_tour"] | {"symbol": "ETHUSDT", "bars": 744 + 744 + 19}
    assert not list(scratch.glob("lakehouse-*"))  # it says that it leaves nothing behind


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_raw_to_bronze_runs_headless_and_twice_the_same(lake: Path, tmp_path: Path) -> None:
    first = run_notebook("01_raw_to_bronze", {"root": str(lake)}, tmp_path / "1.ipynb")
    assert read_results(first) == RESULTS["01_raw_to_bronze"]
    other = run_notebook("01_raw_to_bronze", {"root": str(lake), "symbol": "ETHUSDT"}, tmp_path / "2.ipynb")
    assert read_results(other) == RESULTS["01_raw_to_bronze"] | {"symbol": "ETHUSDT", "bars": 1507}


@pytest.mark.slow
def test_explore_bronze_runs_headless_on_a_few_days(lake: Path, tmp_path: Path) -> None:
    few = {"root": str(lake), "symbol": "ETHUSDT", "start": "2025-01-30", "end": "2025-02-01"}
    found = read_results(run_notebook("02_explore_bronze", few, tmp_path / "out.ipynb"))
    there = {"rejected_for": 6, "files": 2, "opened": 1}
    assert found.items() >= {"symbol": "ETHUSDT", "bars": 24 + 24 + 19, "gaps": 5, **there}.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "others"),
    [
        ("03_time_travel", {"symbol": "ETHUSDT", "interval": "1d"}, {"bars": 92}),
        ("04_silver", {"symbol": "ETHUSDT", "interval": "1d"}, {"bars": 92}),
        ("05_gold", {"symbol": "ETHUSDT", "coarse": "6h", "fine": "2h"}, {}),
        (
            "06_which_is_right",
            {"symbol": "ETHUSDT", "interval": "1d"},
            {"bars": 31, "superseded": 7, "overruled": 24 - 6},
        ),
        ("07_care", {"symbol": "ETHUSDT", "interval": "1d"}, {"bars": 19}),
    ],
)
def test_a_tutorial_runs_headless_on_another_series(
    name: str, parameters: dict[str, str], others: dict[str, int], tmp_path: Path
) -> None:
    expected = RESULTS[name] | others | {key: value for key, value in parameters.items() if key in RESULTS[name]}
    assert read_results(run_notebook(name, parameters, tmp_path / "out.ipynb")) == expected


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's executed copy, on the example files."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(ROOT / "raw", folder / "raw")
    return run_notebook("report", {"root": str(folder)}, folder / "report.ipynb")


@pytest.mark.slow
def test_the_report_records_what_it_found(report: Path) -> None:
    found = read_results(report)
    lines = [
        line
        for path in sorted((ROOT / "raw").glob("BTCUSDT-1h-*.csv"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    told = {
        int(f[0]) // 10 ** (len(f[0]) - 13): (float(f[1]), float(f[4])) for f in (line.split(",") for line in lines)
    }
    bars = [told[time] for time in sorted(told)]
    peak, fall = bars[0][0], 0.0
    for _, close in bars:
        peak = max(peak, close)
        fall = max(fall, 1 - close / peak)
    assert found.pop("draw_down") == pytest.approx(fall, abs=1e-6)
    assert found == {
        **{"market": "binance", "symbol": "BTCUSDT", "interval": "1h", "version": 1, "files": 1, "rejected": 0},
        **{"bars": 2199, "missing": 9, "last_close": 80910.06, "change": -0.082813},  # 80910.06 / 88215.41 - 1
        **{"days": 30 + 31 + 31, "complete": round(2199 / 2208, 6)},
    }


@pytest.mark.slow
def test_the_report_runs_headless_on_a_window(lake: Path, tmp_path: Path) -> None:
    december = {"root": str(lake), "symbol": "ETHUSDT", "start": "2024-12-01", "end": "2024-12-31"}
    found = read_results(run_notebook("report", december, tmp_path / "out.ipynb"))
    assert (found["bars"], found["missing"], found["rejected"]) == (744, 0, 0)  # five of February


@pytest.mark.slow
def test_the_report_is_a_small_page_without_code_that_needs_no_network(report: Path) -> None:
    page = report.with_suffix(".html").read_text(encoding="utf-8")
    assert len(page.encode()) < 3_000_000
    assert not re.search(r'<script[^>]* src="[^"]', page)
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert "2,199 bars from 2024-11-01 00:00 to 2025-01-31 23:00" in text
    code = [line for cell in cells(report) if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert "import polars as pl" in code
    assert not [line for line in code if len(line) > 15 and line in text]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            {"symbol": "DOGEUSDT"},
            r"no series DOGEUSDT 1h in .*; there are: BTCUSDT 1h \(binance\), ETHUSDT",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"market": "kraken"},
            r"no series BTCUSDT 1h kraken in .*; there are: BTCUSDT 1h \(binance\)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"start": "2026-01-01"}, "2024-11-01 to 2025-01-31, none from 2026-01-01 to …", marks=pytest.mark.slow
        ),
    ],
)
def test_a_report_on_what_is_not_there_names_what_is(
    wanted: dict[str, str], message: str, lake: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotebookFailed, match=message):
        run_notebook("report", {"root": str(lake), **wanted}, tmp_path / "report.ipynb")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "path",
    [path if path.stem in FIRST else pytest.param(path, marks=pytest.mark.slow) for path in TUTORIALS],
    ids=lambda path: path.stem,
)
def test_a_tutorial_runs_headless_its_solutions_pass_their_checks_and_wrong_answers_do_not(
    path: Path, lake: Path, tmp_path: Path
) -> None:
    """One run of a copy at whose end each check is put to the solution, and then to a typical wrong answer."""
    book = nbformat.read(str(path), as_version=4)
    exercises, checks, solutions = (cells(path, tag) for tag in ("exercise", "check", "solution"))
    assert len(exercises) == len(checks) == len(solutions) >= 2
    for exercise, check, solution in zip(exercises, checks, solutions, strict=True):
        wrong = "\n".join(f"    {line}" for line in check.source.splitlines())
        trap = (
            f"try:\n{wrong}\nexcept AssertionError:\n    pass\nelse:\n    raise RuntimeError('a wrong answer passes')"
        )
        for source in (solution.source, check.source, exercise.metadata["wrong"], trap):
            cell = copy.deepcopy(check)
            cell.source, cell.id = source, f"{exercise.id}-{len(book.cells)}"
            book.cells.append(cell)
    if not asked_for_all():
        (at,) = (place for place, cell in enumerate(book.cells) if re.search(r"(?m)^use_charts\(\)", cell.source))
        book.cells.insert(at + 1, nbformat.v4.new_code_cell(SPARED))
    trial = tmp_path / path.name
    nbformat.write(book, str(trial))
    known = papermill.inspect_notebook(str(path))
    parameters = {name: value for name, value in {"source": f"{lake}/raw", "root": str(lake)}.items() if name in known}
    executed = run_notebook(trial, parameters, tmp_path / "out.ipynb")
    said = "".join(o.get("text", "") for cell in cells(executed) for o in cell.get("outputs", []))
    assert said.count("Right.") == len(exercises)
    assert read_results(executed) == RESULTS[path.stem]


def test_a_misspelt_parameter_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(InputError, match="has no parameter 'symbl'; did you mean 'symbol'"):
        run_notebook("00_quick_tour", {"symbl": "ETHUSDT"})
    with pytest.raises(InputError, match="symbol is 5; expected str"):
        run_notebook("00_quick_tour", {"symbol": 5})
    with pytest.raises(InputError, match="no notebook '99_nothing'"):
        run_notebook("99_nothing")


def test_a_failing_notebook_names_its_cell_and_leaves_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = list[str](), papermill.engines.write_ipynb
    monkeypatch.setattr(papermill.engines, "write_ipynb", lambda book, path: written.append(path) or write(book, path))
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(s) for s in ("x = 1", "assert x == 2, 'x is not 2'")]
    )
    nbformat.write(book, str(tmp_path / "fails.ipynb"))
    with pytest.raises(NotebookFailed, match=r"out failed in cell \[2\]: AssertionError: x is not 2") as caught:
        run_notebook(tmp_path / "fails.ipynb", output=tmp_path / "out.ipynb")
    assert cells(caught.value.path)[-1].outputs[0].ename == "AssertionError"
    assert len(written) == 2  # when it began and when it broke off, and not twice a cell: it holds all pictures


@pytest.fixture
def foreign_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's `python3`, first on Jupyter's path: a kernel that dies."""
    (spec := tmp_path / "jupyter" / "kernels" / "python3").mkdir(parents=True)
    foreign = {"argv": [sys.executable, "-c", "raise SystemExit(1)"], "display_name": "foreign", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(foreign), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


@pytest.mark.slow
@pytest.mark.usefixtures("foreign_kernel")
def test_a_notebook_runs_on_the_interpreter_that_runs_us(tmp_path: Path) -> None:
    source = "import sys; print(sys.executable)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), str(tmp_path / "who.ipynb"))
    (cell,) = cells(run_notebook(tmp_path / "who.ipynb", output=tmp_path / "out.ipynb"))
    assert cell.outputs[0].text == f"{sys.executable}\n"


@pytest.mark.usefixtures("foreign_kernel")
def test_jupyterlab_offers_the_interpreter_that_runs_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that `lakehouse lab` gives it, put to Jupyter's own list of kernels."""
    given: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(subprocess, "run", lambda command, env, **_: given.update(env=env) or Done(command, 0))
    lab()
    monkeypatch.setenv("JUPYTER_PATH", given["env"]["JUPYTER_PATH"])
    assert KernelSpecManager().get_kernel_spec("python3").display_name == "Python 3 (ipykernel)"


@pytest.mark.slow
def test_a_kernel_that_dies_is_a_notebook_that_failed(tmp_path: Path) -> None:
    source = "import os; os._exit(1)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), str(tmp_path / "dies.ipynb"))
    with pytest.raises(NotebookFailed, match=r"out failed in cell \[0\]: its kernel died"):
        run_notebook(tmp_path / "dies.ipynb", output=tmp_path / "out.ipynb")


def test_a_file_that_is_no_notebook_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "torn.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"torn\.ipynb is no notebook of today; open it in JupyterLab and save it"):
        run_notebook(tmp_path / "torn.ipynb")


@pytest.mark.slow
def test_a_run_leaves_no_event_loop_open_also_where_temporary_folders_lie_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So deep that a kernel's socket has no room for the path."""
    (deep := tmp_path / ("d" * 120)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(book, str(tmp_path / "sum.ipynb"))
    before = _open_loops()
    run_notebook(tmp_path / "sum.ipynb", output=tmp_path / "out.ipynb")
    assert _open_loops() <= before


def _open_loops() -> set[int]:
    loops = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.AbstractEventLoop)]
    return {id(loop) for loop in loops if not loop.is_closed()}


@pytest.mark.parametrize(("lake", "rooted"), [("home", True), ("home/notebooks", True), ("elsewhere", False)])
def test_jupyterlab_is_rooted_where_both_the_lake_and_the_notebook_lie(
    lake: str, rooted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that raw/ and runs/ can be reached in it; a notebook is never outside."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "home" / "notebooks")
    (tmp_path / lake / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home")
    given: list[str] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: given.extend(command) or Done(command, 0))
    lab(root=str(tmp_path / lake))
    assert (f"--ServerApp.root_dir={tmp_path / lake}" in given) is rooted
    assert str(tmp_path / "home" / "notebooks" / "00_quick_tour.ipynb") in given
