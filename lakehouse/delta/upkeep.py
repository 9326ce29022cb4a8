"""Care of a Delta table's files: few enough, a log that opens fast, and none that no version needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

import obstore
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from lakehouse.delta.commits import CHECKPOINT_EVERY, replace_files
from lakehouse.delta.history import readable_versions
from lakehouse.delta.parquet import FILE_BYTES, file_stats, read_files, write_files
from lakehouse.delta.stores import OpenedTable, open_store, sizes_on_disk

RETENTION_DAYS = 3650  # this is a workbook about time travel
PERIODS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
MANY = 16  # small files of a partition; a commit adds one
TIERS = (FILE_BYTES // 64, FILE_BYTES // 8, FILE_BYTES)  # of what is an eighth of these there may not be many
AT_ONCE = 200  # partitions; those with the most small files, the others' turn comes with the next commits
CLEAN_EVERY = 20  # versions
AT_A_TIME = 8 * FILE_BYTES  # of what is joined, in memory
DEAR = FILE_BYTES // 4  # to write anew for one file fewer, when somebody asks for it


@dataclass(frozen=True, slots=True)
class Care:
    """What is to be done about the files of a table.

    Attributes:
        version: The version that was looked at.
        files: Its Parquet files.
        size: Their bytes.
        joined: How many of them are worth joining.
        into: To about how many.
        removed: The files that are to go, relative to the table.
        freed: Their bytes.
        lost: The versions that can be read now, and not when those are gone.
    """

    version: int
    files: int
    size: int
    joined: int
    into: int
    removed: Sequence[str]
    freed: int
    lost: Sequence[int]


def configuration(retention_days: int | None = None) -> Mapping[str, str | None]:
    """The properties of a new table, every version of which stays readable for so many days."""
    return {
        "delta.enableChangeDataFeed": "true",
        "delta.checkpointInterval": str(CHECKPOINT_EVERY),
        "delta.enableExpiredLogCleanup": "false",  # deltalake knows of no tags; see `_remove_outdated`
        **dict.fromkeys(PERIODS, f"interval {retention_days or RETENTION_DAYS} days"),
    }


def tidy(
    table: DeltaTable,
    key: Sequence[str],
    partition: Sequence[str],
    touched: pl.DataFrame,
    retention_days: int | None = None,
    tagged: Callable[[], Sequence[int]] = tuple,
) -> None:
    """Look after a table by the writer that has just committed: join small files, and remove what is out of date.

    Nothing is done as long as there is little of it, so the cost follows the commits. A file is joined with others of
    about its size, eight times as large each time, so a row is rewritten a few times in its life, however long it
    lasts. Versions that retention promises stay readable; another writer's commit goes before.

    `table` is the version just committed, and afterwards what has become of it; `touched` are the partitions that were
    written; without `retention_days` that is left as the table has it; the versions that `tagged` tells stay too.
    """
    with suppress(CommitFailedError):  # the other writer tidies up in its turn
        _set_properties(table, retention_days)
        if (crowd := _crowded(file_stats(table, partition), partition, touched)).height:
            _join(table, key, partition, crowd)
        if table.version() % CLEAN_EVERY < 2:  # two, for some commits are followed by one of upkeep
            _remove_outdated(table, tagged)


def _set_properties(table: DeltaTable, retention_days: int | None) -> None:
    """Give a table of an older lake what new ones have."""
    wanted = dict(configuration(retention_days))
    known = table.metadata().configuration
    if retention_days is None:
        wanted |= {name: known[name] for name in PERIODS if name in known}
    if missing := {name: str(value) for name, value in wanted.items() if known.get(name) != value}:
        table.alter.set_table_properties(missing, raise_if_not_exists=False)


def _crowded(files: pl.DataFrame, partition: Sequence[str], touched: pl.DataFrame) -> pl.DataFrame:
    """The files that are to be joined: of partitions with many of about one size, these and smaller ones."""
    near, floor = files.join(touched.unique(), on=partition, how="semi") if partition else files, 0
    crowd = near.clear()
    for ceiling in (size // 8 for size in TIERS):
        alike = near.filter(pl.col("size_bytes").is_between(floor, ceiling, closed="left"))
        many = alike.group_by(partition or pl.lit(0)).len().filter(pl.col("len") >= MANY).top_k(AT_ONCE, by="len")
        if many.height:
            smaller = near.filter(pl.col("size_bytes") < ceiling)
            crowd = pl.concat([crowd, smaller.join(many, on=partition, how="semi") if partition else smaller])
        floor = ceiling
    return crowd.unique("path")


def _join(table: DeltaTable, key: Sequence[str], partition: Sequence[str], files: pl.DataFrame) -> None:
    """Write some files of a version anew as fewer ones, sorted by key; no row changes.

    `files` are rows of `file_stats`; a CommitFailedError tells that another writer has rewritten one of them.
    """
    schema = pl.scan_delta(table).collect_schema()
    order = [*partition, *(name for name in key if name not in partition)]
    files = files.sort(*partition, f"min.{order[len(partition)]}")
    adds, store = list[AddAction](), open_store(table.table_uri)
    for _, some in files.group_by(pl.col("size_bytes").cum_sum() // AT_A_TIME, maintain_order=True):
        adds += write_files(store, table, read_files(table, some, schema, partition).sort(order).collect())
    if len(adds) < files.height:
        metrics = {"numFilesAdded": len(adds), "numFilesRemoved": files.height}
        replace_files(table, files, adds, {"operation": "OPTIMIZE", "operationMetrics": metrics})
    else:
        obstore.delete(store, [add.path for add in adds])


def _remove_outdated(table: DeltaTable, tagged: Callable[[], Sequence[int]] = tuple) -> None:
    """Remove files of versions that are older than retention promises, and cut the log where no tag needs it."""
    days = int(str(table.metadata().configuration[PERIODS[1]]).split()[1])
    born = dt.datetime.fromtimestamp((table.metadata().created_time or 0) / 1000, dt.UTC)
    if dt.datetime.now(dt.UTC) - born > dt.timedelta(days=days):
        remove_unused(table, kept := tagged(), hours=None, dry_run=False)
        if not kept:  # without the log of its time a version cannot be opened, whatever files there are
            table.cleanup_metadata()


def _readable(table: DeltaTable, versions: Sequence[int]) -> list[int]:
    """Those to which the log still reaches back; deltalake stops at the others."""
    return sorted(set(versions) & {commit["version"] for commit in table.history()}) if versions else []


def compact(table: DeltaTable, key: Sequence[str], partition: Sequence[str], retention_days: int | None = None) -> int:
    """Join small files of a partition to files of about `FILE_BYTES`, where it pays; no row changes.

    `table` is the latest version, and afterwards the one that was committed. Returns how many files fewer there are;
    without anything to join there is no new version, unless the table is given another retention.
    """
    if retention_days is not None:
        _set_properties(table, retention_days)
    files = file_stats(table, partition)
    if (small := _worth_joining(files, partition)).height:
        _join(table, key, partition, small)
    return files.height - file_stats(table).height


def _worth_joining(files: pl.DataFrame, partition: Sequence[str]) -> pl.DataFrame:
    """The small files of those partitions in which few bytes are written anew for each file fewer, with `into`."""
    size, parts = pl.col("size_bytes"), partition or pl.lit(0)
    small = files.filter(size < FILE_BYTES // 2)
    fewer = pl.len().over(parts).cast(pl.Int64) - pl.col("into")
    into = (size.sum().over(parts) / FILE_BYTES).ceil().cast(pl.Int64)
    return small.with_columns(into=into).filter(fewer > 0, size.sum().over(parts) <= DEAR * fewer)


def remove_unused(
    table: DeltaTable, keep_versions: Sequence[int], *, hours: int | None = 0, dry_run: bool
) -> list[str]:
    """Remove the files that neither the latest version nor one of the named needs, and tell which; or only tell.

    `hours` is for how long they must have been out of use; None for as long as retention says. Files that were never
    committed are left alone until then: another writer may be about to.
    """
    kept: dict[str, object] = {"keep_versions": _readable(table, keep_versions)}
    # full: the log forgets a removed file when its time has come
    age = {"full": True} if hours is None else {"retention_hours": hours, "enforce_retention_duration": False}
    found = set(table.vacuum(**kept, **age, dry_run=True))  # type: ignore[arg-type]
    found &= sizes_on_disk(table.table_uri).keys()  # what has gone is told again as long as the log remembers it
    if found and not dry_run:
        table.vacuum(**kept, **age, dry_run=False)  # type: ignore[arg-type]
    return sorted(found)


def plan_care(table: DeltaTable, keep_versions: Sequence[int], hours: int | None) -> Care:
    """Tell what joining small files and then removing unused ones would do; nothing is written.

    Args:
        table: The opened table, its latest version.
        keep_versions: Those that are to stay readable.
        hours: For how long what is removed must have been out of use; None for as long as retention says.
    """
    partition = table.metadata().partition_columns
    files = file_stats(table, partition)
    small = _worth_joining(files, partition)
    into = int(small.unique(partition or "into")["into"].sum())
    gone = set(remove_unused(table, keep_versions, hours=hours, dry_run=True))
    if hours == 0:  # what is joined is out of use at once
        needed = [file_stats(OpenedTable(table.table_uri, version=v)) for v in _readable(table, keep_versions)]
        gone |= {*map(unquote, small["path"])} - {unquote(path) for some in needed for path in some["path"]}
    there = sizes_on_disk(table.table_uri)
    freed = sum(there[path] for path in gone & there.keys())
    size = int(files["size_bytes"].sum())
    return Care(
        table.version(), files.height, size, small.height, into, sorted(gone), freed, lost_versions(table, there, gone)
    )


def lost_versions(table: DeltaTable, there: Mapping[str, int], gone: Set[str]) -> list[int]:
    """Tell which versions up to an opened one can be read while some files are there, and not when they are gone.

    Args:
        table: The opened table.
        there: All files before, see `sizes_on_disk`.
        gone: Those that are removed.
    """
    return sorted({*readable_versions(table, there)} - {*readable_versions(table, there.keys() - gone)}) if gone else []
