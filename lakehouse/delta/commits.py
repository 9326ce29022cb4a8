"""One guarded commit to a Delta table: some files come, and some may give way to them, in one entry of its log.

deltalake's own `optimize` does not notice that another writer has joined the same files: both commits stand, and each
row is there twice (1.6.6); and after an append it does not say which version it made. So the entry is written by hand:
its place in the log is taken only if it is free, and only while nobody has touched what it was decided on.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import obstore
import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction
from obstore.exceptions import AlreadyExistsError, BaseError

from lakehouse.delta.parquet import write_files
from lakehouse.delta.rewrite import rewrite_rows
from lakehouse.delta.stores import open_store

CHECKPOINT_EVERY = 10  # versions: to open a table costs two requests for each commit since the checkpoint

Action = Mapping[str, Any]


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

    The guard: Delta lets blind appends pass each other, but not two commits that were in flight at once with one
    application id. So each commit carries an id for every partition it touches.

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
    new, merged = changes.inserted, bool(counts["updated"] or counts["deleted"])
    if merged:
        updated, deleted = (frame if frame is not None else new.clear() for frame in (changes.updated, changes.deleted))
        gone, adds, fed = rewrite_rows(base, key, new, updated, deleted)
    else:
        gone, adds, fed = None, write_files(open_store(base.table_uri), base, new), []
    info = {"operation": "MERGE" if merged else "WRITE", **_noted({**counts, **notes})}
    replace_files(base, gone, adds, info, fed=fed, guards=_marks(base, guards, consumed))
    return base.version()


def commit_properties(
    base: DeltaTable,
    guards: Iterable[str],
    notes: Mapping[str, str | int],
    consumed: Mapping[str, int] = MappingProxyType({}),
) -> CommitProperties:
    """What a commit of deltalake's own carries beside its rows; see `commit`."""
    marks = [Transaction(name, version) for name, version in _marks(base, guards, consumed).items()]
    return CommitProperties(_noted(notes), app_transactions=marks)


def _marks(base: DeltaTable, guards: Iterable[str], consumed: Mapping[str, int]) -> Mapping[str, int]:
    # Any number would do for a guard: nobody compares it, but of two commits that carry the same id one is refused. Of
    # `consumed` the number is what the next refresh reads.
    return {**dict.fromkeys(guards, base.version() + 1), **consumed}


def _noted(notes: Mapping[str, str | int]) -> dict[str, str]:
    return {f"lakehouse.{name}": str(value) for name, value in notes.items()}


def replace_files(
    table: DeltaTable,
    gone: pl.DataFrame | None,
    adds: Sequence[AddAction],
    info: Action,
    *,
    fed: Sequence[AddAction] = (),
    guards: Mapping[str, int] | None = None,
) -> None:
    """Commit that some files come, and others go for them.

    Args:
        table: The version on which it was decided; afterwards the one that was committed.
        gone: Rows of `file_stats` with the partition's columns, if any are replaced.
        adds: What `write_files` told of those that come.
        info: Of the commit.
        fed: What it told of rows for the change feed.
        guards: Application ids, and their versions, that no other commit must have carried since; without any, the
            rows are the same as before, and come in other files.

    Raises:
        CommitFailedError: Another writer came first; what was written is removed.
    """
    now, changes = int(dt.datetime.now(dt.UTC).timestamp() * 1000), guards is not None
    partition = table.metadata().partition_columns
    info = {"timestamp": now, "operationParameters": {}, **info, "txnId": str(uuid.uuid4())}
    known = {"dataChange": changes, "deletionTimestamp": now, "extendedFileMetadata": True}
    replaced = gone.select("path", "size_bytes", *partition).iter_rows() if gone is not None else ()
    removes = [
        {"path": path, "size": size, "partitionValues": dict(zip(partition, values, strict=True)), **known}
        for path, size, *values in replaced
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
        if met := _meets(map(json.loads, there.splitlines()), guards, removes, added):
            with suppress(BaseError, OSError):  # who may write may perhaps not delete; nobody reads them
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
    others: Iterable[Action], guards: Mapping[str, int] | None, removes: Sequence[Action], adds: Sequence[Action]
) -> str:
    """What another commit has to do with what was decided before it; empty if nothing."""
    gone, where = {file["path"] for file in removes}, [file["partitionValues"] for file in (*removes, *adds)]
    for kind, told in (one for action in others for one in action.items() if one[1] is not None):
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
