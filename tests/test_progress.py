from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import papermill
import pytest

from lakehouse.progress import Bar

CELL = """
from lakehouse.progress import Bar
with Bar(desc="ingest") as bar:
    bar.reach(1_000_000, 4_000_000)
    bar.reach(4_000_000, 4_000_000)
"""


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_where_nobody_looks_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with Bar(desc="ingest") as bar:
        bar.reach(1_000_000, 4_000_000)
        assert bar.disable
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_a_line_tells_how_far_it_is_and_is_wiped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar(desc="ingest", mininterval=0, ncols=100, file=terminal) as bar:
        bar.reach(1_000_000, 4_000_000)
        bar.reach(3_000_000, 4_000_000)
    states = terminal.getvalue().split("\r")
    assert any("ingest:  25%" in state and "1.00M/4.00M" in state for state in states)
    assert any("ingest:  75%" in state and "3.00M/4.00M" in state for state in states)
    assert (states[-2].strip(" "), states[-1]) == ("", "")  # what is printed next begins on the left


def test_the_total_may_grow_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Bar() as bar:
        bar.reach(10, 10)
        bar.reach(10, 40)
        assert (bar.n, bar.total) == (10, 40)
        assert str(bar).startswith(" 25%")


def test_in_a_notebook_one_output_keeps_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "bar.ipynb"
    told = {"cell_type": "code", "id": "bar", "source": CELL, "execution_count": None}
    path.write_text(
        json.dumps(
            {"cells": [{**told, "metadata": {}, "outputs": []}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        ),
        encoding="utf-8",
    )
    done = papermill.execute_notebook(str(path), str(path), kernel_name="python3", progress_bar=False)
    (output,) = done.cells[-1].outputs
    assert output.output_type == "display_data"
    assert "ingest: 100%" in output.data["text/plain"]
    assert "4.00M/4.00M" in output.data["text/plain"]
