from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import polars as pl
import pytest
from klines import hours, place

from lakehouse import Lake, errors, ingest
from lakehouse.bronze.account import IngestFailed
from lakehouse.errors import BatchFailed, InputError, LakehouseError, NotebookFailed, VersionError
from lakehouse.layers.quality import LakeReport, RefreshFailed

CLASSES = [thing for thing in vars(errors).values() if inspect.isclass(thing)]


@pytest.mark.parametrize("error", CLASSES)
def test_one_except_catches_them_all(error: type[Exception]) -> None:
    assert issubclass(error, LakehouseError)


def test_those_that_python_has_a_word_for_are_caught_by_it_too() -> None:
    with pytest.raises(ValueError, match="batch_mb is 0; expected 1 or more"):
        raise InputError("batch_mb is 0; expected 1 or more")
    with pytest.raises(LookupError, match="has versions 0 to 3, not 9"):
        raise VersionError("table 'bronze/candles' has versions 0 to 3, not 9")
    assert not issubclass(InputError, LookupError)


def test_a_failed_ingest_names_its_files_and_carries_the_account(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 3))
    place(tmp_path, "CCCUSDT_1h.csv", hours(0, 3))
    place(tmp_path, "DDDUSDT_1h.csv", ["version https://git-lfs.github.com/spec/v1"], header=False)
    place(tmp_path, "EEEUSDT_1h.csv", ["<html>"], header=False)
    report = ingest(Lake(tmp_path))
    error = IngestFailed(report)
    first, *rest = str(error).splitlines()
    assert first == "2 file(s) did not load (3 other(s) did):"
    assert [line.split(": ")[0] for line in rest] == ["  DDDUSDT_1h.csv", "  EEEUSDT_1h.csv"]
    assert "Git LFS" in rest[0]
    assert error.report is report


def test_errors_survive_the_way_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    report = ingest(Lake(tmp_path))
    runs = pl.DataFrame({"notebook": ["a", "b"], "error": [None, "ValueError: no\nat all"]})
    failed = [IngestFailed(report), NotebookFailed(tmp_path, 1, "no", "1 / 0"), BatchFailed(runs)]
    failed.append(RefreshFailed(LakeReport(report, (), pl.DataFrame(), ("too few",))))
    for error in failed:
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_refresh_that_failed_says_which_files_and_what_is_not_good_enough(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", ["<html>"], header=False)
    error = RefreshFailed(LakeReport(ingest(Lake(tmp_path)), (), pl.DataFrame(), ("too few bars", "too many rejects")))
    first, second, *rest = str(error).splitlines()
    assert first == "1 file(s) did not load (0 other(s) did):"
    assert second.startswith("  AAAUSDT_1h.csv: HTML")
    assert rest == ["too few bars", "too many rejects"]


def test_a_failed_notebook_shows_the_first_lines_of_its_cell_and_where_the_copy_lies() -> None:
    source = "\n" + "\n".join(f"step({number})" for number in range(1, 8)) + "\n"
    error = NotebookFailed(Path("runs/04_silver.ipynb"), 7, "ValueError: no", source)
    assert str(error) == (
        "04_silver failed in cell [7]: ValueError: no\n"
        "    step(1)\n    step(2)\n    step(3)\n    step(4)\n    step(5)\n"
        "see runs/04_silver.ipynb"
    )
    assert (error.path, error.cell, error.reason, error.source) == (
        *(Path("runs/04_silver.ipynb"), 7, "ValueError: no"),
        source,
    )


def test_a_failed_notebook_whose_cell_is_not_known_is_still_told() -> None:
    error = NotebookFailed(Path("out.ipynb"), 0, "timeout", "")
    assert str(error) == "out failed in cell [0]: timeout\nsee out.ipynb"


def test_a_failed_batch_gives_a_line_for_each_notebook_that_failed() -> None:
    told = {"notebook": ["A", "B", "C"], "error": [None, "B failed in cell [2]: no\n    step()", "timeout"]}
    error = BatchFailed(pl.DataFrame(told))
    assert str(error) == "2 of 3 notebook(s) failed:\n  B: B failed in cell [2]: no\n  C: timeout"
    assert error.runs["notebook"].to_list() == ["A", "B", "C"]
