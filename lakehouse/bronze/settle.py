"""Law 2, newest statement wins: what a batch of statements changes in a table, decided before anything is written.

A statement is newer by its file's declared rank, then by when it was stated, by path, and by line.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze.plan import ranks
from lakehouse.dataset import Dataset
from lakehouse.delta import CUT, Changes, Span, file_stats, read_spans

Partition = tuple[str, ...]
Stated = tuple[int, bool, pl.DataFrame]  # number of the file, a newer one's is higher; whether it runs backwards; rows
SPARSE = 16  # rows in the files for each statement
MAX_SPANS = 64  # of one partition; more are joined with their neighbours
WHERE = ("_file", "_line", "_sha256", "_modified_at")  # it was stated


@dataclass(slots=True)
class Settled:
    """What becomes of a batch.

    Attributes:
        inserted: Rows with new keys, sorted by partition and time.
        updated: Rows with known keys and new values.
        deleted: Rows that were taken back, and that no other statement replaces.
        touched: The partitions in which it lies.
        confirming: Files of which a newer statement agreed with a row, by number. That writes nothing, yet an older
            statement that comes before the ledger knows of it must not miss it: so it is committed, without a row.
        counts: What became of each statement: (file number, outcome) → rows.
        pairs: (path, other path) → bars that both state, and of how many of them they say different things.
        contested: Where statements differ: columns of the key, `values` and `WHERE`, of the statement that lost, and
            the same with `_won` of the one that stands.
        standing: The key, and those with `_won`, of all that stands where rows were taken back.
    """

    inserted: list[pl.DataFrame] = field(default_factory=list)
    updated: list[pl.DataFrame] = field(default_factory=list)
    deleted: list[pl.DataFrame] = field(default_factory=list)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    touched: list[Partition] = field(default_factory=list)
    confirming: set[int] = field(default_factory=set)
    pairs: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    contested: list[pl.DataFrame] = field(default_factory=list)
    standing: list[pl.DataFrame] = field(default_factory=list)

    def changes(self, dataset: Dataset) -> Changes:
        """What is to be written to the table."""
        frames = self.inserted, self.updated, self.deleted
        inserted, updated, deleted = (pl.concat([pl.DataFrame(schema=dataset.schema), *some]) for some in frames)
        return Changes(inserted, updated, deleted)

    def count(self, outcome: str, statements: pl.DataFrame) -> None:
        """Enter statements of one outcome."""
        for rows, number in statements["_file_number"].rle().struct.unnest().iter_rows():
            self.counts[number, outcome] += rows

    def take(self, judged: pl.DataFrame, dataset: Dataset, gone: pl.DataFrame | None) -> None:
        """Take in statements that were held against rows of the table."""
        self.confirming |= set(judged.filter(~pl.col("_same"), _outcome="unchanged")["_file_number"].unique())
        self.meet(judged.filter(pl.col("_file_won").is_not_null()), dataset)
        for (outcome,), frame in judged.partition_by("_outcome", as_dict=True).items():
            self.count(str(outcome), frame)
            rows = frame.select(dataset.schema.keys())
            if outcome == "updated":
                self.updated.append(rows)
            elif outcome == "inserted":
                if gone is not None:  # what comes in the place of a row that was taken back updates it
                    self.updated.append(rows.join(gone, on=dataset.key, how="semi"))
                    rows = rows.join(gone, on=dataset.key, how="anti", maintain_order="left")
                self.inserted.append(rows)

    def judge(self, losers: pl.DataFrame, standing: pl.DataFrame, dataset: Dataset) -> None:
        """Tell those of a batch that lost and agreed with what stands from those that said something else."""
        near = standing.filter(pl.col(dataset.time).is_in(losers[dataset.time].implode()))  # joining all takes its time
        both = losers.join(near, on=dataset.key, how="left", maintain_order="left")
        both = both.with_columns(_differs=differs(dataset), _lost=pl.lit(True))
        self.count("overruled", both.filter("_differs"))
        self.count("superseded", both.filter(~pl.col("_differs")))
        self.meet(both, dataset)

    def meet(self, both: pl.DataFrame, dataset: Dataset) -> None:
        """Count how often files agree, and keep what they say where they do not.

        `both` has statements and, with `_won`, what they are held against; `_differs`; and `_lost`, whether they lost.
        """
        counts = both.group_by("_file", "_file_won").agg(pl.len(), pl.col("_differs").sum())
        for path, other, bars, differ in counts.filter(pl.col("_file") != pl.col("_file_won")).iter_rows():
            known = self.pairs.get((path, other), (0, 0))
            self.pairs[path, other] = (known[0] + bars, known[1] + differ)
        columns = [*dataset.values, *WHERE]
        for lost, here, there in ((True, "", "_won"), (False, "_won", "")):
            frame = both.filter("_differs", pl.col("_lost") == lost)
            if frame.height:
                mine = [pl.col(f"{name}{here}").alias(name) for name in columns]
                won = [pl.col(f"{name}{there}").alias(f"{name}_won") for name in columns]
                self.contested.append(frame.select(*dataset.key, *mine, *won))


def settle(
    base: DeltaTable,
    statements: Mapping[Partition, Sequence[Stated]],
    dataset: Dataset,
    confirmed_by_newer: Callable[[pl.DataFrame], pl.DataFrame],
    rank: Callable[[str], int] = lambda path: 0,
    taken_back: Mapping[Partition, pl.DataFrame] = MappingProxyType({}),
) -> Settled:
    """Decide what each statement does to the table, and give the account of all. Nothing is written.

    `statements` are, by partition, rows in the table's columns; `taken_back`, rows of the table that count for nothing
    any more. `confirmed_by_newer` is given rows that would change the table, and returns the keys of those that a newer
    file, already loaded, states too: their row shows an older statement only because the newer one agreed with it.
    """
    settled = Settled(touched=sorted({*statements, *taken_back}))
    stats, time = file_stats(base, dataset.partition), dataset.time
    for partition in settled.touched:
        where, gone = dict(zip(dataset.partition, partition, strict=True)), taken_back.get(partition)
        here = stats.filter([pl.col(name) == value for name, value in where.items()])
        if stated := [one for one in statements.get(partition, []) if one[2].height]:
            winners, losers = _newest(joined(stated, time), dataset)
            if spans := _overlaps(here, winners[time], where, time):
                rows, near = read_spans(base, spans), here.filter(_meet(winners[time], time))
                if SPARSE * winners.height < near["num_records"].sum():  # else to look takes longer than to read
                    rows = rows.filter(pl.col(time).is_in(winners[time].implode()))
                before = rows.select(*dataset.key, *dataset.values, *WHERE).collect()
                if gone is not None:
                    before = before.join(gone, on=dataset.key, how="anti")
                judged = _compare(winners, before, dataset, rank, confirmed_by_newer)
                settled.take(judged, dataset, gone)
                standing = _standing(judged, dataset)
            else:  # as in a first load: there is nothing to be held against
                settled.count("inserted", winners)
                settled.inserted.append(winners[[*dataset.schema]])  # no query, as `select` is: it copies every row
                standing = _as_won(winners, dataset) if losers.height or gone is not None else losers
            if losers.height:
                settled.judge(losers, standing, dataset)
            if gone is not None:
                settled.standing.append(standing)
                gone = gone.join(winners, on=dataset.key, how="anti")
        if gone is not None and gone.height:  # what was taken back, and nobody else states, goes
            settled.deleted.append(gone)
    return settled


def joined(stated: Sequence[Stated], time: str) -> pl.DataFrame:
    """What is stated of one partition, with `_file_number` and `_line_order`: of two lines the newer has a higher one.

    The order is that of the first times: of all, where no two files overlap.
    """
    stated = sorted(stated, key=lambda one: one[2][time].cast(pl.Int64)[0])
    # In the pieces of the rows, and without a query: of a whole batch either copies every column.
    files = [pl.Series("_file_number", [number], pl.Int64).new_from_index(0, rows.height) for number, _, rows in stated]
    order = pl.concat(-rows["_line"] if backwards else rows["_line"] for _, backwards, rows in stated)
    return pl.concat(rows for *_, rows in stated).hstack([pl.concat(files), order.alias("_line_order")])


def _newest(rows: pl.DataFrame, dataset: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The newest statement of each key, sorted by time; and the others."""
    rest, time = [name for name in dataset.key if name not in dataset.partition], dataset.time
    if rest == [time] and (rows[time].diff(null_behavior="drop") > dt.timedelta(0)).all():
        return rows, rows.clear()
    rows = rows.sort(*rest, "_file_number", "_line_order")
    last = pl.struct(rest).rle_id()
    last = (last != last.shift(-1)).fill_null(True)
    return rows.filter(last).sort(time), rows.filter(~last)


