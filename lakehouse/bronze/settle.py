"""Law 2, newest statement wins: what a batch of statements changes in a table, decided before anything is written."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from deltalake import DeltaTable

from lakehouse.dataset import Dataset
from lakehouse.delta import Span, file_stats, read_spans

Partition = tuple[str, ...]
MAX_SPANS = 64  # of one partition; more are joined with their neighbours


@dataclass(slots=True)
class Settled:
    """What becomes of a batch.

    Attributes:
        inserted: Rows with new keys, sorted by partition and time.
        updated: Rows with known keys and new values.
        spans: Where the updated rows lie.
        confirming: Files of which a newer statement agreed with a row, by number. That writes nothing, yet an older
            statement that comes before the ledger knows of it must not miss it: so it is committed, without a row.
        counts: What became of each statement: (file number, outcome) → rows.
    """

    inserted: list[pl.DataFrame] = field(default_factory=list)
    updated: list[pl.DataFrame] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    confirming: set[int] = field(default_factory=set)

    def count(self, outcome: str, statements: pl.DataFrame) -> None:
        """Add statements of one outcome."""
        for rows, number in statements["_file_number"].rle().struct.unnest().iter_rows():
            self.counts[number, outcome] += rows


def settle(
    base: DeltaTable,
    statements: Mapping[Partition, Sequence[pl.DataFrame]],
    dataset: Dataset,
    confirmed_by_newer: Callable[[pl.DataFrame], pl.DataFrame],
) -> Settled:
    """Decide what each statement does to the table. Nothing is written.

    Args:
        base: The opened table.
        statements: By partition, the table's columns and `_file_number` (Int64, newer files have a higher one) and
            `_line_order` (Int64, the newer of a file's lines higher).
        dataset: Whose key, time and values.
        confirmed_by_newer: Given rows that would change the table, returns the keys of those that a newer file, already
            loaded, states too: their row shows an older statement only because the newer one agreed with it.

    Returns:
        The rows to write and the account of all statements.
    """
    settled = Settled()
    stats = file_stats(base, dataset.partition)
    for partition, frames in sorted(statements.items()):
        winners = _newest(frames, dataset, settled)
        where = dict(zip(dataset.partition, partition, strict=True))
        here = stats.filter([pl.col(name) == value for name, value in where.items()])
        spans = _overlaps(here, winners[dataset.time], where, dataset.time)
        if not spans:
            settled.count("inserted", winners)
            settled.inserted.append(winners.select(dataset.schema.keys()))
            continue
        before = read_spans(base, spans).select(*dataset.key, *dataset.values, "_file", "_line", "_modified_at")
        _compare(winners, before.collect(), spans, dataset, settled, confirmed_by_newer)
    return settled


def _newest(frames: Sequence[pl.DataFrame], dataset: Dataset, settled: Settled) -> pl.DataFrame:
    """Keep the newest statement of each key, sorted by time; the others are superseded."""
    rest = [name for name in dataset.key if name not in dataset.partition]
    time = dataset.time
    rows = pl.concat(sorted((f for f in frames if f.height), key=lambda f: f[time][0]))
    if rest == [time] and (rows[time].diff(null_behavior="drop") > dt.timedelta(0)).all():
        return rows
    rows = rows.sort(*rest, "_file_number", "_line_order")
    lost = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in rest).fill_null(False)
    rows = rows.with_columns(_lost=lost)
    settled.count("superseded", rows.filter("_lost"))
    return rows.filter(~pl.col("_lost")).drop("_lost").sort(time)


def _overlaps(stats: pl.DataFrame, times: pl.Series, where: Mapping[str, str], time: str) -> list[Span]:
    """Where the log's own statistics say that the table may have these times already."""
    if stats.is_empty():
        return []
    low, high = stats[f"min.{time}"], stats[f"max.{time}"] + dt.timedelta(microseconds=999)  # cut in the log
    first = times.search_sorted(low, side="left").to_list()
    last = times.search_sorted(high, side="right").to_list()
    ranges: list[list[int]] = []
    for start, end in sorted((a, b) for a, b in zip(first, last, strict=True) if a < b):
        if ranges and (start < ranges[-1][1] or len(ranges) == MAX_SPANS):
            ranges[-1][1] = max(ranges[-1][1], end)
        else:
            ranges.append([start, end])
    return [Span(where, time, times[start], times[end - 1]) for start, end in ranges]


def _compare(
    winners: pl.DataFrame,
    old: pl.DataFrame,
    spans: Sequence[Span],
    dataset: Dataset,
    settled: Settled,
    confirmed_by_newer: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    """Hold statements against the rows that the table has in the same places."""
    before = old.select(*dataset.key, pl.exclude(dataset.key).name.suffix("_old"))
    both = winners.join(before, on=dataset.key, how="left", maintain_order="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in dataset.values)
    same_file = (pl.col("_file") == pl.col("_file_old")) & (pl.col("_modified_at") == pl.col("_modified_at_old"))
    same_line = pl.col("_line") == pl.col("_line_old")
    sign = pl.col("_line_order").sign()  # -1 in a file that runs backwards
    newer = (
        pl.when(same_file)
        .then(pl.col("_line") * sign >= pl.col("_line_old") * sign)
        .when(pl.col("_modified_at") == pl.col("_modified_at_old"))
        .then(pl.col("_file") > pl.col("_file_old"))
        .otherwise(pl.col("_modified_at") > pl.col("_modified_at_old"))
    )
    outcome = (
        pl.when(pl.col("_file_old").is_null()).then(pl.lit("inserted"))
        .when(~newer).then(pl.lit("superseded"))
        .when(differs).then(pl.lit("updated"))
        .otherwise(pl.lit("unchanged"))
    )  # fmt: skip
    judged = both.with_columns(_outcome=outcome)
    changes = judged.filter(pl.col("_outcome") == "updated")
    if changes.height:
        late = confirmed_by_newer(changes).select(dataset.key).unique().with_columns(_late=pl.lit("superseded"))
        judged = judged.join(late, on=dataset.key, how="left", maintain_order="left")
        judged = judged.with_columns(_outcome=pl.coalesce("_late", "_outcome"))
    settled.confirming |= set(judged.filter(~(same_file & same_line), _outcome="unchanged")["_file_number"].unique())
    for (name,), frame in judged.partition_by("_outcome", as_dict=True).items():
        settled.count(str(name), frame)
        rows = frame.select(dataset.schema.keys())
        if name == "inserted":
            settled.inserted.append(rows)
        elif name == "updated":
            settled.updated.append(rows)
            settled.spans += _narrowed(spans, rows[dataset.time])


def _narrowed(spans: Sequence[Span], times: pl.Series) -> list[Span]:
    """Shrink spans to what really changes, so that a MERGE opens no other file."""
    inside = [(span, times.filter(times.is_between(span.low, span.high))) for span in spans]
    return [Span(s.partition, s.column, hit.min(), hit.max()) for s, hit in inside if hit.len()]
