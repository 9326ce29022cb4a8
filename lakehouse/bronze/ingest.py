"""raw/ into bronze: read what is new, settle which statements win, write it, keep the account.

Order of writes: quarantine, conflicts, candles, ledger; then upkeep. Each is idempotent by key, so a run that was
killed between any two is healed by doing its files again, as the next run does: the ledger lacks them. Conflicts come
before candles because what a row said before it is updated is nowhere else afterwards.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze.account import DEFERRED, Account, IngestReport, new_run_id, report_of
from lakehouse.bronze.batch import BATCH_BYTES, Batch, read_batches
from lakehouse.bronze.conflicts import judge_pairs, write_settled
from lakehouse.bronze.plan import Plan, plan, remember
from lakehouse.bronze.settle import Settled, settle
from lakehouse.bronze.standing import TO_BE_STATED_ANEW, WITHDRAWALS, confirmed_by_newer, take_back
from lakehouse.delta import Changes, Span, commit, guarded, live_versions, read_spans, writing
from lakehouse.lake import Lake

OUTCOMES = ("inserted", "updated", "unchanged", "superseded", "overruled")
AHEAD = dt.timedelta(hours=1)  # a clock may be wrong by so much; a file dated later silences its corrections
BETWEEN = "a withdrawal came in between; the next run takes it"


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
    todo = prepare(lake, again, run_id)
    done, rows = 0, list[dict[str, object]]()
    for batch in read_batches(lake, todo, batch_bytes):
        rows += write_batch(lake, batch, run_id, todo)
        done += batch.size
        if on_progress:
            on_progress(done, todo.size)
    remember(lake, todo, rows)
    return report_of(rows, todo.untouched, run_id, time.perf_counter() - began, todo.unread)


def prepare(lake: Lake, again: str, run_id: str) -> Plan:
    """Plan a run; and take back, or weigh anew, what sources.toml now says something else of.

    Args:
        lake: The lake.
        again: See `ingest`.
        run_id: The run's name.

    Returns:
        What is to be read.
    """
    todo = plan(lake, again)
    if todo.taken_back or todo.unfinished or todo.reranked:
        take_back(lake, dict.fromkeys(todo.taken_back, TO_BE_STATED_ANEW), todo, run_id)
    return todo


def write_batch(lake: Lake, batch: Batch, run_id: str, todo: Plan) -> list[dict[str, object]]:
    """Write one batch: quarantine, conflicts, candles, ledger.

    Args:
        lake: The lake.
        batch: What was read.
        run_id: The run's name, for the ledger and the commits.
        todo: The plan of the run.

    Returns:
        A row of the ledger for each file that is finished with this batch.

    Raises:
        LakeError: The lake cannot be written.
        ConflictError: Other writers won at every attempt.
    """
    with writing(lake.root):
        guarded(partial(_write_rejected, lake, batch, run_id))
        while True:
            withdrawals = lake.ledger.open_or_create().transaction_version(WITHDRAWALS)
            before = {n: (Counter(a.counts), set(a.versions), dict(a.pairs)) for n, a in batch.accounts.items()}
            settled, bronze = guarded(partial(_write_statements, lake, batch, run_id, todo))
            _keep_account(lake, batch, settled, bronze, todo)
            done = guarded(partial(_write_ledger, lake, batch, bronze, run_id, withdrawals))
            if done is not None:
                break
            for number, account in batch.accounts.items():  # what it rests on was taken back meanwhile: decide anew
                account.counts, account.versions, account.pairs = before[number]
                if account.versions and account.status == "loaded":  # its parts before this one have gone by
                    account.status, account.error = DEFERRED, BETWEEN
        # Upkeep comes last: were it killed half-way, the batch has all the same been entered.
        if batch.statements:
            lake.bronze.tidy(bronze, pl.DataFrame([*batch.statements], schema=lake.bronze.partition, orient="row"))
    return done


def _write_rejected(lake: Lake, batch: Batch, run_id: str) -> None:
    if not batch.rejected:
        return
    table = lake.quarantine
    base = table.open_or_create()
    rows = pl.concat(lines for _, lines in batch.rejected).select(table.schema.keys())
    paths = rows["_file"]
    known = read_spans(base, [Span({}, "_file", paths.min(), paths.max())]).select(table.key).collect()
    new = rows.join(known, on=table.key, how="anti", maintain_order="left")
    notes: dict[str, str | int] = {"run": run_id, "files": paths.n_unique()}
    commit(base, table.key, Changes(new), guards=[table.guard()], notes=notes)
    table.tidy(base, new)


def _write_statements(lake: Lake, batch: Batch, run_id: str, todo: Plan) -> tuple[Settled, DeltaTable]:
    statements = {key: stated for key, stated in batch.statements.items() if stated}
    table = lake.bronze
    base = table.open_or_create()
    if not statements:
        return Settled(), base
    settled = settle(base, statements, lake.dataset, lambda rows: confirmed_by_newer(lake, rows, base, todo), todo.rank)
    confirming = [batch.accounts[number] for number in sorted(settled.confirming)]
    agreed = json.dumps([(a.file.path, a.sha256, a.stated_at.isoformat()) for a in confirming]) if confirming else ""
    write_settled(lake, base, settled, todo.rank, {"run": run_id, "files": len(batch.accounts)}, agreed=agreed)
    return settled, base


def _keep_account(lake: Lake, batch: Batch, settled: Settled, bronze: DeltaTable, todo: Plan) -> None:
    for (number, name), count in [*batch.counts.items(), *settled.counts.items()]:
        batch.accounts[number].counts[name] += count
    for account in batch.accounts.values():
        if account.file.modified_at > batch.read_at + AHEAD:
            ahead = f"its time, {account.file.modified_at:%Y-%m-%d %H:%M} UTC, is in the future: what is stated until "
            ahead += "then loses against it; set the file's time right and ask for it `--again`"
            account.assumed = tuple(dict.fromkeys((*account.assumed, ahead)))  # once, also of a file in parts
    judge_pairs(batch.accounts, settled, lake.dataset, todo.rank, lambda path: _bars(lake, path))
    for account in batch.accounts.values():
        account.versions.add(bronze.version())
        total = sum(account.counts[name] for name in (*OUTCOMES, "rejected"))
        if account.counts["read"] != total:  # law 1
            raise AssertionError(f"{account.file.path}: {account.counts['read']} lines read, {total} accounted for")


def _bars(lake: Lake, path: str) -> int:
    """How many lines a path of the ledger has."""
    return int(lake.ledger.scan().filter(pl.col("path") == path).select(pl.col("read").max()).collect().item() or 0)


def _write_ledger(
    lake: Lake, batch: Batch, bronze: DeltaTable, run_id: str, withdrawals: int | None
) -> list[dict[str, object]] | None:
    """Enter the files that are finished; returns their rows, those of deferred files too, which are not entered.

    None, and nothing is entered, if files have been taken back since that was the last withdrawal.
    """
    table = lake.ledger
    base = table.open_or_create()
    if base.transaction_version(WITHDRAWALS) != withdrawals:
        return None
    bronze.update_incremental()
    for account in batch.finished:
        if account.status == "loaded" and _undone(account, bronze):
            account.status = "rolled_back"
    done = [account.row(run_id, batch.read_at) for account in batch.finished]
    kept = [{name: row[name] for name in table.schema} for row in done if row["status"] != DEFERRED]
    rows = pl.DataFrame(kept, schema=table.schema)
    if rows.is_empty():
        return done
    times = rows["stated_at"]
    known = read_spans(base, [Span({}, "stated_at", times.min(), times.max())]).select(table.schema.keys()).collect()
    # A revision stands once in the ledger, but for one that was rolled back or withdrawn and came again: that is
    # another event, since a later restore may undo the one and not the other. What failed, and is told differently
    # now, is told anew.
    revision = ["path", "sha256", "stated_at"]
    entered = known.filter(~pl.col("status").is_in(["failed", "rolled_back", "withdrawn"]))
    failed = known.filter(status="failed")
    new = rows.join(entered, on=revision, how="anti", maintain_order="left")
    new = new.join(failed, on=[*revision, "status", "error"], how="anti", maintain_order="left")
    outdated = failed.join(new, on=revision, how="semi")
    told_anew = new.join(outdated, on=table.key, how="semi")  # the same key: bronze has not changed in between
    new, outdated = (rows.join(told_anew, on=table.key, how="anti") for rows in (new, outdated))
    changes = Changes(new, told_anew, deleted=outdated)
    commit(base, table.key, changes, guards=[table.guard()], notes={"run": run_id, "files": rows.height})
    table.tidy(base, rows)
    return done


def _undone(account: Account, bronze: DeltaTable) -> bool:
    """Whether a restore came between the candles and the ledger."""
    if bronze.version() in account.versions:
        return False
    return not account.versions <= live_versions(bronze, bronze.version(), min(account.versions))
