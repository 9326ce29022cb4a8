"""raw/ into bronze: read what is new, settle which statements win, write it, keep the account.

Order of writes: quarantine, candles, ledger. Each is idempotent by key, so a run that was killed between any two
is healed by doing its files again; and that is what the next run does, because the ledger lacks them.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import time
import uuid
from collections.abc import Callable, Sequence

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.account import DEFERRED, IngestReport, report_of
from lakehouse.batch import BATCH_BYTES, Batch, read_batches
from lakehouse.commits import Span, commit, read_spans
from lakehouse.errors import ConflictError, LakeError
from lakehouse.lake import Lake
from lakehouse.late import restated
from lakehouse.plan import plan
from lakehouse.settle import settle

ATTEMPTS = 12  # against other writers; the pauses between them add up to about a minute
FATES = ("inserted", "updated", "unchanged", "superseded")


def ingest(
    lake: Lake, *, batch_bytes: int = BATCH_BYTES, on_progress: Callable[[int, int], object] | None = None
) -> IngestReport:
    """Bring every new file revision below raw/ into bronze.

    Args:
        lake: The lake.
        batch_bytes: How much raw text a batch may hold; memory grows with it, not with raw/.
        on_progress: Called with (bytes done, bytes in all) after each batch.

    Returns:
        The account. Files that could not be understood are in `failed`; the others have loaded.

    Raises:
        LakeError: The lake cannot be read or written.
        ConflictError: Other writers won at every attempt.

    Example:
        >>> ingest(Lake("/data/lake")).inserted            # doctest: +SKIP
        2976
    """
    began = time.perf_counter()
    run_id = new_run_id()
    todo = plan(lake)
    done, rows = 0, list[dict[str, object]]()
    for batch in read_batches(lake, todo, batch_bytes):
        rows += write_batch(lake, batch, run_id)
        done += batch.size
        if on_progress:
            on_progress(done, todo.size)
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
    try:
        _guarded(lambda: _write_rejected(lake, batch, run_id))
        fates, version = _guarded(lambda: _write_statements(lake, batch, run_id))
        _keep_account(batch, fates)
        done = [account.row(version, run_id, batch.read_at) for account in batch.finished]
        _guarded(lambda: _write_ledger(lake, [row for row in done if row["status"] != DEFERRED], run_id))
    except (OSError, DeltaError, pl.exceptions.ComputeError) as error:
        raise LakeError(
            f"{lake.root} cannot be written: {_cause(error)}. What was committed before stands; "
            "make room or mend the permissions, then run again"
        ) from error
    return done


def _cause(error: Exception) -> str:
    """What the system said, out of the layers that libraries wrap around it."""
    text = str(error)
    said = re.search(r"[A-Z][\w ,-]+\(os error \d+\)", text) or re.search(r'(?<=message: ")[^"]+', text)
    return said[0] if said else text.strip().splitlines()[0]


def _guarded[T](write: Callable[[], T]) -> T:
    """Decide and write; if another writer came between the two, decide anew."""
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except CommitFailedError as error:
            if attempt == ATTEMPTS - 1:
                raise ConflictError(
                    f"other writers came first {ATTEMPTS} times in a row ({error}); nothing is half-done, run again"
                ) from error
            time.sleep(random.uniform(0.02, 0.05 * 2 ** min(attempt, 7)))
    raise AssertionError("unreachable")


def _write_rejected(lake: Lake, batch: Batch, run_id: str) -> None:
    if not batch.rejected:
        return
    table = lake.quarantine
    base = table.open_or_create()
    rows = pl.concat(batch.rejected).select(table.schema.keys())
    paths = rows["_file"]
    known = read_spans(base, [Span({}, "_file", paths.min(), paths.max())]).select(table.key).collect()
    new = rows.join(known, on=table.key, how="anti", maintain_order="left")
    commit(base, table.key, new, new.clear(), [], ["bronze/quarantine"], {"run": run_id, "files": paths.n_unique()})


def _write_statements(lake: Lake, batch: Batch, run_id: str) -> tuple[dict[tuple[int, str], int], int]:
    statements = {key: frames for key, frames in batch.statements.items() if frames}
    if not statements:
        return {}, lake.bronze.version()
    table = lake.bronze
    base = table.open_or_create()
    settled = settle(base, statements, lake.dataset, lambda rows: restated(lake, rows))
    empty = pl.DataFrame(schema=table.schema)
    guards = ["/".join((table.name.split("/")[0], *partition)) for partition in statements]
    version = commit(
        base,
        table.key,
        pl.concat([empty, *settled.inserted]),
        pl.concat([empty, *settled.updated]),
        settled.spans,
        guards,
        {"run": run_id, "files": len(batch.accounts)},
        even_empty=settled.agreed,
    )
    return dict(settled.counts), version


def _keep_account(batch: Batch, fates: dict[tuple[int, str], int]) -> None:
    for (number, name), count in [*batch.counts.items(), *fates.items()]:
        batch.accounts[number].counts[name] += count
    for account in batch.accounts.values():
        settled = sum(account.counts[name] for name in (*FATES, "rejected"))
        if account.counts["read"] != settled:  # law 1
            raise AssertionError(f"{account.file.path}: {account.counts['read']} lines read, {settled} accounted for")


def _write_ledger(lake: Lake, done: Sequence[dict[str, object]], run_id: str) -> None:
    if not done:
        return
    table = lake.ledger
    base = table.open_or_create()
    rows = pl.DataFrame(done, schema=table.schema)
    times = rows["stated_at"]
    span = Span({}, "stated_at", times.min(), times.max())
    known = read_spans(base, [span]).select(*table.key, "status", "error").collect()
    both = rows.join(known, on=table.key, how="left", suffix="_old", maintain_order="left")
    failed = pl.col("status_old") == "failed"  # what failed before and is told differently now is told anew
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in ("status", "error"))
    new = both.filter(pl.col("status_old").is_null()).select(table.schema.keys())
    told = both.filter(failed & differs).select(table.schema.keys())
    spans = [Span({}, "stated_at", told["stated_at"].min(), told["stated_at"].max())] if told.height else []
    commit(base, table.key, new, told, spans, ["bronze/ledger"], {"run": run_id, "files": rows.height})
