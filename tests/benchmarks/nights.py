"""What a night costs after a year of nights, and what a day of many symbols costs.

A night brings one file of 1m bars for each of two symbols; then silver, gold and the status are made. The second table
gives many symbols three days of 1h bars, and then one day more. Seconds are those of the processor, of all threads
together, since a machine is seldom idle for so long.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from itertools import batched, pairwise
from pathlib import Path

from rich import table

from lakehouse import Lake, Table, ingest, refresh_gold, refresh_silver
from lakehouse.sample import write_sample
from lakehouse.status import read_status

STEPS: dict[str, Callable[[Lake], object]] = {
    "ingest": ingest,
    "silver": refresh_silver,
    "gold": refresh_gold,
    "status": read_status,
}
FIRST = dt.date(2024, 1, 1)


def days(folder: Path, symbol: str, interval: str, first: str, last: str, a_day: int) -> Iterator[tuple[str, str]]:
    """File name and text of one day after the other."""
    paths = write_sample(folder, symbols=[symbol], intervals=[interval], first=first, last=last)
    lines = (line for path in paths for line in path.read_text(encoding="utf-8").splitlines(keepends=True))
    for number, some in enumerate(batched(lines, a_day)):
        yield f"{symbol}-{interval}-{FIRST + dt.timedelta(days=number)}.csv", "".join(some)


def made(root: Path) -> Lake:
    """A lake with nothing in it."""
    (root / "raw").mkdir(parents=True)
    return Lake(root)


def drop(lake: Lake, name: str, text: str) -> None:
    """Lay a file into raw/."""
    path = Path(lake.root, "raw", "binance", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def spent(step: Callable[[Lake], object], lake: Lake) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    step(lake)
    return time.process_time() - cpu, time.perf_counter() - clock


def a_year(folder: Path, nights: int, every: int) -> table.Table:
    """One lake, night after night."""
    lake = made(folder / "year")
    feeds = [days(folder / "made", symbol, "1m", "2024-01", "2024-12", 1440) for symbol in ("BTCUSDT", "ETHUSDT")]
    show = table.Table(
        "nights", *STEPS, "all", "of the first", "files", "log", title="A night, CPU seconds, mean of ten"
    )
    sums, base = dict.fromkeys(STEPS, 0.0), 0.0
    for night, files in enumerate(zip(*feeds, strict=True), 1):
        if night > nights:
            break
        for name, text in files:
            drop(lake, name, text)
        for name, step in STEPS.items():
            sums[name] += spent(step, lake)[0] / 10
        if night % 10:
            continue
        whole = sum(sums.values())
        base = base or whole
        if night == 10 or night % every == 0:
            parquet = sum(len(one.open().file_uris()) for one in tables(lake))
            size = sum(path.stat().st_size for path in Path(lake.root).rglob("_delta_log/*")) / 1e6
            cells = [*(f"{value:.2f}" for value in sums.values()), f"{whole:.2f}", f"{whole / base:.2f} ×"]
            show.add_row(f"{night - 9} to {night}", *cells, str(parquet), f"{size:.1f} MB")
        sums = dict.fromkeys(STEPS, 0.0)
    return show


def tables(lake: Lake) -> list[Table]:
    """All that have been written."""
    found = (lake.bronze, lake.quarantine, lake.ledger, lake.silver, lake.gaps, lake.gold, lake.weekly, lake.monthly)
    return [one for one in found if one.exists()]


def many(folder: Path, counts: list[int]) -> table.Table:
    """A lake for each number of symbols."""
    columns = [f"{when} {name}" for when in ("first", "next") for name in ("ingest", "silver", "gold")]
    show = table.Table("symbols", *columns, "next, clock", title="Three days of 1h bars, then one more; CPU seconds")
    for count in counts:
        lake = made(folder / f"many-{count}")
        feed = [text for _, text in days(folder / "few", "BTCUSDT", "1h", "2024-01", "2024-01", 24)]
        cells, clock = [], 0.0
        for first, last in pairwise((0, 3, 4)):
            for number in range(count):
                drop(lake, f"S{number}USDT-1h-2024-01-{last:02}.csv", "".join(feed[first:last]))
            for name in ("ingest", "silver", "gold"):
                cpu, wall = spent(STEPS[name], lake)
                clock += wall * (first > 0)
                cells.append(f"{cpu:.1f}")
        show.add_row(str(count), *cells, f"{clock:.1f} s")
    return show
