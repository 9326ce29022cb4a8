"""One guarded commit to a Delta table: an append, or the files anew that hold what changes, and no other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from lakehouse.delta.failures import FAILURES, is_gone
from lakehouse.delta.rewrite import FILE_BYTES, WRITER, rewrite_rows
from lakehouse.errors import ConflictError

ATTEMPTS = 12  # against other writers; the pauses between them add up to about a minute


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written to a table: rows in its columns.

    Attributes:
        inserted: Rows whose keys the table lacks.
        updated: Rows whose keys the table has, with other values.
        deleted: Rows that are to go; only their keys matter.
    """

    inserted: pl.DataFrame
    updated: pl.DataFrame | None = None
    deleted: pl.DataFrame | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Rows by what happens to them: inserted, updated, deleted."""
        frames = {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted}
        return {name: 0 if frame is None else frame.height for name, frame in frames.items()}


def commit(
    base: DeltaTable,
    key: Sequence[str],
    changes: Changes,
    *,
    guards: Iterable[str],
    notes: Mapping[str, str | int] = MappingProxyType({}),
    consumed: Mapping[str, int] = MappingProxyType({}),
    even_empty: bool = False,
) -> int:
    """Write changes in one commit: an append if all rows are new, else see `rewrite_rows`.

    The guard: delta-rs lets blind appends pass each other, but two commits that were in flight at once
    with one application id conflict. So each commit carries an id for every partition it touches.

    Args:
        base: The opened version on which it was decided what is new and what is changed.
        key: The columns that name a row.
        changes: The rows.
        guards: Ids of what must not have been written since `base`.
        notes: Goes into the commit's metadata, shown by `Table.versions`.
        consumed: Application ids of what these rows were made from → its version, kept with them.
        even_empty: Commit the guards though there is no row to write.

    Returns:
        The table's version afterwards.

    Raises:
        CommitFailedError: Another writer was there in between; decide anew on the latest version.
    """
    counts = changes.counts
    # Law 3. With `even_empty` it is an append of no rows.
    if not any(counts.values()) and not even_empty:
        return base.version()
    properties = commit_properties(base, guards, {**counts, **notes}, consumed)
    new, size = changes.inserted, FILE_BYTES
    if counts["updated"] or counts["deleted"]:
        updated, deleted = (frame if frame is not None else new.clear() for frame in (changes.updated, changes.deleted))
        rewrite_rows(base, key, new, updated, deleted, properties)
    else:
        write_deltalake(
            base, new, mode="append", target_file_size=size, writer_properties=WRITER, commit_properties=properties
        )
    return base.version()


def commit_properties(
    base: DeltaTable,
    guards: Iterable[str],
    notes: Mapping[str, str | int],
    consumed: Mapping[str, int] = MappingProxyType({}),
) -> CommitProperties:
    """What a commit carries beside its rows; see `commit`."""
    # Any number would do for a guard: delta-rs compares none, but refuses one of two commits that carry the same id.
    # Of `consumed` the number is what the next refresh reads.
    versions = {**dict.fromkeys(guards, base.version() + 1), **consumed}
    return CommitProperties(
        custom_metadata={f"lakehouse.{name}": str(value) for name, value in notes.items()},
        app_transactions=[Transaction(name, version) for name, version in versions.items()],
    )


def guarded[T](write: Callable[[], T]) -> T:
    """Decide and write; if another writer came between the two, decide anew.

    A file that has gone is another writer too, a vacuum; unless the same file is missing when all is opened anew.

    Args:
        write: Opens the table, decides, and commits with guards.

    Returns:
        What it returns.

    Raises:
        ConflictError: Other writers won at every attempt.
    """
    gone = ""
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except FAILURES as error:
            if not isinstance(error, CommitFailedError) and (not is_gone(error) or str(error) == gone):
                raise
            if attempt == ATTEMPTS - 1:
                raise ConflictError(
                    f"other writers came first {ATTEMPTS} times in a row ({error}); nothing is half-done, run again"
                ) from error
            gone = str(error)
            # By chance, or writers that lost together meet again.
            time.sleep(random.uniform(0.02, 0.05 * 2 ** min(attempt, 7)))
    raise AssertionError("unreachable")
