"""What tables hold, shown and taken along: `quarantine`, `export`, `clone`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import DONE, INCOMPLETE, Json, Root, app, console
from lakehouse.cli.lakes import TableName, agreed, named_table, open_lake
from lakehouse.cli.printing import print_frame, print_json
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.layers import clone as clone_lake
from lakehouse.reports import choose_series, read_days

EXPORTS = (".csv", ".parquet")


@app.command
def quarantine(
    *,
    file: Annotated[str, Parameter(help="Pattern of paths below raw/.")] = "",
    reason: Annotated[str, Parameter(help="A part of the reason.")] = "",
    history: Annotated[bool, Parameter(negative="", help="Also of revisions that were replaced since.")] = False,
    limit: Annotated[int, Parameter(help="Lines that are shown; --json has all.")] = 20,
    root: Root = "",
    json: Json = False,
) -> int:
    """Show the lines that were turned away and still are, by reason, by file, and as they stand there.

    For example: lakehouse quarantine --file '2024/*' --reason high. Mend the file, run again, look again.
    """
    lake = open_lake(root, quiet=json)
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
    if lines.height > limit:
        console.print(f"… and {lines.height - limit:,} more; --limit {lines.height} or --json shows all")
    return DONE


@app.command
def export(
    dest: Path,
    *,
    table: TableName = "bronze",
    symbol: str = "",
    interval: str = "",
    market: str = "",
    start: Annotated[str, Parameter(help="First day, for example 2024-03-01.")] = "",
    end: Annotated[str, Parameter(help="Last day, included.")] = "",
    version: Annotated[int, Parameter(help="Of the table; negative ones count from the end.")] = -1,
    provenance: Annotated[bool, Parameter(negative="", help="With the columns that say who stated a row.")] = False,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace what is there.")] = False,
    root: Root = "",
) -> int:
    """Write rows of a table to a CSV or Parquet file, sorted by key.

    For example: lakehouse export btc.parquet --symbol BTCUSDT --interval 1h --start 2024-12-01

    Args:
        dest: A name that ends in .csv or .parquet.
    """
    lake = open_lake(root)
    one = named_table(lake, table)
    _check_dest(lake, dest, overwrite)
    first, last = read_days(start, end)
    wanted = {"symbol": symbol, "interval": interval, "market": market}
    given = {name: value for name, value in wanted.items() if value and name in one.schema}
    rows = one.scan(version).filter(**given) if given else one.scan(version)
    if start or end:
        time = next((name for name in ("open_time", "first", "ingested_at", "rejected_at") if name in one.schema), "")
        rows = rows.filter(pl.col(time).dt.date().is_between(first, last))
    found = rows.sort(one.key).collect()
    if found.is_empty():
        if given and lake.bronze.exists():
            choose_series(lake, symbol, interval, market)  # says what there is
        raise InputError(f"{one.name} v{one.at(version).version()} has no such row; nothing was written")
    if not provenance and not {"_file", "_line"} & set(one.key):
        found = found.select(name for name in found.columns if not name.startswith("_"))
    part = dest.with_name(f".{dest.name}.part")
    if dest.suffix == ".csv":
        lists = [name for name, dtype in found.schema.items() if isinstance(dtype, pl.List)]
        found.with_columns(pl.col(lists).list.join("; ")).write_csv(part, datetime_format="%Y-%m-%d %H:%M:%S%.f%:z")
    else:
        found.write_parquet(part)
    part.replace(dest)
    told = f"{found.height:,} rows of {one.name} v{one.at(version).version()}"
    console.print(f"{told} in {escape(str(dest))}, {dest.stat().st_size / 1e3:,.0f} kB", soft_wrap=True)
    return DONE


@app.command
def care(
    *,
    table: TableName = "bronze",
    vacuum: Annotated[bool, Parameter(negative="", help="Remove files that only older versions need.")] = False,
    keep: Annotated[list[int] | None, Parameter(help="A version to keep readable, repeatable.", negative="")] = None,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask before files are removed.")] = False,
    root: Root = "",
) -> int:
    """Join a table's small files; with --vacuum also remove old ones, after which older versions cannot be read.

    For example: lakehouse care --table silver; lakehouse care --vacuum --keep -2
    """
    one = named_table(open_lake(root), table)
    fewer = one.optimize()
    console.print(f"{one.name}: {fewer:,} files fewer, {one.files().height:,} now")
    if not vacuum:
        return DONE
    goes = one.vacuum(keep or (), dry_run=True)
    if (
        goes
        and not yes
        and not agreed(f"{len(goes):,} files would be removed; versions that need them are lost. Go on?")
    ):
        return INCOMPLETE
    console.print(f"{one.name}: {len(one.vacuum(keep or ())):,} files removed")
    return DONE


@app.command
def clone(dest: Path, *, root: Root = "") -> int:
    """Make a lake to try things on: all tables with their history, Parquet files linked and not copied, a copy of raw/.

    For example: lakehouse clone /tmp/trial && lakehouse restore 3 --root /tmp/trial

    Args:
        dest: A folder that is not there yet.
    """
    made = clone_lake(open_lake(root), dest)
    console.print(f"Cloned: {escape(made.root)}; throw it away by removing the folder", soft_wrap=True)
    return DONE


def _rejected(lake: Lake, history: bool) -> pl.DataFrame:
    if not lake.quarantine.exists():
        return pl.DataFrame(schema=lake.quarantine.schema)
    lines = lake.quarantine.scan()
    if not history:
        latest = lake.ledger.scan().sort("stated_at", "ingested_at").unique("path", keep="last")
        lines = lines.join(latest, left_on=["_file", "_sha256"], right_on=["path", "sha256"], how="semi")
    return lines.sort("_file", "_line").collect()


def _check_dest(lake: Lake, dest: Path, overwrite: bool) -> None:
    if dest.suffix not in EXPORTS:
        raise InputError(f"{dest} ends in '{dest.suffix}'; expected {' or '.join(EXPORTS)}")
    if not dest.parent.is_dir():
        raise InputError(f"no folder {dest.parent}; make it first")
    if "://" not in lake.raw_uri and dest.resolve().is_relative_to(Path(lake.raw_uri).resolve()):
        raise InputError(f"{dest} lies in raw/, from where it would be read as a new statement; name another folder")
    if dest.exists() and not overwrite:
        raise InputError(f"{dest} is there; say --overwrite, or name another file")
