from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakehouse.errors import InputError
from lakehouse.notebooks import write_index
from lakehouse.reports import find_page, list_runs, remove_runs


def keep(folder: Path, run: str, symbol: str, version: int) -> Path:
    """A run as papermill and `record` leave it."""
    name = run.split("-")[1]
    outputs = [{"data": {"application/vnd.lakehouse.results+json": {"version": version}}}]
    book = {"metadata": {"papermill": {"parameters": {"symbol": symbol}}}, "cells": [{"outputs": outputs}, {}]}
    (folder / run).mkdir(parents=True)
    (folder / run / f"{name}.ipynb").write_text(json.dumps(book))
    page = folder / run / f"{name}.html"
    page.write_text(f"<html><head><title>{symbol} &lt;b&gt;</title></head></html>")
    return page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    keep(runs, "20240101T000000-report", "AAA", 1)
    keep(runs, "20240102T000000-report-0a1b2c", "BBB", 2)
    keep(runs, "20240103T000000-tour", "CCC", 3)
    (runs / "mine").mkdir()
    return runs


def test_pages_are_listed_the_latest_first_with_their_titles(folder: Path) -> None:
    assert list_runs(folder).select("notebook", "title").rows() == [
        *(("tour", "CCC <b>"), ("report", "BBB <b>"), ("report", "AAA <b>")),
    ]
    assert list_runs(folder / "none").is_empty()


def test_the_latest_page_is_found_only_if_it_is_about_just_that(folder: Path) -> None:
    assert find_page("report", {"symbol": "BBB", "version": 2}, folder) == next(folder.glob("*2c/report.html"))
    assert find_page("report", {"symbol": "BBB", "version": 3}, folder) is None
    assert find_page("report", {"symbol": "AAA", "version": 1}, folder) is None  # it is not the latest
    next(folder.glob("*2c/report.ipynb")).write_text("{")
    assert find_page("report", {"symbol": "BBB"}, folder) is None


def test_the_index_links_to_each_page_and_takes_titles_for_text(folder: Path) -> None:
    text = write_index(folder).read_text()
    assert text.index("20240103T000000-tour/tour.html") < text.index("20240101T000000-report/report.html")
    assert "CCC &lt;b&gt;" in text
    assert "<b>" not in text
    assert "script-src" not in text  # none may run


def test_old_runs_go_when_told_to_and_nothing_else(folder: Path) -> None:
    assert [path.name for path in remove_runs(1, folder)] == ["20240101T000000-report"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("20240102T000000-report-0a1b2c", "20240103T000000-tour", "mine"),
    ]
    with pytest.raises(InputError, match="keep is 0; expected 1 or more"):
        remove_runs(0, folder)
