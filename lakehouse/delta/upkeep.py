"""Care of a Delta table's files: fewer of them, and none that no version needs."""

from __future__ import annotations

from collections.abc import Sequence

from deltalake import DeltaTable

from lakehouse.delta.commits import FILE_BYTES, WRITER


def compact(table: DeltaTable) -> int:
    """Join small files of a partition to files of `FILE_BYTES`; no row changes.

    Args:
        table: The latest version.

    Returns:
        How many files fewer there are. None, and no new version, if there was nothing to join.
    """
    before = len(table.file_uris())
    table.optimize.compact(target_size=FILE_BYTES, writer_properties=WRITER)
    return before - len(table.file_uris())


def remove_unused(table: DeltaTable, keep_versions: Sequence[int], *, dry_run: bool) -> list[str]:
    """Remove the files that neither the latest version nor one of the named needs.

    Files that were never committed are left alone: another writer may be about to.

    Args:
        table: The latest version.
        keep_versions: Versions that stay readable.
        dry_run: Only tell.

    Returns:
        The files, relative to the table.
    """
    options = {"retention_hours": 0, "enforce_retention_duration": False, "keep_versions": list(keep_versions)}
    found = sorted(set(table.vacuum(**options, dry_run=True)))  # type: ignore[arg-type]
    if found and not dry_run:
        table.vacuum(**options, dry_run=False)  # type: ignore[arg-type]
    return found
