"""The Prefect flows: the same work as the plain functions, with runs, retries, artifacts and a schedule.

Without PREFECT_API_URL an embedded API is started for the run; with it, the flow reports to that server.

No `from __future__ import annotations` here: a served flow travels to its process by value, and annotations that are
strings cannot be resolved there.
"""

from lakehouse.flows.embedded import lake_flow  # before Prefect

# isort: split
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Literal, cast
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed
from pydantic import Field
from tqdm.contrib.logging import logging_redirect_tqdm

from lakehouse.bronze import (
    MAX_CONFLICTS,
    Batch,
    IngestFailed,
    IngestReport,
    Plan,
    new_run_id,
    prepare,
    read_batches,
    remember,
    report_of,
    write_batch,
)
from lakehouse.contracts import COUNTS
from lakehouse.download import DownloadReport, download_wanted
from lakehouse.flows.cluster import Finished, cluster, layer_workers, side_by_side, writing
from lakehouse.flows.notebooks import announce, key_of, run_notebooks
from lakehouse.lake import Lake
from lakehouse.layers import (
    LakeReport,
    RefreshFailed,
    RefreshReport,
    find_breaches,
    read_quality,
    refresh_gold,
    refresh_silver,
)
from lakehouse.progress import Bar

BatchMb = Annotated[int, Field(ge=1, description="Raw text per batch, MiB: memory grows with it.")]

Part = Annotated[float, Field(ge=0, le=1)]
__all__ = ["ingest_bronze", "refresh_lake", "run_notebooks"]


@task(name="plan", cache_policy=NO_CACHE)
def plan_files(lake: Lake, again: str, run_id: str) -> Plan:
    """Find the file revisions that are new, or asked for; take back what is declared otherwise now."""
    return prepare(lake, again, run_id)


@writing(name="write batch", task_run_name="{label}", retry_jitter_factor=1)
def write_one(lake: Lake, batch: Batch, run_id: str, todo: Plan, label: str) -> list[dict[str, object]]:
    """Write one batch; tried again only if other writers kept coming first."""
    return write_batch(lake, batch, run_id, todo)


@lake_flow(name="ingest-bronze", flow_run_name="ingest {root}")
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
    todo = plan_files(lake, again, run_id)
    log.info(
        "%s: %d files to read, %.1f MB; %d have nothing new",
        lake.root,
        len(todo.pending),
        todo.size / 1e6,
        todo.untouched,
    )
    rows = _write_all(lake, todo, run_id, batch_mb) if todo.pending else []
    remember(lake, todo, rows)
    report = report_of(rows, todo.untouched, run_id, time.perf_counter() - began, todo.unread)
    if rows:
        _publish(lake, report)
        log.info("%s", report)
    if report.failed.height:
        # Returned, not raised: so Prefect shows the account as the run's message; whoever called is raised the error.
        error = IngestFailed(report)
        return Failed(message=str(error), data=error)  # type: ignore[return-value]
    return report


def _write_all(lake: Lake, todo: Plan, run_id: str, batch_mb: int) -> list[dict[str, object]]:
    log = get_run_logger()
    rows, done_bytes = list[dict[str, object]](), 0
    about = f"{todo.size / 1e6:,.1f} MB of raw files"
    progress = cast(
        "UUID", create_progress_artifact(0.0, key=f"ingest-progress-{key_of(lake.root)}", description=about)
    )
    with cluster(lake) as runner, Bar(total=todo.size, desc="ingest") as bar, _beside_the_bar():
        finished = _in_turn(lake, todo, run_id, batch_mb)
        if runner:
            finished = side_by_side(runner, lake, todo, run_id, batch_mb)
        for label, size, done in finished:
            rows += done
            bar.update(size)
            done_bytes += size
            update_progress_artifact(progress, 100 * done_bytes / todo.size if todo.size else 100.0)
            lines = {name: sum(cast("int", row[name]) for row in done) for name in COUNTS}
            log.info("%s: %s", label, ", ".join(f"{count:,} {name}" for name, count in lines.items() if count))
    order = {item.file.path: number for number, item in enumerate(todo.pending)}
    return sorted(rows, key=lambda row: order[str(row["path"])])


def _in_turn(lake: Lake, todo: Plan, run_id: str, batch_mb: int) -> Iterator[Finished]:
    """In this process; a task for each batch, not for each file: it costs as much as a small file does."""
    for number, batch in enumerate(read_batches(lake, todo, batch_mb * 2**20), 1):
        label = f"batch {number}: {len(batch.accounts)} files, {batch.size / 1e6:,.1f} MB"
        yield label, batch.size, write_one(lake, batch, run_id, todo, label)


