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
BATCH_ROWS = 250_000  # in the files that the stretches of a batch lie in: a frame of bars is some 400 bytes a row
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
    def partition(self) -> list[str]:
        """The columns that it is partitioned by; a table of an older lake may have other ones than new ones get."""
        return self.opened.metadata().partition_columns

    @cached_property
    def files(self) -> pl.DataFrame:
        """See `file_stats`."""
        return file_stats(self.opened, self.partition)

    def ends(self) -> pl.DataFrame:
        """Each series from its first row to its last, as stretches."""
        empty = pl.DataFrame(schema={**dict.fromkeys(self.by, pl.String), "begin": MOMENT, "end": MOMENT})
        if self.files.is_empty():
            return empty
        if set(self.by) <= set(self.partition):
            rows = self.files.select(*self.by, begin=f"min.{self.time}", end=pl.col(f"max.{self.time}") + CUT).lazy()
        else:
            # A series that is no partition has no statistics of its own; such tables are small enough to look.
            rows = pl.scan_delta(self.opened).select(*self.by, begin=self.time, end=self.time)
        return rows.group_by(self.by).agg(pl.col("begin").min(), pl.col("end").max()).sort(self.by).collect()

    def files_near(self, stretches: pl.DataFrame) -> pl.DataFrame:
        """Find the files that each stretch touches.

        Args:
            stretches: Of any series.

        Returns:
            The stretches with `path`, `rows` and `since`, the first time, of each such file.
        """
        if self.files.is_empty():
            return stretches.clear().with_columns(path=pl.lit(""), rows=pl.lit(0), since="begin")
        known = [name for name in self.by if name in self.partition]
        others = [name for name in self.by if name not in known]
        since, until = pl.col(f"min.{self.time}"), pl.col(f"max.{self.time}") + CUT
        limits = {f"{side}.{name}": pl.col(f"{side}.{name}") for name in others for side in ("min", "max")}
        ends = self.files.select("path", *known, rows="num_records", since=since, until=until, **limits)
        pairs = stretches.join(ends, on=known) if known else stretches.join(ends, how="cross")
        near = [pl.col("begin") <= pl.col("until"), pl.col("end") >= pl.col("since")]
        for name in others:  # a long text may be cut off in the log
            most = pl.col(f"max.{name}")
            near += [pl.col(name) >= pl.col(f"min.{name}"), pl.col(name).str.head(most.str.len_chars()) <= most]
        return pairs.filter(pl.all_horizontal(near).fill_null(True)).drop("until", *limits)

    def read(self, stretches: pl.DataFrame) -> pl.LazyFrame:
        """Read the rows that lie in stretches, of all series at once; files elsewhere are not opened.

        Args:
            stretches: May have more columns, which are joined to the rows.

        Returns:
            The table's columns and those; a row that lies in two stretches comes twice.
        """
        if self.files.is_empty() or stretches.is_empty():
            return pl.LazyFrame(schema={**self.table.schema, **stretches.drop(*self.by, "begin", "end").schema})
        files = self.files.join(self.files_near(stretches), on="path", how="semi").sort(f"min.{self.time}")
        rows = read_files(self.opened, files, self.table.schema, self.partition)
        time = pl.col(self.time)
        near = rows.filter(time >= stretches["begin"].min(), time <= stretches["end"].max())
        if stretches.height == 1:  # a part of a long series: to join it costs more than to read it
            more = stretches.drop(*self.by, "begin", "end").to_dict()
            series = [pl.col(name) == stretches[name].item() for name in self.by]
            return near.filter(series).with_columns(pl.lit(value).first().alias(name) for name, value in more.items())
        inside = near.join(stretches.lazy(), on=self.by, maintain_order="left")
        return inside.filter(time >= pl.col("begin"), time <= pl.col("end")).drop("begin", "end")


