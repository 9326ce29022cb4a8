"""The Parquet files of a table: written, listed, and read, also by spans, which skip files by the log's statistics."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from operator import and_, or_
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import obstore
import polars as pl
from deltalake import ColumnProperties, DeltaTable, WriterProperties
from deltalake.transaction import AddAction
from obstore.store import ObjectStore

from lakehouse.errors import LakeError

FILE_BYTES = 8 * 2**20  # small sorted files: correcting five rows rewrites one of these, some 150,000 bars
EPOCH = dt.datetime(1970, 1, 1)
KEPT = {"appendOnly", "invariants", "changeDataFeed", "timestampNtz"}  # features of Delta's protocol, by our files
CUT = dt.timedelta(microseconds=999)  # the log cuts its maxima to milliseconds
PACKED = 4  # times smaller than in memory are the bars of a file
# Prices hardly repeat, so a dictionary of them only costs; strings repeat for thousands of rows, and numbers that
# rise evenly pack into next to nothing.
_WORDS = (
    "_file",
    "_sha256",
    "_modified_at",
    "_ingested_at",
    "run_id",
    "layout",
    "status",
    "path",
    "declared",
    "read_as",
    "read_by",
)
_RISING = ("open_time", "close_time", "_line", "trades")
WRITER = WriterProperties(
    compression="SNAPPY",
    default_column_properties=ColumnProperties(dictionary_enabled=False),
    column_properties={
        **dict.fromkeys(_WORDS, ColumnProperties(dictionary_enabled=True)),
        **dict.fromkeys(_RISING, ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")),
    },
)


@dataclass(frozen=True, slots=True)
class Span:
    """Some partition, and a closed range of one column in it: what a read may touch."""

    partition: Mapping[str, str]
    column: str
    low: Any
    high: Any

    def expr(self) -> pl.Expr:
        """The span as a Polars predicate."""
        equal = [pl.col(name) == pl.lit(value) for name, value in self.partition.items()]
        return reduce(
            and_, [*equal, pl.col(self.column) >= pl.lit(_floor(self.low)), pl.col(self.column) <= pl.lit(self.high)]
        )


def _floor[T](low: T) -> T:
    """Round a time down to the millisecond: the log's maxima are cut there, and would hide a later row of its file."""
    return low.replace(microsecond=low.microsecond // 1000 * 1000) if isinstance(low, dt.datetime) else low


def file_stats(table: DeltaTable, partition: Sequence[str] = ()) -> pl.DataFrame:
    """The files of an opened version with their statistics, from the log alone."""
    stats = pl.DataFrame(table.get_add_actions(flatten=True))
    return stats.rename({f"partition.{name}": name for name in partition if f"partition.{name}" in stats.columns})


def read_spans(table: DeltaTable, spans: Sequence[Span]) -> pl.LazyFrame:
    """Read only what lies in the spans of an opened version; files elsewhere are not opened."""
    # Polars skips files by the log's statistics for literals such as these, not for what a join would tell.
    return pl.scan_delta(table).filter(reduce(or_, [span.expr() for span in spans]))


def files_holding(
    files: pl.DataFrame, rows: pl.DataFrame, key: Sequence[str], partition: Sequence[str]
) -> pl.DataFrame:
    """Find the files that may hold some rows, by the log alone: each column of the key has a value between its ends.

    Args:
        files: Rows of `file_stats`.
        rows: The key of each.
        key: Its columns.
        partition: Those of them that the table is partitioned by.
    """
    parts = list(partition)
    near = files.join(rows.select(parts).unique(), on=parts, how="semi") if parts else files
    for name in (name for name in key if name not in parts and f"min.{name}" in files.columns):
        low, high = pl.col(f"min.{name}"), pl.col(f"max.{name}")
        unknown = near.filter(low.is_null() | high.is_null())
        near = near.filter(low.is_not_null(), high.is_not_null()).sort(low)
        if rows.schema[name] == pl.String:  # a long one may be cut off in the log
            values = rows[name].drop_nulls().unique().sort()
            following = values.gather(values.search_sorted(near[f"min.{name}"]), null_on_oob=True)
            near = near.filter(following.str.head(near[f"max.{name}"].str.len_chars()) <= near[f"max.{name}"])
        else:
            there = rows.select(*parts, _next=name).drop_nulls().unique().sort("_next")
            high = high + CUT if rows.schema[name].is_temporal() else high
            ends = {"left_on": f"min.{name}", "right_on": "_next", "by": parts or None}
            near = near.join_asof(there, **ends, strategy="forward", check_sortedness=False)  # type: ignore[arg-type]
            near = near.filter(pl.col("_next") <= high).drop("_next")
        near = pl.concat([unknown, near.select(unknown.columns)])
    return near


def read_files(
    table: DeltaTable,
    files: pl.DataFrame,
    schema: Mapping[str, pl.DataType],
    partition: Sequence[str],
    name: str = "",
) -> pl.LazyFrame:
    """Read some files of an opened version; their partition values stand in the log, not in them.

    Args:
        table: The opened version.
        files: Some rows of `file_stats`.
        schema: The table's columns and dtypes.
        partition: The columns that it is partitioned by.
        name: If given, a column of this name tells which file each row is of, without its folders.
    """
    columns = [*schema, *([name] if name else [])]
    if files.is_empty():
        return pl.LazyFrame(schema={**schema, **dict.fromkeys(columns[len(schema) :], pl.String())})
    root = table.table_uri.rstrip("/")
    # The log's paths are encoded. Polars decodes those of a folder and takes those of a bucket as they are.
    decode = unquote if "://" in root and not root.startswith("file:") else str
    paths = [f"{root}/{decode(path)}" for path in files["path"]]
    parts = files.select(*(pl.col(name).cast(pl.String) for name in partition)).unique()
    # One scan of all: a union of a thousand takes minutes. The folders come back decoded in one way or another; the
    # names in them have no letter to encode, and are never given twice.
    rows = pl.scan_parquet(
        paths,
        glob=False,
        schema={column: dtype for column, dtype in schema.items() if column not in partition},
        missing_columns="insert",  # of a table that was given more columns since
        extra_columns="ignore",
        include_file_paths="_path" if name or parts.height > 1 else None,
    )
    if name or parts.height > 1:
        rows = rows.with_columns(pl.col("_path").str.split("/").list.last().alias(name or "_name"))
    if parts.height <= 1:
        values = parts.row(0, named=True) if partition else {}
        return rows.with_columns(**{column: pl.lit(value) for column, value in values.items()}).select(columns)
    names = files.select(
        *(pl.col(column).cast(pl.String) for column in partition),
        pl.col("path").str.split("/").list.last().alias(name or "_name"),
    )
    return rows.join(names.lazy(), on=name or "_name", validate="m:1").select(columns)


def write_files(store: ObjectStore, table: DeltaTable, rows: pl.DataFrame) -> list[AddAction]:
    """Write rows as new Parquet files below a table; nothing is committed.

    pyarrow does it on all cores, and with some half of the work that deltalake spends on it, which has one.

    Args:
        store: Where the table lies.
        table: The opened table.
        rows: In its columns, of a partition in the order in which they are to lie; or, with `_change_type`, for its
            change feed.

    Returns:
        What a commit is to say of each file.

    Raises:
        LakeError: The table has a feature of Delta's protocol that asks more of its writers.
    """
    if strange := {*(table.protocol().writer_features or ())} - KEPT:
        raise LakeError(
            f"another program has given {table.table_uri} {', '.join(sorted(strange))}, which files that are written "
            "here would not keep; nothing was written. Build the lake anew from raw/ in another folder"
        )
    parts = table.metadata().partition_columns
    schema = pl.Schema(table.schema().to_arrow())
    feed = {"_change_type": pl.String()} if "_change_type" in rows.columns else {}
    inside = pl.Schema({**{name: dtype for name, dtype in schema.items() if name not in parts}, **feed})
    slices = list[tuple[Mapping[str, str], pl.DataFrame]]()
    for values, some in _by_partition(rows, parts):
        few = math.ceil(some.estimated_size() / (PACKED * FILE_BYTES))
        where = dict(zip(parts, values, strict=True))
        slices += [(where, part) for part in some.iter_slices(math.ceil(some.height / few))] if some.height else []
    write = partial(_write_file, store, inside)
    if len(slices) < 2:
        return [write(*one) for one in slices]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda one: write(*one), slices))


