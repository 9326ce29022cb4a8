"""What need not be read again, and what this program would read otherwise than the one that took it.

What was hashed in vain is remembered beside the tables, in `bronze/seen.parquet`, since it adds no version to any of
them. Large files that were refused stand there too: they fail at every run, but are not unpacked for it while nothing
has changed; and how a file that an earlier program took would be read now. That is a cache: without it the same files
are read once more.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import obstore
import polars as pl
from obstore.exceptions import BaseError

from lakehouse.delta import open_store
from lakehouse.errors import FileRefused, LakeError
from lakehouse.lake import Lake
from lakehouse.raw import UNREADABLE, FileChanged, RawFile, hash_file, stat
from lakehouse.recognise import Declared, declared_for, open_file

SEEN = "seen.parquet"
HEAD_BYTES = 2**21  # of a file: what tells how it is read, ten thousand bars and more
_TEXTS = ("etag", "sha256", "refused", "rules", "read_as")
_SCHEMA = {"path": pl.String(), "size": pl.Int64(), "modified_at": pl.Datetime("us", "UTC")}
_SCHEMA |= dict.fromkeys(_TEXTS, pl.String())


class Seen(NamedTuple):
    """A file that was looked at: it was nothing new, or `refused` or `read_as` tells what comes of it by some rules."""

    path: str
    size: int
    modified_at: dt.datetime
    etag: str | None
    sha256: str
    refused: str = ""
    rules: str = ""
    read_as: str = ""

    def is_of(self, file: RawFile) -> bool:
        """Whether that was the file as it is listed now."""
        return file.is_still(self.size, self.modified_at, self.etag)


def read_seen(lake: Lake) -> dict[str, Seen]:
    """What is remembered, by path."""
    try:
        held = obstore.get(open_store(lake.uri("bronze")), SEEN).bytes()
        rows = pl.read_parquet(io.BytesIO(bytes(held))).select(*_SCHEMA).iter_rows()
    except (LakeError, BaseError, OSError, pl.exceptions.PolarsError):  # none yet, or not ours: it is a cache
        return {}
    return {row[0]: Seen(*row) for row in rows}


def keep_seen(lake: Lake, found: Mapping[str, Seen]) -> None:
    """Remember files, unless all that is known already."""
    if not found or found.items() <= (held := read_seen(lake)).items() or not lake.ledger.exists():
        return
    buffer = io.BytesIO()
    pl.DataFrame([*(held | dict(found)).values()], schema=_SCHEMA, orient="row").write_parquet(buffer)
    with contextlib.suppress(BaseError, OSError):  # a lake that cannot be written to reads again, as it did before
        obstore.put(open_store(lake.uri("bronze")), SEEN, buffer.getvalue())


def rules_of(lake: Lake, sources: Sequence[Declared]) -> Callable[[str], str]:
    """A digest, for each path, of all that says how a file is read but the file: code, what is wanted and declared."""
    dataset = lake.dataset
    wanted = f"{program()} {(dataset.name, dataset.synonyms, dataset.positional, dataset.refusals)}"
    digest = cache(lambda declared: hashlib.sha256(f"{wanted} {declared}".encode()).hexdigest()[:16])
    return lambda path: digest(declared_for(path, sources))


@cache
def program() -> str:
    """A digest of the code and the tables that tell what a file is, and read it."""
    package = Path(__file__).parents[1]
    code = [path for wing in ("raw", "recognise") for path in sorted((package / wing).glob("*.*"))]
    code += [package / f"{name}.py" for name in ("contracts", "dataset", "intervals")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()


def read_otherwise(
    lake: Lake, taken: pl.DataFrame, sources: Sequence[Declared], most: int | None = None
) -> tuple[dict[str, str], int]:
    """Find the files that were taken by other rules than those of now, and would be read otherwise by these.

    A file is opened for it once for each set of rules, and only its first `HEAD_BYTES` are parsed; those that today's
    rules have taken are not looked at. One that has changed since is left to the next run.

    Args:
        lake: The lake.
        taken: Rows of the ledger.
        sources: What sources.toml says.
        most: How many files to open at most; the next look goes on from there.

    Returns:
        Path → what is told otherwise, in words; and how many files have not been looked at yet.
    """
    rules, held, found = rules_of(lake, sources), read_seen(lake), dict[str, Seen]()
    otherwise, opened, left = dict[str, str](), 0, 0
    for row in taken.iter_rows(named=True):
        path, by = row["path"], rules(row["path"])
        if row["read_by"] == by:
            continue
        seen = held.get(path)
        if not seen or (seen.rules, seen.sha256) != (by, row["sha256"]) or not seen.read_as:
            if opened == most:
                left += 1
                continue
            opened += 1
            if not (seen := _look(lake, path, by, sources)):
                continue
            found[path] = seen
        if seen.sha256 == row["sha256"] and (told := _tell(row, json.loads(seen.read_as))):
            otherwise[path] = told
    keep_seen(lake, found)
    return otherwise, left


def _look(lake: Lake, path: str, rules: str, sources: Sequence[Declared]) -> Seen | None:
    """Tell as what a file would be read now; None if it is gone."""
    with contextlib.suppress(FileChanged, BaseError, OSError):
        file = stat(lake.raw, path)
        try:
            opened = open_file(lake.raw, file, lake.dataset, declared_for(path, sources), {}, HEAD_BYTES)
            sha256, read_as = opened.sha256, opened.form.as_text()
        except FileRefused as error:
            if str(error).startswith(UNREADABLE):  # what the system refuses, no rule does
                return None
            sha256, read_as = hash_file(lake.raw, path), json.dumps({"refused": str(error)})
        return Seen(path, file.size, file.modified_at, file.etag, sha256, rules=rules, read_as=read_as)
    return None


def _tell(row: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In which ways a file is read otherwise now than a row of the ledger says; "" in none."""
    if row["read_as"]:
        before = json.loads(row["read_as"])
    else:  # an older program did not write that down: what the file was taken as has to do
        before = {name: row[name] for name in ("layout", "market", "symbol", "interval") if row[name]}
        now = {name: now[name] for name in (*before, "refused") if name in now}
        before = {name: word for name, word in before.items() if name in now or name != "symbol"}
    ways = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    return "; ".join(f"{name}: {before.get(name, '')} → {now.get(name, '')}" for name in ways)
