"""Which file revisions are new: a stat for each file, and a hash only where the stat has changed.

The ledger tells what a file's stat was when it was taken. A file whose stat has changed and whose bytes have not (a
copy, a checkout, a `touch`) is nothing new and adds no version to any table, so what was hashed in vain is remembered
beside the tables, in `bronze/seen.parquet`. That is a cache: without it the same files are hashed once more. Large
files that were refused stand there too: they fail at every run, but are not unpacked for it while nothing has changed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import obstore
import polars as pl
from obstore.exceptions import BaseError

from lakehouse.delta import open_store
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.raw import UNREADABLE, RawFile, hash_file, list_all, list_members, split_member
from lakehouse.recognise import Declared, declared_for, find_strangers, how_redeclared, load_sources

RACY = dt.timedelta(seconds=2)  # a file this fresh may change again without its stat showing it
BATCH_FILES = 500
SEEN = "seen.parquet"
_SEEN_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "size": pl.Int64(),
    "modified_at": pl.Datetime("us", "UTC"),
    "sha256": pl.String(),
    "refused": pl.String(),
    "rules": pl.String(),
}
LARGE = 2**20  # bytes, packed: to refuse what is smaller once more costs nothing
SMALL_REST = 0.25  # of a batch: so little at the end is not worth two commits of its own


class _Last(NamedTuple):
    """What the ledger says of a path: of its last revision that did not fail."""

    size: int
    modified_at: dt.datetime | None
    sha256: str
    stated_at: dt.datetime | None
    identity: Mapping[str, str | None]
    status: str
    declared: str | None


_NEVER = _Last(-1, None, "", None, {}, "", None)


class _Seen(NamedTuple):
    """What was read in vain: it was nothing new, or `refused` tells why it did not load, and `rules` by what."""

    path: str
    size: int
    modified_at: dt.datetime
    sha256: str
    refused: str = ""
    rules: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """A file to ingest. Statements win by `rank`, then `stated_at`, then path, then line.

    One that is refused unread, as it was before, has its `problem` and comes with its hash.
    """

    file: RawFile
    stated_at: dt.datetime
    sha256: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        pending: Files with a new revision, or another declaration; the statement that loses to all others first.
        untouched: How many other files there are.
        sources: What raw/sources.toml declares.
        taken_back: Paths that sources.toml now calls something else, or ignores: what they stated goes first.
        reranked: Paths to which it now gives another rank, and nothing else.
        unfinished: Whether a withdrawal was begun and not ended.
        seen: Files of another stat than the ledger knows, and the same bytes; with their sha256.
        unread: Paths of what is no kind of file that ingest reads.
    """

    pending: tuple[Pending, ...]
    untouched: int
    sources: tuple[Declared, ...] = ()
    taken_back: tuple[str, ...] = ()
    reranked: tuple[str, ...] = ()
    unfinished: bool = False
    seen: tuple[tuple[RawFile, str], ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(pending.file.size for pending in self.pending)

    def rank(self, path: str) -> int:
        """What sources.toml prefers: the rank of a path."""
        return declared_for(path, self.sources).rank(path)


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
    (known, retried, stale), remembered = _last_revisions(lake), _read_seen(lake)
    now = dt.datetime.now(dt.UTC)
    pending, seen = list[Pending](), list[tuple[RawFile, str]]()
    sources = load_sources(lake.raw)
    listed, unread = list_all(lake.raw)
    how = {path: how_redeclared(path, sources, row.declared, row.identity) for path, row in known.items()}
    # A restore may bring back what a path stated under another declaration, beside what it stated last.
    how |= {
        path: "other" for path, row in stale if how_redeclared(path, sources, row.declared, row.identity) == "other"
    }
    there = {file.path for file in listed}
    changed = {path for path in how if how[path] == "other" and split_member(path)[0] in there}
    reranked = [path for path in how if how[path] == "rank" and known[path].status == "loaded"]
    stood = {split_member(path)[0]: row for path, row in known.items()}  # an archive is known by its members
    redone = {split_member(path)[0] for path in changed} | retried
    files = [file for file in listed if not declared_for(file.path, sources).ignore]
    if again and not any(fnmatchcase(file.path, again) for file in files):
        raise InputError(
            f"again: no file in {lake.uri('raw')} is like '{again}'; a pattern such as '2024/*' is expected"
        )
    for file in files:
        asked = fnmatchcase(file.path, again) or file.path in redone
        size, modified_at, sha256, stated_at, *_ = stood.get(file.path, _NEVER)
        known_stat = (file.size, file.modified_at) == (size, modified_at)
        trusted = now - file.modified_at > RACY and not asked  # the stat tells all
        held = remembered.get(file.path)
        if not trusted or (held and (held.size, held.modified_at) != (file.size, file.modified_at)):
            held = None
        if trusted and sha256 and (known_stat or (held and held.sha256 == sha256)):
            continue
        # A new revision is newer than the path's older one, whatever the clock says. The same one, read once more, is
        # as new as it was: asking again must not change who wins.
        newer = max(file.modified_at, stated_at + dt.timedelta(microseconds=1)) if stated_at else file.modified_at
        if held and held.refused and held.rules == _rules(lake, file.path, sources):
            pending.append(Pending(replace(file, problem=held.refused), newer, held.sha256))
        elif not (stated_at and _sha256(lake, file) == sha256):
            pending.append(Pending(file, newer))
        elif asked:
            pending.append(Pending(file, stated_at))
        elif trusted:
            seen.append((file, sha256))
    untouched = len(files) - len(pending)
    pending = _as_read(lake, pending, [file.path for file in files], sources)
    begun = any(row.status == "withdrawing" for row in known.values())
    standing = {path for path, row in (*known.items(), *stale) if row.status == "loaded"}
    back = tuple(sorted(changed & standing))
    unread = [path for path in unread if not declared_for(path, sources).ignore]
    return Plan(tuple(pending), untouched, tuple(sources), back, tuple(reranked), begun, tuple(seen), tuple(unread))


def _as_read(lake: Lake, found: list[Pending], paths: Sequence[str], sources: Sequence[Declared]) -> list[Pending]:
    """An archive's members instead of it, each with its rank, and with its problem if its name must be asked about."""
    members = [replace(p, file=file) for p in found for file in list_members(lake.raw, p.file)]
    said = {p.file.path: declared_for(p.file.path, sources) for p in members}
    wanted = [replace(p, rank=said[path].rank(path)) for p in members if not said[path := p.file.path].ignore]
    strangers = find_strangers((p.file.path for p in wanted), paths, lake.dataset, sources)
    asked = [
        replace(p, file=replace(p.file, problem=why)) if (why := strangers.get(p.file.path)) else p for p in wanted
    ]
    return sorted(asked, key=lambda p: (p.rank, p.stated_at, p.file.path))


def remember(lake: Lake, todo: Plan, done: Sequence[Mapping[str, Any]]) -> None:
    """Keep what need not be read again: what was found to be nothing new, and what is large and was refused.

    Args:
        lake: The lake.
        todo: The plan that has been carried out.
        done: The rows of the ledger that it led to.
    """
    found = {file.path: _Seen(file.path, file.size, file.modified_at, sha256) for file, sha256 in todo.seen}
    for row in done:
        settled = row["ingested_at"] - row["modified_at"] > RACY
        # What the system refused, it may give the next time.
        if row["status"] == "failed" and row["size"] >= LARGE and settled and not row["error"].startswith(UNREADABLE):
            told = {name: row[name] for name in ("path", "size", "modified_at", "sha256")}
            rules = _rules(lake, row["path"], todo.sources)
            found[row["path"]] = _Seen(**told, refused=row["error"], rules=rules)
    if not found or not lake.ledger.exists() or found.items() <= (held := _read_seen(lake)).items():
        return
    buffer = io.BytesIO()
    pl.DataFrame([*(held | found).values()], schema=_SEEN_SCHEMA, orient="row").write_parquet(buffer)
    with contextlib.suppress(BaseError, OSError):  # a lake that cannot be written to reads again, as it did before
        obstore.put(open_store(lake.uri("bronze")), SEEN, buffer.getvalue())


def _read_seen(lake: Lake) -> dict[str, _Seen]:
    if not lake.ledger.exists():
        return {}
    try:
        held = obstore.get(open_store(lake.uri("bronze")), SEEN).bytes()
        rows = pl.read_parquet(io.BytesIO(bytes(held))).select(*_SEEN_SCHEMA).iter_rows()
    except (BaseError, OSError, pl.exceptions.PolarsError):  # none yet, or not ours: it is a cache
        return {}
    return {row[0]: _Seen(*row) for row in rows}


def _rules(lake: Lake, path: str, sources: Sequence[Declared]) -> str:
    """A digest of all that says whether a file is refused, but the file: our code, what is wanted, what is declared."""
    dataset = lake.dataset
    wanted = (dataset.name, dataset.synonyms, dataset.positional, dataset.refusals, declared_for(path, sources))
    return hashlib.sha256(f"{_code()} {wanted}".encode()).hexdigest()


@cache
def _code() -> str:
    paths = (path for kind in ("*.py", "*.toml") for path in Path(__file__).parents[1].rglob(kind))
    code = b"".join(path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(code).hexdigest()


def _sha256(lake: Lake, file: RawFile) -> str:
    """The hash of a file; none if it cannot be read, and reading it will say why."""
    try:
        return hash_file(lake.raw, file.path)
    except (OSError, BaseError):
        return ""


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


def _last_revisions(lake: Lake) -> tuple[Mapping[str, _Last], Set[str], Sequence[tuple[str, _Last]]]:
    """What the ledger knows of each path; archives of which a member failed, to be read again; what else stands."""
    if not lake.ledger.exists():
        return {}, set(), ()
    identity = pl.struct("market", "symbol", "interval")
    handled = (
        lake.ledger.scan()
        .sort("stated_at", "ingested_at")
        .select(*("path", "size", "modified_at", "sha256", "stated_at"), identity, "status", "declared")
        .collect()
    )
    last = handled.unique("path", keep="last", maintain_order=True)
    failed = last.filter(status="failed")["path"]
    if len(failed):
        last = handled.filter(pl.col("status") != "failed").unique("path", keep="last", maintain_order=True)
    retried = {archive for archive, member in map(split_member, failed) if member}
    stale = handled.filter(status="loaded").join(
        last, on=["path", "sha256", "stated_at", "status", "declared"], how="anti", nulls_equal=True
    )
    return (
        {path: _Last(*rest) for path, *rest in last.iter_rows()},
        retried,
        [(path, _Last(*rest)) for path, *rest in stale.filter(pl.col("declared").is_not_null()).iter_rows()],
    )
