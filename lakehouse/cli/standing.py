"""What was turned away, what files say against each other, and how to take it back: `quarantine conflicts withdraw`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.bronze import withdraw as take_back
from lakehouse.cli.commands import DONE, At, Json, Limit, Root, console, open_lake
from lakehouse.cli.printing import print_frame, print_json, tell_rest
from lakehouse.lake import Lake
from lakehouse.measures import counted, spell
from lakehouse.reports import choose_series

SHOWN = 50
VALUES = ("open", "high", "low", "close", "volume")


def quarantine(
    *,
    file: Annotated[str, Parameter(help="Pattern of paths below raw/.")] = "",
    reason: Annotated[str, Parameter(help="A part of the reason.")] = "",
    history: Annotated[bool, Parameter(negative="", help="Also of revisions that were replaced since.")] = False,
    limit: Limit = 20,
    at: At = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Show the lines that were turned away and still are, by reason, by file, and as they stand there.

    For example: lakehouse quarantine --file '2024/*' --reason high. Mend the file, run again, look again.
    """
    lake = open_lake(root, quiet=json, at=at)
    lines = _rejected(lake, history)
    if file:
        lines = lines.filter(pl.col("_file").map_elements(lambda path: fnmatchcase(path, file), pl.Boolean))
    if reason:
        lines = lines.filter(pl.col("reasons").list.join("; ").str.contains(reason, literal=True))
    if json:
        print_json(root=lake.root, lines=lines)
        return DONE
    if lines.is_empty():
        console.print("No such line is in quarantine.")
        return DONE
    by_reason = (
        lines.explode("reasons").group_by(reason="reasons").agg(lines=pl.len(), files=pl.col("_file").n_unique())
    )
    by_file = lines.group_by(path="_file").agg(lines=pl.len(), first=pl.col("_line").min(), last=pl.col("_line").max())
    print_frame(console, by_reason.sort("lines", "reason", descending=[True, False]).head(limit), "By reason")
    print_frame(console, by_file.sort("lines", "path", descending=[True, False]).head(limit), "By file")
    console.print(f"[bold]Lines ({lines.height:,})[/]")
    for row in lines.head(limit).iter_rows(named=True):
        console.print(f"{escape(row['_file'])}:{row['_line']}  [dim]{escape('; '.join(row['reasons']))}[/]")
        console.print(f"    {escape(row['raw'][:400])}", soft_wrap=True)
    tell_rest(console, lines.height, limit)
    return DONE


def conflicts(
    *,
    symbol: Annotated[str, Parameter(help="Default: all.")] = "",
    limit: Annotated[int, Parameter(help="Bars to show, the latest first.")] = SHOWN,
    at: At = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Show what files say of bars otherwise than the table does, line against line, and why its values stand.

    For example: lakehouse conflicts --symbol BTCUSDT
    """
    lake = open_lake(root, quiet=json, at=at)
    rows = lake.conflicts.scan() if lake.conflicts.exists() else pl.LazyFrame(schema=lake.conflicts.schema)
    if symbol and lake.bronze.exists():
        choose_series(lake, symbol)  # an error if there is none such, with the nearest that there is
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
    alike = [name for name in ("symbol", "why") if pairs[name].n_unique() == 1]  # stands above
    print_frame(console, told.drop(alike), f"What files say, and not what stands (the latest {shown.height:,})")
    return DONE


def withdraw(pattern: str, *, root: Root = "", json: Json = False) -> int:
    """Take back all that some files stated; bars that other files state too go back to those.

    For example: lakehouse withdraw 'vendor/*'

    Args:
        pattern: Paths below raw/, for example '2024/*'; also of files that are gone from there.
    """
    lake = open_lake(root, quiet=json)
    report = take_back(lake, pattern)
    if json:
        print_json(files=report.files, run_id=report.run_id, seconds=report.seconds)
        return DONE
    print_frame(console, report.files.select("path", "market", "symbol", "interval", "read"), "Withdrawn")
    taken = counted(report.files.height, "file revision")
    console.print(
        f"{taken} taken back from {escape(lake.uri('bronze'))}; back they come when they "
        "change, or raw/sources.toml says something else of them.\n"
        "Next:   lakehouse diff shows what that did to the bars; lakehouse run brings silver and gold after it; "
        "lakehouse again PATTERN takes files back in"
    )
    return DONE


def _rejected(lake: Lake, history: bool) -> pl.DataFrame:
    if not lake.quarantine.exists():
        return pl.DataFrame(schema=lake.quarantine.schema)
    lines = lake.quarantine.scan()
    if not history:
        latest = lake.ledger.scan().sort("stated_at", "ingested_at").unique("path", keep="last")
        lines = lines.join(latest, left_on=["_file", "_sha256"], right_on=["path", "sha256"], how="semi")
    return lines.sort("_file", "_line").collect()


def _word(name: str) -> pl.Expr:
    return pl.col(name).map_elements(spell, pl.String).fill_null("nothing")
