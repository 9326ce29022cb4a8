"""What tables hold, asked and taken along, and their care: `sql export care clone`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import (
    DONE,
    TABLES,
    At,
    Home,
    Json,
    Limit,
    Root,
    TableName,
    check_columns,
    console,
    demand,
    named_table,
    open_lake,
)
from lakehouse.cli.printing import print_frame, print_json, tell_rest
from lakehouse.delta import Care, Table, lost_versions, plan_care, sizes_on_disk
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.layers import clone as clone_lake
from lakehouse.measures import counted
from lakehouse.reports import choose_series, read_days
from lakehouse.status import read_status

EXPORTS = (".csv", ".parquet")
ENGINES = "'duckdb>=1.5'"


def sql(query: str, *, limit: Limit = 50, at: At = "", root: Root = "", json: Json = False) -> int:
    """Ask bronze, quarantine, ledger, conflicts, silver, gaps, mismatches, gold, weekly and monthly, with DuckDB.

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
    there = [name for name in asked if named_table(lake, name).exists()]
    with duckdb.connect() as engine:
        try:
            engine.execute("SET TimeZone = 'UTC'")
            for name in there:
                # Read by deltalake, wherever it is: DuckDB's own reader needs an extension for each kind of bucket.
                engine.register(name, named_table(lake, name).open().to_pyarrow_dataset())
            answer = engine.sql(query)
            # Not `if answer`: that counts its rows, for which the query is carried out a first time.
            return pl.DataFrame() if answer is None else pl.DataFrame(answer.to_arrow_table())
        except duckdb.Error as error:
            lacking = ", ".join(name for name in asked if name not in there) if asked != TABLES else ""
            raise InputError(f"DuckDB says: {error}" + f"\nNot in this lake yet: {lacking}" * bool(lacking)) from error


def export(
    dest: Annotated[Path, Home],
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
    given = {name: value for name, value in wanted.items() if value}
    check_columns(one, one.schema, given)
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


def care(
    *,
    table: Annotated[str, Parameter(help="One table, as bronze or silver. Default: all.")] = "",
    vacuum: Annotated[bool, Parameter(negative="", help="Remove files that only older versions need.")] = False,
    hours: Annotated[
        int, Parameter(help="But not those in use so short a time ago: somebody may still read them.")
    ] = 1,
    keep: Annotated[list[int] | None, Parameter(help="A version to keep readable, repeatable.", negative="")] = None,
    retention_days: Annotated[
        int | None, Parameter(help="From now on older versions may go by themselves. Default: 3650.")
    ] = None,
    yes: Annotated[bool, Parameter(negative="", help="Do it.")] = False,
    root: Root = "",
    json: Json = False,
) -> int:
    """Tell which files are worth joining and which may go, and what that costs in time travel; with --yes do it.

    Joining loses nothing. Removed is what only versions need that are older than retention promises; with --vacuum
    what any older version needs. Versions that a tag names stay readable, and nobody who reads or writes must stop.
    Files of the change feed stay in any case until retention has passed.

    For example: lakehouse care; lakehouse care --table silver --yes; lakehouse care --table bronze --vacuum --keep -2
    """
    lake = open_lake(root, quiet=json)
    demand(hours >= 0, "--hours", hours, "0 or more")
    if retention_days is not None:
        demand(retention_days >= 1, "--retention-days", retention_days, "1 or more")
    if keep and not table:
        raise InputError("--keep names versions of one table; say which with --table")
    lake.retention_days = retention_days
    since = hours if vacuum else None if retention_days is None else 24 * retention_days
    found = [one for one in (named_table(lake, name) for name in ([table] if table else TABLES)) if one.exists()]
    # Numbers from the end are those of now: joining adds a version.
    kept = {one.name: sorted({*(one.at(version).version() for version in keep or ()), *one.tagged()}) for one in found}
    plans = {one.name: plan_care(one.open(), kept[one.name], since) for one in found}
    cut_off = _cut_off(lake, plans)
    done = [_take_care(one, kept[one.name], since, plans[one.name]) for one in found] if yes else []
    if json:
        told = [{"table": name, "kept": kept[name], **asdict(plan)} for name, plan in plans.items()]
        print_json(root=lake.root, plan=told, done=done)
        return DONE
    rows = [
        {"table": name, "files": plan.files, "MB": plan.size / 1e6, "join": plan.joined, "into": plan.into}
        | {"remove": len(plan.removed), "frees MB": plan.freed / 1e6, "unreadable": spans_of(plan.lost)}
        | {"kept": spans_of(kept[name])}
        for name, plan in plans.items()
    ]
    print_frame(console, pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(2)), "Plan")
    if (tags := lake.tags()["tag"].to_list()) and any(kept.values()):
        console.print(f"Kept readable for tags: {escape(', '.join(tags))}")
    for layer, consumed in cut_off:
        console.print(
            f"[bold]{layer} has yet to go on from v{consumed} of its source[/], which would go; after that it is "
            "computed as a whole. `lakehouse run` first brings it up to date",
            highlight=False,
        )
    if yes:
        print_frame(console, pl.DataFrame(done).with_columns(pl.col(pl.Float64).round(2)), "Done")
    elif not rows:
        console.print("No table in this lake yet.")
    elif retention_days is None and not any(plan.joined or plan.removed for plan in plans.values()):
        console.print("Nothing to do." + " --vacuum looks for what only older versions need." * (not vacuum))
    else:
        console.print("Nothing was written; the same with [bold]--yes[/] does it.")
    return DONE


def _cut_off(lake: Lake, plans: Mapping[str, Care]) -> list[tuple[str, int]]:
    """The layers that lie behind, and the version from which each would go on, if it would be unreadable."""
    lost = {name: plan.lost for name, plan in plans.items() if plan.lost}
    if not lost:
        return []
    behind = read_status(lake).layers.filter(pl.col("consumed") < pl.col("latest"))
    rows = behind.select("table", "consumed", "made_from").iter_rows()
    return [(table, consumed) for table, consumed, source in rows if consumed in lost.get(source, ())]


def _take_care(table: Table, kept: Sequence[int], hours: int | None, plan: Care) -> dict[str, object]:
    """Carry a plan out; the account tells what is there afterwards, and not what was planned."""
    there, before = sizes_on_disk(table.uri), table.open()
    table.optimize()
    gone = set(table.vacuum(kept, hours=hours)) if plan.removed else set[str]()
    files = table.files()
    told: dict[str, object] = {"table": table.name, "version": table.version(), "files": files.height}
    told |= {"MB": int(files["size_bytes"].sum()) / 1e6, "removed": len(gone)}
    told |= {"freed MB": sum(there.get(path, 0) for path in gone) / 1e6}
    return told | {"unreadable": spans_of(lost_versions(before, there, gone))}


def spans_of(numbers: Sequence[int]) -> str:
    """Write sorted versions for people: `1 to 3, 7`."""
    spans = list[list[int]]()
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def clone(dest: Annotated[Path, Home], *, root: Root = "", json: Json = False) -> int:
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
