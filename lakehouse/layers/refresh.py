"""Law 5 and law 4 for derived tables: recompute only what the source's changes touch, and end where a rebuild would.

A layer remembers in its own commit which version of its source it has consumed. What changed since is read from the
files that only one of the two versions has; each stretch of changes is widened to whatever it may influence, computed
anew, and held against what the layer has there: only rows that differ are written, in one commit. Stretches of many
series are read and computed together, as frames: a query costs more than the hundred bars that a night brings.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from lakehouse.delta import Changes, Table, commit, guarded, writing
from lakehouse.errors import VersionError
from lakehouse.layers.stretches import MOST, Snapshot, batches, changed_since, join_near

Computed = tuple[pl.DataFrame, Sequence[pl.DataFrame]]
Compute = Callable[[Snapshot, pl.DataFrame], Computed]

FATES = ("inserted", "updated", "deleted")
# One part is read while another is computed; each more would hold another million rows.
WORKERS = 2
PENDING_ROWS = 750_000  # that are computed; more of them are committed before the rest is
UNFINISHED = -2  # is said to have been consumed until the last part is written


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What a refresh did.

    Attributes:
        table: The layer's name.
        version: Its version afterwards.
        source_version: The version of the source that it has consumed.
        inserted: Rows.
        updated: Rows.
        deleted: Rows.
        rebuilt: Why everything was computed; empty if only changes were.
        seconds: How long it took.
    """

    table: str
    version: int
    source_version: int
    inserted: int
    updated: int
    deleted: int
    rebuilt: str
    seconds: float

    @property
    def changed(self) -> int:
        """Rows that are not as they were."""
        return self.inserted + self.updated + self.deleted

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name in FATES if (count := getattr(self, name)))
        why = f" (all computed: {self.rebuilt})" if self.rebuilt else ""
        return f"{self.table} v{self.version}: {counts or 'nothing new'}{why}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Layer:
    """How a table is derived from another.

    Attributes:
        targets: The tables that are written, all `made_from` the source; the last one is what the layer is called.
        by: The columns that name a series, in source and targets.
        time: The source's time column.
        apart: How far apart changes of a series may be to be computed together; an expression of `by`.
        compute: Given the opened source and stretches of changes: the stretches in which the targets may differ, and
            their rows there. Where two stretches of a series reach into each other, both may have the same rows.
    """

    targets: Sequence[Table]
    by: tuple[str, ...]
    time: str
    apart: pl.Expr
    compute: Compute

    @property
    def source(self) -> Table:
        """The table it is made from."""
        made_from = self.targets[-1].made_from
        assert made_from
        return made_from


def refresh(layer: Layer, *, rebuild: bool = False) -> RefreshReport:
    """Bring a layer up to its source.

    Args:
        layer: Which.
        rebuild: Compute everything, not just what has changed. Rows that come out equal are not written.

    Returns:
        What was done.

    Raises:
        VersionError: The source does not exist yet.
        ConflictError: Other writers won at every attempt.
        LakeError: The disk is full or read-only.
    """
    with writing(layer.targets[-1].uri):
        return guarded(lambda: _refresh(layer, rebuild))


