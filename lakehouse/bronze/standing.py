"""What stands, of which the table tells nothing: the files are asked, before a row changes or is taken back.

A row of bronze shows the statement that gave it its values. A newer one that only agreed has left no trace there, and
an older one that lost has none either. So a late arrival is held against the files that may state its bars too; and
where statements are taken back, or have another rank now, all files that state something there say it once more.

To take back: the ledger is told first (`withdrawing`), then the candles change, then the ledger is told that it is
done. So a run that is killed leaves word of what it was about, and the next one ends it. A writer that decided on a
batch while this began meets the mark when it enters its files, and decides again; see `ingest.write_batch`.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import cast

import polars as pl
from deltalake import DeltaTable
from obstore.exceptions import BaseError

from lakehouse.bronze.account import IngestReport, new_run_id, report_of
from lakehouse.bronze.batch import by_partition
from lakehouse.bronze.conflicts import write_settled
from lakehouse.bronze.plan import Plan, ranks
from lakehouse.bronze.settle import Partition, Stated, settle
from lakehouse.delta import Changes, Span, agreements, commit, guarded, read_spans, writing
from lakehouse.errors import FileRefused, InputError
from lakehouse.lake import Lake
from lakehouse.raw import FileChanged, stat
from lakehouse.recognise import Opened, declared_for, load_sources, open_file

WITHDRAWALS = "bronze/withdrawals"  # the application id that each beginning of a withdrawal leaves in the ledger
TO_BE_STATED_ANEW = '{"taken back": true}'  # instead of a declaration: what sources.toml says now is another one
Revision = tuple[str, str, dt.datetime]  # path, sha256, stated_at
Bounds = tuple[dt.datetime, dt.datetime]
STANDS = ("loaded", "empty", "withdrawing")
GROUP_BYTES = 64 * 2**20  # of raw files that are taken back in one commit
SLICE_BYTES = 4 * GROUP_BYTES  # of those that are read for it: memory is bounded, however many state the same bars


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
    began, run_id, todo = time.perf_counter(), new_run_id(), Plan((), 0, tuple(load_sources(lake.raw)))
    paths = {path for path in _read_ledger(lake, STANDS)["path"] if fnmatchcase(path, pattern)}
    if not paths:
        raise InputError(f"withdraw: no file that stands in the ledger is like '{pattern}'; see `lakehouse status`")
    take_back(lake, {path: declared_for(path, todo.sources).as_text(path) for path in paths}, todo, run_id)
    taken = _read_ledger(lake, ["withdrawn"]).filter(pl.col("path").is_in(paths), pl.col("run_id") == run_id)
    return report_of(taken.to_dicts(), 0, run_id, time.perf_counter() - began)


def take_back(lake: Lake, declared: Mapping[str, str], todo: Plan, run_id: str) -> None:
    """Take back what some paths stated, and what an earlier run has begun to; then weigh anew what has another rank.

    `declared` tells for each path what is to be kept as its declaration: another than sources.toml's brings it back.
    """
    with writing(lake.root):
        begun = pl.DataFrame([*declared.items()], schema={"path": pl.String, "declared": pl.String}, orient="row")
        begun = begun.with_columns(status=pl.lit("withdrawing"), run_id=pl.lit(run_id))
        _enter(lake, begun, ["path"], STANDS, run_id, WITHDRAWALS)
        for group in _groups(_read_ledger(lake, ["withdrawing"])):
            version = _state_anew(lake, group, todo, run_id, gone=True)
            done = group.select(lake.ledger.key).with_columns(
                status=pl.lit("withdrawn"), withdrawn_version=pl.lit(version, pl.Int64)
            )
            _enter(lake, done, lake.ledger.key, ["withdrawing"], run_id)
        for group in _groups(_read_ledger(lake, ["loaded"]).filter(pl.col("path").is_in(todo.reranked))):
            _state_anew(lake, group, todo, run_id, gone=False)
            texts = [declared_for(path, todo.sources).as_text(path) for path in group["path"]]
            known = group.select(lake.ledger.key).with_columns(declared=pl.Series(texts))
            _enter(lake, known, lake.ledger.key, ["loaded"], run_id)


def _enter(
    lake: Lake, news: pl.DataFrame, on: Sequence[str], statuses: Collection[str], run_id: str, *guards: str
) -> None:
    """Change rows of the ledger: `news` names them, and has the columns that are new."""
    table = lake.ledger

    def change() -> None:
        base: DeltaTable = table.open_or_create()
        rows = table.read(base).filter(pl.col("status").is_in(statuses)).collect()
        marked = rows.update(news, on=on, how="inner").select(table.schema.keys())
        changes = Changes(marked.clear(), marked)
        notes = {"run": run_id, "operation": "WITHDRAW"}
        commit(base, table.key, changes, guards=[table.guard(), *guards], notes=notes)

    guarded(change)


def _read_ledger(lake: Lake, statuses: Collection[str]) -> pl.DataFrame:
    if not lake.ledger.exists():
        return pl.DataFrame(schema=lake.ledger.schema)
    return lake.ledger.scan().filter(pl.col("status").is_in(statuses)).collect()


def _groups(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut revisions into groups of some series and a byte budget; all revisions of a path stay together."""
    firsts = (pl.col(name).min() for name in ("market", "interval", "symbol", "first_open_time"))
    order = rows.group_by("path").agg(pl.col("size").sum(), *firsts)
    order = order.sort("market", "interval", "symbol", "first_open_time", "path")
    for _, part in order.group_by((pl.col("size").cum_sum() - 1) // GROUP_BYTES, maintain_order=True):
        yield rows.join(part, on="path", how="semi")


def _state_anew(lake: Lake, group: pl.DataFrame, todo: Plan, run_id: str, *, gone: bool) -> int:
    """Let the files that stand beside a group say once more what they say where it lies, slice of time by slice."""
    low, high = cast("Bounds", (group["first_open_time"].min(), group["last_open_time"].max()))
    version = lake.bronze.open_or_create().version()
    if low is None:
        return version
    beside = _beside(lake, group, todo, gone=gone)
    slices = 1 + int(beside["size"].sum()) // SLICE_BYTES
    step = (high - low) // slices + dt.timedelta(microseconds=1)
    for number in range(slices):
        first = low + number * step
        between = first, min(high, first + step - dt.timedelta(microseconds=1))
        version = guarded(partial(_settle_slice, lake, group, between, todo, run_id, gone=gone))
    return version


def _beside(lake: Lake, group: pl.DataFrame, todo: Plan, *, gone: bool) -> pl.DataFrame:
    """The newest revisions that stand and may state what a group does, the one that loses to all others first."""
    known = _read_ledger(lake, ["loaded"]).sort("stated_at").unique("path", keep="last")
    if gone:
        known = known.join(group, on="path", how="anti")
    partition = list(lake.dataset.partition)
    series = group.group_by(partition).agg(low=pl.min("first_open_time"), high=pl.max("last_open_time"))
    pairs = known.join(series, how="cross", suffix="_of")
    # A file of several series does not say in the ledger which: all that lie there may be its.
    same = ((pl.col(n) == pl.col(f"{n}_of")).fill_null(True) for n in partition)
    meets = pl.col("first_open_time") <= pl.col("high"), pl.col("last_open_time") >= pl.col("low")
    near = pairs.filter(*same, *meets).unique("path")
    return near.with_columns(_rank=ranks(near, "path", todo.rank)).sort("_rank", "stated_at", "path")


def _settle_slice(lake: Lake, group: pl.DataFrame, between: Bounds, todo: Plan, run_id: str, *, gone: bool) -> int:
    table, dataset = lake.bronze, lake.dataset
    base = table.open_or_create()
    paths = group["path"].unique().to_list() if gone else []
    series = [
        {name: word for name, word in row.items() if word is not None}
        for row in group.select(dataset.partition).unique().iter_rows(named=True)
    ]
    here = [Span(where, dataset.time, *between) for where in series]
    shown = read_spans(base, here).filter(pl.col("_file").is_in(paths)).select(table.schema.keys()).collect()
    taken = {tuple(map(str, key)): rows for key, rows in shown.partition_by(dataset.partition, as_dict=True).items()}
    inside = pl.col(dataset.time).is_between(*between)
    statements = defaultdict[Partition, list[Stated]](list)
    beside = _beside(lake, group, todo, gone=gone)
    beside = beside.filter(pl.col("first_open_time") <= between[1], pl.col("last_open_time") >= between[0])
    for number, revision in enumerate(beside.select("path", "sha256", "stated_at").iter_rows()):
        for opened, said in _ask(lake, todo, revision, lambda rows: rows.filter(inside)):
            for partition, rows in by_partition(said, opened.form, dataset):
                where = dict(zip(dataset.partition, partition, strict=True))
                if rows.height and any(one.items() <= where.items() for one in series):
                    statements[partition].append((number, opened.backwards, rows))
    touched = sorted({*statements, *taken})
    empty = pl.DataFrame(schema=table.schema)
    back = {partition: taken.get(partition, empty) for partition in touched} if gone else {}
    settled = settle(base, statements, dataset, lambda rows: rows.clear(), todo.rank, back)
    operation = "WITHDRAW" if gone else "PREFER"
    notes: dict[str, str | int] = {"run": run_id, "files": group["path"].n_unique(), "operation": operation}
    spans = [Span(dict(zip(dataset.partition, part, strict=True)), dataset.time, *between) for part in touched]
    return write_settled(lake, base, settled, todo.rank, notes, paths, spans, even_empty=True)


def _ask(
    lake: Lake, todo: Plan, revision: Revision, about: Callable[[pl.DataFrame], pl.DataFrame]
) -> list[tuple[Opened, pl.DataFrame]]:
    """What a file says of something, block by block; nothing if it is not the file any more that was meant."""
    path, sha256, stated_at = revision
    told = {"_modified_at": stated_at, "_ingested_at": dt.datetime.now(dt.UTC)}
    try:
        opened = open_file(lake.raw, stat(lake.raw, path), lake.dataset, declared_for(path, todo.sources), told)
        return [(opened, about(block.rows)) for block in opened.blocks] if opened.sha256 == sha256 else []
    except (FileRefused, FileChanged, OSError, BaseError):
        return []  # gone from raw/, or a later revision, which will have its own say


def confirmed_by_newer(lake: Lake, rows: pl.DataFrame, base: DeltaTable, todo: Plan) -> pl.DataFrame:
    """Find the rows that lose against a newer statement which the table does not show.

    It may stand in a file that is newer than a late arrival, or, in a file that runs backwards and is so large that it
    comes in several batches, further up. The ledger tells which files to ask, and the table's log, as long as a writer
    is between its candles and its ledger; mostly there are none.

    `rows` are statements that would change the table, with `_line_order`, negative where a file runs backwards. Returns
    the keys of those that lose against a file that is in the ledger or in the table's log, or against an earlier line
    of their own file, as long as that file is in raw/.
    """
    key = list(lake.dataset.key)
    lost = [rows.select(key).clear()]
    rank, at = ranks(rows, "_file", todo.rank), pl.col("_modified_at")
    oldest, lowest = cast("dt.datetime", rows["_modified_at"].min()), min(map(todo.rank, rows["_file"].unique()))
    for revision in _other_files(lake, rows, base):
        path, _, stated_at = revision
        if stated_at < oldest and todo.rank(path) <= lowest:  # a night's correction is the newest: thousands are not
            continue
        same_time = (at == stated_at) & (pl.col("_file") < pl.lit(path))
        earlier = (rank == todo.rank(path)) & ((at < stated_at) | same_time)
        older = rows.filter((rank < todo.rank(path)) | earlier).select(key)
        if older.height:
            lost += [said for _, said in _ask(lake, todo, revision, partial(older.join, on=key, how="semi"))]
    backwards = rows.filter(pl.col("_line_order") < 0)
    for revision in backwards.select("_file", "_sha256", "_modified_at").unique().iter_rows():
        own = backwards.filter(pl.col("_file") == revision[0]).select(*key, own="_line")
        both = _ask(lake, todo, revision, partial(own.join, on=key))
        lost += [said.filter(pl.col("_line") < pl.col("own")).select(key) for _, said in both]
    return pl.concat(lost).unique()


def _other_files(lake: Lake, rows: pl.DataFrame, base: DeltaTable) -> Iterator[Revision]:
    time, revision = lake.dataset.time, ["path", "sha256", "stated_at"]
    meets = pl.col("first_open_time") <= rows[time].max(), pl.col("last_open_time") >= rows[time].min()
    ledger = lake.ledger.scan() if lake.ledger.exists() else pl.LazyFrame(schema=lake.ledger.schema)
    entered = ledger.select(*revision, _meets=pl.all_horizontal(pl.col("status") == "loaded", *meets))
    known = entered.collect()
    unknown = agreements(base).join(known, on=revision, how="anti")
    files = pl.concat([known.filter("_meets").select(revision), unknown])
    yield from files.sort("stated_at").unique("path", keep="last").iter_rows()
