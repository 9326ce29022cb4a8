"""The Prefect flows: the same work as the plain functions, with runs, retries, artifacts and a schedule.

Without PREFECT_API_URL an embedded API is started for the run; with it, the flow reports to that server.

No `from __future__ import annotations` here: a served flow travels to its process by value, and annotations that are
strings cannot be resolved there.
"""

import itertools
import os
import time
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

# Read when Prefect is imported. A cold embedded API takes up to 25 s on two cores, and Prefect gives up after 20.
for _name, _value in {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # or it prints tracebacks when it is shut down
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

import polars as pl  # noqa: E402
from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.artifacts import (  # noqa: E402
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.settings import get_current_settings  # noqa: E402
from prefect.states import Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402
from pydantic import Field  # noqa: E402
from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: E402

from lakehouse.account import IngestReport, report_of  # noqa: E402
from lakehouse.batch import Batch, read_batches  # noqa: E402
from lakehouse.bronze import new_run_id, write_batch  # noqa: E402
from lakehouse.contracts import COUNTS  # noqa: E402
from lakehouse.errors import BatchFailed, ConflictError, IngestFailed  # noqa: E402
from lakehouse.lake import Lake  # noqa: E402
from lakehouse.notebooks import Value, check_parameters, headless, read_results, run_notebook  # noqa: E402
from lakehouse.plan import Plan, plan  # noqa: E402
from lakehouse.progress import Bar  # noqa: E402

_flow_settings = get_current_settings().flows
if "heartbeat_frequency" not in _flow_settings.model_fields_set:
    _flow_settings.heartbeat_frequency = None  # its thread makes every run end with a second of sleep

BatchMb = Annotated[int, Field(ge=1, description="Raw text per batch, MiB: memory grows with it.")]


def _is_conflict(_task: object, _run: object, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), ConflictError)


@task(name="plan", cache_policy=NO_CACHE)
def plan_files(lake: Lake, again: str) -> Plan:
    """Find the file revisions that are new, or asked for."""
    return plan(lake, again)


@task(
    name="write batch",
    task_run_name="{label}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=5,
    retry_jitter_factor=1,
    retry_condition_fn=_is_conflict,
)
def write_one(lake: Lake, batch: Batch, run_id: str, label: str) -> list[dict[str, object]]:
    """Write one batch; tried again only if other writers kept coming first."""
    return write_batch(lake, batch, run_id)


@flow(name="ingest-bronze", flow_run_name="ingest {root}")
def ingest_bronze(root: str = "", batch_mb: BatchMb = 64, again: str = "") -> IngestReport:
    """Bring every new file revision below raw/ into bronze: plan, a task for each batch, account.

    Args:
        root: The lake: a folder or a URL. Default: LAKEHOUSE_ROOT, else the nearest folder upwards with raw/.
        batch_mb: Raw text per batch, MiB.
        again: A pattern of paths below raw/ to read once more though they have not changed.

    Returns:
        The account of the run.

    Raises:
        IngestFailed: Some files did not load; all others have. It carries the account.
    """
    log = get_run_logger()
    began, run_id = time.perf_counter(), new_run_id()
    lake = Lake(root or None)
    todo = plan_files(lake, again)
    log.info(
        "%s: %d files to read, %.1f MB; %d have nothing new",
        lake.root,
        len(todo.pending),
        todo.size / 1e6,
        todo.untouched,
    )
    rows = _write_all(lake, todo, run_id, batch_mb) if todo.pending else []
    report = report_of(rows, todo.untouched, run_id, time.perf_counter() - began)
    if rows:
        _publish(report)
        log.info("%s", _sum(report))
    if report.failed.height:
        error = IngestFailed(report)
        return Failed(message=str(error), data=error)  # type: ignore[return-value]
    return report


def _write_all(lake: Lake, todo: Plan, run_id: str, batch_mb: int) -> list[dict[str, object]]:
    log = get_run_logger()
    rows, done_bytes = list[dict[str, object]](), 0
    about = f"{todo.size / 1e6:,.1f} MB of raw files"
    progress = cast("UUID", create_progress_artifact(0.0, key="ingest-progress", description=about))
    with Bar(total=todo.size, desc="ingest") as bar, logging_redirect_tqdm():
        for number, batch in enumerate(read_batches(lake, todo, batch_mb * 2**20), 1):
            label = f"batch {number}: {len(batch.accounts)} files, {batch.size / 1e6:,.1f} MB"
            done = write_one(lake, batch, run_id, label)
            rows += done
            bar.update(batch.size)
            done_bytes += batch.size
            update_progress_artifact(progress, 100 * done_bytes / todo.size if todo.size else 100.0)
            lines = {name: sum(cast("int", row[name]) for row in done) for name in COUNTS}
            log.info("%s: %s", label, ", ".join(f"{count:,} {name}" for name, count in lines.items() if count))
    return rows


def _publish(report: IngestReport) -> None:
    files = report.files.select("path", "market", "symbol", "interval", *COUNTS, "status", "error")
    create_table_artifact(files.to_dicts(), key="ingest-files", description="One row for each file of the run")
    failures = "".join(f"- `{row['path']}`: {row['error']}\n" for row in report.failed.iter_rows(named=True))
    counts = "".join(f"| {name} | {getattr(report, name):,} |\n" for name in COUNTS)
    text = f"# Ingest {report.run_id}\n\n{_sum(report)}\n\n| lines | |\n|---|---:|\n{counts}"
    create_markdown_artifact(text + (f"\n## Did not load\n\n{failures}" if failures else ""), key="ingest-summary")


def _sum(report: IngestReport) -> str:
    loaded = report.files.filter(pl.col("status") != "failed").height
    counts = ", ".join(f"{getattr(report, name):,} {name}" for name in COUNTS)
    return f"{loaded} files taken, {report.failed.height} failed: {counts} lines in {report.seconds:.1f} s"


@task(name="run notebook", task_run_name="{label}", cache_policy=NO_CACHE)
def run_one(name: str, parameters: dict[str, Value], folder: str, label: str) -> dict[str, object]:
    """Run a notebook; returns where its page lies, how long it took and what it recorded."""
    began = time.perf_counter()
    executed = run_notebook(name, parameters, Path(folder, f"{label}.ipynb"))
    page = executed.with_suffix(".html").resolve()
    create_link_artifact(page.as_uri(), link_text=label, key="notebook-page", description=f"{name}: {parameters}")
    return {"seconds": round(time.perf_counter() - began, 1), "page": str(page), **read_results(executed)}


@flow(name="run-notebooks", flow_run_name="{name}", validate_parameters=True)
def run_notebooks(
    name: str,
    grid: dict[str, list[str | int | float | bool]],
    output: str = "",
    at_once: Annotated[int, Field(ge=1, description="Notebooks at the same time; each is a process.")] = 2,
) -> pl.DataFrame:
    """Run a notebook for each combination of parameters: a task each, with its page as an artifact.

    Args:
        name: The notebook: a path, or its name in notebooks/.
        grid: Parameter → its values, for example {"symbol": ["BTCUSDT", "ETHUSDT"], "interval": ["1h"]}.
        output: The folder for executed copies and pages. Default: `runs/<UTC time>-<name>`.
        at_once: How many run at the same time.

    Returns:
        A row for each: the parameters, seconds, page, what it recorded, and error (null if it went well).

    Raises:
        InputError: There is no such notebook or parameter.
        BatchFailed: Some notebooks failed; the others have run. It carries the rows.
    """
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for parameters in combinations:
        check_parameters(name, parameters)
    folder = output or f"runs/{new_run_id()}-{Path(name).stem}"
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=at_once)
    with headless(), pool as runner:
        labels = ["-".join(map(str, parameters.values())) or Path(name).stem for parameters in combinations]
        told = [
            {"name": name, "parameters": parameters, "folder": folder, "label": label}
            for label, parameters in zip(labels, combinations, strict=True)
        ]
        futures = [runner.submit(run_one, parameters) for parameters in told]
        ends = [future.result(raise_on_failure=False) for future in futures]
    rows = [
        {
            "notebook": label,
            **given,
            **(end if isinstance(end, dict) else {}),
            "error": None if isinstance(end, dict) else str(end),
        }
        for label, given, end in zip(labels, combinations, ends, strict=True)
    ]
    runs = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"error": pl.String})
    create_table_artifact(runs.to_dicts(), key="notebook-results", description=f"{name}: what each run recorded")
    failed = runs["error"].count()
    create_markdown_artifact(f"{runs.height} runs of {name}, {failed} failed; see {folder}", key="notebook-summary")
    if failed:
        error = BatchFailed(runs)
        return Failed(message=str(error), data=error)  # type: ignore[return-value]
    return runs
