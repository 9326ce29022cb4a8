"""How ingest stands against the bare floor, and how its cost grows. Prints ratios; asserts nothing.

    uv run python tests/benchmarks/bench_ingest.py            # about 3 minutes, 1 GB of disk
    uv run python tests/benchmarks/bench_ingest.py --huge     # also 3 GB of CSV: 6 minutes, 8 GB of disk

The floor parses the same files with a known schema and writes them to Delta: no checks, no provenance, no account.
Each measurement is a process of its own, timed inside it without its imports; the two sides take turns. Machines
are noisy: compare ratios of one run, not seconds of two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lakehouse.sample import write_sample

CLOCK = """
import json, resource, sys, time
def tell(seconds): print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
OURS = """
from lakehouse import Lake, ingest
lake = Lake(sys.argv[1])
began = time.perf_counter()
report = ingest(lake)
tell(time.perf_counter() - began)
assert report.complete, report.failed
"""
FLOOR = """
import polars as pl
numbers = ("open_time", "close_time", "trades", "ignore")
names = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades",
         "taker_buy_volume", "taker_buy_quote_volume", "ignore"]
schema = {name: pl.Int64 if name in numbers else pl.Float64 for name in names}
began = time.perf_counter()
times = [pl.from_epoch(name, "us").dt.replace_time_zone("UTC") for name in ("open_time", "close_time")]
(
    pl.scan_csv(f"{sys.argv[1]}/raw/**/*.csv", has_header=False, schema=schema, include_file_paths="_file")
    .with_columns(*times, symbol=pl.lit("BTCUSDT"), interval=pl.lit("1m"))
    .drop("ignore")
    .sink_delta(f"{sys.argv[1]}/floor", mode="append")
)
tell(time.perf_counter() - began)
"""


def measure(code: str, root: Path) -> tuple[float, float]:
    """Run a piece of code in a process of its own: seconds, and peak memory in MiB."""
    done = subprocess.run([sys.executable, "-c", CLOCK + code, str(root)], check=True, capture_output=True, text=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def fresh(root: Path) -> None:
    """Forget the tables."""
    for name in ("bronze", "floor"):
        shutil.rmtree(root / name, ignore_errors=True)


def months(root: Path, first: str, last: str) -> list[Path]:
    """Put synthetic months of 1m bars into root/raw."""
    return write_sample(root / "raw", symbols=["BTCUSDT"], intervals=["1m"], first=first, last=last)


def first_load(root: Path, runs: int, show: Table) -> None:
    months(root, "2020-01", "2024-12")
    ours, floor, memory = [], [], 0.0
    for _ in range(runs + 1):
        fresh(root)
        floor.append(measure(FLOOR, root)[0])
        seconds, peak = measure(OURS, root)
        ours.append(seconds)
        memory = max(memory, peak)
    ratios = [a / b for a, b in zip(ours[1:], floor[1:], strict=True)]  # the first turn warms up
    size = sum(path.stat().st_size for path in (root / "raw").glob("*.csv")) / 1e6
    ratio = f"{statistics.median(ratios):.2f} × the floor ({min(ratios):.2f} to {max(ratios):.2f})"
    seconds = f"{statistics.median(ours[1:]):.2f} s"
    show.add_row(f"first load, 60 months of 1m ({size:.0f} MB)", seconds, ratio, f"{memory:.0f}")
    again = [measure(OURS, root) for _ in range(runs)]
    show.add_row(
        "nothing new", f"{statistics.median(s for s, _ in again):.3f} s", "", f"{max(m for _, m in again):.0f}"
    )


def new_month(work: Path, runs: int, show: Table) -> None:
    """A new month into 12 and into 120 months; then five bars of an old month corrected."""
    took: dict[int, list[float]] = {12: [], 120: []}
    corrected: dict[int, list[float]] = {12: [], 120: []}
    lakes = {12: work / "12", 120: work / "120"}
    for size, root in lakes.items():
        months(root, f"{2024 - size // 12}-01", "2023-12")
        measure(OURS, root)
    for turn in range(runs + 1):
        for size, root in lakes.items():
            (path,) = months(root, f"2024-{turn + 1:02d}", f"2024-{turn + 1:02d}")
            took[size].append(measure(OURS, root)[0])
            old = root / "raw" / "BTCUSDT-1m-2023-03.csv"
            lines = old.read_text(encoding="utf-8").splitlines(keepends=True)
            for row in range(20_000, 20_005):
                fields = lines[row].split(",")
                fields[5] = f"{float(fields[5]) + turn + 1:.8f}"
                lines[row] = ",".join(fields)
            old.write_text("".join(lines), encoding="utf-8")
            corrected[size].append(measure(OURS, root)[0])
            assert path.exists()
    middle = {size: statistics.median(seconds[1:]) for size, seconds in took.items()}
    mended = {size: statistics.median(seconds[1:]) for size, seconds in corrected.items()}
    show.add_row("one new month into 12 months", f"{middle[12]:.3f} s", "", "")
    show.add_row(
        "one new month into 120 months", f"{middle[120]:.3f} s", f"{middle[120] / middle[12]:.2f} × into 12", ""
    )
    for size in lakes:
        ratio = f"{mended[size] / middle[size]:.2f} × the month's own ingest"
        show.add_row(f"five bars of an old month corrected, {size} months", f"{mended[size]:.3f} s", ratio, "")


def memory(work: Path, show: Table) -> None:
    """Peak memory at 3 GB of CSV: 60 months of eight symbols."""
    root = work / "huge"
    symbols = [f"{letter * 3}USDT" for letter in "ABCDEFGH"]
    write_sample(root / "raw", symbols=symbols, intervals=["1m"], first="2020-01", last="2024-12")
    size = sum(path.stat().st_size for path in (root / "raw").glob("*.csv")) / 1e9
    seconds, peak = measure(OURS, root)
    show.add_row(f"first load, {size:.1f} GB in {len(symbols)} symbols", f"{seconds:.1f} s", "", f"{peak:.0f}")
    (root / "raw" / "one").mkdir()
    with (root / "raw" / "one" / "ZZZUSDT_1m.csv").open("wb") as one:
        for path in sorted((root / "raw").glob("AAAUSDT-*.csv")):
            one.write(path.read_bytes())
    fresh(root)
    for path in (root / "raw").glob("*.csv"):
        path.unlink()
    seconds, peak = measure(OURS, root)
    show.add_row("first load, 60 months in a single file", f"{seconds:.1f} s", "", f"{peak:.0f}")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5, help="turns of each measurement, after one to warm up")
    options.add_argument("--huge", action="store_true", help="also measure 3 GB")
    told = options.parse_args()
    show = Table("what", "median", "ratio", "peak MiB", title="Ingest without Prefect")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        first_load(work / "60", told.runs, show)
        new_month(work, told.runs, show)
        if told.huge:
            memory(work, show)
    Console(width=130).print(show)


if __name__ == "__main__":
    main()
