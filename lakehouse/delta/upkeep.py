"""Care of a Delta table's files: few enough, a log that opens fast, and none that no version needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from lakehouse.delta.commits import FILE_BYTES, WRITER
from lakehouse.delta.spans import file_stats

RETENTION_DAYS = 3650  # this is a workbook about time travel
PERIODS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
MANY = 16  # small files of a partition; a commit adds one
TIERS = (FILE_BYTES // 64, FILE_BYTES // 8, FILE_BYTES)  # of what is an eighth of these there may not be many
AT_ONCE = 200  # partitions; those with the most small files, the others' turn comes with the next commits
CLEAN_EVERY = 20  # versions


def configuration(retention_days: int | None = None) -> Mapping[str, str | None]:
    """The properties of a new table.

    Args:
        retention_days: How long every version stays readable.
    """
    return {
        "delta.enableChangeDataFeed": "true",
        "delta.checkpointInterval": "10",  # to open a table costs two requests for each commit since the checkpoint
        **dict.fromkeys(PERIODS, f"interval {retention_days or RETENTION_DAYS} days"),
    }


def tidy(table: DeltaTable, partition: Sequence[str], touched: pl.DataFrame, retention_days: int | None = None) -> None:
    """Look after a table by the writer that has just committed: join small files, and remove what is out of date.

    Nothing is done as long as there is little of it, so the cost follows the commits. A file is joined with others of
    about its size, eight times as large each time, so a row is rewritten a few times in its life, however long it
    lasts. Versions that retention promises stay readable; another writer's commit goes before.

    Args:
        table: The version just committed; afterwards what has become of it.
        partition: The columns that it is partitioned by.
        touched: The partitions that were written.
        retention_days: How long every version stays readable; None leaves that as the table has it.
    """
    with suppress(CommitFailedError):  # the other writer tidies up in its turn
        _set_properties(table, retention_days)
        for size, parts in _crowded(file_stats(table, partition), partition, touched):
            filters = [(name, "in", parts[name].unique().to_list()) for name in partition]
            table.optimize.compact(filters or None, target_size=size, writer_properties=WRITER)
        if table.version() % CLEAN_EVERY < 2:  # two, for some commits are followed by one of upkeep
            _remove_outdated(table)


def _set_properties(table: DeltaTable, retention_days: int | None) -> None:
    """Give a table of an older lake what new ones have."""
    wanted = dict(configuration(retention_days))
    known = table.metadata().configuration
    if retention_days is None:
        wanted |= {name: known[name] for name in PERIODS if name in known}
    if missing := {name: str(value) for name, value in wanted.items() if known.get(name) != value}:
        table.alter.set_table_properties(missing, raise_if_not_exists=False)


def _crowded(files: pl.DataFrame, partition: Sequence[str], touched: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """The sizes up to which files are to be joined, and in which partitions."""
    found, floor = list[tuple[int, pl.DataFrame]](), 0
    near = files.join(touched.unique(), on=partition, how="semi") if partition else files
    for size in TIERS:
        small = near.filter(pl.col("size_bytes").is_between(floor, size // 8, closed="left"))
        counts = small.group_by(partition or pl.lit(0)).len().filter(pl.col("len") >= MANY)
        if counts.height:
            found.append((size, counts.top_k(AT_ONCE, by="len")))
        floor = size // 8
    return found


def _remove_outdated(table: DeltaTable) -> None:
    """Remove files of versions that are older than retention promises; the log is cut at its checkpoints by itself."""
    days = int(str(table.metadata().configuration[PERIODS[1]]).split()[1])
    born = dt.datetime.fromtimestamp((table.metadata().created_time or 0) / 1000, dt.UTC)
    if dt.datetime.now(dt.UTC) - born > dt.timedelta(days=days) and table.vacuum(full=True, dry_run=True):
        table.vacuum(full=True, dry_run=False)  # full: the log forgets a removed file when its time has come


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
