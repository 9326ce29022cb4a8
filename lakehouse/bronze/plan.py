"""What a run has to do: which file revisions are new, and what stands in the ledger under another word than now.

A stat for each file, and a hash only where the stat has changed, or in a bucket the etag. The ledger tells what a
file's stat was when it was taken, and `seen` what has been hashed since and was nothing new.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from heapq import heapreplace
from typing import Any

import polars as pl
from obstore.exceptions import BaseError

from lakehouse.bronze.seen import Seen, keep_seen, read_otherwise, read_seen, rules_of
from lakehouse.dataset import Dataset
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.raw import RACY, UNREADABLE, RawFile, at_once, hash_file, list_all, list_members, split_member
from lakehouse.recognise import Declared, declared_for, find_strangers, how_redeclared, load_sources, read_name

KNOWN = [  # of a file, in the ledger
    *("path", "size", "modified_at", "etag", "sha256", "stated_at"),
    *("market", "symbol", "interval", "status", "declared"),
]
LARGE = 2**20  # bytes, packed: to refuse what is smaller once more costs nothing


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
        taken_back: Paths that are to be read otherwise than they were, or ignored: what they stated goes first.
        reranked: Paths that have another rank now, and nothing else.
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

    def parts(self, dataset: Dataset, most: int) -> list[Plan]:
        """Deal the pending files to plans that can be carried out side by side, of about equal size.

        What is likely of one symbol stays together, so that hardly two of them meet in a series. Where they do,
        settling decides as between any two writers.

        Args:
            dataset: Whose names tell the symbol.
            most: How many there are to be.
        """
        likely = defaultdict[str, list[Pending]](list)
        for item in self.pending:
            path = item.file.path
            likely[read_name(path.rsplit("/", 1)[-1], dataset.names).symbol or path].append(item)
        dealt, filled = [list[Pending]() for _ in range(most)], [(0, number) for number in range(most)]
        sizes = {symbol: sum(item.file.size for item in items) for symbol, items in likely.items()}
        for symbol in sorted(likely, key=sizes.__getitem__, reverse=True):
            size, number = filled[0]  # the least so far
            dealt[number] += likely[symbol]
            heapreplace(filled, (size + sizes[symbol], number))
        return [Plan(tuple(sorted(part, key=_by_statement)), 0, self.sources) for part in dealt if part]


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
    sources, (listed, unread) = load_sources(lake.raw), list_all(lake.raw)
    files = [file for file in listed if not (sources and declared_for(file.path, sources).ignore)]
    if again and not any(fnmatchcase(file.path, again) for file in files):
        raise InputError(f"again: no file in {lake.raw_uri} is like '{again}'; a pattern such as '2024/*' is expected")
    known, redone = _read_ledger(lake)
    other, reranked = _judge(lake, known, sources, again)
    there = {file.path for file in listed}
    changed = {path for path in other if split_member(path)[0] in there}
    redone |= {split_member(path)[0] for path in changed}
    # An archive is known by its members; a path, by its last revision.
    stats = known.filter("_last").select("path", "size", "modified_at", "etag", "sha256", "stated_at")
    last = {split_member(row["path"])[0]: row for row in stats.iter_rows(named=True)}
    remembered, rules = read_seen(lake), rules_of(lake, sources)
    pending, seen = list[Pending](), list[tuple[RawFile, str]]()
    for file in files:
        asked = file.path in redone or (again != "" and fnmatchcase(file.path, again))
        was = last.get(file.path)
        sha256, stated_at, size = (was["sha256"], was["stated_at"], was["size"]) if was else ("", None, 0)
        held = remembered.get(file.path)
        held = held if held and not asked and held.is_of(file) else None
        known_stat = was and not asked and file.is_still(was["size"], was["modified_at"], was["etag"])
        if sha256 and (known_stat or (held and held.sha256 == sha256)):
            continue
        # A new revision is newer than the path's older one, whatever the clock says. The same one, read once more, is
        # as new as it was: asking again must not change who wins.
        newer = max(file.modified_at, stated_at + dt.timedelta(microseconds=1)) if stated_at else file.modified_at
        if held and held.refused and held.rules == rules(file.path):
            pending.append(Pending(replace(file, problem=held.refused), newer, held.sha256))
        elif not stated_at or file.size != size or hash_if_readable(lake, file) != sha256:
            pending.append(Pending(file, newer))
        elif asked:
            pending.append(Pending(file, stated_at))
        elif file.is_settled:
            seen.append((file, sha256))
    return Plan(
        tuple(_as_read(lake, pending, [file.path for file in files], sources)),
        untouched=len(files) - len(pending),
        sources=tuple(sources),
        taken_back=tuple(sorted(changed & {*known.filter(pl.col("status").is_in(["loaded", "empty"]))["path"]})),
        reranked=tuple(reranked),
        unfinished=(known["status"] == "withdrawing").any(),
        seen=tuple(seen),
        unread=tuple(path for path in unread if not declared_for(path, sources).ignore),
    )


def _read_ledger(lake: Lake) -> tuple[pl.DataFrame, set[str]]:
    """Of each path the last revision that did not fail, and all that stand; and archives of which a member failed."""
    if not (opened := lake.ledger.find()):
        return pl.DataFrame(schema={**lake.ledger.schema, "_last": pl.Boolean()}), set()
    handled = lake.ledger.read(opened).sort("stated_at", "ingested_at").select(KNOWN).collect()
    last = pl.col("path").is_last_distinct()
    failed = handled.filter(last).filter(status="failed")["path"]
    known = handled.filter(pl.col("status") != "failed").with_columns(_last=last)
    # A restore may bring back what a path stated under another declaration, beside what it stated last.
    known = known.filter(pl.col("_last") | pl.col("status").is_in(["loaded", "withdrawing"]))
    return known, {archive for archive, member in map(split_member, failed) if member}


def _judge(lake: Lake, known: pl.DataFrame, sources: Sequence[Declared], again: str) -> tuple[set[str], list[str]]:
    """Hold what files were taken as against what is said of them now.

    Returns the paths that are to be read otherwise, or not at all; and those that have another rank and nothing else.
    """
    how: dict[str, set[str]] = {"": set(), "rank": set(), "other": set()}
    identity = pl.struct("market", "symbol", "interval").alias("identity")
    # Of ten thousand paths of which nothing is said, and never was, nothing is asked.
    unsaid = declared_for("", ()).as_text("")
    odd = known if sources else known.filter(pl.col("declared").ne_missing(unsaid))
    # A path that is stated anew every night stands a hundred times, as the same.
    words = odd.select("path", "declared", identity, pl.col("status") == "loaded").unique()
    for path, was, taken_as, stands in words.iter_rows():
        word = how_redeclared(path, sources, was, taken_as)
        how[word if word != "rank" or stands else ""].add(path)
    # What the program itself reads otherwise by now is redone if it is asked for.
    asked = [path for path in known["path"].unique() if again and fnmatchcase(split_member(path)[0], again)]
    if asked:
        taken = lake.ledger.scan().filter(pl.col("path").is_in(asked), pl.col("status").is_in(["loaded", "empty"]))
        how["other"] |= read_otherwise(lake, taken.collect(), sources)[0].keys()
    return how["other"], sorted(how["rank"] - how["other"])


def _as_read(lake: Lake, found: list[Pending], paths: Sequence[str], sources: Sequence[Declared]) -> list[Pending]:
    """An archive's members instead of it, each with its rank, and with its problem if its name must be asked about."""
    archives = [p.file for p in found if p.file.path.lower().endswith(".zip")]
    with ThreadPoolExecutor(at_once(lake.raw)) as pool:
        inside = dict(zip(archives, pool.map(partial(list_members, lake.raw), archives), strict=True))
    members = [(p, file, declared_for(file.path, sources)) for p in found for file in inside.get(p.file, [p.file])]
    wanted = [(p, file, said.rank(file.path)) for p, file, said in members if not said.ignore]
    strangers = find_strangers((file.path for _, file, _ in wanted), paths, lake.dataset, sources)
    asked = [(replace(f, problem=strangers[f.path]) if f.path in strangers else f, p, rank) for p, f, rank in wanted]
    return sorted((Pending(file, p.stated_at, p.sha256, rank) for file, p, rank in asked), key=_by_statement)


