"""Where rows lie: spans of a partition, which let a read or a MERGE skip files by the log's statistics alone."""

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


@dataclass(frozen=True, slots=True)
class Span:
    """Some partition, and a closed range of one column in it: what a read or a MERGE may touch."""

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

    def sql(self, alias: str) -> str:
        """The span as a SQL predicate of literals, which is what lets a MERGE skip files."""
        equal = [f"{alias}.{name} = {sql_literal(value)}" for name, value in self.partition.items()]
        low, high = sql_literal(_floor(self.low)), sql_literal(self.high)
        return " AND ".join([*equal, f"{alias}.{self.column} >= {low}", f"{alias}.{self.column} <= {high}"])


def _floor[T](low: T) -> T:
    """Round a time down to the millisecond: the log's maxima are cut there, and would hide a later row of its file."""
    return low.replace(microsecond=low.microsecond // 1000 * 1000) if isinstance(low, dt.datetime) else low


def sql_literal(value: str | dt.datetime) -> str:
    """Quote a string or a UTC time for SQL."""
    text = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, dt.datetime) else value
    return "'" + text.replace("'", "''") + "'"


def file_stats(table: DeltaTable, partition: Sequence[str] = ()) -> pl.DataFrame:
    """The files of an opened version with their statistics, from the log alone."""
    stats = pl.DataFrame(table.get_add_actions(flatten=True))
    return stats.rename({f"partition.{name}": name for name in partition if f"partition.{name}" in stats.columns})


def read_spans(table: DeltaTable, spans: Sequence[Span]) -> pl.LazyFrame:
    """Read only what lies in the spans of an opened version; files elsewhere are not opened."""
    # Polars skips files by the log's statistics for literals such as these, not for what a join would tell.
    return pl.scan_delta(table).filter(reduce(or_, [span.expr() for span in spans]))


def read_files(
    table: DeltaTable, files: pl.DataFrame, schema: Mapping[str, pl.DataType], partition: Sequence[str]
) -> pl.LazyFrame:
    """Read some files of an opened version; their partition values stand in the log, not in them.

    Args:
        table: The opened version.
        files: Some rows of `file_stats`.
        schema: The table's columns and dtypes.
        partition: The columns that it is partitioned by.
    """
    if files.is_empty():
        return pl.LazyFrame(schema=schema)
    root = table.table_uri.rstrip("/")
    # The log's paths are encoded. Polars decodes those of a folder and takes those of a bucket as they are.
    decode = unquote if "://" in root and not root.startswith("file:") else str
    paths = [f"{root}/{decode(path)}" for path in files["path"]]
    if not partition:
        return pl.scan_parquet(paths, glob=False).select(schema.keys())
    parts = files.select(*(pl.col(name).cast(pl.String) for name in partition)).unique()
    if parts.height == 1:
        values = {name: pl.lit(value) for name, value in parts.row(0, named=True).items()}
        return pl.scan_parquet(paths, glob=False).with_columns(**values).select(schema.keys())
    # One scan of all: a union of a thousand takes minutes. The folders come back decoded in one way or another; the
    # names in them have no letter to encode, and are never given twice.
    name = pl.col("_path").str.split("/").list.last()
    names = files.select(
        *(pl.col(name).cast(pl.String) for name in partition), _name=pl.col("path").str.split("/").list.last()
    )
    rows = pl.scan_parquet(paths, glob=False, include_file_paths="_path").with_columns(_name=name)
    return rows.join(names.lazy(), on="_name", validate="m:1").select(schema.keys())
