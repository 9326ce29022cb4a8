"""Where rows that were computed differ from those that a table has: only that is written, in one guarded commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.delta import Changes, commit
from lakehouse.layers.stretches import MOST, Snapshot

# Stretches in which targets may differ, and the rows of each target there.
Computed = tuple[pl.DataFrame, Sequence[pl.DataFrame]]


def write_difference(
    source: Snapshot,
    targets: Sequence[Snapshot],
    parts: Sequence[Computed],
    mark: int,
    must_mark: Collection[int] = (),
) -> Counter[str]:
    """Commit where parts differ from targets, a commit each, the layer's own last.

    Args:
        source: What the targets are made from.
        targets: The opened tables.
        parts: What was computed.
        mark: Each target says that it has consumed this, if it has changed or must.
        must_mark: The numbers of the targets that must say so.

    Returns:
        How many rows of the last target had which fate.

    Raises:
        CommitFailedError: Another writer was there in between.
    """
    for number, target in enumerate(targets):
        table = target.table
        # What it has now is asked here, and not where parts are computed: two may reach over the cut between them.
        changes = _changes(replace(target), [(reached, frames[number]) for reached, frames in parts])
        touched = _touched(target, changes)
        guards = [table.guard(*part) for part in touched.iter_rows()]
        consumed = {table.consumes(source.opened): mark}
        commit(target.opened, table.key, changes, guards=guards, consumed=consumed, even_empty=number in must_mark)
        if touched.height:
            table.tidy(target.opened, touched)
    return Counter(changes.counts)


def _changes(target: Snapshot, parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> Changes:
    """Find what differs from what a target has where parts reach."""
    key, empty = target.table.key, pl.DataFrame(schema=target.table.schema)
    if not parts:
        return Changes(empty)
    rows = pl.concat([rows.select(empty.columns) for _, rows in parts])
    reached = pl.concat([reached for reached, _ in parts])
    there = target.read(reached).select(empty.columns).collect()
    if (twice := _reached_twice(reached, target.by, target.time)) is not None:
        rows, there = (_unique_where(twice, frame, key) for frame in (rows, there))
    return _difference(there, rows, key)


def _reached_twice(reached: pl.DataFrame, by: Sequence[str], time: str) -> pl.Expr | None:
    """Where stretches of one series reach into each other, a little at each cut of a long one; None if none do."""
    before = pl.col("end").cum_max().shift().over(by)
    ends = reached.sort(*by, "begin").select(first="begin", last=pl.min_horizontal(before, "end"))
    ends = ends.filter(pl.col("first") <= pl.col("last")).unique()
    inside = [pl.col(time).is_between(first, last) for first, last in ends.iter_rows()]
    return (pl.any_horizontal(inside) if len(inside) <= MOST else pl.lit(True)) if inside else None


def _unique_where(places: pl.Expr, rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Keep each row once; what may be there twice lies in some places, and to look at all takes long."""
    numbered = rows.with_row_index("_row").filter(places)
    again = numbered.filter(~pl.struct(key).is_first_distinct())["_row"]
    return rows.filter(~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(again.implode())) if again.len() else rows


def _difference(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str]) -> Changes:
    if old.is_empty():
        return Changes(new, old, old)
    values, time = [name for name in new.columns if name not in key], pl.col(key[-1])
    first, last = old.select(time.min()).item(), old.select(time.max()).item()
    # A first load computes a million rows, and only at its cuts are there some.
    met, before, after = new.filter(time.is_between(first, last)), new.filter(time < first), new.filter(time > last)
    # Held against what is there, not written over it: equal rows make no version, in a rebuild neither (law 3).
    both = met.join(old.with_columns(_there=pl.lit(True)), on=key, how="left", suffix="_old", maintain_order="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in values)
    known = pl.col("_there").is_not_null()
    inserted, updated = (both.filter(fate).select(new.columns) for fate in (~known, known & differs))
    return Changes(pl.concat([before, inserted, after]), updated, old.join(met, on=key, how="anti"))


def _touched(target: Snapshot, changes: Changes) -> pl.DataFrame:
    """The partitions that changes lie in; of a table without any, one row if there are changes."""
    frames = [frame for frame in (changes.inserted, changes.updated, changes.deleted) if frame is not None]
    if not target.partition:
        return pl.DataFrame(height=int(any(frame.height for frame in frames)))
    # Rows of a series lie together: to look where another one begins is a tenth of what `unique` costs.
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in target.partition)
    return (
        pl.concat([frame.select(target.partition).filter(begins) for frame in frames]).unique().sort(target.partition)
    )
