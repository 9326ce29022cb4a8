"""What changed between two versions, read from the files that only one of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from deltalake import DeltaTable

from lakehouse.delta.parquet import file_stats, read_files

ROUNDING = 1e-15  # relative: a double is sure to hold 15 digits


def diff_versions(
    before: DeltaTable,
    after: DeltaTable,
    schema: Mapping[str, pl.DataType],
    key: Sequence[str],
    partition: Sequence[str] = (),
    *,
    tolerance: float = 0.0,
    provenance: bool = False,
    but: Iterable[str] = (),
) -> pl.LazyFrame:
    """Compare two opened versions of a table by key.

    Delta rewrites whole files, so whatever differs lies in files that only one version lists; the others are never
    opened, and the cost is that of the files that were touched, not of the table.

    Args:
        before: The one version.
        after: The other; it may be the older.
        schema: The table's columns and dtypes.
        key: The columns that name a row.
        partition: The columns that the table is partitioned by.
        tolerance: By how much of their size two numbers may differ and still count as the same.
        provenance: Whether a row has changed if it is stated in another place, with equal values.
        but: Files that only the one after has, and that are not to be read.

    Returns:
        The key, `change` (inserted, updated or deleted), and `<column>_before` and `<column>_after` of every other
        column; sorted by key.
    """
    # Not the change feed, which vacuum breaks, and in which a restore is whole files deleted and inserted.
    old, new = file_stats(before, partition), file_stats(after, partition)
    gone = read_files(before, old.join(new, on="path", how="anti"), schema, partition)
    come = read_files(
        after, new.join(old, on="path", how="anti").filter(~pl.col("path").is_in([*but])), schema, partition
    )
    others = [name for name in schema if name not in key]
    values = [name for name in others if provenance or not name.startswith("_")]
    # A row that was merely rewritten with its file is on both sides, and drops out below.
    sides = [
        frame.select(*key, pl.col(others).name.suffix(f"_{side}"), pl.lit(True).alias(side))
        for frame, side in ((gone, "before"), (come, "after"))
    ]
    both = sides[0].join(sides[1], on=key, how="full", coalesce=True)
    was, is_now = pl.col("before").is_not_null(), pl.col("after").is_not_null()
    differs = pl.any_horizontal(_differs(name, schema[name], tolerance) for name in values)
    change = (
        pl.when(~was).then(pl.lit("inserted"))
        .when(~is_now).then(pl.lit("deleted"))
        .when(differs).then(pl.lit("updated"))
    )  # fmt: skip
    pairs = [f"{name}_{side}" for name in others for side in ("before", "after")]
    changed = both.with_columns(change=change).filter(pl.col("change").is_not_null())
    return changed.select(*key, "change", *pairs).sort(key)


def _differs(name: str, dtype: pl.DataType, tolerance: float) -> pl.Expr:
    old, new = pl.col(f"{name}_before"), pl.col(f"{name}_after")
    if not (tolerance and dtype.is_float()):
        return old.ne_missing(new)
    # Another program that reads and writes the table may round a double's last digit.
    near = (old - new).abs() <= tolerance * pl.max_horizontal(old.abs(), new.abs())
    return old.ne_missing(new) & ~near.fill_null(value=False)
