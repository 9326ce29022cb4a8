"""How silver's full build stands against the same result written by hand, and what one corrected bar costs.

    uv run python tests/benchmarks/bench_refresh.py           # about 2 minutes, 2 GB of disk

The other side is one Polars query over bronze, with the same rules, written to Delta in one go: no memory of what was
consumed, no neighbours, no comparison. Each measurement is a process of its own, timed inside it without its imports;
the two sides take turns. Compare ratios of one run, not seconds of two. Prints; asserts nothing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from bench_ingest import OURS as INGEST
from bench_ingest import measure, months
from rich.console import Console
from rich.table import Table

SILVER = """
from lakehouse import Lake, refresh_silver
lake = Lake(sys.argv[1])
began = time.perf_counter()
refresh_silver(lake)
tell(time.perf_counter() - began)
"""
BOTH = """
from lakehouse import Lake, refresh_gold, refresh_silver
lake = Lake(sys.argv[1])
began = time.perf_counter()
done = [refresh_silver(lake), *refresh_gold(lake)]
tell(time.perf_counter() - began)
"""
BY_HAND = """
import polars as pl
from deltalake import write_deltalake
c, second = pl.col, pl.duration(seconds=1)
began = time.perf_counter()
slot, end = c("open_time").dt.truncate("1m"), c("open_time").dt.truncate("1m").dt.offset_by("1m")
spread = (c("high") / c("low")).log()
rows = (
    pl.scan_delta(f"{sys.argv[1]}/bronze/candles").sort("open_time")
    .with_columns(missing=slot.dt.epoch("us") // 60_000_000 - slot.shift().dt.epoch("us") // 60_000_000 - 1,
        past=c("close").shift().rolling_median(15, min_samples=3),
        after=c("close").reverse().shift().rolling_median(15, min_samples=3).reverse(),
        usual=spread.rolling_median(31, min_samples=1, center=True))
    .with_columns(far=pl.max_horizontal(1.0, 10 * c("usual")))
    .select("market", "symbol", "interval", "open_time", "open", "high", "low", "close", "volume", "close_time",
        "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
        log_return=pl.when(c("missing") <= 3).then((c("close") / c("close").shift()).log()), is_filled=pl.lit(False),
        is_off_grid=c("open_time") != slot, closes_early=c("close_time") < end - second,
        is_unfinished=c("_modified_at").is_between(slot, end, closed="left"),
        outlier=pl.when(pl.any_horizontal(
            ((c(n) / c("past")).log().abs() > c("far")) & ((c(n) / c("after")).log().abs() > c("far"))
            for n in ("open", "close"))).then(pl.lit("spike"))
        .when(((c("high") / pl.max_horizontal("open", "close")).log() > c("far"))
            | ((pl.min_horizontal("open", "close") / c("low")).log() > c("far"))).then(pl.lit("wick")))
    .collect()
)
write_deltalake(f"{sys.argv[1]}/hand", rows, partition_by=["market", "symbol", "interval"])
tell(time.perf_counter() - began)
"""


def correct(root: Path, turn: int) -> None:
    """Give one bar of an old month another volume."""
    old = root / "raw" / "BTCUSDT-1m-2024-03.csv"
    lines = old.read_text(encoding="utf-8").splitlines(keepends=True)
    fields = lines[20_000].split(",")
    fields[5] = f"{float(fields[5]) + turn + 1:.8f}"
    lines[20_000] = ",".join(fields)
    old.write_text("".join(lines), encoding="utf-8")
    measure(INGEST, root)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5, help="turns of each measurement, after one to warm up")
    runs = options.parse_args().runs
    show = Table("what", "median", "ratio", title="Silver and gold without Prefect")
    took: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (12, 60):
            root = Path(folder, str(size))
            months(root, f"{2025 - size // 12}-01", "2024-12")
            measure(INGEST, root)
            if size == 60:
                ours, hand = [], []
                for _ in range(runs + 1):
                    for name in ("silver", "hand"):
                        shutil.rmtree(root / name, ignore_errors=True)
                    hand.append(measure(BY_HAND, root)[0])
                    ours.append(measure(SILVER, root)[0])
                ratios = [a / b for a, b in zip(ours[1:], hand[1:], strict=True)]
                told = f"{statistics.median(ratios):.2f} × by hand ({min(ratios):.2f} to {max(ratios):.2f})"
                show.add_row("silver from 60 months of 1m bars", f"{statistics.median(ours[1:]):.2f} s", told)
            measure(BOTH, root)
            times = []
            for turn in range(runs + 1):
                correct(root, turn)
                times.append(measure(BOTH, root)[0])
            took[size] = statistics.median(times[1:])
            ratio = f"{took[size] / took[12]:.2f} × of 12 months" if size > 12 else ""
            show.add_row(f"one corrected bar, silver and gold, {size} months", f"{took[size]:.3f} s", ratio)
            again = [measure(BOTH, root)[0] for _ in range(runs)]
            show.add_row(f"nothing new, silver and gold, {size} months", f"{statistics.median(again):.3f} s", "")
    Console(width=130).print(show)


if __name__ == "__main__":
    main()
