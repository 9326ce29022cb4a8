"""Runs on a real Dask cluster, over a lake in a bucket: workers that are killed in the middle change nothing."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import obstore
import polars as pl
import pytest
from klines import hours, place
from later import Later
from obstore.store import from_url
from polars.testing import assert_frame_equal

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.contracts import COUNTS
from lakehouse.errors import ClusterError
from lakehouse.lake import Table
from lakehouse.layers import refresh

flows, cluster = Later("lakehouse.flows"), Later("lakehouse.flows.cluster")
ROOT = Path(__file__).parents[2]
SYMBOLS = 40
OURS = ["--preload", "lakehouse.flows"]
WORKERS = ["--nworkers", "2", "--nthreads", "1", *OURS]
LONG = 600.0  # seconds; all of this takes a tenth on a quiet machine


def wait[T](look: Callable[[], T]) -> T:
    """Look until there is something."""
    end = time.monotonic() + LONG
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


@pytest.fixture
def address(bucket: str, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A scheduler and two workers, whose environment knows the bucket; each is a process of its own."""
    distributed = pytest.importorskip("distributed", reason="uv sync --extra dask")
    pytest.importorskip("prefect_dask", reason="uv sync --extra dask")
    file, here = tmp_path / "scheduler.json", ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    begin = [sys.executable, "-m", "dask"]
    commands = [
        [*begin, "scheduler", "--port", "0", "--scheduler-file", str(file), *here, *OURS],
        [*begin, "worker", "--scheduler-file", str(file), *here, *WORKERS, "--local-directory", str(tmp_path)],
    ]
    env = os.environ | {"PREFECT_API_URL": prefect_api, "DASK_LOGGING__DISTRIBUTED": "warning"}
    with (tmp_path / "log").open("w") as log:
        running = [subprocess.Popen(command, env=env, stdout=log, stderr=log) for command in commands]
        try:
            wait(file.is_file)
            with distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=LONG) as client:
                client.wait_for_workers(2, timeout=LONG)
                monkeypatch.setenv("DASK_ADDRESS", client.scheduler.address)
                yield client.scheduler.address
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()
            print((tmp_path / "log").read_text()[-9000:])  # shown where a test fails


class Killer:
    """Kills a worker that is at a task, as soon as something is so; beside what `with` encloses."""

    def __init__(self, address: str, task: str, when: Callable[[], bool] = lambda: True) -> None:
        self.address, self.task, self.when = address, task, when
        self.killed, self._over = "", threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        from distributed import Client  # noqa: PLC0415

        with Client(self.address, set_as_default=False, timeout=LONG) as client:
            pids = client.run(os.getpid)
            while not self._over.wait(0.02) and not self.killed:
                at_work = client.processing().items() if self.when() else ()
                self.killed = next((worker for worker, keys in at_work if any(map(self._is_it, keys))), "")
            if self.killed:
                os.kill(pids[self.killed], signal.SIGKILL)

    def _is_it(self, key: str) -> bool:
        return key.startswith(self.task)


class Moved(Lake):
    """A lake that is another one for whoever it is sent to: a folder of the same name on another machine."""

    def __reduce__(self) -> tuple[type[Lake], tuple[str]]:
        return Lake, (f"{self.root}/elsewhere",)


def upload(url: str, folder: Path) -> None:
    for path in sorted((folder / "raw").rglob("*.csv")):
        obstore.put(from_url(url), f"raw/{path.relative_to(folder / 'raw').as_posix()}", path.read_bytes())


def rows(table: Table) -> pl.DataFrame:
    return table.scan().drop("_ingested_at", "rejected_at", "why", strict=False).sort(table.key).collect()


@pytest.mark.slow
def test_runs_on_a_cluster_end_as_in_one_process_though_workers_are_killed(
    bucket: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, alone = Lake(bucket), Lake(f"{bucket}/alone", raw=f"{bucket}/raw")
    for number in range(SYMBOLS):
        place(tmp_path / "a", f"C{number:02}USDT-1h-2024.csv", [*hours(0, 60), f"no bar of {number}"])
    # A name that tells another series than its lines do: two tasks meet in one partition.
    lines = [f"{line},C07USDT" for line in hours(40, 80, 12.0)]
    place(tmp_path / "a", "what.csv", ["open_time,open,high,low,close,volume,symbol", *lines], header=False)
    upload(bucket, tmp_path / "a")
    elsewhere = Moved(f"{bucket}/here")
    with (
        pytest.raises(ClusterError, match="/here is another folder for the worker tcp:"),
        cluster.cluster(elsewhere),
    ):
        pass
    with Killer(address, "take_part", lambda: lake.ledger.exists() and lake.ledger.version() > 2) as killer:
        first = flows.refresh_lake(root=bucket)
    assert killer.killed
    assert (first.ingest.read, first.ingest.rejected, first.ingest.complete) == (SYMBOLS * 62 + 41, SYMBOLS, True)
    ingest(alone)
    before = lake.silver.version()
    for number in range(SYMBOLS):
        place(tmp_path / "b", f"C{number:02}USDT-1h-2024-late.csv", hours(50, 75, 11.0))
    upload(bucket, tmp_path / "b")
    monkeypatch.setattr(refresh, "DEALT_ROWS", 0)  # of rows there are few here
    with Killer(address, "take_share", lambda: lake.silver.version() > before) as killer:
        second = flows.refresh_lake(root=bucket)
    assert killer.killed
    assert lake.silver.version() - before > 2 + 2 + 1  # marked, two shares and more, marked
    assert second.ingest.read == SYMBOLS * 26
    for report in (first.ingest, second.ingest):
        assert report.files["path"].n_unique() == report.files.height
        assert report.read == sum(getattr(report, name) for name in COUNTS if name not in {"read", "skipped"})
    assert ingest(lake).untouched == 2 * SYMBOLS + 1
    ingest(alone)
    refresh_silver(alone)
    refresh_gold(alone)
    for name in ("bronze", "quarantine", "conflicts", "silver", "gaps", "gold", "weekly", "monthly"):
        assert_frame_equal(rows(getattr(lake, name)), rows(getattr(alone, name)))
    lost = sys.modules["distributed"].CancelledError("by the tests")
    with (
        pytest.raises(ClusterError, match="was lost; what was committed stands, run again"),
        cluster.cluster(lake),
    ):
        raise lost
    ledger = lake.ledger.scan().collect()
    assert (ledger.height, ledger["path"].n_unique()) == (2 * SYMBOLS + 1,) * 2


def test_what_is_wrong_with_a_cluster_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    monkeypatch.setenv("DASK_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setattr(import_module("lakehouse.flows.cluster"), "ANSWER_SECONDS", 1)
    no_scheduler = r"^DASK_ADDRESS is tcp://127.0.0.1:1, and no scheduler with a worker answers there: start `dask sch"
    with pytest.raises(ClusterError, match=no_scheduler), cluster.cluster(Lake(tmp_path)):
        pass
    monkeypatch.setitem(sys.modules, "prefect_dask.task_runners", None)
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    advice = f"Dask is not installed: uv sync --extra dask, or pip install {' '.join(map(repr, extra['dask']))};"
    with pytest.raises(ClusterError, match=re.escape(advice)), cluster.cluster(Lake(tmp_path)):
        pass


def test_a_lake_that_travels_carries_no_key(bucket: str) -> None:
    lake = Lake(bucket)
    assert lake.raw
    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in pickle.dumps(lake)
    sent: Any = pickle.loads(pickle.dumps(lake))
    assert (sent.root, sent.ledger.exists()) == (bucket, False)
