"""Law 5 and law 4 for derived tables: recompute only what the source's changes touch, and end where a rebuild would.

A layer remembers in its own commit which version of its source it has consumed. What changed since is read from the
files that only one of the two versions has; each stretch of changes is widened to whatever it may influence, computed
anew, and held against what the layer has there: only rows that differ are written, in one commit. Stretches of many
series are read and computed together, as frames: a query costs more than the hundred bars that a night brings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from lakehouse.delta import Changes, Span, Table, commit, guarded, writing
from lakehouse.errors import VersionError
from lakehouse.layers.stretches import Snapshot, batches, changed_since, join_near

Computed = tuple[pl.DataFrame, Sequence[pl.DataFrame]]
Compute = Callable[[Snapshot, pl.DataFrame], Computed]

FATES = ("inserted", "updated", "deleted")
# One part is read while another is computed; each more would hold another million rows.
WORKERS = 2


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
            their rows there, each once.
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
    marks = [_consumed(target, source) for target in targets]
    why = "it was asked for" if rebuild else _lost(marks)
    if not why and marks[-1] == latest:
        return RefreshReport(name, base.version(), latest, 0, 0, 0, "", time.perf_counter() - began)
    stretches, why = (None, why) if why else _since(layer, source, marks[-1])
    pending = _changes(layer, source, targets, _everything(source, targets) if stretches is None else stretches)
    # A commit each, the layer's own mark last: what is killed in between is done again.
    for target, mark, changes in zip(targets, marks, pending, strict=True):
        # The last target is marked at each version, the others when they change: those have missed nothing since.
        behind = mark is None or mark < 0 or (target is targets[-1] and mark != latest)
        consumed = {target.table.consumes(source.opened): latest}
        touched = _touched(target.table, changes)
        guards = [target.table.guard(*part) for part in touched.iter_rows()]
        commit(target.opened, target.table.key, changes, guards=guards, consumed=consumed, even_empty=behind)
        if touched.height:
            target.table.tidy(target.opened, touched)
    seconds = time.perf_counter() - began
    return RefreshReport(name, base.version(), latest, **pending[-1].counts, rebuilt=why, seconds=seconds)


def _consumed(target: Snapshot, source: Snapshot) -> int | None:
    """The version of the source that a table was last made from; -1 after a restore, None the first time."""
    return target.opened.transaction_version(target.table.consumes(source.opened))


def _lost(marks: Sequence[int | None]) -> str:
    """Why everything has to be computed; empty if each target is as the layer left it."""
    if None in marks:
        return "it is the first time"
    return "the table was restored" if any(mark < 0 for mark in marks if mark is not None) else ""


def _since(layer: Layer, source: Snapshot, consumed: int | None) -> tuple[pl.DataFrame | None, str]:
    """The stretches that changed since a version; None and why, if that cannot be told."""
    assert consumed is not None
    try:
        old = layer.source.at(consumed)
    except VersionError as error:
        return None, str(error)
    return changed_since(old, source, layer.apart), ""


def _everything(source: Snapshot, targets: Iterable[Snapshot]) -> pl.DataFrame:
    """Each series from end to end, also those that only a target still has."""
    ends = pl.concat([source.ends(), *(target.ends() for target in targets)])
    return ends.group_by(source.by).agg(pl.col("begin").min(), pl.col("end").max()).sort(source.by)


def _changes(layer: Layer, source: Snapshot, targets: Sequence[Snapshot], stretches: pl.DataFrame) -> list[Changes]:
    """Compute stretches, and find what differs from what the targets have there."""
    found: list[list[Changes]] = [[Changes(pl.DataFrame(schema=target.table.schema))] for target in targets]
    with ThreadPoolExecutor(WORKERS, "refresh") as pool:
        for done in _in_turn(pool, lambda part: _compute(layer, source, targets, part), batches(stretches, source)):
            for all_of, one in zip(found, done, strict=True):
                all_of.append(one)
    return [_together(layer, target, parts) for target, parts in zip(targets, found, strict=True)]


def _in_turn[A, B](pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map in threads, a few ahead of the caller, so that memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > WORKERS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _compute(layer: Layer, source: Snapshot, targets: Sequence[Snapshot], stretches: pl.DataFrame) -> list[Changes]:
    reached, frames = layer.compute(source, stretches)
    done = []
    for target, rows in zip(targets, frames, strict=True):
        key, columns = target.table.key, list(target.table.schema)
        there = target.read(reached).select(columns).collect()
        if reached.select(layer.by).is_duplicated().any():  # stretches of one series may reach into each other
            there = there.unique(key, keep="any", maintain_order=True)
        done.append(_difference(there, rows.select(columns), key))
    return done


def _difference(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str]) -> Changes:
    if old.is_empty():
        return Changes(new, old, old)
    values = [name for name in new.columns if name not in key]
    # Held against what is there, not written over it: equal rows make no version, in a rebuild neither (law 3).
    both = new.join(old.with_columns(_there=pl.lit(True)), on=key, how="left", suffix="_old", maintain_order="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in values)
    known = pl.col("_there").is_not_null()
    inserted, updated = both.filter(~known), both.filter(known & differs)
    return Changes(inserted.select(new.columns), updated.select(new.columns), old.join(new, on=key, how="anti"))


def _together(layer: Layer, target: Snapshot, parts: Sequence[Changes]) -> Changes:
    """All changes of a table; of stretches that reach into each other and fell into two batches, each row once."""
    frames = []
    for fate in FATES:
        some = [frame for part in parts if (frame := getattr(part, fate)) is not None and frame.height]
        rows = pl.concat([parts[0].inserted, *some])
        frames.append(rows.unique(target.table.key, keep="any", maintain_order=True) if len(some) > 1 else rows)
    inserted, updated, deleted = frames
    moved = pl.concat([updated, deleted]).select(*target.table.key)
    series = target.table.partition or layer.by
    # Inserted rows need no span: a MERGE opens files for rows that it must find.
    near = join_near(moved, series, target.time, layer.apart)
    spans = [
        Span({name: row[name] for name in series}, target.time, row["begin"], row["end"])
        for row in near.iter_rows(named=True)
    ]
    return Changes(inserted, updated, deleted, spans)


def _touched(table: Table, changes: Changes) -> pl.DataFrame:
    """The partitions that changes lie in."""
    frames = (changes.inserted, changes.updated, changes.deleted)
    parts = [frame.select(table.partition).unique() for frame in frames if frame is not None and frame.height]
    if not table.partition:
        return pl.DataFrame(height=min(1, len(parts)))
    return (
        pl.concat([pl.DataFrame(schema=dict.fromkeys(table.partition, pl.String)), *parts])
        .unique()
        .sort(table.partition)
    )
