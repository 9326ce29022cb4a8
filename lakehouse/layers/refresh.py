"""Law 5 and law 4 for derived tables: recompute only what the source's changes touch, and end where a rebuild would.

A layer remembers in its own commit which version of its source it has consumed. What changed since is read from the
files that only one of the two versions has; each stretch of changes is widened to whatever it may influence, computed
anew, and held against what the layer has there: only rows that differ are written, in one commit.
"""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl
from deltalake import DeltaTable

from lakehouse.delta import Span, Table, commit, diff_versions, file_stats, guarded, read_spans
from lakehouse.errors import VersionError

Group = Mapping[str, str]  # which series
Computed = tuple[dt.datetime, dt.datetime, Sequence[pl.DataFrame]]
Stretch = tuple[Group, dt.datetime, dt.datetime]
Compute = Callable[[DeltaTable, Group, dt.datetime, dt.datetime], Computed]

FATES = ("inserted", "updated", "deleted")
STRETCHES = 64  # of changes in one series; more are joined with their neighbours
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
        targets: The tables that are written; the last one is `made_from` the source, and remembers what it consumed.
        by: The columns that name a series, in source and targets.
        time: The source's time column.
        apart: How far apart changes of an interval may be to be computed together.
        compute: Given the opened source, a series and a stretch of changes: from when to when the targets may differ,
            both ends included, and their rows there.
    """

    targets: Sequence[Table]
    by: Sequence[str]
    time: str
    apart: Callable[[Group], dt.timedelta]
    compute: Compute

    @property
    def source(self) -> Table:
        """The table it is made from."""
        made_from = self.targets[-1].made_from
        assert made_from
        return made_from


@dataclass(slots=True)
class _Changes:
    """What is to be written to one table."""

    inserted: list[pl.DataFrame] = field(default_factory=list)
    updated: list[pl.DataFrame] = field(default_factory=list)
    deleted: list[pl.DataFrame] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def add(self, other: _Changes) -> None:
        for name in (*FATES, "spans"):
            getattr(self, name).extend(getattr(other, name))


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
    """
    return guarded(lambda: _refresh(layer, rebuild))


def _refresh(layer: Layer, rebuild: bool) -> RefreshReport:
    began = time.perf_counter()
    source, target = layer.source.open(), layer.targets[-1]
    consumes = target.consumes(source)
    consumed = target.open().transaction_version(consumes) if target.exists() else None
    if consumed == source.version() and not rebuild:
        return RefreshReport(target.name, target.version(), consumed, 0, 0, 0, "", time.perf_counter() - began)
    bases = [table.open_or_create() for table in layer.targets]
    changed, why = (None, "it was asked for") if rebuild else _since(layer, source, consumed)
    stretches = _everything(layer, source, bases) if changed is None else changed
    pending = [_Changes() for _ in layer.targets]
    with ThreadPoolExecutor(WORKERS, "refresh") as pool:
        for done in _in_turn(pool, lambda s: _compute(layer, source, bases, *s), stretches):
            for all_of, one in zip(pending, done, strict=True):
                all_of.add(one)
    for table, base, changes in zip(layer.targets, bases, pending, strict=True):
        written = {name: _joined(table, getattr(changes, name)) for name in FATES}
        totals = {name: frame.height for name, frame in written.items()}
        groups = sorted({tuple(span.partition[name] for name in table.partition) for span in changes.spans})
        commit(
            base,
            table.key,
            written["inserted"],
            written["updated"],
            changes.spans,
            [table.guard(*group) for group in groups],
            {},
            deleted=written["deleted"],
            consumed={consumes: source.version()} if table is target else {},
            even_empty=table is target and consumed != source.version(),
        )
    seconds = time.perf_counter() - began
    return RefreshReport(target.name, target.version(), source.version(), **totals, rebuilt=why, seconds=seconds)