def _by_partition(rows: pl.DataFrame, parts: Sequence[str]) -> Iterable[tuple[Sequence[Any], pl.DataFrame]]:
    first = rows.select(parts).head(1)
    if rows.is_empty() or rows.select(pl.all_horizontal(True, *(pl.col(n) == first[n][0] for n in parts)).all()).item():
        return [(values, rows) for values in first.rows()] if parts else [((), rows)]  # no copy of a whole batch
    return rows.partition_by(parts, as_dict=True, maintain_order=True).items()


def _write_file(store: ObjectStore, schema: pl.Schema, where: Mapping[str, str], rows: pl.DataFrame) -> AddAction:
    """Write one file; its name is nobody else's, and its folder tells people the partition, as everywhere."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  only who writes needs it
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    rows = rows.select(schema.keys()).cast(schema)
    names, sink, told = schema.names(), pa.BufferOutputStream(), list[Any]()
    pq.write_table(
        rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
        sink,
        row_group_size=max(1, rows.height),
        use_dictionary=[name for name in names if name in _WORDS],
        column_encoding={n: "DELTA_BINARY_PACKED" if n in _RISING else "PLAIN" for n in names if n not in _WORDS},
        store_schema=False,  # no other reader is to care that strings are large ones to Arrow
        metadata_collector=told,
    )
    folders = [f"{name}={quote(value, safe='')}" for name, value in where.items()]
    if "_change_type" in names:  # of which deltalake does not find those in a folder with a blank or the like (1.6.6)
        folders = ["_change_data"]
    path = "/".join([*folders, f"part-{uuid4()}.parquet"])
    content = sink.getvalue().to_pybytes()
    obstore.put(store, path, content)
    at, statistics = int(time.time() * 1000), _statistics(told[0], schema)
    return AddAction(path, len(content), where, at, True, statistics)  # the log's path is encoded when it is committed


def _statistics(told: Any, schema: pl.Schema) -> str:
    """What the log says of a file, from the file's own footer; times are cut to the millisecond, as by deltalake.

    Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics
    """
    group, low, high, nulls = told.row_group(0), dict[str, Any](), dict[str, Any](), dict[str, int]()
    for column in map(group.column, range(group.num_columns)):
        name, known = column.path_in_schema, column.statistics
        if known is None or "." in name:  # of the parts of a list nobody asks
            continue
        nulls[name] = known.null_count
        if known.has_min_max and not isinstance(known.min_raw, bool):  # raw: for a time pyarrow imports all of pandas
            bounds = [_as_json(raw, schema[name]) for raw in (known.min_raw, known.max_raw)]
            # JSON knows no infinity. And where both are one, engines take a constant from here instead of the file,
            # which their reading of JSON may have got wrong in the last digit (Sail 0.7).
            if not isinstance(bounds[0], float) or (bounds[0] < bounds[1] and not any(map(math.isinf, bounds))):
                low[name], high[name] = bounds
    return json.dumps({"numRecords": told.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _as_json(raw: Any, dtype: pl.DataType) -> Any:
    if isinstance(dtype, pl.Datetime):  # Delta's are of microseconds
        return f"{(EPOCH + dt.timedelta(microseconds=raw)).isoformat(timespec='milliseconds')}Z"
    if isinstance(dtype, pl.Date):
        return (EPOCH + dt.timedelta(days=raw)).date().isoformat()
    return raw.decode() if isinstance(raw, bytes) else raw
