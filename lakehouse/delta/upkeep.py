"""Care of a Delta table's files: few enough, a log that opens fast, and none that no version needs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import obstore
import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from obstore.exceptions import AlreadyExistsError

from lakehouse.delta.commits import FILE_BYTES, WRITER
from lakehouse.delta.spans import file_stats, read_files
from lakehouse.delta.stores import open_store

RETENTION_DAYS = 3650  # this is a workbook about time travel
PERIODS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
MANY = 16  # small files of a partition; a commit adds one
TIERS = (FILE_BYTES // 64, FILE_BYTES // 8, FILE_BYTES)  # of what is an eighth of these there may not be many
AT_ONCE = 200  # partitions; those with the most small files, the others' turn comes with the next commits
CLEAN_EVERY = 20  # versions
CHECKPOINT_EVERY = 10  # versions: to open a table costs two requests for each commit since the checkpoint
AT_A_TIME = 8 * FILE_BYTES  # of what is joined, in memory


def configuration(retention_days: int | None = None) -> Mapping[str, str | None]:
    """The properties of a new table, every version of which stays readable for so many days."""
    return {
        "delta.enableChangeDataFeed": "true",
        "delta.checkpointInterval": str(CHECKPOINT_EVERY),
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

    They are written by deltalake into a table of their own, whose log then holds what ours is to say of them. `files`
    are rows of `file_stats`; a CommitFailedError tells that another writer has rewritten one of them.
    """
    schema = pl.scan_delta(table).collect_schema()
    order = [*partition, *(name for name in key if name not in partition)]
    files = files.sort(*partition, f"min.{order[len(partition)]}")
    store, parts = open_store(table.table_uri), list(partition)
    with TemporaryDirectory() as scratch:
        for _, some in files.group_by(pl.col("size_bytes").cum_sum() // AT_A_TIME, maintain_order=True):
            rows = read_files(table, some, schema, partition).sort(order).collect()
            write_deltalake(
                scratch, rows, mode="append", partition_by=parts, target_file_size=FILE_BYTES, writer_properties=WRITER
            )
        log = "".join(path.read_text("utf-8") + "\n" for path in Path(scratch, "_delta_log").glob("*.json"))
        adds = [action["add"] for action in map(json.loads, log.split("\n")[:-1]) if "add" in action]
        if len(adds) >= files.height:
            return
        written = [unquote(add["path"]) for add in adds]
        for path in written:
            obstore.put(store, path, Path(scratch, path).read_bytes())
    try:
        _replace(table, files.select("path", "size_bytes", *partition), adds)
    except CommitFailedError:
        obstore.delete(store, written)
        raise


def _replace(table: DeltaTable, files: pl.DataFrame, adds: Sequence[Mapping[str, object]]) -> None:
    """Commit that some files are replaced by others with the same rows.

    deltalake's own `optimize` does not notice that another writer has joined the same files: both commits stand, and
    each row is there twice (1.6.6). So this commit is written by hand: its place in the log is taken only if it is
    free, and only while the table still has every file that is to go.
    """
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    gone, partition = set(files["path"]), files.columns[2:]
    metrics = {"numFilesAdded": len(adds), "numFilesRemoved": len(gone)}
    info = {"timestamp": now, "operation": "OPTIMIZE", "operationParameters": {}, "operationMetrics": metrics}
    known = {"dataChange": False, "deletionTimestamp": now, "extendedFileMetadata": True}
    removed = [
        {"path": path, "size": size, "partitionValues": dict(zip(partition, values, strict=True)), **known}
        for path, size, *values in files.iter_rows()
    ]
    actions = [{"commitInfo": info}, *({"remove": file} for file in removed)]
    actions += [{"add": {**add, "dataChange": False}} for add in adds]
    entry = "\n".join(map(json.dumps, actions)).encode()
    store = open_store(table.table_uri)
    while gone <= set(file_stats(table)["path"]):
        with suppress(AlreadyExistsError):
            obstore.put(store, f"_delta_log/{table.version() + 1:020}.json", entry, mode="create")
            table.update_incremental()
            if (table.version() + 1) % CHECKPOINT_EVERY == 0:  # deltalake makes them after commits of its own
                table.create_checkpoint()
            return
        table.update_incremental()
    raise CommitFailedError("another writer has rewritten files that were to be joined")


def _remove_outdated(table: DeltaTable, tagged: Callable[[], Sequence[int]] = tuple) -> None:
    """Remove files of versions that are older than retention promises; the log is cut at its checkpoints by itself."""
    days = int(str(table.metadata().configuration[PERIODS[1]]).split()[1])
    born = dt.datetime.fromtimestamp((table.metadata().created_time or 0) / 1000, dt.UTC)
    if dt.datetime.now(dt.UTC) - born > dt.timedelta(days=days):
        kept = _readable(table, tagged())
        if table.vacuum(full=True, dry_run=True, keep_versions=kept):
            # full: the log forgets a removed file when its time has come
            table.vacuum(full=True, dry_run=False, keep_versions=kept)


def _readable(table: DeltaTable, versions: Sequence[int]) -> list[int]:
    """Those to which the log still reaches back; deltalake stops at the others."""
    return sorted(set(versions) & {commit["version"] for commit in table.history()}) if versions else []


def compact(table: DeltaTable, key: Sequence[str], partition: Sequence[str]) -> int:
    """Join small files of a partition to files of about `FILE_BYTES`; no row changes.

    `table` is the latest version, and afterwards the one that was committed. Returns how many files fewer there are;
    without anything to join there is no new version.
    """
    files = file_stats(table, partition)
    small = files.filter(pl.col("size_bytes") < FILE_BYTES // 2).filter(pl.len().over(partition or pl.lit(0)) > 1)
    if small.height:
        _join(table, key, partition, small)
    return files.height - file_stats(table).height


def remove_unused(table: DeltaTable, keep_versions: Sequence[int], *, dry_run: bool) -> list[str]:
    """Remove the files that neither the latest version nor one of the named needs, and tell which; or only tell.

    Files that were never committed are left alone: another writer may be about to.
    """
    kept = _readable(table, keep_versions)
    options = {"retention_hours": 0, "enforce_retention_duration": False, "keep_versions": kept}
    found = sorted(set(table.vacuum(**options, dry_run=True)))  # type: ignore[arg-type]
    if found and not dry_run:
        table.vacuum(**options, dry_run=False)  # type: ignore[arg-type]
    return found
