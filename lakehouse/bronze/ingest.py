"""raw/ into bronze: read what is new, settle which statements win, write it, keep the account.

Order of writes: quarantine, candles, ledger; then upkeep. Each is idempotent by key, so a run that was killed between
any two is healed by doing its files again; and that is what the next run does, because the ledger lacks them.
"""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze.account import DEFERRED, Account, IngestReport, report_of
from lakehouse.bronze.batch import BATCH_BYTES, Batch, read_batches
from lakehouse.bronze.late import confirmed_by_newer
from lakehouse.bronze.plan import plan, remember
from lakehouse.bronze.settle import settle
from lakehouse.delta import Changes, Span, commit, guarded, live_versions, read_spans, writing
from lakehouse.lake import Lake

OUTCOMES = ("inserted", "updated", "unchanged", "superseded")


def ingest(
    lake: Lake,
    *,
    batch_bytes: int = BATCH_BYTES,
    again: str = "",
    on_progress: Callable[[int, int], object] | None = None,
) -> IngestReport:
    """Bring every new file revision below raw/ into bronze.

    Args:
        lake: The lake.
        batch_bytes: How much raw text a batch may hold, the last a quarter more; memory grows with it, not with raw/.
        again: A pattern of paths below raw/ to read once more though they have not changed: what a restore has
            rolled back comes again. `*` stands for any letters, slashes too.
        on_progress: Called with (bytes done, bytes in all) after each batch.

    Returns:
        The account. Files that could not be understood are in `failed`; the others have loaded.

    Raises:
        LakeError: The lake cannot be read or written.
        InputError: No file in raw/ is like `again`.
        ConflictError: Other writers won at every attempt.

    Example:
        >>> ingest(Lake("/data/lake")).inserted            # doctest: +SKIP
        2976
    """
    began = time.perf_counter()
    run_id = new_run_id()
    todo = plan(lake, again)
    done, rows = 0, list[dict[str, object]]()
    for batch in read_batches(lake, todo, batch_bytes):
        rows += write_batch(lake, batch, run_id)
        done += batch.size
        if on_progress:
            on_progress(done, todo.size)
    remember(lake, todo, rows)
    return report_of(rows, todo.untouched, run_id, time.perf_counter() - began)


