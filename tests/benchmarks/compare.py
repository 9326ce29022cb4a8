"""The same files, every side in turn: frames of what each case took."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from clock import Took, measure
from sides import SIDES, Side, four_steps

from lakehouse.sample import write_sample

FIRST, AGAIN, MONTH, FIVE, ZIPPED = CASES = (
    "first load",
    "nothing new",
    "one new month",
    "five bars corrected",
    "first load of zips",
)
FLOOR, LIMIT = "floor", "limit"
TOO_LONG = 60.0  # CPU seconds of a turn beyond which a side is measured once


class Files(NamedTuple):
    """What lies ready: the months of a first load, a new one, one of them corrected, and the same zipped."""

    months: Sequence[Path]
    new: Path
    corrected: Path
    zips: Sequence[Path]


def compare(
    work: Path, months: int, runs: int, names: Sequence[str], say: Callable[[str], object]
) -> Iterator[pl.DataFrame]:
    """Measure every side in turn.

    Args:
        work: An empty folder.
        months: Of 1m bars, 6.9 MB each.
        runs: Turns.
        names: Of sides; the floor is always one.
        say: Told what is skipped, and why.

    Yields:
        side, case, turn, seconds, cpu, peak: a row for each case, when a side has had its turn.
    """
    files = made(work, months)
    wanted = {name: side for name, side in SIDES.items() if name in (FLOOR, *names)}
    for name in [name for name, side in wanted.items() if side.missing]:
        say(f"{name}: skipped, there is no {wanted[name].missing}; `uv run --group peers` brings it")
        del wanted[name]
    for turn in range(runs):
        alone = measure(four_steps, fresh(work / "turn"), files.months)
        cpu = sum(alone.returned.values())
        yield rows_of(LIMIT, turn, [(FIRST, Took(cpu / (os.cpu_count() or 1), cpu, alone.peak))])
        yield rows_of(LIMIT, turn, [(step, Took(spent, spent, alone.peak)) for step, spent in alone.returned.items()])
        for name in [*wanted]:
            try:
                took = list(cases(wanted[name], fresh(work / "turn"), files))
            except RuntimeError as error:  # a peer that cannot do it here is told of, and the others go on
                if name in (FLOOR, "ours"):
                    raise
                say(f"{name}: left out: {str(error).splitlines()[-1]}")
                del wanted[name]
                continue
            yield rows_of(name, turn, took)
            if sum(one.cpu for _, one in took) > TOO_LONG and turn + 1 < runs:
                say(f"{name}: one turn only, it takes so long")
                del wanted[name]


def rows_of(side: str, turn: int, took: Sequence[tuple[str, Took]]) -> pl.DataFrame:
    rows = [(side, case, turn, one.seconds, one.cpu, one.peak) for case, one in took]
    return pl.DataFrame(rows, ["side", "case", "turn", "seconds", "cpu", "peak"], orient="row")


def cases(side: Side, root: Path, files: Files) -> Iterator[tuple[str, Took]]:
    """One side from its first load on; at its end its table is held against the files."""

    def run(call: Callable[..., object], *some: Path) -> Took:
        return measure(call, root, some, needs=side.needs, ready=side.ready)

    raw = root / "raw"
    there = [linked(file, raw) for file in files.months]
    yield FIRST, run(side.load, *there)
    yield AGAIN, run(side.load, *there)
    yield MONTH, run(side.upsert, linked(files.new, raw))
    (raw / files.corrected.name).unlink()
    yield FIVE, run(side.upsert, linked(files.corrected, raw))
    held = measure(side.total, root, needs=side.needs).returned
    stated = [sum(column) for column in zip(*map(total, raw.glob("*.csv")), strict=True)]
    assert held == stated, f"the table has {held} bars and trades, the files state {stated}"
    if side.zipped:
        fresh(root)
        yield ZIPPED, run(side.load, *(linked(file, raw) for file in files.zips))


def made(work: Path, months: int) -> Files:
    """Synthetic months in milliseconds, the last before Binance's archive changed to microseconds."""
    begin = 2024 * 12 + 11 - months
    first = f"{begin // 12}-{begin % 12 + 1:02d}"
    *base, new = write_sample(work / "made", intervals=["1m"], first=first, last="2024-12")
    old = base[len(base) // 2]
    corrected = correct(old, work / "corrected" / old.name, range(20_000, 20_005))
    zips = [work / "zips" / file.with_suffix(".zip").name for file in base]
    fresh(work / "zips")
    for file, path in zip(base, zips, strict=True):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, file.name)
    return Files(base, new, corrected, zips)


def correct(old: Path, path: Path, lines: range, more: int = 1) -> Path:
    """A copy of a file in which some lines tell more trades."""
    text = old.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        fields = text[line].split(",")
        fields[8] = str(int(fields[8]) + more)
        text[line] = ",".join(fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # never through a hard link
    path.write_text("".join(text), encoding="utf-8", newline="\n")
    return path


def total(file: Path) -> tuple[int, int]:
    """Lines of a file, and the sum of their trades; told without any library, for what a table is held against."""
    trades = [int(line.split(",", 9)[8]) for line in file.read_text(encoding="utf-8").splitlines()]
    return len(trades), sum(trades)


def linked(file: Path, folder: Path) -> Path:
    """The same file in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    os.link(file, folder / file.name)
    return folder / file.name


def fresh(root: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root
