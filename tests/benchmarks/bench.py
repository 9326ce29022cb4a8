"""How fast, measured on this machine: one command.

    uv run --group peers python tests/benchmarks/bench.py             # every side in turn: a table, a CSV, a chart
    uv run python tests/benchmarks/bench.py --quick                   # the same in small, and without the peers
    uv run python tests/benchmarks/bench.py gate --symbols 23         # corrections into 60 million rows
    uv run python tests/benchmarks/bench.py small                     # ten thousand files of a day each
    uv run python tests/benchmarks/bench.py layers                    # silver and gold
    uv run python tests/benchmarks/bench.py timeline                  # what the threads of a first load do
    uv run python tests/benchmarks/bench.py nights                    # what a night costs after a year of nights

Compare ratios of one run, not seconds of two; where others use the machine, compare CPU seconds. Asserts nothing but
that every side's table holds what the files say.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import growth
import polars as pl
import timeline as timelines
from compare import compare, linked, made
from cyclopts import App
from nights import a_year, many
from rich.console import Console
from sides import SIDES
from told import draw, steps, table

app = App(help=__doc__, help_format="plaintext")
console = Console(width=150)


@contextmanager
def place(work: Path | None) -> Iterator[Path]:
    """A folder that is named and stays, or one that goes."""
    if work:
        work.mkdir(parents=True, exist_ok=True)
        yield work
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


@app.default
def sides(
    *,
    months: int = 60,
    runs: int = 5,
    side: list[str] | None = None,
    quick: bool = False,
    by: Literal["seconds", "cpu"] = "seconds",
    out: Path = Path("runs/speed.csv"),
    picture: Path | None = None,
    work: Path | None = None,
) -> None:
    """Every side in turn: first load, again, a new month, five bars corrected, zipped.

    Args:
        months: Of 1m bars, 6.9 MB each.
        runs: Turns, of which the medians are told.
        side: Only these, beside the floor.
        quick: 6 months, 2 turns, the floor and ours.
        by: What the chart shows; the terminal has both.
        out: Where each measurement goes, as CSV.
        picture: Where the chart goes, as PNG.
        work: A folder on the disk that is to be measured.
    """
    months, runs, side = (6, 2, side or ["ours"]) if quick else (months, runs, side)
    out.parent.mkdir(parents=True, exist_ok=True)
    measured = pl.DataFrame()
    with place(work) as folder:
        for rows in compare(folder, months, runs, side or [*SIDES], console.print):
            measured = pl.concat([measured, rows]) if measured.height else rows
            measured.write_csv(out)  # whoever breaks it off keeps what is known
    console.print(table(measured, "seconds"), table(measured, "cpu"), steps(measured, months), f"→ {out}", sep="\n")
    if picture:
        draw(measured, by, f"{months} months of 1m bars", picture)


@app.command
def chart(measured: Path, picture: Path, *, by: Literal["seconds", "cpu"] = "seconds", what: str = "") -> None:
    """Draw what was measured before.

    Args:
        measured: The CSV.
        picture: Where the chart goes, as PNG.
        by: What it shows.
        what: Was measured, for the chart's subtitle.
    """
    draw(pl.read_csv(measured), by, what or "60 months of 1m bars", picture)


@app.command
def gate(*, symbols: int = 4, months: int = 12, joined: bool = False, work: Path | None = None) -> None:
    """Corrections into a large table: the same again, a new day, 1 % corrected, 5 % new and 5 % corrected.

    Args:
        symbols: 23 of 60 months are 60 million bars: 9.3 GB of CSV, 3 GB of tables, and 20 minutes to make them.
        months: Of 1m bars for each.
        joined: One file a symbol, of all its months, and only the first load.
        work: A folder to keep; the files that it has are not made again.
    """
    with place(work) as folder:
        console.print(growth.gate(folder, symbols, months, joined))


@app.command
def small(*, symbols: int = 10, days: int = 1000) -> None:
    """Many small files, a day of 1h bars each: first load, and nothing new.

    Args:
        symbols: Of so many, up to 26.
        days: So many files for each.
    """
    with place(None) as folder:
        console.print(growth.small(folder, symbols, days))


@app.command
def layers(*, interval: str = "1m", months: list[int] | None = None, runs: int = 3, work: Path | None = None) -> None:
    """Silver and gold against the first load; then one bar corrected, and nothing new.

    Args:
        interval: Of the bars; 12 months of 1s are 31.6 million.
        months: Each is a lake.
        runs: Turns, of which the medians are told.
        work: A folder to keep.
    """
    with place(work) as folder:
        console.print(growth.layers(folder, interval, months or [12, 60], runs))


@app.command
def timeline(*, months: int = 60, picture: Path = Path("runs/timeline.png")) -> None:
    """Draw which threads of a first load are busy, and which stage runs when; on Linux.

    Args:
        months: Of 1m bars.
        picture: Where it goes, as PNG.
    """
    with place(None) as folder:
        for file in made(folder, months).months:
            linked(file, folder / "lake" / "raw")
        timelines.draw(*timelines.timeline(folder / "lake"), os.cpu_count() or 1, picture)
    console.print(f"→ {picture}")


@app.command
def nights(*, nights: int = 300, every: int = 30, symbols: list[int] | None = None) -> None:
    """What a night costs after a year of nights, and what a day of many symbols costs.

    Args:
        nights: How many; each brings a day of 1m bars of two symbols.
        every: The last ten of so many are shown.
        symbols: Lakes of so many symbols, which have three days of 1h bars and get one more.
    """
    with place(None) as folder:
        console.print(a_year(folder, nights, every), many(folder, symbols or [50, 200, 1000]), sep="\n")


if __name__ == "__main__":
    app()
