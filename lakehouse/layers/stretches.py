"""Stretches of series: where a table has changed, and all rows that lie there, of many series at once.

A stretch is a row of a frame: the columns that name a series, `begin` and `end`, both ends included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl
from deltalake import DeltaTable

from lakehouse.delta import Table, diff_versions, file_stats, read_files

MOST = 64  # stretches of one series; more are joined with their neighbours
BATCH_ROWS = 1_000_000  # in the files that the stretches of a batch lie in: a frame of bars is some 400 bytes a row
MOMENT = pl.Datetime("us", "UTC")
CUT = pl.duration(microseconds=999)  # the log cuts its maxima to milliseconds


@dataclass(frozen=True)
class Snapshot:
    """A version of a table, opened once, with what its log says of its files."""

    table: Table
    opened: DeltaTable
    by: tuple[str, ...]
    time: str

    @cached_property
    def files(self) -> pl.DataFrame:
        """See `file_stats`."""
        return file_stats(self.opened, self.table.partition)

    def ends(self) -> pl.DataFrame:
        """Each series from its first row to its last, as stretches."""
        empty = pl.DataFrame(schema={**dict.fromkeys(self.by, pl.String), "begin": MOMENT, "end": MOMENT})
        if self.files.is_empty():
            return empty
        if set(self.by) <= set(self.table.partition):
            rows = self.files.select(*self.by, begin=f"min.{self.time}", end=pl.col(f"max.{self.time}") + CUT).lazy()
        else:
            # A series that is no partition has no statistics of its own; gold's tables are small enough to look.
            rows = pl.scan_delta(self.opened).select(*self.by, begin=self.time, end=self.time)
        return rows.group_by(self.by).agg(pl.col("begin").min(), pl.col("end").max()).sort(self.by).collect()

    def rows_near(self, stretches: pl.DataFrame) -> pl.DataFrame:
        """Count the rows of the files that each stretch touches.

        Args:
            stretches: Of any series.

        Returns:
            The stretches with `path` and `rows` of each such file.
        """
        begin, end = pl.col(f"min.{self.time}"), pl.col(f"max.{self.time}") + CUT
        known = [name for name in self.by if name in self.table.partition]
        ends = self.files.select("path", *known, rows="num_records", _min=begin, _max=end)
        pairs = stretches.join(ends, on=known) if known else stretches.join(ends, how="cross")
        return pairs.filter(pl.col("begin") <= pl.col("_max"), pl.col("end") >= pl.col("_min")).drop("_min", "_max")

    def read(self, stretches: pl.DataFrame) -> pl.LazyFrame:
        """Read the rows that lie in stretches, of all series at once; files elsewhere are not opened.

        Args:
            stretches: May have more columns, which are joined to the rows.

        Returns:
            The table's columns and those; a row that lies in two stretches comes twice.
        """
        if self.files.is_empty() or stretches.is_empty():
            return pl.LazyFrame(schema={**self.table.schema, **stretches.drop(*self.by, "begin", "end").schema})
        files = self.files.join(self.rows_near(stretches), on="path", how="semi")
        rows = read_files(self.opened, files, self.table.schema, self.table.partition)
        time = pl.col(self.time)
        near = rows.filter(time >= stretches["begin"].min(), time <= stretches["end"].max())
        inside = near.join(stretches.lazy(), on=self.by, maintain_order="left")
        return inside.filter(time >= pl.col("begin"), time <= pl.col("end")).drop("begin", "end")


def changed_since(old: DeltaTable, new: Snapshot, apart: pl.Expr) -> pl.DataFrame:
    """Find the stretches in which a table has changed.

    Args:
        old: An earlier version.
        new: A later one.
        apart: See `join_near`.
    """
    table = new.table
    # Provenance counts here: `is_unfinished` hangs on when a bar was stated, though its values may be equal.
    changes = diff_versions(old, new.opened, table.schema, table.key, table.partition, provenance=True)
    return join_near(changes.select(*new.by, new.time).unique().collect(), new.by, new.time, apart)


def join_near(rows: pl.DataFrame, by: Sequence[str], time: str, apart: pl.Expr) -> pl.DataFrame:
    """Gather rows that lie near each other to stretches, of each series a limited number.

    Args:
        rows: Their series and their time.
        by: The columns that name a series.
        time: The column of the time.
        apart: How far apart two rows may be to lie in one stretch.

    Returns:
        Stretches, sorted.
    """
    # A year of scattered corrections would be a thousand reads of next to nothing: the widest gaps cut, the rest joins.
    step, widest = pl.col("_step"), pl.col("_step").top_k(MOST - 1).min()
    limit = pl.when(step.count() >= MOST).then(widest).otherwise(pl.duration())
    return (
        rows.lazy()
        .sort(*by, time)
        .with_columns(_step=pl.col(time).diff().over(by))
        .with_columns(_cut=(step > pl.max_horizontal(apart, limit.over(by))).fill_null(False).cum_sum().over(by))
        .group_by(*by, "_cut")
        .agg(begin=pl.col(time).min(), end=pl.col(time).max())
        .drop("_cut")
        .sort(*by, "begin")
        .collect()
    )


def batches(stretches: pl.DataFrame, source: Snapshot) -> Iterator[pl.DataFrame]:
    """Cut stretches into batches, so that memory stays bounded however many there are.

    Args:
        stretches: Of any series.
        source: What will be read.

    Yields:
        Stretches that lie in files of `BATCH_ROWS` rows, or a single one.
    """
    numbered = stretches.with_row_index("_n")
    rows = source.rows_near(numbered).group_by("_n").agg(pl.col("rows").sum())
    sized = numbered.join(rows, on="_n", how="left", maintain_order="left")
    batch = (pl.col("rows").fill_null(0).cum_sum() - 1) // BATCH_ROWS
    for part in sized.with_columns(_batch=batch).partition_by("_batch", maintain_order=True):
        yield part.drop("_n", "rows", "_batch")
