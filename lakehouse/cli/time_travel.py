"""What happened to a table, what changed, and the way back: `versions diff restore again plan tag`."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.bronze import ingest
from lakehouse.cli.commands import (
    DONE,
    INCOMPLETE,
    At,
    Json,
    Limit,
    Root,
    TableName,
    agreed,
    check_columns,
    console,
    named_table,
    open_lake,
)
from lakehouse.cli.printing import print_frame, print_json, print_report, print_versions, tell_rest
from lakehouse.delta import Table
from lakehouse.errors import InputError
from lakehouse.layers import rehearse
from lakehouse.measures import spell
from lakehouse.progress import Bar
from lakehouse.reports import choose_series
from lakehouse.status import versions_since

Symbol = Annotated[str, Parameter(help="Only of this symbol; the same for --interval and --market.")]
Only = Annotated[str, Parameter(show=False)]


def versions(
    *, table: TableName = "bronze", limit: Limit = 20, at: At = "", root: Root = "", json: Json = False
) -> int:
    """Show what each commit did to a table, the latest first.

    For example: lakehouse versions --table silver
    """
    lake = open_lake(root, quiet=json, at=at)
    one = named_table(lake, table)
    found = one.versions()
    if json:
        print_json(root=lake.root, table=one.name, versions=found)
    else:
        print_versions(console, found.head(limit), f"Versions of {one.name} ({found.height:,})")
        tell_rest(console, found.height, limit)
    return DONE


def diff(
    before: int | None = None,
    after: int = -1,
    *,
    since: Annotated[str, Parameter(help="A day, a time, or how long ago, or a tag: 2024-12-01, 24h, 7d.")] = "",
    table: TableName = "bronze",
    symbol: Symbol = "",
    interval: Only = "",
    market: Only = "",
    limit: Limit = 20,
    at: At = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Show which rows changed between two versions, from what to what, and which line of which file changed them.

    For example: lakehouse diff, which is what the last run that changed something did; lakehouse diff 3 5;
    lakehouse diff --since 7d --symbol BTCUSDT

    Args:
        before: A version; negative ones count from the end.
        after: The other one.
    """
    lake = open_lake(root, quiet=json, at=at)
    one = named_table(lake, table)
    if before is None and since and since in lake.tags()["tag"]:
        before = lake.tagged(since).get(one.name, 0)
    elif before is None:
        before, after = versions_since(one, since)
    elif since:
        raise InputError("give two versions or --since, not both")
    before, after = (one.at(version).version() for version in (before, after))
    changes = one.diff(before, after)
    wanted = {"symbol": symbol, "interval": interval, "market": market}
    given = {name: value for name, value in wanted.items() if value}
    check_columns(one, changes.columns, given)
    changes = changes.filter(**given)
    if given and changes.is_empty():
        choose_series(lake, symbol, interval, market)  # an error if there is none such, with the nearest that there is
    if json:
        print_json(root=lake.root, table=one.name, before=before, after=after, changes=changes)
        return DONE
    _print_changes(one, changes, f"{one.name}, v{before} to v{after}", limit)
    return DONE


def restore(
    version: int,
    *,
    table: TableName = "bronze",
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
    root: Root = "",
    json: Json = False,
) -> int:
    """Make an earlier version the latest again, as a new version: nothing is lost. Says what that undoes, and asks.

    For example: lakehouse restore -2, which undoes the last commit

    Args:
        version: Which; negative ones count from the end.
    """
    lake = open_lake(root, quiet=json)
    one = named_table(lake, table)
    now, wanted = one.version(), one.at(version).version()
    if json and not yes:
        raise InputError("a machine is not asked: --json needs --yes")
    if not yes:
        undone = one.versions().filter(pl.col("version") > wanted)
        print_versions(console, undone, f"Would be undone: {one.name}, v{now} back to v{wanted}")
        more = f"`lakehouse diff {now} {wanted}` shows more"
        _print_changes(one, one.diff(now, wanted), "What that changes", 5, more)
        if not agreed("Go back?"):
            return INCOMPLETE
    made = one.restore(version)
    if json:
        print_json(root=lake.root, table=one.name, was=now, restored=wanted, version=made)
        return DONE
    console.print(f"{one.name} is as it was at v{wanted}, now as v{made}.")
    if table == "bronze":
        console.print(
            "Next:   lakehouse run brings silver and gold after it; lakehouse again PATTERN takes files back in"
        )
    return DONE


