"""Rows of a table change: the files that hold them are written anew, and no other.

deltalake's own MERGE holds what it rewrites in memory, and takes several times as long as to read and write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from lakehouse.delta.parquet import file_stats, files_holding, read_files, write_files
from lakehouse.delta.stores import open_store

ROWS_AT_A_TIME = 160_000  # that are rewritten, a file or so: some 300 bytes each, several times over
WORKERS = 2  # one part is read while another is written


class Rewritten(NamedTuple):
    """What was written and is yet to be committed."""

    gone: pl.DataFrame  # rows of `file_stats`: the files that are replaced
    adds: list[AddAction]  # their successors
    fed: list[AddAction]  # files of the change feed


def rewrite_rows(
    base: DeltaTable,
    key: Sequence[str],
    inserted: pl.DataFrame,
    updated: pl.DataFrame,
    deleted: pl.DataFrame,
) -> Rewritten:
    """Write the successors of the files of an opened version that hold what changes; no other is opened for long.

    What comes, changes and goes is for one commit: between two a reader would see old rows gone, and no new ones yet.
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
    return Rewritten(pl.concat([near.clear(), *(files for _, files, _ in done)]), adds, fed)


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
