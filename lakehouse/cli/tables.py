"""What tables hold, asked and taken along, and their care: `sql export care clone`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import (
    DONE,
    INCOMPLETE,
    TABLES,
    At,
    Json,
    Limit,
    Root,
    TableName,
    agreed,
    app,
    console,
    named_table,
    open_lake,
)
from lakehouse.cli.printing import print_frame, print_json, tell_rest
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.layers import clone as clone_lake
from lakehouse.measures import counted
from lakehouse.reports import choose_series, read_days

EXPORTS = (".csv", ".parquet")
ENGINES = "'duckdb>=1.5'"


@app.command
def sql(query: str, *, limit: Limit = 50, at: At = "", root: Root = "", json: Json = False) -> int:
    """Ask the lake's tables with DuckDB: bronze, quarantine, ledger, conflicts, silver, gaps, gold, weekly, monthly.

    For example: lakehouse sql "select symbol, count(*) as bars, max(close) as top from bronze group by symbol"

    Args:
        query: SQL as DuckDB has it. It sees the tables as they are when it begins, and times in UTC.
    """
    lake = open_lake(root, quiet=json, at=at)
    found = _ask(lake, query)
    if json:
        print_json(root=lake.root, rows=found)
        return DONE
    print_frame(console, found.head(limit), "")
    if found.is_empty():
        console.print("No row.")
    tell_rest(console, found.height, limit)
    return DONE


def _ask(lake: Lake, query: str) -> pl.DataFrame:
    try:
        import duckdb  # noqa: PLC0415  not everybody has it
    except ImportError as error:
        raise InputError(f"`lakehouse sql` needs DuckDB: uv sync --extra engines, or pip install {ENGINES}") from error
    # Opening a table in a bucket takes its time: those that are not named wait for a query that names none.
    asked = [name for name in TABLES if name in query.casefold()] or TABLES
    with duckdb.connect() as engine:
        try:
            engine.execute("SET TimeZone = 'UTC'")
            for name in asked:
                # Read by deltalake, wherever it is: DuckDB's own reader needs an extension for each kind of bucket.
                if (table := named_table(lake, name)).exists():
                    engine.register(name, table.open().to_pyarrow_dataset())
            answer = engine.sql(query)
            return pl.DataFrame(answer.to_arrow_table()) if answer else pl.DataFrame()
        except duckdb.Error as error:
            raise InputError(f"DuckDB says: {error}") from error


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
    at: At = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Write rows of a table to a CSV or Parquet file, sorted by key.

    For example: lakehouse export btc.parquet --symbol BTCUSDT --interval 1h --start 2024-12-01

    Args:
        dest: A name that ends in .csv or .parquet.
    """
    lake = open_lake(root, quiet=json, at=at)
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
    if json:
        stands = {"table": one.name, "version": one.at(version).version(), "rows": found.height}
        print_json(root=lake.root, file=str(dest), bytes=dest.stat().st_size, **stands)
        return DONE
    told = f"{counted(found.height, 'row')} of {one.name} v{one.at(version).version()}"
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
    json: Json = False,
) -> int:
    """Join a table's small files; with --vacuum also remove old ones, after which older versions cannot be read.

    Versions that a tag names stay readable.

    For example: lakehouse care --table silver; lakehouse care --vacuum --keep -2
    """
    one = named_table(open_lake(root, quiet=json), table)
    fewer, there, gone = one.optimize(), one.files().height, list[str]()
    if not json:
        console.print(f"{one.name}: {counted(fewer, 'file')} fewer, {there:,} now")
    if not vacuum:
        if json:
            print_json(table=one.name, fewer=fewer, files=there, removed=gone)
        return DONE
    goes = one.vacuum(keep or (), dry_run=True)
    if (
        goes
        and not yes
        and not agreed(f"{counted(len(goes), 'file')} would be removed; versions that need them are lost. Go on?")
    ):
        return INCOMPLETE
    gone = one.vacuum(keep or ())
    if json:
        print_json(table=one.name, fewer=fewer, files=there, removed=gone)
    else:
        console.print(f"{one.name}: {counted(len(gone), 'file')} removed")
    return DONE


@app.command
def clone(dest: Path, *, root: Root = "", json: Json = False) -> int:
    """Make a lake to try things on: all tables with their history, Parquet files linked and not copied, a copy of raw/.

    For example: lakehouse clone /tmp/trial && lakehouse restore 3 --root /tmp/trial

    Args:
        dest: A folder that is not there yet.
    """
    made = clone_lake(open_lake(root, quiet=json), dest)
    if json:
        print_json(root=made.root)
        return DONE
    console.print(f"Cloned: {escape(made.root)}; throw it away by removing the folder", soft_wrap=True)
    return DONE


def _check_dest(lake: Lake, dest: Path, overwrite: bool) -> None:
    if dest.suffix not in EXPORTS:
        raise InputError(f"{dest} ends in '{dest.suffix}'; expected {' or '.join(EXPORTS)}")
    if not dest.parent.is_dir():
        raise InputError(f"no folder {dest.parent}; make it first")
    if "://" not in lake.raw_uri and dest.resolve().is_relative_to(Path(lake.raw_uri).resolve()):
        raise InputError(f"{dest} lies in raw/, from where it would be read as a new statement; name another folder")
    if dest.exists() and not overwrite:
        raise InputError(f"{dest} is there; say --overwrite, or name another file")