def _by_statement(pending: Pending) -> tuple[int, dt.datetime, str]:
    """What orders files: the one that loses to all others first."""
    return pending.rank, pending.stated_at, pending.file.path


def remember(lake: Lake, todo: Plan, done: Sequence[Mapping[str, Any]]) -> None:
    """Keep what need not be read again: what was found to be nothing new, and what is large and was refused.

    Args:
        lake: The lake.
        todo: The plan that has been carried out.
        done: The rows of the ledger that it led to.
    """
    found = {file.path: Seen(file.path, file.size, file.modified_at, file.etag, sha256) for file, sha256 in todo.seen}
    for row in done:
        settled = row["etag"] or row["ingested_at"] - row["modified_at"] > RACY
        # What the system refused, it may give the next time.
        if row["status"] == "failed" and row["size"] >= LARGE and settled and not row["error"].startswith(UNREADABLE):
            told = {name: row[name] for name in ("path", "size", "modified_at", "etag", "sha256")}
            found[row["path"]] = Seen(**told, refused=row["error"], rules=row["read_by"])
    keep_seen(lake, found)


def hash_if_readable(lake: Lake, file: RawFile) -> str:
    """The hash of a file; none if it cannot be read, and reading it will say why."""
    try:
        return "" if file.problem else hash_file(lake.raw, file.path)
    except (OSError, BaseError):
        return ""


def ranks(frame: pl.DataFrame, name: str, rank: Callable[[str], int]) -> pl.Expr:
    """The ranks of the paths in a column of a frame, of which `rank` tells what sources.toml prefers."""
    known = {path: found for path in frame[name].drop_nulls().unique() if (found := rank(path))}
    # Where nobody prefers anything there is no column to compute.
    return pl.lit(0) if not known else pl.col(name).replace_strict(known, default=0, return_dtype=pl.Int64)