def _as_won(rows: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    return rows.select(*dataset.key, pl.col(*dataset.values, *WHERE).name.suffix("_won"))


def differs(dataset: Dataset) -> pl.Expr:
    """Whether values are other ones than those with `_won`."""
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_won")) for name in dataset.values)


def _meet(times: pl.Series, time: str) -> pl.Expr:
    """Whether a file, as the log knows it, reaches into times, which are sorted."""
    return pl.all_horizontal(pl.col(f"min.{time}") <= times[-1], pl.col(f"max.{time}") + CUT >= times[0])


def _overlaps(stats: pl.DataFrame, times: pl.Series, where: Mapping[str, str], time: str) -> list[Span]:
    """Where the log's own statistics say that the table may have these times already."""
    if stats.is_empty():
        return []
    low, high = stats[f"min.{time}"], stats[f"max.{time}"] + CUT
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
    before: pl.DataFrame,
    dataset: Dataset,
    rank: Callable[[str], int],
    confirmed_by_newer: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """Hold statements against the rows that the table has in the same places, and tell the outcome of each."""
    both = winners.join(_as_won(before, dataset), on=dataset.key, how="left", maintain_order="left")
    its_rank, rank_won = ranks(both, "_file", rank), ranks(both, "_file_won", rank)
    at, at_won = pl.col("_modified_at"), pl.col("_modified_at_won")
    same_file = (pl.col("_file") == pl.col("_file_won")) & (at == at_won)
    sign = pl.col("_line_order").sign()  # -1 in a file that runs backwards
    newer = (
        pl.when(same_file).then(pl.col("_line") * sign >= pl.col("_line_won") * sign)
        .when(its_rank != rank_won).then(its_rank > rank_won)
        .when(at == at_won).then(pl.col("_file") > pl.col("_file_won"))
        .otherwise(at > at_won)
    )  # fmt: skip
    # A newer statement that agrees leaves the row as it is, and so the row names another one of its values (law 9: a
    # statement that stands, not always the winner). To follow the winner would rewrite the Parquet files of a month
    # whenever that month is downloaded once more with not a value changed, and make a version of it (laws 2 to 4).
    outcome = (
        pl.when(pl.col("_file_won").is_null()).then(pl.lit("inserted"))
        .when(~newer, "_differs").then(pl.lit("overruled"))
        .when(~newer).then(pl.lit("superseded"))
        .when("_differs").then(pl.lit("updated"))
        .otherwise(pl.lit("unchanged"))
    )  # fmt: skip
    judged = both.with_columns(_differs=differs(dataset)).with_columns(
        _outcome=outcome, _same=same_file & (pl.col("_line") == pl.col("_line_won"))
    )
    if (changes := judged.filter(pl.col("_outcome") == "updated")).height:
        late = confirmed_by_newer(changes).select(dataset.key).unique().with_columns(_late=pl.lit("overruled"))
        judged = judged.join(late, on=dataset.key, how="left", maintain_order="left")
        judged = judged.with_columns(_outcome=pl.coalesce("_late", "_outcome"))
    return judged.with_columns(_lost=pl.col("_outcome") == "overruled")


def _standing(judged: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """What stands where statements were judged, with `_won`."""
    stays, names = pl.col("_outcome").is_in(["overruled", "superseded", "unchanged"]), [*dataset.values, *WHERE]
    won = [pl.when(stays).then(f"{name}_won").otherwise(name).alias(f"{name}_won") for name in names]
    return judged.select(*dataset.key, *won)