def _beside_the_bar() -> AbstractContextManager[None]:
    """Let log lines leave the bar whole; where the console shows none, tqdm would show them all the same."""
    shows = any(handler.level < logging.CRITICAL for handler in logging.getLogger().handlers)
    return logging_redirect_tqdm() if shows else nullcontext()


def _publish(lake: Lake, report: IngestReport) -> None:
    files = report.files.select("path", "market", "symbol", "interval", *COUNTS, "status", "error")
    create_table_artifact(
        files.to_dicts(), key=f"ingest-files-{key_of(lake.root)}", description="One row for each file of the run"
    )
    failures = "".join(f"- `{row['path']}`: {row['error']}\n" for row in report.failed.iter_rows(named=True))
    counts = "".join(f"| {name} | {getattr(report, name):,} |\n" for name in COUNTS)
    text = f"# Ingest {report.run_id}\n\n{report}\n\n| lines | |\n|---|---:|\n{counts}"
    create_markdown_artifact(
        text + (f"\n## Did not load\n\n{failures}" if failures else ""), key=f"ingest-summary-{key_of(lake.root)}"
    )


@writing(name="refresh silver")
def silver_task(lake: Lake, rebuild: bool) -> RefreshReport:
    """Bring silver up to bronze."""
    with layer_workers(lake) as workers:
        return refresh_silver(lake, rebuild=rebuild, workers=workers)


@writing(name="refresh gold")
def gold_task(lake: Lake, rebuild: bool) -> list[RefreshReport]:
    """Bring gold up to silver."""
    with layer_workers(lake) as workers:
        return refresh_gold(lake, rebuild=rebuild, workers=workers)


@task(name="download", cache_policy=NO_CACHE)
def download_task(lake: Lake) -> DownloadReport:
    """Bring into raw/ what raw/download.toml names."""
    with Bar(desc="download") as bar:
        return download_wanted(lake, patient=True, on_progress=bar.reach)


@lake_flow(name="refresh-lake", flow_run_name="refresh {root}", on_completion=[announce], on_failure=[announce])
def refresh_lake(
    root: str = "",
    batch_mb: BatchMb = 64,
    again: str = "",
    rebuild: bool = False,
    max_rejected: Part = 1.0,
    min_completeness: Annotated[
        float, Field(ge=0, le=1, description="Bars of each series, as a part of its grid.")
    ] = 0.0,
    max_conflicts: Part = MAX_CONFLICTS,
    on_breach: Literal["warn", "fail"] = "warn",
    download: bool = False,
) -> LakeReport:
    """Bring raw/ to gold: ingest, silver, gold; then hold the quality against thresholds.

    Args:
        root: As of `ingest_bronze`; also the two that follow.
        batch_mb: The same.
        again: The same.
        rebuild: Compute silver and gold as a whole, not just what has changed.
        max_rejected: More rejected lines than this part of those read are a breach.
        min_completeness: Fewer bars than this part of a series' grid are a breach.
        max_conflicts: Two paths that differ on more than this part of the bars which they share are a breach.
        on_breach: Whether a breach is a warning, or makes the flow fail when all is done.
        download: Bring what raw/download.toml names from the public archive before.

    Returns:
        The account of ingest, and what was refreshed.

    Raises:
        RefreshFailed: Some files did not come or load, or a threshold was broken and `on_breach` is fail. All else is
            done.
    """
    log = get_run_logger()
    lake = Lake(root or None)
    fetched = download_task(lake) if download else None
    try:
        account = ingest_bronze(root=lake.root, batch_mb=batch_mb, again=again)
    except IngestFailed as error:
        account = error.report
    # Files that failed do not stop what loaded: gold is as new as it can be, and the run fails at its end.
    layers = list[RefreshReport]()
    if lake.bronze.exists():
        layers = [silver_task(lake, rebuild), *gold_task(lake, rebuild)]
    quality = read_quality(lake)
    breaches = find_breaches(account, quality, max_rejected, min_completeness, max_conflicts)
    missed = fetched.failures if fetched else ()
    lines = [*map(str, layers), *(f"breach: {breach}" for breach in breaches), *(f"missed: {line}" for line in missed)]
    create_markdown_artifact(
        "\n".join(f"- {line}" for line in lines) or "Nothing to refresh.", key=f"refresh-summary-{key_of(lake.root)}"
    )
    create_table_artifact(
        quality.to_dicts(), key=f"lake-quality-{key_of(lake.root)}", description="Bars, gaps and flags of each series"
    )
    for layer in layers:
        log.info("%s", layer)
    for line in (*breaches, *missed):
        log.warning("%s", line)
    done = LakeReport(account, tuple(layers), quality, tuple(breaches), fetched)
    if not done.complete or (breaches and on_breach == "fail"):
        failure = RefreshFailed(done)
        return Failed(message=str(failure), data=failure)  # type: ignore[return-value]
    return done