def _refresh(layer: Layer, rebuild: bool) -> RefreshReport:
    began = time.perf_counter()
    source = Snapshot(layer.source, layer.source.open(), layer.by, layer.time)
    targets = [Snapshot(table, table.open_or_create(), layer.by, table.key[-1]) for table in layer.targets]
    # Both ends are opened once. What others commit meanwhile is met by the guards, or is the next refresh's.
    name, base, latest = layer.targets[-1].name, targets[-1].opened, source.opened.version()
    versions = [_consumed(target, source) for target in targets]
    why = "it was asked for" if rebuild else _reason_to_rebuild(versions)
    if not why and versions[-1] == latest:
        return RefreshReport(name, base.version(), latest, 0, 0, 0, "", time.perf_counter() - began)
    stretches, why = (None, why) if why else _stretches_since(layer, source, versions)
    stretches = _everything(source, targets) if stretches is None else stretches
    counts, parts = Counter[str](), list[Computed]()
    with ThreadPoolExecutor(WORKERS, "refresh") as pool:
        for part in _in_turn(pool, lambda some: layer.compute(source, some), batches(stretches, source)):
            if sum(rows.height for _, frames in parts for rows in frames) >= PENDING_ROWS:
                # Whoever is killed after this has consumed no version: the next one goes through all.
                versions = [UNFINISHED] * len(targets)
                counts += _write(layer, source, targets, parts, UNFINISHED, [False] * len(targets))
                parts.clear()
            parts.append(part)
    # The last target is marked at each version, the others when they change: those have missed nothing since.
    must_mark = [version is None or version < 0 for version in versions]
    must_mark[-1] |= versions[-1] != latest
    counts += _write(layer, source, targets, parts, latest, must_mark)
    done = {fate: counts[fate] for fate in FATES}
    return RefreshReport(name, base.version(), latest, **done, rebuilt=why, seconds=time.perf_counter() - began)


def _consumed(target: Snapshot, source: Snapshot) -> int | None:
    """The version of the source that a table was last made from; None the first time, else negative: why it is not."""
    return target.opened.transaction_version(target.table.consumes(source.opened))


def _reason_to_rebuild(versions: Sequence[int | None]) -> str:
    """Why everything has to be computed; empty if each target is as the layer left it."""
    if UNFINISHED in versions:
        return "the last time was broken off"
    if None in versions:
        return "it is the first time"
    return "the table was restored" if any(version < 0 for version in versions if version is not None) else ""


def _stretches_since(layer: Layer, source: Snapshot, versions: Sequence[int | None]) -> tuple[pl.DataFrame | None, str]:
    """The stretches that changed since the versions consumed; None and why, if that cannot be told."""
    # One target is ahead of the last if somebody was killed between them. What it was made from may be undone since.
    ahead = sorted({version for version in versions if version is not None and version >= (versions[-1] or 0)})
    try:
        found = [changed_since(layer.source.at(version), source, layer.apart) for version in ahead]
    except VersionError as error:
        return None, str(error)
    return join_near(pl.concat(found), source.by, layer.apart), ""


def _everything(source: Snapshot, targets: Iterable[Snapshot]) -> pl.DataFrame:
    """Each series from end to end, also those that only a target still has."""
    ends = pl.concat([source.ends(), *(target.ends() for target in targets)])
    return ends.group_by(source.by).agg(pl.col("begin").min(), pl.col("end").max()).sort(source.by)


def _in_turn[A, B](pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map in threads, a few ahead of the caller, so that memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > WORKERS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _write(
    layer: Layer,
    source: Snapshot,
    targets: Sequence[Snapshot],
    parts: Sequence[Computed],
    mark: int,
    must_mark: Sequence[bool],
) -> Mapping[str, int]:
    """Commit where parts differ from targets, a commit each, the layer's own last; and count its rows by their fate.

    Each says that it has consumed `mark`, if it has changed or must.
    """
    for number, target in enumerate(targets):
        table = target.table
        # What it has now is asked here, and not where parts are computed: two may reach over the cut between them.
        changes = _changes(layer, replace(target), [(reached, frames[number]) for reached, frames in parts])
        touched = _touched(target, changes)
        guards = [table.guard(*part) for part in touched.iter_rows()]
        consumed = {table.consumes(source.opened): mark}
        commit(target.opened, table.key, changes, guards=guards, consumed=consumed, even_empty=must_mark[number])
        if touched.height:
            table.tidy(target.opened, touched)
    return changes.counts


def _changes(layer: Layer, target: Snapshot, parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> Changes:
    """Find what differs from what a target has where parts reach."""
    key, empty = target.table.key, pl.DataFrame(schema=target.table.schema)
    if not parts:
        return Changes(empty)
    rows = pl.concat([rows.select(empty.columns) for _, rows in parts])
    reached = pl.concat([reached for reached, _ in parts])
    there = target.read(reached).select(empty.columns).collect()
    if (twice := _reached_twice(reached, layer.by, target.time)) is not None:
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