def changed_since(old: DeltaTable, new: Snapshot, apart: pl.Expr) -> pl.DataFrame:
    """Find the stretches in which a table has changed.

    Args:
        old: An earlier version.
        new: A later one.
        apart: See `join_near`.
    """
    table, time = new.table, new.time
    was = file_stats(old, new.partition)
    come, gone = new.files.join(was, on="path", how="anti"), was.join(new.files, on="path", how="anti")
    frames, known = [], come.clear()
    if set(new.by) <= set(new.partition) and come.height:
        # Where files have only come, the log tells the stretches, and no row need be read: rows that lie no further
        # apart than this on the average are one.
        known = come.join(gone, on=new.partition, how="anti") if gone.height else come
        known = known.select(*new.by, "path", "num_records", begin=f"min.{time}", end=pl.col(f"max.{time}") + CUT)
        known = known.filter(pl.col("end") - pl.col("begin") <= apart * pl.col("num_records"))
        frames.append(known.select(*new.by, "begin", "end"))
    if known.height < come.height or gone.height:
        # Provenance counts here: `is_unfinished` hangs on when a bar was stated, though its values may be equal.
        changes = diff_versions(
            old, new.opened, table.schema, table.key, new.partition, provenance=True, but=known["path"]
        )
        frames.append(changes.select(*new.by, begin=time, end=time).unique().collect())
    return join_near(pl.concat(frames), new.by, apart) if frames else new.ends().clear()


def join_near(stretches: pl.DataFrame, by: Sequence[str], apart: pl.Expr) -> pl.DataFrame:
    """Join stretches that lie near each other, to a limited number of each series.

    Args:
        stretches: Some; of rows each begins and ends at the same time.
        by: The columns that name a series.
        apart: How far apart two may be to be joined; an expression of `by`.

    Returns:
        Stretches, sorted, that do not overlap.
    """
    # A year of scattered corrections would be a thousand reads of next to nothing: the widest gaps cut, the rest joins.
    step, widest = pl.col("_step"), pl.col("_step").top_k(MOST - 1).min()
    limit = pl.when(step.count() >= MOST).then(widest).otherwise(pl.duration())
    return (
        stretches.lazy()
        .sort(*by, "begin")
        .with_columns(_step=pl.col("begin") - pl.col("end").cum_max().shift().over(by))
        .with_columns(_cut=(step > pl.max_horizontal(apart, limit.over(by))).fill_null(False).cum_sum().over(by))
        .group_by(*by, "_cut")
        .agg(pl.col("begin").min(), pl.col("end").max())
        .drop("_cut")
        .sort(*by, "begin")
        .collect()
    )


def batches(stretches: pl.DataFrame, source: Snapshot) -> Iterator[pl.DataFrame]:
    """Cut stretches into batches, so that memory stays bounded however many there are, and however long one is.

    Args:
        stretches: Of any series.
        source: What will be read.

    Yields:
        Stretches that lie in files of about `BATCH_ROWS` rows. One is cut where a file begins.
    """
    numbered, time = stretches.with_row_index("_n"), pl.duration(microseconds=1)
    near = source.files_near(numbered).select("_n", "rows", "since")
    pieces = (
        numbered.join(near, on="_n", how="left", maintain_order="left")
        .sort("_n", "since", maintain_order=True)
        .with_columns(pl.max_horizontal("begin", pl.when(~pl.col("_n").is_first_distinct()).then("since")))
        .with_columns(pl.col("rows").fill_null(0))
        .with_columns(_batch=(pl.col("rows").cum_sum() - 1) // BATCH_ROWS)
        .group_by("_batch", "_n", maintain_order=True)
        .agg(pl.col(*source.by, "begin", "end").first())
        .with_columns(pl.min_horizontal("end", pl.col("begin").shift(-1).over("_n") - time))
        .filter(pl.col("begin") <= pl.col("end"))
    )
    for part in pieces.partition_by("_batch", maintain_order=True):
        yield part.select(stretches.columns)
