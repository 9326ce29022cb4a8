"""Read pending files into batches that fit into memory, one batch ahead of the writer."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

import polars as pl

from lakehouse.bronze.account import DEFERRED, Account
from lakehouse.bronze.plan import Pending, Plan, hash_if_readable
from lakehouse.bronze.seen import rules_of
from lakehouse.bronze.settle import Partition, Stated
from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.lake import Lake
from lakehouse.raw import Block, FileChanged, at_once, split_member
from lakehouse.recognise import BLOCK_BYTES, SMALL, Asked, Opened, declared_for, open_files

BATCH_BYTES = 64 * 2**20
BATCH_FILES = 500
AHEAD_BYTES = 8 * 2**20  # of files that are opened ahead; unpacked they may be ten times as large
TOGETHER = 256  # small files that are opened and parsed together, at most
SMALL_REST = 0.25  # of a batch: so little at the end is not worth two commits of its own


@dataclass(slots=True)
class Batch:
    """What has been read and is to be written together.

    Attributes:
        read_at: When it was begun, UTC.
        statements: By partition, what files state; see `settle`.
        rejected: By file, frames of the quarantine's columns.
        accounts: The files that have a part in it, by number; a huge file has a part in several batches.
        counts: (file number, "read" | "rejected" | "skipped") → lines.
        finished: The files whose last part this is.
        size: Bytes of the finished files.
    """

    read_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    statements: dict[Partition, list[Stated]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[tuple[int, pl.DataFrame]] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    finished: list[Account] = field(default_factory=list)
    size: int = 0

    def add(self, account: Account, opened: Opened, block: Block, dataset: Dataset) -> None:
        """Take a block in, each row and rejected line with where it was stated."""
        number = account.number
        self.accounts[number] = account
        self.counts[number, "read"] += block.read
        self.counts[number, "skipped"] += block.skipped
        self.counts[number, "rejected"] += block.rejected.height
        if block.rejected.height:
            lines = block.rejected.with_columns(
                _file=pl.lit(account.file.path),
                _sha256=pl.lit(opened.sha256),
                rejected_at=pl.lit(self.read_at).cast(pl.Datetime("us", "UTC")),
            )
            self.rejected.append((number, lines))
        if block.rows.height:
            for key, frame in by_partition(block.rows, opened.form, dataset):
                self.statements[key].append((number, opened.backwards, frame))
                account.symbols.add(dict(zip(dataset.partition, key, strict=True)).get("symbol", ""))
            account.reaches(*block.ends(dataset.time))

    def forget(self, account: Account) -> None:
        """Take back what a file has brought to this batch."""
        number = account.number
        self.accounts.pop(number, None)
        self.rejected = [lines for lines in self.rejected if lines[0] != number]
        for key, stated in self.statements.items():
            self.statements[key] = [one for one in stated if one[0] != number]
        self.counts = Counter({key: count for key, count in self.counts.items() if key[0] != number})


def read_batches(lake: Lake, todo: Plan, batch_bytes: int = BATCH_BYTES) -> Iterator[Batch]:
    """Read pending files, one batch ahead of the caller.

    Args:
        lake: The lake.
        todo: Which files.
        batch_bytes: How much raw text a batch may hold, the last a quarter more; memory grows with it, not with raw/.

    Yields:
        Batches in the order of the statements.
    """
    source = _read(lake, todo, batch_bytes)
    with ThreadPoolExecutor(1, "read-ahead") as ahead:
        coming = ahead.submit(next, source, None)
        while (batch := coming.result()) is not None:
            coming = ahead.submit(next, source, None)
            yield batch


def groups(pending: Sequence[Pending], batch_bytes: int, most: int = BATCH_FILES) -> Iterator[Sequence[Pending]]:
    """Cut the pending files into runs up to a byte budget; a larger file is alone, and a small rest joins the last."""
    batch: list[Pending] = []
    size, rest = 0, sum(item.file.size for item in pending)
    for item in pending:
        full = size + item.file.size > batch_bytes and rest > batch_bytes * SMALL_REST
        if batch and (full or len(batch) == most):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size, rest = size + item.file.size, rest - item.file.size
    if batch:
        yield batch


def _read(lake: Lake, todo: Plan, batch_bytes: int) -> Iterator[Batch]:
    number, most, rules = 0, batch_bytes * (1 + SMALL_REST), rules_of(lake, todo.sources)
    for group in groups(todo.pending, batch_bytes):
        batch, held = Batch(), 0
        for item, opened in _open(lake, todo, group, batch.read_at, min(batch_bytes, BLOCK_BYTES)):
            declared = declared_for(item.file.path, todo.sources).as_text(item.file.path)
            account = Account(item.file, item.stated_at, number, declared=declared, read_by=rules(item.file.path))
            number += 1
            try:
                if isinstance(opened, Exception):
                    raise opened
                account.identify(opened.sha256, opened.form)
                read = 0
                for block in opened.blocks:
                    if held + block.size > most and held:
                        yield batch
                        batch, held = Batch(), 0
                    batch.add(account, opened, block, lake.dataset)
                    held, read = held + block.size, read + block.read
                account.status = "loaded" if read else "empty"
            except FileRefused as error:
                batch.forget(account)
                account.status, account.error = "failed", str(error)
                account.sha256 = account.sha256 or item.sha256 or hash_if_readable(lake, item.file)
            except FileChanged:
                batch.forget(account)
                account.status, account.error = DEFERRED, "written to while it was read; the next run takes it"
            batch.accounts[account.number] = account
            batch.finished.append(account)
            batch.size += item.file.size
        yield batch


def _open(
    lake: Lake, todo: Plan, group: Sequence[Pending], read_at: dt.datetime, block_bytes: int
) -> Iterator[tuple[Pending, Opened | FileRefused | FileChanged]]:
    """Open files in their order, the next ones while the caller is with these; of a bucket some more, if small."""
    most = at_once(lake.raw)
    with ThreadPoolExecutor(most, "open") as pool:
        waiting = deque[tuple[Sequence[Pending], Future[list[Opened | FileRefused | FileChanged]]]]()

        def opened() -> Iterator[tuple[Pending, Opened | FileRefused | FileChanged]]:
            items, opening = waiting.popleft()
            return zip(items, opening.result(), strict=True)

        # In a bucket the files of one thread wait for each other: a few dozen are shared out among all.
        for items in _together(group, min(TOGETHER, math.ceil(len(group) / most))):
            asked = [
                Asked(
                    item.file,
                    declared_for(item.file.path, todo.sources),
                    {"_modified_at": item.stated_at, "_ingested_at": read_at},
                )
                for item in items
            ]
            waiting.append((items, pool.submit(open_files, lake.raw, asked, lake.dataset, block_bytes)))
            size = sum(item.file.size for items, _ in waiting for item in items)
            while len(waiting) >= most or (len(waiting) > 1 and size > AHEAD_BYTES):
                size -= sum(item.file.size for item in waiting[0][0])
                yield from opened()
        while waiting:
            yield from opened()


def _together(group: Sequence[Pending], some: int) -> Iterator[Sequence[Pending]]:
    """Files that follow each other and are small, some at a time; any other by itself.

    Members of an archive too: it is downloaded once if they are asked for one after the other.
    """
    for small, items in groupby(group, lambda item: item.file.size <= SMALL and not split_member(item.file.path)[1]):
        yield from groups([*items], AHEAD_BYTES // 4, some if small else 1)


def by_partition(rows: pl.DataFrame, form: Form, dataset: Dataset) -> Iterator[tuple[Partition, pl.DataFrame]]:
    """Cut a block's rows up by the partition that they belong to."""
    of_file = {"market": form.market, "symbol": form.symbol, "interval": form.interval}
    key = tuple(of_file.get(name, "") for name in dataset.partition)
    if all(key):  # one partition, as most files have: no need to look at the rows
        yield key, rows
        return
    for parts, frame in rows.partition_by(dataset.partition, as_dict=True, maintain_order=True).items():
        yield tuple(map(str, parts)), frame