def again(pattern: str, *, root: Root = "", json: Json = False) -> int:
    """Take files once more that have not changed: what a restore has rolled back, what is recognised otherwise now.

    For example: lakehouse again '2024/*'

    Args:
        pattern: Of paths below raw/; * stands for any letters, slashes too.
    """
    lake = open_lake(root, quiet=json)
    with Bar(desc="ingest") as bar:
        report = ingest(lake, again=pattern, on_progress=bar.reach)
    if json:
        print_json(files=report.files, untouched=report.untouched, run_id=report.run_id, seconds=report.seconds)
    else:
        print_report(console, lake, report)
    return DONE if report.complete else INCOMPLETE


def plan(*, limit: Limit = 20, root: Root = "", json: Json = False) -> int:
    """Tell exactly what a run would do to bronze, file by file and bar by bar, and write nothing.

    For example: lakehouse plan && lakehouse run
    """
    lake = open_lake(root, quiet=json)
    with Bar(desc="plan") as bar:
        report, changes = rehearse(lake, on_progress=bar.reach)
    if json:
        print_json(root=lake.root, files=report.files, untouched=report.untouched, changes=changes)
        return DONE if report.complete else INCOMPLETE
    print_report(console, lake, report)
    updated = changes.filter(pl.col("change") != "inserted") if changes.height else changes
    _print_changes(lake.bronze, updated, "Bars that a run would change", limit)
    console.print("Nothing was written.")
    return DONE if report.complete else INCOMPLETE


def tag(
    name: str = "",
    *,
    remove: Annotated[bool, Parameter(negative="", help="Take the tag away; the tables stay as they are.")] = False,
    root: Root = "",
    json: Json = False,
) -> int:
    """Give a name to what all tables are now: --at NAME reads that, and `care --vacuum` keeps it. No name: list them.

    For example: lakehouse tag before-the-fix && lakehouse run && lakehouse diff --since before-the-fix

    Args:
        name: Letters, digits, '.', '_' and '-', a letter first.
    """
    lake = open_lake(root, quiet=json)
    if name and remove:
        lake.untag(name)
    elif name:
        lake.tag(name)
    elif remove:
        raise InputError("--remove needs the name of a tag")
    if json:
        print_json(root=lake.root, tags=lake.tags(), versions=lake.tagged(name) if name and not remove else {})
        return DONE
    tags = lake.tags()
    print_frame(console, tags, "Tags, and the versions of candles and days that they stand for")
    if tags.is_empty():
        console.print("No tag in this lake.")
    return DONE


def _print_changes(table: Table, changes: pl.DataFrame, title: str, limit: int, rest: str = "") -> None:
    """Show changed rows, a line for each column that is another."""
    if changes.is_empty():
        console.print(f"{escape(title)}: no row changed")
        return
    kinds = ", ".join(
        f"{count:,} {kind}" for kind, count in changes.group_by("change").len().sort("change").iter_rows()
    )
    keys = [name for name in table.key if name in changes.columns]
    lines = [
        {
            **{name: row[name] for name in keys},
            "change": row["change"],
            "values": _values(row, changes.columns),
            "stated_by": _origin(row, changes.columns),
        }
        for row in changes.head(limit).iter_rows(named=True)
    ]
    shown = pl.DataFrame(lines, infer_schema_length=None)
    alike = {name: shown[name][0] for name in keys if shown[name].n_unique() == 1 and changes[name].n_unique() == 1}
    about = ", ".join(str(value) for value in alike.values() if isinstance(value, str))
    empty = ["stated_by"] if (shown["stated_by"] == "").all() else []
    shown = shown.drop(*(name for name, value in alike.items() if isinstance(value, str)), *empty)
    print_frame(console, shown, f"{title}: {kinds}" + (f" ({about})" if about else ""))
    tell_rest(console, changes.height, limit, rest)


def _values(row: dict[str, object], columns: list[str]) -> str:
    names = [name.removesuffix("_after") for name in columns if name.endswith("_after") and not name.startswith("_")]
    if row["change"] == "updated":
        moved = [name for name in names if row[f"{name}_before"] != row[f"{name}_after"]]
        return ", ".join(f"{name} {spell(row[f'{name}_before'])} → {spell(row[f'{name}_after'])}" for name in moved)
    side = "after" if row["change"] == "inserted" else "before"
    shown = [name for name in names if name in ("open", "close")] or names[:3]
    return ", ".join(f"{name} {spell(row[f'{name}_{side}'])}" for name in shown)


def _origin(row: dict[str, object], columns: list[str]) -> str:
    side = "before" if row["change"] == "deleted" else "after"
    if f"_file_{side}" not in columns or not row[f"_file_{side}"]:
        return ""
    return f"{row[f'_file_{side}']}:{row[f'_line_{side}']}"
