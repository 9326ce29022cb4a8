"""One guarded commit to a Delta table: an append, or the files anew that hold what changes, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction

from lakehouse.delta.parquet import file_stats, write_files
from lakehouse.delta.rewrite import rewrite_rows
from lakehouse.delta.stores import open_store


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
    if counts["updated"] or counts["deleted"]:
        new = changes.inserted
        updated, deleted = (frame if frame is not None else new.clear() for frame in (changes.updated, changes.deleted))
        rewrite_rows(base, key, new, updated, deleted, properties)
    else:
        parts = base.metadata().partition_columns
        files = write_files(open_store(base.table_uri), base, changes.inserted)
        base.create_write_transaction([*files], "append", base.schema(), parts, commit_properties=properties)
        _advance(base, files, properties)
    return base.version()


def _advance(base: DeltaTable, files: Sequence[AddAction], properties: CommitProperties) -> None:
    """Move an opened table to the commit that it has just made; deltalake leaves it at the one before."""
    decided_on = base.version()
    base.update_incremental()
    latest = base.version()
    guards = properties.app_transactions or []
    for version in range(decided_on + 1, latest):  # others have come too; which is ours, its files or its guards tell
        base.load_as_version(version)
        if files and file_stats(base)["path"].str.ends_with(files[0].path.rsplit("/")[-1]).any():
            return
        if not files and all(base.transaction_version(guard.app_id) == guard.version for guard in guards):
            return
    if base.version() < latest:
        base.load_as_version(latest)


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
