"""The workers of a Dask cluster, if DASK_ADDRESS names its scheduler; without it all tasks run in this process.

What travels is a sub-plan (paths, or stretches of series) and, back, an account; rows never do: the workers read
and write themselves, so the lake must be the same one for all of them: a bucket, or a folder of the one machine that
they share.
"""

import lakehouse.flows.settings  # noqa: F401  before Prefect

# isort: split
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from lakehouse.bronze import Plan, read_batches, write_batch
from lakehouse.errors import ClusterError, ConflictError
from lakehouse.lake import Lake
from lakehouse.layers import Share, Workers, refresh_share

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

Finished = tuple[str, int, list[dict[str, object]]]  # what, bytes, rows of the ledger

DASK = "'distributed>=2026.8' 'prefect-dask>=0.3.7'"
TURNS = 4  # tasks that each thread of a cluster is to have
ANSWER_SECONDS = 30  # that a scheduler may take to answer, also one that was lost; and a first worker to come


@contextmanager
def cluster(lake: Lake) -> "Iterator[DaskTaskRunner | None]":
    """Give the workers of the cluster of DASK_ADDRESS as a task runner; None if none is named.

    Raises:
        ClusterError: It cannot be reached, is lost, has no worker, or one that sees another lake; or Dask is not
            installed.
    """
    if not (address := os.environ.get("DASK_ADDRESS", "")):
        yield None
        return
    here = "or unset it to run in this process"
    try:
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415  not everybody has it
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415
    except ImportError as error:
        raise ClusterError(
            f"DASK_ADDRESS is {address}, and Dask is not installed: uv sync --extra dask, or pip install {DASK}; {here}"
        ) from error
    known = str(lake.ledger.open_or_create().metadata().id)
    with DaskTaskRunner(address=address, client_kwargs={"timeout": ANSWER_SECONDS}) as runner:
        try:
            runner.client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"DASK_ADDRESS is {address}, and no scheduler with a worker answers there: start `dask scheduler` and "
                f"`dask worker {address}`, {here}"
            ) from error
        # A folder of the same name on another machine would be filled there, and nobody would see it here.
        seen: dict[str, str] = runner.client.run(_ledger_of, lake, on_error="ignore")
        if strange := sorted(worker for worker, ledger in seen.items() if ledger != known):
            raise ClusterError(f"{lake.root} is another folder for the worker {strange[0]}: use a bucket")
        try:
            yield runner
        except (CancelledError, KilledWorker) as error:
            raise ClusterError(
                f"the cluster at {address} was lost; what was committed stands, run again: {error}"
            ) from error


def _ledger_of(lake: Lake) -> str:
    return str(lake.ledger.open().metadata().id) if lake.ledger.exists() else ""


def is_conflict(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether a task has failed because other writers kept coming first."""
    return isinstance(state.result(raise_on_failure=False), ConflictError)


def writing[**P, R](**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that writes: it is tried again only if other writers kept coming first."""
    return task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=5, retry_condition_fn=is_conflict, **options)


@writing(name="take part", task_run_name="{label}", retry_jitter_factor=1)
def take_part(lake: Lake, part: Plan, run_id: str, batch_mb: int, label: str) -> list[dict[str, object]]:
    """Carry out a part of a plan on a worker: paths in, rows of the ledger out; batches travel nowhere.

    If a worker is lost its part begins anew elsewhere: what the ledger has of this run by then is not done again.
    """
    paths = [item.file.path for item in part.pending]
    mine = pl.col("path").is_in(paths), pl.col("status").is_in(["loaded", "empty", "failed"])
    rows = lake.ledger.scan().filter(*mine, run_id=run_id).collect().to_dicts()
    done = {row["path"] for row in rows}
    rest = replace(part, pending=tuple(item for item in part.pending if item.file.path not in done))
    for batch in read_batches(lake, rest, batch_mb * 2**20):
        rows += write_batch(lake, batch, run_id, rest)
    return rows


def side_by_side(runner: "DaskTaskRunner", lake: Lake, todo: Plan, run_id: str, batch_mb: int) -> Iterator[Finished]:
    """On a cluster; some tasks for each of its threads, so that none waits long for the last one."""
    parts = todo.parts(lake.dataset, TURNS * _threads(runner))
    given = {"lake": lake, "run_id": run_id, "batch_mb": batch_mb}
    futures = list[tuple[str, int, PrefectFuture[list[dict[str, object]]]]]()
    for number, part in enumerate(parts, 1):
        label = f"part {number} of {len(parts)}: {len(part.pending)} files, {part.size / 1e6:,.1f} MB"
        futures.append((label, part.size, runner.submit(take_part, {**given, "part": part, "label": label})))
    for label, size, future in futures:
        yield label, size, future.result()


@writing(name="take share", task_run_name="{share.label}", retry_jitter_factor=1)
def take_share(share: Share) -> Counter[str]:
    """Carry out a part of a refresh on a worker."""
    return refresh_share(share)


@contextmanager
def layer_workers(lake: Lake) -> Iterator[Workers | None]:
    """Give whoever refreshes layers instead of this process; None without a cluster."""
    with cluster(lake) as runner:
        yield Workers(TURNS * _threads(runner), partial(_take_shares, runner)) if runner else None


def _take_shares(runner: "DaskTaskRunner", shares: Sequence[Share]) -> Iterator[Counter[str]]:
    futures: list[PrefectFuture[Counter[str]]] = [runner.submit(take_share, {"share": share}) for share in shares]
    return (future.result() for future in futures)


def _threads(runner: "DaskTaskRunner") -> int:
    cores: dict[str, int] = runner.client.ncores()  # type: ignore[no-untyped-call]
    return sum(cores.values())
