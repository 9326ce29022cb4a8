"""Two statements of one bar: what files say that the bar does not show, and files that contradict each other.

bronze/conflicts is written before the candles: what a row said is gone from the table once it is updated. If a run is
killed between the two, the next one finds the same and writes nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze.account import MAX_CONFLICTS, Account
from lakehouse.bronze.plan import ranks
from lakehouse.bronze.settle import WHERE, Settled, differs
from lakehouse.dataset import Dataset
from lakehouse.delta import Changes, Span, commit, read_spans
from lakehouse.lake import Lake

KEPT = 1_000  # bars of a series and month; two whole files that contradict each other would fill the table
MANY = 30  # bars on which two files differ that are more than a correction, however long the files are
SHARES = "that it shares with {} are others there"


def write_settled(
    lake: Lake,
    base: DeltaTable,
    settled: Settled,
    rank: Callable[[str], int],
    notes: Mapping[str, str | int],
    taken_back: Collection[str] = (),
    spans: Sequence[Span] = (),
    *,
    agreed: str = "",
    even_empty: bool = False,
) -> int:
    """Write what has been settled on a version of the candles: conflicts, then candles; returns their new version.

    The statements of paths that are `taken_back`, in `spans`, count for nothing any more. `agreed` names for the
    candles' log the files that agreed with rows, which show nothing of it.
    """
    _keep_conflicts(lake, settled, rank, {**notes, "bronze": base.version()}, taken_back, spans)
    guards = [lake.bronze.guard(*partition) for partition in settled.touched]
    notes = {**notes, "agreed": agreed} if agreed else notes
    changes, even_empty = settled.changes(lake.dataset), even_empty or bool(agreed)
    return commit(base, lake.dataset.key, changes, guards=guards, notes=notes, even_empty=even_empty)


def _keep_conflicts(
    lake: Lake,
    settled: Settled,
    rank: Callable[[str], int],
    notes: Mapping[str, str | int],
    taken_back: Collection[str],
    spans: Sequence[Span],
) -> None:
    table, dataset = lake.conflicts, lake.dataset
    if not settled.contested and not (spans and table.exists()):
        return
    base = table.open_or_create()
    key, time, partition = list(dataset.key), dataset.time, list(dataset.partition)
    columns = [*dataset.values, *WHERE]
    empty = pl.DataFrame(schema=dataset.schema).select(*key, *columns)
    empty = empty.with_columns(pl.col(columns).name.suffix("_won"))
    new = pl.concat([empty, *settled.contested])
    stands = pl.concat([new, *settled.standing], how="diagonal").select(*key, *(f"{name}_won" for name in columns))
    stands = stands.unique(key, keep="last")
    month = pl.col(time).dt.truncate("1mo")  # whole months are read, to know which bars of them are kept
    near = new.group_by(partition).agg(low=month.min(), high=month.max().dt.offset_by("1mo"))
    met = [Span({n: row[n] for n in partition}, time, row["low"], row["high"]) for row in near.iter_rows(named=True)]
    known = read_spans(base, [*met, *spans]).select(table.schema.keys()).collect()
    kept = known.filter(~pl.col("_file").is_in(list(taken_back)))
    # A set of values stands here once, under the statement by which it came first; so do those of candles.
    said = pl.concat([kept, new.sort("_modified_at", "_file", "_line", descending=True)], how="diagonal")
    said = said.select(*key, *columns).unique([*key, *dataset.values], keep="first", maintain_order=True)
    both = said.join(stands, on=key, maintain_order="left")
    judged = both.filter(differs(dataset)).with_columns(why=_why(both, rank))
    untouched = kept.join(stands, on=key, how="anti")
    wanted = pl.concat([untouched, judged.select(table.schema.keys())])
    wanted = wanted.filter(pl.col(time).rank("dense").over(*partition, month) <= KEPT)
    changed = wanted.join(known, on=table.key, how="semi").join(
        known, on=[*table.key, "_file_won", "_line_won", "why"], how="anti"
    )
    inserted, deleted = (a.join(b, on=table.key, how="anti") for a, b in ((wanted, known), (known, wanted)))
    commit(base, table.key, Changes(inserted, changed, deleted), guards=[table.guard()], notes=notes)
    table.tidy(base, inserted)


def _why(both: pl.DataFrame, rank: Callable[[str], int]) -> pl.Expr:
    """Why a statement stands, of those that `both` holds against each other."""
    file, won = (ranks(both, name, rank) for name in ("_file", "_file_won"))
    at, at_won = pl.col("_modified_at"), pl.col("_modified_at_won")
    own = pl.col("_file") == pl.col("_file_won")
    return (
        pl.when(own, at == at_won).then(pl.lit("later line"))
        .when(own).then(pl.lit("newer revision"))
        .when(file < won).then(pl.lit("preferred source"))
        .when(file == won, at < at_won).then(pl.lit("newer file"))
        .when(file == won, at == at_won, pl.col("_file") < pl.col("_file_won")).then(pl.lit("later path"))
        .otherwise(pl.lit("confirmed by a newer file"))
    )  # fmt: skip


def judge_pairs(
    accounts: dict[int, Account],
    settled: Settled,
    dataset: Dataset,
    rank: Callable[[str], int],
    known_bars: Callable[[str], int],
) -> None:
    """Note at each file where another path says other things of the same bars.

    A new revision of a path, and a correction of a few bars, are no contradiction; nor is what sources.toml has ranked,
    for there the user has decided. Two files that differ on most of the bars which they share, and not on a few, are
    most likely two things under one name. `known_bars` tells how many bars a path of the ledger states.
    """
    examples = pl.concat(settled.contested) if settled.contested else pl.DataFrame()
    by_path = {account.file.path: account for account in accounts.values()}
    told = dict[str, tuple[str, int, int, bool]]()
    for (path, other), counts in sorted(settled.pairs.items(), key=lambda pair: (pair[1][1], pair[0])):
        account = by_path[path]
        known = account.pairs.get(other, (0, 0))
        bars, differ = account.pairs[other] = (known[0] + counts[0], known[1] + counts[1])
        if not differ or rank(path) != rank(other):
            continue
        share = differ / bars
        many = differ >= MANY or 2 * bars >= max(account.counts["read"], known_bars(other))
        loud = many and share > MAX_CONFLICTS
        before = account.contradicts or 0.0
        if many:
            account.contradicts = max(before, share)
        if loud or before <= MAX_CONFLICTS:  # of several others the note names the worst
            told[path] = other, bars, differ, loud
    for path, (other, bars, differ, loud) in told.items():
        by_path[path].contradiction = _tell((path, other), (bars, differ), examples, dataset, loud=loud)


def contradicted(note: str) -> str:
    """The other path of a contradiction, from the note that tells of it."""
    before, after = SHARES.split("{}")
    return note.partition(before)[2].partition(after)[0]


def _tell(
    paths: tuple[str, str], counts: tuple[int, int], examples: pl.DataFrame, dataset: Dataset, *, loud: bool
) -> str:
    (bars, differ), time = counts, dataset.time
    pair = pl.col("_file").is_in(paths) & pl.col("_file_won").is_in(paths) & (pl.col("_file") != pl.col("_file_won"))
    shown = examples.filter(pair).sort(time, "_file", "_line", "_line_won").head(1).to_dicts()
    text = f"{differ:,} of the {bars:,} bars {SHARES.format(paths[1])} ({differ / bars:.1%})"
    if shown:
        row = shown[0]
        names = [name for name in dataset.values if row[name] != row[f"{name}_won"]][:3]
        said, won = (" ".join(f"{n} {row[n + end]}" for n in names) for end in ("", "_won"))
        text += f": {row[time]:%Y-%m-%d %H:%M} has {won} by line {row['_line_won']} of {row['_file_won']}, which won, "
        text += f"and {said} by line {row['_line']} of {row['_file']}"
    if loud:
        return (
            f"{text}. Most likely they are two things under one name: give each its own `market` in raw/sources.toml; "
            "if they are one thing, `prefer` the better one there"
        )
    return f"{text}. The files' times decided; if they are not to be trusted, `prefer` one in raw/sources.toml"