def _joined(table: Table, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All changes of a kind; where stretches reach into each other the same row was computed twice."""
    rows = pl.concat([pl.DataFrame(schema=table.schema), *frames])
    return rows.unique(table.key, keep="any", maintain_order=True) if len(frames) > 1 else rows


def _in_turn[A, B](pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map in threads, a few ahead of the caller, so that memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > WORKERS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _everything(layer: Layer, source: DeltaTable, bases: Sequence[DeltaTable]) -> list[Stretch]:
    """Each series from end to end, also those that only a target still has."""
    ends = [_ends(layer, source, layer.source.partition, layer.time)]
    ends += [
        _ends(layer, base, table.partition, table.key[-1]) for table, base in zip(layer.targets, bases, strict=True)
    ]
    found = pl.concat(ends).group_by(layer.by).agg(pl.col("low").min(), pl.col("high").max()).sort(layer.by)
    return [(dict(zip(layer.by, row, strict=False)), *row[-2:]) for row in found.iter_rows()]


def _ends(layer: Layer, table: DeltaTable, partition: Sequence[str], time_column: str) -> pl.DataFrame:
    moment = pl.Datetime("us", "UTC")
    empty = pl.DataFrame(schema={**dict.fromkeys(layer.by, pl.String), "low": moment, "high": moment})
    if set(layer.by) <= set(partition):
        stats = file_stats(table, partition)
        if stats.is_empty():
            return empty
        high = pl.col(f"max.{time_column}") + pl.duration(microseconds=999)  # the log cuts it to milliseconds
        return stats.select(*layer.by, low=f"min.{time_column}", high=high)
    if not table.file_uris():
        return empty
    rows = pl.scan_delta(table).group_by(layer.by)
    return rows.agg(low=pl.col(time_column).min(), high=pl.col(time_column).max()).collect()


def _since(layer: Layer, source: DeltaTable, consumed: int | None) -> tuple[list[Stretch] | None, str]:
    """The stretches that changed since a version; None and why, if that cannot be told."""
    if consumed is None:
        return None, "it is the first time"
    if consumed < 0:
        return None, "the table was restored"
    try:
        old = layer.source.at(consumed)
    except VersionError as error:
        return None, str(error)
    table = layer.source
    changes = diff_versions(old, source, table.schema, table.key, table.partition, provenance=True)
    changed = changes.select(*layer.by, layer.time).unique().sort(*layer.by, layer.time).collect()
    stretches = list[Stretch]()
    for key, frame in changed.partition_by(layer.by, as_dict=True, maintain_order=True).items():
        group = dict(zip(layer.by, map(str, key), strict=True))
        stretches += [(group, low, high) for low, high in _stretches(frame[layer.time], layer.apart(group))]
    return stretches, ""


def _stretches(times: pl.Series, apart: dt.timedelta) -> list[tuple[dt.datetime, dt.datetime]]:
    """Cut sorted times where they are far apart, into a limited number of stretches."""
    steps = times.diff(null_behavior="drop")
    widest = steps.top_k(STRETCHES - 1).min() if len(steps) >= STRETCHES else None
    limit = max(apart, widest) if isinstance(widest, dt.timedelta) else apart
    cuts = [0, *((steps > limit).arg_true() + 1).to_list(), len(times)]
    return [(times[a], times[b - 1]) for a, b in itertools.pairwise(cuts)]


def _compute(
    layer: Layer, source: DeltaTable, bases: Sequence[DeltaTable], group: Group, low: dt.datetime, high: dt.datetime
) -> list[_Changes]:
    first, last, frames = layer.compute(source, group, low, high)
    done = []
    for table, base, rows in zip(layer.targets, bases, frames, strict=True):
        span = Span(group, table.key[-1], first, last)
        there = read_spans(base, [span]) if base.file_uris() else pl.LazyFrame(schema=table.schema)
        old = there.filter(pl.col(span.column).is_between(first, last)).select(table.schema.keys()).collect()
        done.append(_difference(old, rows.select(table.schema.keys()), table.key, span))
    return done


def _difference(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str], span: Span) -> _Changes:
    if old.is_empty():
        return _Changes([new], [], [], [span] if new.height else [])
    values = [name for name in new.columns if name not in key]
    both = new.join(old, on=key, how="left", suffix="_old", maintain_order="left").join(
        old.select(key).with_columns(_there=pl.lit(True)), on=key, how="left", maintain_order="left"
    )
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in values)
    known = pl.col("_there").fill_null(False)
    changes = _Changes(
        [both.filter(~known).select(new.columns)],
        [both.filter(known & differs).select(new.columns)],
        [old.join(new, on=key, how="anti")],
    )
    times = pl.concat([frame[span.column] for frame in (*changes.inserted, *changes.updated, *changes.deleted)])
    if len(times):
        changes.spans = [Span(span.partition, span.column, times.min(), times.max())]
    return changes
