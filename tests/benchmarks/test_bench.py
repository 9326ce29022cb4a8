"""The benchmarks run, and what they tell is told of tables that hold what the files say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import bench
import clock
import compare
import growth
import nights
import polars as pl
import pytest
import sides
import told
from drawing import drawn

HERE = ("floor", "ours", "DuckDB to Parquet")  # what is always installed
PEERS = [name for name in sides.SIDES if name not in (*HERE, "ours, Prefect")]


def here(
    call: Callable[..., object],
    *args: Any,
    needs: object = (),
    ready: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> clock.Took:
    """As clock.measure, without a process for each call: imports are most of what these cost."""
    returned = call(*args)
    return clock.Took(1.0, 2.0, 3.0, list(returned) if isinstance(returned, tuple) else returned)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> compare.Files:
    return compare.made(tmp_path_factory.mktemp("files"), months=1)


def test_a_call_is_measured_in_a_process_of_its_own(tmp_path: Path, files: compare.Files) -> None:
    copied = tmp_path / "BTCUSDT-1m-2024-11.csv"
    copied.write_bytes(b"".join(files.months[0].read_bytes().splitlines(keepends=True)[:50]))
    took = clock.measure(compare.total, copied)
    lines = copied.read_text(encoding="utf-8").splitlines()
    assert took.returned == [50, sum(int(line.split(",")[8]) for line in lines)]
    assert took.peak > 10
    with pytest.raises(RuntimeError, match=r"compare:total failed[^$]*No such file"):
        clock.measure(compare.total, tmp_path / "none.csv")


@pytest.mark.slow
def test_every_case_of_a_side_is_told_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "measure", here)
    said = list[str]()
    monkeypatch.setitem(sides.SIDES, "absent", sides.Side(sides.ours, sides.ours, sides.our_total, ("not_there",)))
    measured = pl.concat(compare.compare(tmp_path, 1, 1, [*HERE, "absent"], said.append))
    assert said == ["absent: skipped, there is no not_there; `uv run --group peers` brings it"]
    told_of = measured.filter(pl.col("side") != "limit").group_by("side", maintain_order=True).agg("case")
    without_zips = list(compare.CASES[:-1])
    assert dict(told_of.iter_rows()) == dict(zip(HERE, [[*compare.CASES]] * 2 + [without_zips], strict=True))
    assert told.summary(measured, "cpu").filter(side="ours")["ratio"].to_list() == [1.0] * 5
    assert told.table(measured, "cpu").row_count == 4
    assert told.steps(measured, 1).startswith("CPU ms a month of 1m bars, each step alone: parse ")
    drawn(told.chart(measured, "seconds", "one month"))


def test_a_side_whose_table_is_not_what_the_files_say_is_found_out(
    tmp_path: Path, files: compare.Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "measure", here)
    idle = sides.Side(sides.floor_load, lambda root, some: None, sides.delta, ())
    with pytest.raises(AssertionError, match="the files state"):
        list(compare.cases(idle, tmp_path, files))


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_does_all_cases(name: str, tmp_path: Path, files: compare.Files) -> None:
    if missing := sides.SIDES[name].missing:
        pytest.skip(f"no {missing}: `uv run --group peers` brings it")
    assert len(list(compare.cases(sides.SIDES[name], tmp_path, files))) >= 4


def test_the_gate_counts_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "measure", here)
    shown = growth.gate(tmp_path, symbols=1, months=1, joined=False)
    cells = [list(column.cells) for column in shown.columns]
    bars = 31 * 1440  # December; the new month is January, of which one day is there already
    assert cells[0][1:] == [
        "nothing new",
        "a new day for each symbol",
        "1 % corrected, the latest",
        "1 % corrected, every hundredth bar",
        "5 % new and 5 % corrected",
    ]
    assert cells[1] == [f"{bars:,}", "0", "1,440", f"{bars:,}", "446", f"{2 * bars:,}"]
    assert cells[2] == [f"{bars:,}", "0", "1,440", "0", "0", f"{bars - 1440:,}"]
    assert cells[3][:5] == ["0", "0", "0", "446", "446"]
    assert cells[4][1] == "0"


@pytest.mark.slow
def test_small_files_layers_and_nights_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "measure", here)
    assert growth.layers(tmp_path, "1m", [1], runs=1).row_count == 8
    assert nights.many(tmp_path, [2]).row_count == 1
    files, lines, *_ = growth.small(tmp_path / "small", symbols=2, days=30).columns
    assert [*files.cells] == ["first load of 60 files", "nothing new"]
    assert [*lines.cells] == ["1,440", "0"]
    commands = {command for command in bench.app if not command.startswith("-")}
    assert commands == {"chart", "gate", "layers", "nights", "small", "timeline"}
