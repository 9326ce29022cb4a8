"""Where rows lie: spans of a partition, which let a read skip files by the log's statistics alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

CUT = dt.timedelta(microseconds=999)  # the log cuts its maxima to milliseconds


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
