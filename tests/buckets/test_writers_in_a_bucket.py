"""Laws 1, 6 and 7 in a bucket: writers side by side, killed as they come, through a network that fails."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import obstore
import polars as pl
import pytest
from klines import hours, place
from obstore.store import from_url
from proxy import Proxy

from lakehouse import Lake, ingest
from lakehouse.lake import Table

COUNTS = ("inserted", "updated", "unchanged", "superseded", "overruled", "rejected")
# Each writer uploads its files, one by one, and takes in whatever is there. What is there is not uploaded again: that
# would make it a newer statement.
WRITE = """
import contextlib, sys, pathlib, obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url
from lakehouse import Lake, ingest
url, inbox = sys.argv[1:]
store = from_url(url)
for path in sorted(pathlib.Path(inbox, "raw").iterdir()):
    with contextlib.suppress(AlreadyExistsError):
        obstore.put(store, f"raw/{path.name}", path.read_bytes(), mode="create")
    ingest(Lake(url))
"""


def rows(table: Table) -> list[tuple[object, ...]]:
    found = table.scan().drop("_ingested_at", "rejected_at", strict=False).collect()
    return found.sort(found.columns).rows()


def write_together(url: str, folder: Path, writers: int, batches: int, kills: int) -> int:
    """Let writers bring overlapping files into one series, and kill some of them; returns how many were killed."""
    chance, files = random.Random(3), writers * batches
    for number in range(files):
        lines = [*hours(first := 5 * number, first + 40, 10.0 + number / files), f"a bad line of {number}"]
        place(folder / str(number % writers), f"BTCUSDT-1h-{number:04}.csv", lines)
    begin = [[sys.executable, "-c", WRITE, url, str(folder / str(number))] for number in range(writers)]
    running = {number: subprocess.Popen(command) for number, command in enumerate(begin)}
    killed = 0
    try:
        while running:
            time.sleep(chance.uniform(0.5, 3))
            if killed < kills and (alive := [n for n, process in running.items() if process.poll() is None]):
                running[victim := chance.choice(alive)].kill()
                running[victim].wait()
                running[victim] = subprocess.Popen(begin[victim])
                killed += 1
            ended = {number: process.returncode for number, process in running.items() if process.poll() is not None}
            assert not any(ended.values()), ended
            running = {number: process for number, process in running.items() if number not in ended}
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("faults", [0.0, 0.02], ids=["a good network", "a bad network"])
def test_writers_of_one_series_that_are_killed_end_as_one_run(
    faults: float, bucket: str, seaweed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers, batches, kills = map(int, os.environ.get("BUCKET_WRITERS", "4 5 4").split())
    with Proxy(seaweed, faults=faults) as proxy:
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            assert write_together(bucket, tmp_path, writers, batches, kills) == kills
        met = proxy.count()
        assert bool(faults) == bool(met["cut after"] + met["cut before"] + met["busy"] + met["stall"])
    lake, alone = Lake(bucket), Lake(f"{bucket}/alone", raw=f"{bucket}/raw")
    assert ingest(lake).read == 0  # nothing was left undone
    ingest(alone)
    assert rows(lake.bronze) == rows(alone.bronze)
    assert rows(lake.quarantine) == rows(alone.quarantine)
    ledger = lake.ledger.scan().filter(status="loaded").collect()
    assert ledger["path"].n_unique() == writers * batches
    assert ledger.filter(pl.col("read") != pl.sum_horizontal(COUNTS)).is_empty()
    kept = [meta["path"] for chunk in obstore.list(from_url(f"{bucket}/raw")) for meta in chunk]
    assert len(kept) == writers * batches
