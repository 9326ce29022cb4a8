"""What a lake in a bucket costs: how often each step asks, which is the same on every machine.

    BUCKET_DELAYS="0 0.03" uv run pytest -n0 -m "" -s tests/buckets/test_requests.py

prints the seconds too, for each delay before a request; the table in docs/scale.md comes from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url
from proxy import Proxy

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.sample import write_sample
from lakehouse.status import read_status

MOST = {  # requests, and some that a busy store makes us ask again
    "first load": 130,
    "nothing new": 12,
    "silver and gold, first": 204,  # deltalake is not told what it has committed, and asks: one or two each
    "silver and gold, nothing new": 82,
    "status": 88,
    "restore": 66,
}


def refresh(lake: Lake) -> None:
    refresh_silver(lake)
    refresh_gold(lake)


STEPS: dict[str, Callable[[Lake], object]] = {
    "first load": ingest,
    "nothing new": ingest,
    "silver and gold, first": refresh,
    "silver and gold, nothing new": refresh,
    "status": read_status,
    "restore": lambda lake: lake.bronze.restore(0),
}


@pytest.mark.slow
def test_each_step_asks_a_bucket_no_more_than_it_must(
    bucket: str, seaweed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_sample(tmp_path, symbols=["BTCUSDT"], intervals=["1h"], first="2020-01", last="2024-12")
    assert len(paths) == 60
    for delay in map(float, os.environ.get("BUCKET_DELAYS", "0").split()):
        url = f"{bucket}/{delay}"
        for path in paths:
            obstore.put(from_url(url), f"raw/{path.name}", path.read_bytes())
        met: dict[str, int] = {}
        with Proxy(seaweed, delay) as proxy, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            Lake(url)
            proxy.count()
            for name, step in STEPS.items():
                began, cpu = time.perf_counter(), time.process_time()
                step(Lake(url))
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                counts = proxy.count()
                met[name] = sum(counts[verb] for verb in ("GET", "PUT", "HEAD", "POST", "DELETE"))
                waited = counts["milliseconds"] / 1000
                told = f"{met[name]:>4} requests  {took:6.2f} s, {waited:5.2f} waiting, {cpu:5.2f} of the processor"
                print(f"{delay:4.2f} {name:<30} {told}")
        assert {name: count for name, count in met.items() if count > MOST[name]} == {}