def new_run_id() -> str:
    """A name for a run that sorts by time: `20250301T120000-1a2b3c`."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def write_batch(lake: Lake, batch: Batch, run_id: str) -> list[dict[str, object]]:
    """Write one batch: quarantine, candles, ledger.

    Args:
        lake: The lake.
        batch: What was read.
        run_id: The run's name, for the ledger and the commits.

    Returns:
        A row of the ledger for each file that is finished with this batch.

    Raises:
        LakeError: The lake cannot be written.
        ConflictError: Other writers won at every attempt.
    """
    with writing(lake.root):
        guarded(lambda: _write_rejected(lake, batch, run_id))
        outcomes, bronze = guarded(lambda: _write_statements(lake, batch, run_id))
        _keep_account(batch, outcomes, bronze)
        done = guarded(lambda: _write_ledger(lake, batch, bronze, run_id))
        # Upkeep comes last: were it killed half-way, the batch has all the same been entered.
        if batch.statements:
            partitions = pl.DataFrame([*batch.statements], schema=lake.bronze.partition, orient="row")
            lake.bronze.tidy(bronze, partitions)
    return done


def _write_rejected(lake: Lake, batch: Batch, run_id: str) -> None:
    if not batch.rejected:
        return
    table = lake.quarantine
    base = table.open_or_create()
    rows = pl.concat(batch.rejected).select(table.schema.keys())
    paths = rows["_file"]
    known = read_spans(base, [Span({}, "_file", paths.min(), paths.max())]).select(table.key).collect()
    new = rows.join(known, on=table.key, how="anti", maintain_order="left")
    notes: dict[str, str | int] = {"run": run_id, "files": paths.n_unique()}
    commit(base, table.key, Changes(new), guards=[table.guard()], notes=notes)
    table.tidy(base, new)


def _write_statements(lake: Lake, batch: Batch, run_id: str) -> tuple[dict[tuple[int, str], int], DeltaTable]:
    statements = {key: frames for key, frames in batch.statements.items() if frames}
    table = lake.bronze
    base = table.open_or_create()
    if not statements:
        return {}, base
    settled = settle(base, statements, lake.dataset, lambda rows: confirmed_by_newer(lake, rows, base))
    empty = pl.DataFrame(schema=table.schema)
    guards = [table.guard(*partition) for partition in statements]
    notes: dict[str, str | int] = {"run": run_id, "files": len(batch.accounts)}
    if settled.confirming:
        confirming = [batch.accounts[number] for number in sorted(settled.confirming)]
        notes["agreed"] = json.dumps([(a.file.path, a.sha256, a.stated_at.isoformat()) for a in confirming])
    inserted, updated = (pl.concat([empty, *frames]) for frames in (settled.inserted, settled.updated))
    changes = Changes(inserted, updated, spans=settled.spans)
    commit(base, table.key, changes, guards=guards, notes=notes, even_empty=bool(settled.confirming))
    return dict(settled.counts), base


def _keep_account(batch: Batch, outcomes: dict[tuple[int, str], int], bronze: DeltaTable) -> None:
    for (number, name), count in [*batch.counts.items(), *outcomes.items()]:
        batch.accounts[number].counts[name] += count
    for account in batch.accounts.values():
        account.versions.add(bronze.version())
        settled = sum(account.counts[name] for name in (*OUTCOMES, "rejected"))
        if account.counts["read"] != settled:  # law 1
            raise AssertionError(f"{account.file.path}: {account.counts['read']} lines read, {settled} accounted for")


def _write_ledger(lake: Lake, batch: Batch, bronze: DeltaTable, run_id: str) -> list[dict[str, object]]:
    """Enter the files that are finished; returns their rows, those of deferred files too, which are not entered."""
    table = lake.ledger
    base = table.open_or_create()
    bronze.update_incremental()
    for account in batch.finished:
        if account.status == "loaded" and _undone(account, bronze):
            account.status = "rolled_back"
    done = [account.row(run_id, batch.read_at) for account in batch.finished]
    rows = pl.DataFrame([row for row in done if row["status"] != DEFERRED], schema=table.schema)
    if rows.is_empty():
        return done
    times = rows["stated_at"]
    known = read_spans(base, [Span({}, "stated_at", times.min(), times.max())]).select(table.schema.keys()).collect()
    # A revision stands once in the ledger, but for one that was rolled back and asked for again: that is another event,
    # since a later restore may undo the one and not the other. What failed, and is told differently now, is told anew.
    revision = ["path", "sha256", "stated_at"]
    entered = known.filter(~pl.col("status").is_in(["failed", "rolled_back"]))
    new = rows.join(entered, on=revision, how="anti", maintain_order="left")
    failed = known.filter(pl.col("status") == "failed")
    known_before = failed.join(new, on=[*revision, "status", "error"], how="semi", nulls_equal=True)
    new = new.join(known_before, on=revision, how="anti", maintain_order="left")
    outdated = failed.join(new, on=revision, how="semi")
    span = Span({}, "stated_at", outdated["stated_at"].min(), outdated["stated_at"].max())
    changes = Changes(new, deleted=outdated, spans=[span])
    commit(base, table.key, changes, guards=[table.guard()], notes={"run": run_id, "files": rows.height})
    table.tidy(base, rows)
    return done


def _undone(account: Account, bronze: DeltaTable) -> bool:
    """Whether a restore came between the candles and the ledger."""
    if bronze.version() in account.versions:
        return False
    return not account.versions <= live_versions(bronze, bronze.version(), min(account.versions))
