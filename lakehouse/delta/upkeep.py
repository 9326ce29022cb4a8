"""Care of a Delta table's files: fewer of them, and none that no version needs."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import obstore
from deltalake import CommitProperties, DeltaTable

from lakehouse.delta.commits import FILE_BYTES, WRITER, file_stats
from lakehouse.delta.stores import open_store


def compact(table: DeltaTable, properties: CommitProperties) -> int:
    """Join small files of a partition to files of `FILE_BYTES`; no row changes.

    Args:
        table: The latest version.
        properties: Of the commit.

    Returns:
        How many files fewer there are. None, and no new version, if there was nothing to join.
    """
    before = len(table.file_uris())
    table.optimize.compact(target_size=FILE_BYTES, writer_properties=WRITER, commit_properties=properties)
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


def missing_files(uri: str, old: DeltaTable, latest: DeltaTable) -> int:
    """Count the files of an old version that are not there any more.

    Args:
        uri: Where the table lies.
        old: The version.
        latest: The latest version, whose own files are taken to be there.
    """
    wanted = set(file_stats(old)["path"]) - set(file_stats(latest)["path"])
    if not wanted:
        return 0
    there = {str(found["path"]) for chunk in obstore.list(open_store(uri)) for found in chunk}
    return sum(unquote(path) not in there for path in wanted)
