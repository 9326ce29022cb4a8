"""Take statements back, or weigh them anew: bronze is what the files that stand say, whatever came in between.

The ledger is told first (`withdrawing`), then the candles change, then the ledger is told that it is done. So a run
that is killed leaves word of what it was about, and the next one ends it. A writer that decided on a batch while this
began meets the mark when it enters its files, and decides again; see `ingest.write_batch`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze.account import IngestReport, new_run_id, report_of
from lakehouse.bronze.batch import read_batches
from lakehouse.bronze.conflicts import keep_conflicts
from lakehouse.bronze.plan import Pending, Plan
from lakehouse.bronze.settle import Partition, settle
from lakehouse.delta import Changes, Span, commit, guarded, read_spans, writing
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.raw import list_files, list_members, split_member
from lakehouse.recognise import Declared, declared_for, load_sources

WITHDRAWALS = "bronze/withdrawals"  # the application id that each beginning of a withdrawal leaves in the ledger
TO_BE_STATED_ANEW = '{"taken back": true}'  # instead of a declaration: what sources.toml says now is another one
STANDS = ("loaded", "empty", "withdrawing")
GROUP_BYTES = 64 * 2**20


def withdraw(lake: Lake, pattern: str) -> IngestReport:
    """Take back all that some files stated, also if they are gone from raw/; the files themselves stay where they are.

    Bars that other files state too go back to what those say, as far as those are still in raw/; the others go. The
    files come back when they change, when sources.toml says something else of them, or with `ingest(lake, again=…)`.

    Args:
        lake: The lake.
        pattern: Of paths below raw/; `*` stands for any letters, slashes too.

    Returns:
        The account: a row for each revision that was taken back, with status "withdrawn".

    Raises:
        InputError: No file that stands is like the pattern.
        LakeError: The lake cannot be written.
        ConflictError: Other writers won at every attempt.
    """
    began, run_id, sources = time.perf_counter(), new_run_id(), load_sources(lake.raw)
    rows = read_ledger(lake, STANDS)
    paths = sorted({path for path in rows["path"] if fnmatchcase(path, pattern)})
    if not paths:
        raise InputError(f"withdraw: no file that stands in the ledger is like '{pattern}'; see `lakehouse status`")
    with writing(lake.root):
        begin(lake, {path: declared_for(path, sources).as_text(path) for path in paths}, run_id)
        finish(lake, sources, run_id)
    taken = read_ledger(lake, ["withdrawn"]).filter(pl.col("path").is_in(paths), pl.col("run_id") == run_id)
    return report_of(taken.to_dicts(), 0, run_id, time.perf_counter() - began)


def read_ledger(lake: Lake, statuses: Collection[str]) -> pl.DataFrame:
    """Read the revisions of some statuses."""
    if not lake.ledger.exists():
        return pl.DataFrame(schema=lake.ledger.schema)
    return lake.ledger.scan().filter(pl.col("status").is_in(list(statuses))).collect()


def begin(lake: Lake, declared: Mapping[str, str], run_id: str) -> None:
    """Enter into the ledger that files are being taken back.

    Args:
        lake: The lake.
        declared: Path → what is to be kept as its declaration; another one than sources.toml's brings it back.
        run_id: The run's name.
    """

    def mark(rows: pl.DataFrame) -> pl.DataFrame:
        known = pl.col("path").replace_strict(dict(declared), default=None, return_dtype=pl.String)
        stands = rows.filter(pl.col("path").is_in(list(declared)), pl.col("status").is_in(STANDS))
        return stands.with_columns(status=pl.lit("withdrawing"), declared=known, run_id=pl.lit(run_id))

    _change_ledger(lake, mark, run_id, WITHDRAWALS)


def finish(lake: Lake, sources: Sequence[Declared], run_id: str) -> None:
    """Do what the ledger says has been begun.

    Args:
        lake: The lake.
        sources: What sources.toml says.
        run_id: The run's name.
    """
    begun = read_ledger(lake, ["withdrawing"])
    for group in _groups(begun):
        version = guarded(partial(_settle_anew, lake, group, sources, run_id, gone=True))

        def mark(rows: pl.DataFrame, group: pl.DataFrame = group, version: int = version) -> pl.DataFrame:
            done = rows.join(group, on=lake.ledger.key, how="semi").filter(status="withdrawing")
            return done.with_columns(status=pl.lit("withdrawn"), withdrawn_version=pl.lit(version))

        _change_ledger(lake, mark, run_id)


def rerank(lake: Lake, paths: Collection[str], sources: Sequence[Declared], run_id: str) -> None:
    """Weigh anew what some files state, after sources.toml has given them another rank.

    Args:
        lake: The lake.
        paths: Which.
        sources: What it says.
        run_id: The run's name.
    """
    ranked = read_ledger(lake, ["loaded"]).filter(pl.col("path").is_in(list(paths)))
    for group in _groups(ranked):
        guarded(partial(_settle_anew, lake, group, sources, run_id, gone=False))
        texts = {path: declared_for(path, sources).as_text(path) for path in group["path"].unique()}

        def mark(rows: pl.DataFrame, texts: dict[str, str] = texts) -> pl.DataFrame:
            known = pl.col("path").replace_strict(texts, default=None, return_dtype=pl.String)
            return rows.filter(pl.col("path").is_in(list(texts)), status="loaded").with_columns(declared=known)

        _change_ledger(lake, mark, run_id)


def _groups(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut revisions into groups of some series and a byte budget; all revisions of a path stay together."""
    order = rows.group_by("path").agg(
        pl.col("size").sum(), *(pl.col(n).min() for n in ("market", "symbol", "interval", "first_open_time"))
    )
    order = order.sort("market", "interval", "symbol", "first_open_time", "path")
    numbered = order.select("path", _group=(pl.col("size").cum_sum() - 1) // GROUP_BYTES)
    for part in numbered.partition_by("_group", maintain_order=True):
        yield rows.join(part.select("path"), on="path", how="semi")


def _settle_anew(lake: Lake, group: pl.DataFrame, sources: Sequence[Declared], run_id: str, *, gone: bool) -> int:
    """Let the files that stand beside those of a group say once more what they say where these lie."""
    table, dataset = lake.bronze, lake.dataset
    plan = Plan((), 0, tuple(sources))
    base = table.open_or_create()
    paths = group["path"].unique().to_list() if gone else []
    low, high = group["first_open_time"].min(), group["last_open_time"].max()
    if low is None:
        return base.version()
    span = Span({}, dataset.time, low, high)
    shown = read_spans(base, [span]).filter(pl.col("_file").is_in(paths)).select(table.schema.keys()).collect()
    taken = {tuple(map(str, key)): rows for key, rows in shown.partition_by(dataset.partition, as_dict=True).items()}
    partitions = set(taken) | {tuple(row) for row in group.select(dataset.partition).drop_nulls().unique().iter_rows()}
    # A file of several series does not say in the ledger which: all that lie there may be its.
    several = group.filter(pl.any_horizontal(pl.col(dataset.partition).is_null())).height > 0
    statements = dict[Partition, list[pl.DataFrame]]()
    for partition, frame in _read_standing(lake, plan, group, paths):
        inside = frame.filter(pl.col(dataset.time).is_between(low, high))
        if inside.height and (several or partition in partitions):
            statements.setdefault(partition, []).append(inside)
    touched = sorted({*statements, *taken})
    empty = pl.DataFrame(schema=table.schema)
    back = {partition: taken.get(partition, empty) for partition in touched} if gone else {}
    settled = settle(base, statements, dataset, lambda rows: rows.clear(), plan.rank, back)
    notes: dict[str, str | int] = {"run": run_id, "files": group["path"].n_unique()}
    notes["operation"] = "WITHDRAW" if gone else "PREFER"
    spans = [Span(dict(zip(dataset.partition, part, strict=True)), dataset.time, low, high) for part in touched]
    keep_conflicts(lake, settled, plan.rank, {**notes, "bronze": base.version()}, paths, spans)
    inserted, updated, deleted = (pl.concat([empty, *f]) for f in (settled.inserted, settled.updated, settled.deleted))
    guards = [table.guard(*partition) for partition in touched]
    changes = Changes(inserted, updated, deleted, settled.spans)
    return commit(base, table.key, changes, guards=guards, notes=notes, even_empty=True)


def _read_standing(
    lake: Lake, plan: Plan, group: pl.DataFrame, but: Collection[str]
) -> Iterator[tuple[Partition, pl.DataFrame]]:
    """What the files say that stand, are in raw/ as they were, and may state what those of a group do."""
    low, high = group["first_open_time"].min(), group["last_open_time"].max()
    series = group.select("market", "interval").unique()
    known = read_ledger(lake, ["loaded"]).filter(~pl.col("path").is_in(list(but)))
    near = known.filter(pl.col("first_open_time") <= high, pl.col("last_open_time") >= low)
    near = near.join(series, on=["market", "interval"], how="semi", nulls_equal=True)
    stated = {
        (path, sha): at for path, sha, at in near.sort("stated_at").select("path", "sha256", "stated_at").iter_rows()
    }
    newest = {path: at for (path, _), at in stated.items()}
    archives = {split_member(path)[0] for path in newest}
    files = [f for file in list_files(lake.raw) if file.path in archives for f in list_members(lake.raw, file)]
    pending = [Pending(f, newest[f.path], rank=plan.rank(f.path)) for f in files if f.path in newest]
    pending.sort(key=lambda p: (p.rank, p.stated_at, p.file.path))
    todo = Plan(tuple(pending), 0, plan.sources)
    for batch in read_batches(lake, todo):
        same = {n for n, a in batch.accounts.items() if stated.get((a.file.path, a.sha256)) == a.stated_at}
        for partition, frames in batch.statements.items():
            yield from ((partition, f) for f in frames if f.height and f["_file_number"][0] in same)


def _change_ledger(lake: Lake, mark: Callable[[pl.DataFrame], pl.DataFrame], run_id: str, *guards: str) -> None:
    """Change rows of the ledger."""
    table = lake.ledger

    def change() -> None:
        base: DeltaTable = table.open_or_create()
        rows = table.read(base).collect()
        marked = mark(rows).select(table.schema.keys())
        times = marked["stated_at"]
        changes = Changes(marked.clear(), marked, spans=[Span({}, "stated_at", times.min(), times.max())])
        commit(
            base, table.key, changes, guards=[table.guard(), *guards], notes={"run": run_id, "operation": "WITHDRAW"}
        )

    guarded(change)
