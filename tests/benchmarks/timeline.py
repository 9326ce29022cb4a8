"""What the threads of a first load do, moment by moment: where it waits, and for what."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from lakehouse import Lake, ingest
from lakehouse.charts import theme

STAGES = {  # a function of ours → what it does
    "recognise.opened:open_file": "read and parse",
    "bronze.settle:settle": "settle",
    "delta.parquet:write_files": "write Parquet",
    "bronze.ingest:_write_ledger": "enter the ledger",
}
THREADS = {"polars": "Polars", "async-executor": "Polars", "tokio": "deltalake and obstore", "jemalloc": "allocator"}
EVERY = 0.01  # seconds between two looks
BUCKET = 0.1  # seconds that are drawn together


def timeline(root: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Load a lake in a process of its own, and watch its threads; Linux alone tells of them.

    Returns:
        who, at, cores: how many cores each kind of thread used; and stage, start, end: when each call of a stage ran.
        Seconds since the load began.
    """
    told = root / "told.json"
    child = subprocess.Popen([sys.executable, __file__, str(root), str(told)])
    looks, known = list[tuple[str, float, float]](), dict[str, int]()
    while child.poll() is None:
        now = time.perf_counter()  # the same clock in every process, on Linux
        for task in Path(f"/proc/{child.pid}/task").glob("*"):
            try:
                spent, name = int((task / "schedstat").read_text().split()[0]), (task / "comm").read_text()
            except OSError:  # it has ended
                continue
            looks.append((_kind(name), now, (spent - known.get(task.name, 0)) / 1e9))
            known[task.name] = spent
        time.sleep(EVERY)
    assert child.returncode == 0
    began, ended, marks = json.loads(told.read_text(encoding="utf-8"))
    used = (
        pl.DataFrame(looks, ["who", "at", "spent"], orient="row")
        .filter(pl.col("at").is_between(began, ended))
        .with_columns(at=(pl.col("at") - began) // BUCKET * BUCKET)
        .group_by("who", "at")
        .agg(cores=pl.sum("spent") / BUCKET)
        .sort("who", "at")
    )
    stages = pl.DataFrame(marks, ["stage", "start", "end"], orient="row")
    return used, stages.with_columns(pl.col("start", "end") - began)


def _kind(thread: str) -> str:
    return next((who for begin, who in THREADS.items() if thread.startswith(begin)), "Python and pyarrow")


def draw(used: pl.DataFrame, stages: pl.DataFrame, cores: int, path: Path) -> None:
    """The picture: how busy the cores were, and beneath it which stage ran when."""
    theme()
    end = stages["end"].max()
    x = alt.X("at:Q", title=None).scale(domain=[0, end])
    area = alt.Chart(used).mark_area(interpolate="step-after").encode(
        x=x,
        y=alt.Y("cores:Q", title="cores busy").scale(domain=[0, cores]).stack(True),
        color=alt.Color("who:N", title=None).legend(orient="top"),
    )  # fmt: skip
    bars = alt.Chart(stages).mark_bar(height=12, opacity=0.6).encode(
        x=alt.X("start:Q", title="seconds since the load began").scale(domain=[0, end]),
        x2="end:Q",
        y=alt.Y("stage:N", title=None, sort=[*STAGES.values()]),
    )  # fmt: skip
    busy = used["cores"].sum() * BUCKET / (cores * float(end))  # type: ignore[arg-type]
    said = alt.Title("What a first load does, moment by moment", subtitle=f"{busy:.0%} of {cores} cores are busy")
    chart = alt.vconcat(area.properties(width=700, height=160), bars.properties(width=700, height=90), title=said)
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.save(path, scale_factor=2)


def _watched(name: str, stage: str, marks: list[tuple[str, float, float]]) -> None:
    """Put a stopwatch before a function, wherever it has been imported."""
    home, _, function = name.partition(":")
    call: Callable[..., Any] = getattr(import_module(f"lakehouse.{home}"), function)

    def timed(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*args, **options)
        finally:
            marks.append((stage, start, time.perf_counter()))

    for module in [module for name, module in sys.modules.items() if name.startswith("lakehouse")]:
        if vars(module).get(function) is call:
            setattr(module, function, timed)


def _child(root: Path, told: Path) -> None:
    marks = list[tuple[str, float, float]]()
    import_module("lakehouse.bronze.ingest")
    for name, stage in STAGES.items():
        _watched(name, stage, marks)
    began = time.perf_counter()
    assert ingest(Lake(root)).complete
    told.write_text(json.dumps([began, time.perf_counter(), marks]), encoding="utf-8")


if __name__ == "__main__":
    _child(Path(sys.argv[1]), Path(sys.argv[2]))
