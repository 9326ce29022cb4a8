"""What it costs to go on: corrections into a large table, files larger than memory, silver and gold."""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from clock import Took, measure
from compare import correct, fresh, linked
from rich.table import Table

from lakehouse.sample import write_sample

OURS = ("lakehouse.bronze", "lakehouse.layers")  # are imported before the clock starts
_DAY_ONE = dt.date(2020, 1, 1)  # in the names only: the bars are the sample's


def ingested(root: Path) -> dict[str, int]:
    """raw/ into bronze: what was done, and how many versions it made."""
    from lakehouse import Lake, ingest  # noqa: PLC0415

    lake = Lake(root)
    report = ingest(lake)
    assert report.complete, report.failed
    outcomes = {name: getattr(report, name) for name in ("read", "inserted", "updated")}
    tables = [lake.bronze, lake.quarantine, lake.conflicts, lake.ledger]
    return {**outcomes, "versions": sum(one.open().version() + 1 for one in tables if one.exists())}


def silver(root: Path) -> None:
    from lakehouse import Lake, refresh_silver  # noqa: PLC0415

    refresh_silver(Lake(root))


def gold(root: Path) -> None:
    from lakehouse import Lake, refresh_gold  # noqa: PLC0415

    refresh_gold(Lake(root))


def small(work: Path, symbols: int, days: int) -> Table:
    """Many small files: a day of 1h bars each, the same bars for every symbol."""
    lake, months = work / "lake", -(-days // 28)
    begin = 2025 * 12 - months
    files = write_sample(work / "made", first=f"{begin // 12}-{begin % 12 + 1:02d}", last="2024-12")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    for day in range(days):
        text = "".join(lines[24 * day : 24 * day + 24])
        for letter in string.ascii_uppercase[:symbols]:
            path = lake / "raw" / f"{letter * 3}USDT-1h-{_DAY_ONE + dt.timedelta(day):%Y-%m-%d}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    show = Table("", "lines read", "seconds", "CPU s", "CPU ms a file", "peak MiB")
    for what in (f"first load of {symbols * days:,} files", "nothing new"):
        took = measure(ingested, lake, needs=OURS)
        seconds, cpu, peak = _figures(took)
        show.add_row(what, f"{took.returned['read']:,}", seconds, cpu, f"{1000 * took.cpu / symbols / days:.2f}", peak)
    return show


def gate(work: Path, symbols: int, months: int, joined: bool) -> Table:
    """Corrections into a table of many bars; or, joined, a load of files that are each larger than a batch."""
    lake = work / "lake"
    names = [f"{letter * 3}USDT" for letter in string.ascii_uppercase[:symbols]]
    first = [month for name in names for month in months_of(work, name, months)]
    fresh(lake)
    show = Table("", "lines read", "inserted", "updated", "versions", "seconds", "CPU s", "peak MiB")
    before = 0
    for what in _arrivals(work, lake / "raw" / "binance", names, first, months, joined):
        took = measure(ingested, lake, needs=OURS)
        done = took.returned
        versions, before = done["versions"] - before, done["versions"]
        cells = [f"{done[name]:,}" for name in ("read", "inserted", "updated")]
        show.add_row(what, *cells, str(versions), *_figures(took))
        print(what, *cells, versions, *_figures(took), flush=True)  # it takes long: what is known is told
    return show


def _arrivals(
    work: Path, raw: Path, names: Sequence[str], first: Sequence[Path], months: int, joined: bool
) -> Iterator[str]:
    """Lay what comes next into raw/, and say what it is."""
    if joined:
        raw.mkdir(parents=True)
        for name in names:
            with (raw / f"{name}_1m.csv").open("wb") as one:
                for file in months_of(work, name, months):
                    one.write(file.read_bytes())
        yield f"first load, {len(names)} files of {_size(raw)}"
        yield "nothing new"
        return
    for file in first:
        linked(file, raw / file.parent.name)
    yield f"first load, {_size(raw)}"
    yield "nothing new"
    new, part = max(1, round(months / 20)), len(first) // len(names)
    later = {
        name: write_sample(work / "later" / name, symbols=[name], intervals=["1m"], **_after(new)) for name in names
    }
    for name, files in later.items():
        day = files[0].read_text(encoding="utf-8").splitlines(keepends=True)[:1440]
        (raw / name / f"{name}-1m-2025-01-01.csv").write_text("".join(day), encoding="utf-8")
    yield "a new day for each symbol"
    for at in range(0, len(first), part):
        _restate(first[at : at + part], raw, 0.01, 1)
    yield "1 % corrected, the latest"
    for at in range(0, len(first), part):
        _scattered(first[at : at + part], raw)
    yield "1 % corrected, every hundredth bar"
    for at, files in zip(range(0, len(first), part), later.values(), strict=True):
        _restate(first[at : at + part], raw, 0.05, 3)
        for file in files:
            linked(file, raw / file.parent.name)
    yield "5 % new and 5 % corrected"


def _restate(files: Sequence[Path], raw: Path, share: float, more: int) -> None:
    """Publish the latest files again, with so many of all bars corrected."""
    lines = {file: file.read_bytes().count(b"\n") for file in files}
    left = round(share * sum(lines.values()))
    for file in reversed(files):
        if left > 0:
            correct(file, raw / file.parent.name / file.name, range(max(0, lines[file] - left), lines[file]), more)
            left -= lines[file]


def _scattered(files: Sequence[Path], raw: Path) -> None:
    """A file that states every hundredth bar of all files otherwise, so that no Parquet file is spared."""
    name = files[0].parent.name
    every = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)[50::100]]
    path = raw / name / "patch" / files[0].name
    path.parent.mkdir()
    path.write_text("".join(every), encoding="utf-8")
    correct(path, path, range(len(every)), 2)


