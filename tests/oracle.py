"""What bronze must be after a history of runs, told line by line in plain Python. It shares no code with lakehouse/.

It knows files as the tests write them: a header of canonical names, or 6 or 7 fields by position; epoch ms or µs.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

POSITIONS = ["open_time", "open", "high", "low", "close", "volume", "trades"]
VALUES = POSITIONS[1:]
ABSENT = ["close_time", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"]  # no file of the tests has them
MISSING = ("", "null", "nan")
YEAR_1900, YEAR_2100 = -2_208_988_800_000_000, 4_102_444_800_000_000

Files = Mapping[str, tuple[bytes, int]]  # path below raw/ → bytes, modified at (epoch µs)
Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Statement:
    """A line that gives a key its values; `order` is what the newest statement has most of."""

    order: tuple[int, str, int]
    key: Key
    values: tuple[float | None, ...]
    line: int
    sha256: str

    def row(self) -> dict[str, object]:
        """The row of bronze that shows this statement."""
        key = dict(zip(("market", "symbol", "interval", "open_time"), self.key, strict=True))
        told = {"_file": self.order[1], "_line": self.line, "_sha256": self.sha256, "_modified_at": self.order[0]}
        return {**key, **dict(zip(VALUES, self.values, strict=True)), **dict.fromkeys(ABSENT), **told}


@dataclass
class Revision:
    """A file as it was when a run took it."""

    path: str
    sha256: str
    size: int
    modified_at: int
    stated_at: int
    counts: Counter[str]  # read, rejected, skipped; and the fates, which hold if the run was one batch


class Oracle:
    """The lake as it must be; `run` is told what lies in raw/ whenever ingest runs."""

    def __init__(self) -> None:
        self.rows: dict[Key, Statement] = {}
        self.stated: dict[Key, list[Statement]] = defaultdict(list)
        self.quarantine: dict[tuple[str, str, int], str] = {}
        self.ledger: list[Revision] = []

    def run(self, raw: Files) -> list[Revision]:
        """Take every new revision, as one batch; returns them."""
        last = {revision.path: revision for revision in self.ledger}
        pending = [new for path, file in raw.items() if (new := _revision(path, *file, last.get(path)))]
        told: dict[Key, list[tuple[Statement, Revision]]] = defaultdict(list)
        for revision in pending:
            statements, bad, skipped = read_lines(revision, raw[revision.path][0])
            revision.counts.update(read=len(statements) + len(bad), rejected=len(bad), skipped=skipped)
            self.quarantine |= {(revision.path, revision.sha256, line): text for line, text in bad.items()}
            for statement in statements:
                told[statement.key].append((statement, revision))
        present = {(path, r.sha256) for path, r in last.items() if path in raw and _sha256(raw[path][0]) == r.sha256}
        for key, claims in told.items():
            claims.sort(key=lambda claim: claim[0].order)
            newest, revision = claims[-1]
            revision.counts[self._settle(newest, present)] += 1
            for lost, its in claims[:-1]:
                its.counts["superseded" if lost.values == self.rows[key].values else "overruled"] += 1
            self.stated[key] += [statement for statement, _ in claims]
        self.ledger += pending
        return pending

    def _settle(self, new: Statement, present: set[tuple[str, str]]) -> str:
        row = self.rows.get(new.key)
        if row is None:
            self.rows[new.key] = new
            return "inserted"
        if new.order < row.order:
            return "superseded" if new.values == row.values else "overruled"
        if new.values == row.values:
            return "unchanged"
        # What confirmed the row since counts too, as long as its file is still there to be read.
        if any(s.order > new.order for s in self.stated[new.key] if (s.order[1], s.sha256) in present):
            return "overruled"
        self.rows[new.key] = new
        return "updated"

    def may_show(self, key: Key) -> list[Statement]:
        """The statements that a row may show if a run was cut into batches: those with the newest one's values."""
        return [statement for statement in self.stated[key] if statement.values == self.rows[key].values]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _revision(path: str, data: bytes, modified_at: int, last: Revision | None) -> Revision | None:
    new = Revision(path, _sha256(data), len(data), modified_at, modified_at, Counter())
    if last is None:
        return new
    if (new.size, new.modified_at) == (last.size, last.modified_at) or new.sha256 == last.sha256:
        return None
    return replace(new, stated_at=max(modified_at, last.stated_at + 1))


def read_lines(revision: Revision, data: bytes) -> tuple[list[Statement], dict[int, str], int]:
    """Read a file: its statements, its bad lines by number, and how many lines are neither."""
    lines = (gzip.decompress(data) if revision.path.endswith(".gz") else data).decode("utf-8-sig").split("\n")
    lines = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    header = next((line for line in lines[:1] if "open_time" in line), "")
    width = Counter(line.count(",") + 1 for line in lines if line).most_common(1)[0][0] if any(lines) else 0
    columns = header.split(",") if header else POSITIONS[:width]
    market, name = revision.path.split("/")
    good: list[tuple[int, Key, tuple[float | None, ...]]] = []
    bad: dict[int, str] = {}
    skipped = 0
    for number, line in enumerate(lines, 1):
        if not line.strip() or line == header:
            skipped += 1
            continue
        try:
            fields = dict(zip(columns, next(csv.reader([line])), strict=True))
            values = _values(fields)
            symbol = fields.get("symbol", name[:7]).upper().replace("/", "")
            good.append((number, (market, symbol, "1h", _micros(fields["open_time"])), values))
        except ValueError:
            bad[number] = line
    sign = -1 if good and good[0][1][3] > good[-1][1][3] else 1
    order = (revision.stated_at, revision.path)
    return [Statement((*order, n * sign), key, values, n, revision.sha256) for n, key, values in good], bad, skipped


def _micros(word: str) -> int:
    number = int(word)
    micros = number if number >= 10**14 else number * 1000
    if number < 10**8 or not YEAR_1900 <= micros < YEAR_2100:
        raise ValueError(word)
    return micros


def _values(fields: Mapping[str, str]) -> tuple[float | None, ...]:
    words = {name: fields.get(name, "").strip() for name in VALUES}
    values = {name: None if word.lower() in MISSING else float(word) for name, word in words.items()}
    *prices, volume, trades = values.values()
    known = [price for price in prices if price is not None]
    if len(known) < 4 or not all(math.isfinite(value) for value in values.values() if value is not None):
        raise ValueError("a value is missing or not finite")
    if values["high"] != max(known) or values["low"] != min(known) or min(volume or 0, trades or 0) < 0:
        raise ValueError("high, low or an amount is out of order")
    if trades is not None and trades % 1:
        raise ValueError("trades is not a whole number")
    return tuple(values.values())
