"""Which file revisions are new: a stat for each file, and a hash only where the stat has changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl
from obstore.exceptions import BaseError

from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.raw import RawFile, hash_file, list_files
from lakehouse.recognise import Declared, declared_for, load_sources

RACY = dt.timedelta(seconds=2)  # a file this fresh may change again without its stat showing it
BATCH_FILES = 500
SMALL_REST = 0.25  # of a batch: so little at the end is not worth two commits of its own


@dataclass(frozen=True, slots=True)
class Pending:
    """A file to ingest. Later statements win by `stated_at`, then by path, then by line."""

    file: RawFile
    stated_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        pending: Files with a new revision, the oldest statement first.
        untouched: How many other files there are.
        sources: What raw/sources.toml declares.
    """

    pending: tuple[Pending, ...]
    untouched: int
    sources: tuple[Declared, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(pending.file.size for pending in self.pending)


def plan(lake: Lake, again: str = "") -> Plan:
    """Compare raw/ with the ledger.

    A file whose path, size and modified time the ledger knows is not read. Any other is hashed, and left alone
    if it is the revision that the ledger had last. Files that failed are tried again at every run.

    Args:
        lake: Whose raw/ and ledger.
        again: A pattern of paths below raw/ to take even so; `*` stands for any letters, slashes too.

    Returns:
        The files with a new revision, and the count of the others.

    Raises:
        InputError: No file is like `again`.
    """
    known = _last_revisions(lake)
    now = dt.datetime.now(dt.UTC)
    pending = []
    sources = load_sources(lake.raw)
    files = [file for file in list_files(lake.raw) if not declared_for(file.path, sources).ignore]
    if again and not any(fnmatchcase(file.path, again) for file in files):
        raise InputError(
            f"again: no file in {lake.uri('raw')} is like '{again}'; a pattern such as '2024/*' is expected"
        )
    for file in files:
        last = known.get(file.path)
        if last is None:
            pending.append(Pending(file, file.modified_at))
            continue
        size, modified_at, sha256, stated_at = last
        asked = fnmatchcase(file.path, again)
        if not asked and (file.size, file.modified_at) == (size, modified_at) and now - file.modified_at > RACY:
            continue
        try:
            if not asked and hash_file(lake.raw, file.path) == sha256:
                continue
        except (OSError, BaseError):  # reading it will say what is wrong
            pass
        # A new revision is newer than the path's older one, whatever the clock says.
        pending.append(Pending(file, max(file.modified_at, stated_at + dt.timedelta(microseconds=1))))
    pending.sort(key=lambda p: (p.stated_at, p.file.path))
    return Plan(tuple(pending), len(files) - len(pending), tuple(sources))


def groups(pending: Sequence[Pending], batch_bytes: int) -> Iterator[Sequence[Pending]]:
    """Cut the pending files into runs up to a byte budget; a larger file is alone, and a small rest joins the last."""
    batch: list[Pending] = []
    size, rest = 0, sum(item.file.size for item in pending)
    for item in pending:
        full = size + item.file.size > batch_bytes and rest > batch_bytes * SMALL_REST
        if batch and (full or len(batch) == BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size, rest = size + item.file.size, rest - item.file.size
    if batch:
        yield batch


def _last_revisions(lake: Lake) -> dict[str, tuple[int, dt.datetime, str, dt.datetime]]:
    if not lake.ledger.exists():
        return {}
    last = (
        lake.ledger.scan()
        .filter(pl.col("status") != "failed")
        .sort("stated_at")
        .unique("path", keep="last", maintain_order=True)
        .select("path", "size", "modified_at", "sha256", "stated_at")
        .collect()
    )
    return {path: (size, modified, sha, stated) for path, size, modified, sha, stated in last.iter_rows()}