def months_of(work: Path, symbol: str, months: int) -> list[Path]:
    """Synthetic months of a symbol; those that are there already are not made again, which takes long."""
    folder, begin = work / "made" / symbol, 2025 * 12 - months
    names = [f"{symbol}-1m-{month // 12}-{month % 12 + 1:02d}" for month in range(begin, 2025 * 12)]
    if not all((folder / f"{name}.csv").exists() for name in names):
        write_sample(folder, symbols=[symbol], intervals=["1m"], first=names[0][-7:], last="2024-12")
    return [folder / f"{name}.csv" for name in names]


def _after(months: int) -> dict[str, str]:
    return {"first": "2025-01", "last": f"2025-{months:02d}"}


def _size(raw: Path) -> str:
    return f"{sum(path.stat().st_size for path in raw.rglob('*.csv')) / 1e9:.2f} GB"


def _figures(took: Took) -> list[str]:
    return [f"{took.seconds:.2f}", f"{took.cpu:.2f}", f"{took.peak:.0f}"]


def layers(work: Path, interval: str, months: Sequence[int], runs: int) -> Table:
    """Silver and gold against the first load; then one bar corrected, and nothing new."""
    show = Table(
        "months", "", "seconds", "CPU s", "× first load", "CPU ×", "peak MiB", title=f"{interval} bars, medians"
    )
    for size in months:
        folder, took = work / str(size), dict[str, list[Took]]()
        begin = 2025 * 12 - size
        first = f"{begin // 12}-{begin % 12 + 1:02d}"
        files = write_sample(folder / "made", intervals=[interval], first=first, last="2024-12")
        for _ in range(runs):
            for what, one in _refreshes(fresh(folder / "lake"), files):
                took.setdefault(what, []).append(one)
        base = took["first load"]
        for what, some in took.items():
            middle = [median([getattr(one, name) for one in some]) for name in ("seconds", "cpu", "peak")]
            ratios = [
                median([getattr(a, name) / getattr(b, name) for a, b in zip(some, base, strict=True)])
                for name in ("seconds", "cpu")
            ]
            show.add_row(
                str(size),
                what,
                f"{middle[0]:.2f}",
                f"{middle[1]:.2f}",
                *map("{:.2f}".format, ratios),
                f"{middle[2]:.0f}",
            )
    return show


def _refreshes(lake: Path, files: Sequence[Path]) -> Iterator[tuple[str, Took]]:
    raw = lake / "raw"
    for file in files:
        linked(file, raw)
    yield "first load", measure(ingested, lake, needs=OURS)
    yield "silver", measure(silver, lake, needs=OURS)
    yield "gold", measure(gold, lake, needs=OURS)
    old = files[len(files) // 2]
    correct(old, raw / old.name, range(20_000, 20_001))
    yield "one bar corrected: bronze", measure(ingested, lake, needs=OURS)
    yield "one bar corrected: silver", measure(silver, lake, needs=OURS)
    yield "one bar corrected: gold", measure(gold, lake, needs=OURS)
    yield "nothing new: silver", measure(silver, lake, needs=OURS)
    yield "nothing new: gold", measure(gold, lake, needs=OURS)
