"""Law 5 and law 4 for derived tables: recompute only what the source's changes touch, and end where a rebuild would.

A layer remembers in its own commit which version of its source it has consumed. What changed since is read from the
files that only one of the two versions has; each stretch of changes is widened to whatever it may influence, computed
anew, and held against what the layer has there: only rows that differ are written, in one commit. Stretches of many
series are read and computed together, as frames: a query costs more than the hundred bars that a night brings.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import polars as pl

from lakehouse.delta import Table, guarded, writing
from lakehouse.errors import ConflictError, VersionError
from lakehouse.layers.difference import Computed, write_difference
from lakehouse.layers.stretches import Snapshot, batches, changed_since, join_near

Compute = Callable[[Snapshot, pl.DataFrame], Computed]

FATES = ("inserted", "updated", "deleted")
# One part is read while another is computed; each more would hold another million rows.
WORKERS = 2
PENDING_ROWS = 750_000  # that are computed; more of them are committed before the rest is
UNFINISHED = -2  # this, or less, is said to have been consumed until the last part is written
DEALT_ROWS = 2 * PENDING_ROWS  # from so many rows on a layer is dealt to workers, if there are any


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


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a refresh that anybody can do: whole series, `refresh_share` does it.

    Attributes:
        layer: Which.
        version: Of its source.
        stretches: What has changed there.
        mark: What the targets say of what they have consumed while this refresh is at work.
        label: For people.
    """

    layer: Layer
    version: int
    stretches: pl.DataFrame
    mark: int
    label: str


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does shares, elsewhere.

    Attributes:
        number: Of shares that there are to be at most.
        do: Does shares, and gives how many rows had which fate.
    """

    number: int
    do: Callable[[Sequence[Share]], Iterable[Counter[str]]]


def refresh(layer: Layer, *, rebuild: bool = False, workers: Workers | None = None) -> RefreshReport:
    """Bring a layer up to its source.

    Args:
        layer: Which.
        rebuild: Compute everything, not just what has changed. Rows that come out equal are not written.
        workers: Who is to do it where there is much to do, instead of this process.

    Returns:
        What was done.

    Raises:
        VersionError: The source does not exist yet.
        ConflictError: Other writers won at every attempt.
        LakeError: The disk is full or read-only.
    """
    with writing(layer.targets[-1].uri):
        return guarded(lambda: _refresh(layer, rebuild, workers))


def _refresh(layer: Layer, rebuild: bool, workers: Workers | None) -> RefreshReport:
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
    if workers and len(shares := _shares(layer, source, stretches, workers.number)) > 1:
        # Whoever is killed after this has consumed no version: the next one goes through all.
        write_difference(source, targets, [], shares[0].mark, range(len(targets)))
        counts, rest = sum(workers.do(shares), Counter[str]()), list[Computed]()
        targets, versions = _still_ours(layer, source, shares[0].mark), [UNFINISHED] * len(targets)
    else:
        counts, rest = _compute(layer, source, stretches, partial(write_difference, source, targets, mark=UNFINISHED))
        versions = [UNFINISHED] * len(targets) if counts else versions
    # The last target is marked at each version, the others when they change: those have missed nothing since.
    must_mark = {number for number, version in enumerate(versions) if version is None or version < 0}
    if versions[-1] != latest:
        must_mark.add(len(versions) - 1)
    counts += write_difference(source, targets, rest, latest, must_mark)
    done, version = {fate: counts[fate] for fate in FATES}, targets[-1].opened.version()
    return RefreshReport(name, version, latest, **done, rebuilt=why, seconds=time.perf_counter() - began)


def refresh_share(share: Share) -> Counter[str]:
    """Do a part of a refresh, also in another process; see `refresh`.

    Returns:
        How many rows had which fate.

    Raises:
        ConflictError: Another refresh has begun meanwhile; or others won at every attempt.
    """
    layer = share.layer
    source = Snapshot(layer.source, layer.source.at(share.version), layer.by, layer.time)

    def write(parts: Sequence[Computed]) -> Counter[str]:
        # Each commit carries the mark, so of two that meet one is refused, and looks again at what is there.
        return guarded(lambda: write_difference(source, _still_ours(layer, source, share.mark), parts, share.mark))

    counts, rest = _compute(layer, source, share.stretches, write)
    return counts + write(rest)


def _shares(layer: Layer, source: Snapshot, stretches: pl.DataFrame, number: int) -> list[Share]:
    """Deal whole series, about as many rows to each share; a single one if that is not worth it."""
    rows = source.files_near(stretches).group_by(layer.by).agg(pl.col("rows").sum())
    if (total := rows["rows"].sum()) < DEALT_ROWS:
        return []
    turn = ((pl.col("rows").cum_sum() - 1) * min(number, rows.height) // total).alias("_turn")
    turns = rows.sort(layer.by).select(*layer.by, turn)
    dealt = stretches.join(turns, on=layer.by, how="left", maintain_order="left")
    parts = dealt.with_columns(pl.col("_turn").fill_null(0)).partition_by("_turn", include_key=False)
    version, mark = source.opened.version(), UNFINISHED - 1 - random.getrandbits(62)  # nobody else's
    labels = [f"{layer.targets[-1].name}, part {n} of {len(parts)}" for n in range(1, len(parts) + 1)]
    return [Share(layer, version, part, mark, label) for part, label in zip(parts, labels, strict=True)]


def _still_ours(layer: Layer, source: Snapshot, mark: int) -> list[Snapshot]:
    """The targets as they are now, if no other refresh has begun since they were marked."""
    targets = [Snapshot(table, table.open(), layer.by, table.key[-1]) for table in layer.targets]
    if any(_consumed(target, source) != mark for target in targets):
        raise ConflictError(f"another refresh of {layer.targets[-1].name} came between; run again")
    return targets


def _compute(
    layer: Layer, source: Snapshot, stretches: pl.DataFrame, write: Callable[[Sequence[Computed]], Counter[str]]
) -> tuple[Counter[str], list[Computed]]:
    """Compute stretches, and write what is too much to hold; gives what became of that, and the rest."""
    counts, parts = Counter[str](), list[Computed]()
    with ThreadPoolExecutor(WORKERS, "refresh") as pool:
        for part in _in_turn(pool, lambda some: layer.compute(source, some), batches(stretches, source)):
            if sum(rows.height for _, frames in parts for rows in frames) >= PENDING_ROWS:
                counts += write(parts)
                counts["writes"] += 1  # so that there are counts, also where no row of the last target changed
                parts.clear()
            parts.append(part)
    return counts, parts


def _consumed(target: Snapshot, source: Snapshot) -> int | None:
    """The version of the source that a table was last made from; None the first time, else negative: why it is not."""
    return target.opened.transaction_version(target.table.consumes(source.opened))


def _reason_to_rebuild(versions: Sequence[int | None]) -> str:
    """Why everything has to be computed; empty if each target is as the layer left it."""
    if any(version is not None and version <= UNFINISHED for version in versions):
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
