"""`lakehouse conflicts` and `lakehouse withdraw`: what files say against each other, and how to take it back."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.bronze import withdraw as take_back
from lakehouse.cli.commands import DONE, Json, Root, app, console
from lakehouse.cli.printing import print_frame, print_json
from lakehouse.lake import Lake

SHOWN = 50
VALUES = ("open", "high", "low", "close", "volume")


@app.command
def conflicts(
    *,
    symbol: Annotated[str, Parameter(help="Default: all.")] = "",
    limit: Annotated[int, Parameter(help="Bars to show, the latest first.")] = SHOWN,
    root: Root = "",
    json: Json = False,
) -> int:
    """Show what files say of bars otherwise than the table does, line against line, and why its values stand."""
    lake = Lake(root or None)
    rows = lake.conflicts.scan() if lake.conflicts.exists() else pl.LazyFrame(schema=lake.conflicts.schema)
    found = rows.filter(pl.col("symbol") == symbol) if symbol else rows
    shown = found.sort("open_time", "_file", descending=[True, False]).head(limit).collect()
    where = shown.select(pl.min("open_time").alias("low"), pl.max("open_time").alias("high")).row(0)
    key = list(lake.dataset.key)
    stands = lake.bronze.scan().filter(pl.col("open_time").is_between(*where)) if shown.height else shown.lazy()
    now = stands.select(*key, pl.col(VALUES).name.suffix("_won")).collect()
    shown = shown.join(now, on=key, how="left", maintain_order="left")
    pairs = found.group_by("market", "symbol", "interval", "_file", "_file_won", "why").agg(bars=pl.len()).collect()
    pairs = pairs.sort("bars", "_file", "_file_won", descending=[True, False, False])
    if json:
        print_json(pairs=pairs, bars=shown)
        return DONE
    if pairs.is_empty():
        console.print("No file says of a bar otherwise than the table does.")
    print_frame(console, pairs.rename({"_file": "path", "_file_won": "loses to"}), "Files that say otherwise")
    differ = [
        pl.when(pl.col(n).ne_missing(pl.col(f"{n}_won"))).then(
            pl.format(f"{n} {{}}, not {{}}", _word(n), _word(f"{n}_won"))
        )
        for n in VALUES
    ]
    told = shown.select(
        *("symbol", "open_time", "why"),
        pl.concat_str(differ, separator="; ", ignore_nulls=True).alias("says"),
        pl.format("{}:{}", "_file", "_line").alias("stated_by"),
        pl.format("{}:{}", "_file_won", "_line_won").alias("loses to"),
    )
    print_frame(console, told, f"What files say, and not what stands (the latest {shown.height:,})")
    return DONE


@app.command
def withdraw(pattern: str, *, root: Root = "", json: Json = False) -> int:
    """Take back all that some files stated; bars that other files state too go back to those.

    Args:
        pattern: Paths below raw/, for example '2024/*'; also of files that are gone from there.
    """
    lake = Lake(root or None)
    report = take_back(lake, pattern)
    if json:
        print_json(files=report.files, run_id=report.run_id, seconds=report.seconds)
        return DONE
    print_frame(console, report.files.select("path", "market", "symbol", "interval", "read"), "Withdrawn")
    console.print(
        f"{report.files.height:,} file revision(s) taken back from {escape(lake.uri('bronze'))}. They come back when "
        "they change, when raw/sources.toml says something else of them, or with `lakehouse ingest --again PATTERN`."
    )
    return DONE


def _word(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).fill_null("nothing")
