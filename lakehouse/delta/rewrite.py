"""Some files of a table give way to successors, in one entry of its log: to change rows, or to have fewer files.

deltalake's own MERGE holds what it rewrites in memory, and takes several times as long as to read and write it; and its
own `optimize` does not notice that another writer has joined the same files: both commits stand, and each row is there
twice (1.6.6). So this entry is written by hand: its place in the log is taken only if it is free, and only while nobody
has touched what it was decided on.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import obstore
import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction
from obstore.exceptions import AlreadyExistsError

from lakehouse.delta.parquet import file_stats, files_holding, read_files, write_files
from lakehouse.delta.stores import open_store

CHECKPOINT_EVERY = 10  # versions: to open a table costs two requests for each commit since the checkpoint
ROWS_AT_A_TIME = 160_000  # that are rewritten, a file or so: some 300 bytes each, several times over
WORKERS = 2  # one part is read while another is written

Action = Mapping[str, Any]


def rewrite_rows(
    base: DeltaTable,
    key: Sequence[str],
    inserted: pl.DataFrame,
    updated: pl.DataFrame,
    deleted: pl.DataFrame,
    properties: CommitProperties,
) -> None:
    """Change rows of an opened version: the files that hold them are written anew, and no other is opened for long.

    What comes, changes and goes does so in one commit: between two a reader would see old rows gone, and no new ones
    yet. `base` is afterwards the version that was committed.

    Raises:
        CommitFailedError: Another writer was there in between; decide anew on the latest version.
    """
    partition, schema = base.metadata().partition_columns, dict(pl.scan_delta(base).collect_schema())
    empty, store, on = pl.DataFrame(schema=schema), open_store(base.table_uri), list(key)
    order = [*(name for name in on if name not in partition), *partition]
    marks = [frame.select(on).with_columns(_goes=pl.lit(goes)) for frame, goes in ((updated, False), (deleted, True))]
    marked = pl.concat(marks)

    def rewrite(files: pl.DataFrame) -> tuple[list[AddAction], pl.DataFrame, pl.DataFrame]:
        """Returns the successors, which files they replace, and the rows that change or go, as they were."""
        by, here = order, marked
        if partition and (where := files.select(partition).unique()).height == 1:
            # Its columns need not be looked at: that halves what it costs to join and to sort.
            by = order[: len(order) - len(partition)]
            here = marked.join(where, on=partition, how="semi").drop(partition)
        rows = read_files(base, files, schema, partition, name="_name").collect()
        rows = rows.join(here, on=by, how="left", maintain_order="left")
        met = rows.filter(pl.col("_goes").is_not_null())
        names = met["_name"].unique().implode()
        replaced = files.filter(pl.col("path").str.split("/").list.last().is_in(names))
        rows = rows.filter(pl.col("_goes").is_null(), pl.col("_name").is_in(names)).select(*schema)
        new = updated.join(met.filter(~pl.col("_goes")), on=on, how="semi")
        rows = pl.concat([rows, new], how="diagonal").sort(by)
        return write_files(store, base, rows), replaced, met.select(*schema, "_goes")

    near = files_holding(file_stats(base, partition), marked, key, partition)
    with ThreadPoolExecutor(WORKERS, "rewrite") as pool:
        done = list(pool.map(rewrite, _groups(near, partition, f"min.{order[0]}")))
    met = pl.concat([empty.with_columns(_goes=pl.lit(True)), *(rows for *_, rows in done)])
    if (found := met.height - met["_goes"].sum()) < updated.height:
        raise AssertionError(f"{updated.height - found} of {updated.height} rows that change are not in the table")
    adds = [add for some, *_ in done for add in some]
    adds += write_files(store, base, pl.concat([empty, inserted], how="diagonal"))
    fed = list[AddAction]()
    if base.metadata().configuration.get("delta.enableChangeDataFeed") == "true":
        was = pl.when("_goes").then(pl.lit("delete")).otherwise(pl.lit("update_preimage"))
        kinds = [met.select(*schema, _change_type=was)]
        kinds += [
            rows.with_columns(_change_type=pl.lit(kind))
            for rows, kind in ((updated, "update_postimage"), (inserted, "insert"))
        ]
        fed += write_files(store, base, pl.concat(kinds, how="diagonal"))
    metrics = {"numTargetRowsInserted": inserted.height, "numTargetRowsUpdated": updated.height}
    info = {"operation": "MERGE", "operationMetrics": metrics, **(properties.custom_metadata or {})}
    guards = {one.app_id: one.version for one in properties.app_transactions or ()}
    gone = pl.concat([near.clear(), *(files for _, files, _ in done)])
    replace_files(base, gone, adds, info, fed=fed, guards=guards)


def _groups(files: pl.DataFrame, partition: Sequence[str], first: str) -> Iterator[pl.DataFrame]:
    """Cut files into groups of `ROWS_AT_A_TIME`, a large partition into some of its own."""
    parts, rows = partition or pl.lit(0), pl.col("num_records")
    files = files.sort(*partition, *([first] if first in files.columns else []))
    inside = rows.cum_sum().over(parts)
    packed = files.group_by(
        _whole=(rows.cum_sum() - inside + rows.sum().over(parts) - 1) // ROWS_AT_A_TIME,
        _part=(inside - 1) // ROWS_AT_A_TIME,
        maintain_order=True,
    )
    yield from (group for _, group in packed)


def replace_files(
    table: DeltaTable,
    gone: pl.DataFrame,
    adds: Sequence[AddAction],
    info: Action,
    *,
    fed: Sequence[AddAction] = (),
    guards: Mapping[str, int] | None = None,
) -> None:
    """Commit that some files are replaced by others.

    Args:
        table: The version on which it was decided; afterwards the one that was committed.
        gone: Rows of `file_stats` with the partition's columns.
        adds: What `write_files` told of their successors.
        info: Of the commit.
        fed: What it told of rows for the change feed.
        guards: Application ids, and their versions, that no other commit must have carried since; without any, the
            rows are the same as before, and come in other files.

    Raises:
        CommitFailedError: Another writer came first; the successors are removed.
    """
    now, changes = int(dt.datetime.now(dt.UTC).timestamp() * 1000), guards is not None
    partition = table.metadata().partition_columns
    info = {"timestamp": now, "operationParameters": {}, **info, "txnId": str(uuid.uuid4())}
    known = {"dataChange": changes, "deletionTimestamp": now, "extendedFileMetadata": True}
    removes = [
        {"path": path, "size": size, "partitionValues": dict(zip(partition, values, strict=True)), **known}
        for path, size, *values in gone.select("path", "size_bytes", *partition).iter_rows()
    ]
    added = [
        {**_told(add), "modificationTime": add.modification_time, "stats": add.stats, "dataChange": changes}
        for add in adds
    ]
    actions: list[Action] = [{"commitInfo": info}]
    actions += [{"txn": {"appId": name, "version": version}} for name, version in (guards or {}).items()]
    actions += [{"remove": file} for file in removes]
    actions += [{"cdc": {**_told(add), "dataChange": False}} for add in fed]
    actions += [{"add": file} for file in added]
    entry, store, version = "\n".join(map(json.dumps, actions)).encode(), open_store(table.table_uri), table.version()
    while True:
        version, place = version + 1, f"_delta_log/{version + 1:020}.json"
        with suppress(AlreadyExistsError):
            obstore.put(store, place, entry, mode="create")
        # Only the log tells whose place it is: who has lost an answer, and asks again, meets a commit of its own.
        if (there := bytes(obstore.get(store, place).bytes())) == entry:
            break
        if met := _meets(map(json.loads, there.splitlines()), set(gone["path"]), guards, [*removes, *added]):
            obstore.delete(store, [add.path for add in (*adds, *fed)])
            raise CommitFailedError(f"another writer came first: {met}")
    table.update_incremental()
    if table.version() != version:
        table.load_as_version(version)
    if (version + 1) % CHECKPOINT_EVERY == 0:  # deltalake makes them after commits of its own
        table.create_checkpoint()


def _told(add: AddAction) -> dict[str, Any]:
    return {"path": quote(add.path, safe="/="), "size": add.size, "partitionValues": add.partition_values}


def _meets(
    others: Iterable[Action], gone: set[str], guards: Mapping[str, int] | None, touched: Sequence[Action]
) -> str:
    """What another commit has to do with what was decided before it; empty if nothing."""
    where = [file["partitionValues"] for file in touched]
    for action in others:
        ((kind, told),) = action.items()
        if kind == "remove" and told["path"] in gone:
            return f"{told['path']} is no more"
        if guards is None:
            continue
        if kind == "txn" and told["appId"] in guards:
            return f"a transaction of {told['appId']}"
        if kind in {"metaData", "protocol"}:
            return f"{kind} has changed"
        if kind == "add" and told["dataChange"] and told["partitionValues"] in where:
            return f"{told['path']} is new"
    return ""
