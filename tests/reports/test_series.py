from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from klines import hours, place

from lakehouse import Lake, ingest
from lakehouse.errors import InputError
from lakehouse.notebooks import run_notebook
from lakehouse.reports import choose_bars, choose_series, read_bars

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "notebooks" / "report.ipynb"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """AAAUSDT of two markets, of which the later one by name has more bars, and BBBUSDT."""
    place(tmp_path, "alpha/AAAUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "beta/AAAUSDT_1h.csv", hours(0, 9))
    place(tmp_path, "beta/BBBUSDT_1h.csv", hours(0, 2))
    ingest(Lake(tmp_path))
    return Lake(tmp_path)


def test_of_several_markets_the_one_with_most_bars_is_meant(lake: Lake) -> None:
    assert choose_series(lake, "AAAUSDT", "1h")["market"] == "beta"
    assert choose_series(lake)["symbol"] == "AAAUSDT"
    assert choose_series(lake, "AAAUSDT", market="alpha")["rows"] == 5


def test_bars_are_read_in_order_though_their_files_are_not_and_those_of_the_window_alone(tmp_path: Path) -> None:
    for turn, (begin, end) in enumerate([(72, 95), (24, 47), (12, 84)]):  # a commit each
        place(tmp_path, f"beta/{turn}/AAAUSDT_1h.csv", hours(begin, end))
        ingest(Lake(tmp_path))
    lake = Lake(tmp_path)
    held, first, last = choose_bars(lake, "AAAUSDT")
    every = lake.bronze.scan().select("open_time", "open", "high", "low", "close", "volume").collect()
    assert read_bars(lake, held, first, last).rows() == sorted(every.rows())
    held, first, last = choose_bars(lake, "AAAUSDT", start="2024-03-02", end="2024-03-03")
    days = {moment.day for moment in read_bars(lake, held, first, last)["open_time"]}
    assert days == {2, 3}
    assert read_bars(lake, held, dt.date.min, dt.date.max, version=1)["open_time"].dt.day().unique().to_list() == [4]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"symbol": "AAAUSD"}, r"no series AAAUSD 1h in .*, did you mean AAAUSDT 1h\?; there are: AAAUSDT 1h \(alpha"),
        ({"interval": "1M"}, r"no series AAAUSDT 1M in .*, did you mean AAAUSDT 1h\?"),
        ({"market": "gamma"}, r"no series AAAUSDT 1h gamma in .*; there are: AAAUSDT 1h \(alpha\), AAAUSDT 1h \(beta"),
        ({"start": "2024-13-01"}, r"start '2024-13-01' is no day \(month must be in 1..12.*\); write it as 2024-12-31"),
        ({"end": "01.02.2024"}, r"end '01.02.2024' is no day"),
        ({"start": "2024-03-02", "end": "2024-03-01"}, "start 2024-03-02 is after end 2024-03-01; did you swap them"),
        ({"start": "2030-01-01"}, "AAAUSDT 1h has bars from 2024-03-01 to 2024-03-01, none from 2030-01-01 to …"),
    ],
)
def test_what_is_not_there_is_said_before_a_kernel_starts_and_leaves_nothing_behind(
    wanted: dict[str, str], message: str, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"symbol": "AAAUSDT", "interval": "1h"} | wanted
    with pytest.raises(InputError, match=message):
        choose_bars(lake, **asked)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run_notebook(REPORT, {"root": lake.root, **asked})
    assert not Path("runs").exists()


def test_of_a_lake_that_holds_nothing_no_report_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(tmp_path, "raw").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="raw holds no file of bars; `lakehouse run` says what to do first"):
        run_notebook(REPORT)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"), [("symbl=ETHUSDT", "did you mean 'symbol'"), ("start=5", "expected str")]
)
def test_papermill_itself_does_not_take_a_misspelt_parameter_for_another_report(
    given: str, message: str, lake: Lake, tmp_path: Path
) -> None:
    name, value = given.split("=")
    command = [sys.executable, "-m", "papermill", str(REPORT), str(tmp_path / "out.ipynb"), "-k", "python3"]
    done = subprocess.run(
        [*command, "-p", name, value], env={**os.environ, "LAKEHOUSE_ROOT": lake.root}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr.decode()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_holds_what_papermill_gives_it_against_its_parameters(path: Path) -> None:
    code = [cell.source for cell in nbformat.read(str(path), as_version=4).cells if cell.cell_type == "code"]
    assert "check_given()" in "\n".join(code[1:4])
