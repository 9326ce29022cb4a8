"""What comes every night: files from a public archive, a stand-in for that one on this machine, and the schedule."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from lakehouse.bronze import MAX_CONFLICTS
from lakehouse.cli.commands import DONE, INCOMPLETE, Json, Root, console, demand, load_flow, open_lake
from lakehouse.cli.printing import FILES_SHOWN, print_download, print_frame, print_json
from lakehouse.cli.run import MaxConflicts
from lakehouse.download import FAULTS, SOURCES, StandIn, download_wanted, list_archive
from lakehouse.download import download as bring
from lakehouse.download import missing as explain
from lakehouse.errors import InputError
from lakehouse.intervals import EXPECTED, read_interval, seconds_of
from lakehouse.measures import counted
from lakehouse.progress import Bar

From = Annotated[str, Parameter(name="--source", help=f"Which archive: {' or '.join(SOURCES)}.")]
Market = Annotated[str, Parameter(help="Of Binance spot, um (futures in USDT) or cm (in coins); of Bybit linear.")]
Kind = Annotated[str, Parameter(help="klines; of Binance's futures also mark, index, premium.")]
Intervals = Annotated[
    list[str] | None, Parameter(name="--interval", help="1s to 1mo, repeatable. Default: 1h.", negative="")
]
Address = Annotated[str, Parameter(help="Default: LAKEHOUSE_ARCHIVE_URL, else the public one.")]


@Parameter(name="*")  # each field is an option of the command itself
@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an archive is meant, beside its symbols."""

    interval: Intervals = None
    first: Annotated[str, Parameter(name="--from", help="First month or day. Default: the archive's.")] = ""
    last: Annotated[str, Parameter(name="--to", help="Last month or day, included. Default: the archive's.")] = ""
    source: From = "binance"
    market: Market = ""
    kind: Kind = "klines"
    archive: Address = ""

    @property
    def span(self) -> dict[str, str]:
        """As the functions of `lakehouse.download` take it."""
        return {name: getattr(self, name) for name in ("first", "last", "source", "market", "kind")}

    def refuse(self) -> None:
        """See that nothing was asked for that raw/download.toml alone says."""
        if replace(self, archive="") != WANTED:
            raise InputError("no symbol was named; without one, raw/download.toml says what, and it alone")


WANTED = Wanted()


def download(
    *symbols: str,
    wanted: Wanted = WANTED,
    list_: Annotated[bool, Parameter(name="--list", negative="", help="Show what the archive has.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Tell files and bytes, fetch nothing.")] = False,
    parallel: Annotated[int, Parameter(help="Files at a time.")] = 8,
    root: Root = "",
    json: Json = False,
) -> int:
    """Bring klines of a public archive into raw/, each file verified; again costs a listing only.

    For example: lakehouse download BTCUSDT ETHUSDT --interval 1h --from 2024-01

    Args:
        symbols: Such as BTCUSDT ETHUSDT. None: what the tables [[download]] of raw/download.toml name.
    """
    if list_:
        about = {name: getattr(wanted, name) for name in ("market", "kind", "source", "archive")}
        there = list_archive(symbols, wanted.interval or (), **about)
        if json:
            print_json(series=there)
        elif symbols:
            print_frame(console, there, "In the archive; monthly and daily files state the same bars")
        else:
            console.print(", ".join(there["symbol"]), f"\n{there.height:,} symbols; name some to see their spans")
        return DONE
    if root and Path(root).is_dir() and not dry_run:  # an empty folder that is named becomes a lake
        Path(root, "raw").mkdir(exist_ok=True)
    lake = open_lake(root, quiet=json)
    with Bar(desc="download") as bar:
        options = {"archive": wanted.archive, "parallel": parallel, "dry_run": dry_run}
        if symbols:
            report = bring(lake, symbols, wanted.interval or ["1h"], **wanted.span, **options, on_progress=bar.reach)  # type: ignore[arg-type]
        else:
            wanted.refuse()
            report = download_wanted(lake, **options, on_progress=bar.reach)  # type: ignore[arg-type]
    if json:
        told = {name: getattr(report, name) for name in ("files", "untouched", "notes", "unmet", "seconds")}
        print_json(**told, size=report.size)
    else:
        print_download(console, lake, report)
    return DONE if report.complete else INCOMPLETE


def missing(
    *symbols: str,
    wanted: Wanted = WANTED,
    root: Root = "",
    json: Json = False,
) -> int:
    """Say why bars are missing: not fetched, never published, delisted, an outage; and how to fetch what is there.

    For example: lakehouse missing BTCUSDT --interval 1h

    Args:
        symbols: Such as BTCUSDT ETHUSDT. None: what the tables [[download]] of raw/download.toml name.
    """
    if not symbols:
        wanted.refuse()
    holes = explain(
        open_lake(root, quiet=json), symbols, wanted.interval or ["1h"], **wanted.span, archive=wanted.archive
    )
    if json:
        print_json(missing=holes)
    else:
        options = f" --kind {wanted.kind}" * (wanted.kind != "klines")
        print_missing(console, holes, options + f" --archive {wanted.archive}" * bool(wanted.archive))
    return DONE


def archive(
    *,
    port: int = 8765,
    symbol: Annotated[list[str] | None, Parameter(help="Repeatable.", negative="")] = None,
    interval: Intervals = None,
    first: Annotated[str, Parameter(name="--from", help="First month.")] = "2024-11",
    last: Annotated[str, Parameter(name="--to", help="Last month, which is not complete yet.")] = "2025-02",
    source: From = "binance",
    market: Market = "",
    kind: Kind = "klines",
    fault: Annotated[
        list[str] | None, Parameter(help=f"Happens to one file each, repeatable: {', '.join(FAULTS)}.", negative="")
    ] = None,
) -> int:
    """Serve an archive of synthetic klines on this machine, to try `lakehouse download` without network.

    For example: lakehouse archive --fault flip
    """
    demand(0 <= port <= 65535, "--port", port, "0 to 65535; 0 for any that is free")
    with StandIn(port) as there:
        there.publish_sample(symbol or ["BTCUSDT", "ETHUSDT"], interval or ["1h"], first, last, market, kind, source)
        files = sorted(key for key in there.files if key.endswith((".zip", ".gz")))
        for at, name in enumerate(fault or []):
            there.fail(files[at % len(files)], name)
        console.print(f"{counted(len(files), 'synthetic file')} at {there.url}, until Ctrl-C. In another terminal:")
        which = f" --source {source}" * (source != "binance")
        which += (f" --interval {interval[0]}" if interval else "") + f" --market {market}" * bool(market)
        which += f" --kind {kind}" * (kind != "klines")
        name = symbol[0] if symbol else "BTCUSDT"
        console.print(f"lakehouse download {name}{which} --archive {there.url}", soft_wrap=True)
        while True:
            time.sleep(1)


def serve(
    *,
    cron: Annotated[str, Parameter(help="When, as '15 1 * * *': minute, hour, day, month, day of the week.")] = "",
    every: Annotated[str, Parameter(help="How long from one run to the next, as 6h; instead of --cron.")] = "",
    timezone: Annotated[str, Parameter(help="Whose clock --cron means, as Europe/Berlin.")] = "UTC",
    download: Annotated[bool, Parameter(negative="", help="First bring what raw/download.toml names.")] = False,
    max_rejected: Annotated[float, Parameter(help="As of `lakehouse run`.")] = 1.0,
    min_completeness: Annotated[float, Parameter(help="As of `lakehouse run`.")] = 0.0,
    max_conflicts: MaxConflicts = MAX_CONFLICTS,
    notebook: Annotated[str, Parameter(help="Then execute this one, as report.")] = "",
    parameter: Annotated[
        list[str] | None, Parameter(name=["--parameter", "-p"], help="Its name=value,value, repeatable.", negative="")
    ] = None,
    notify: Annotated[
        str, Parameter(help="A webhook that is told of failures; kept by the server.", env_var="LAKEHOUSE_NOTIFY_URL")
    ] = "",
    root: Root = "",
) -> int:
    """Register the schedule with the Prefect server of PREFECT_API_URL, and run what is due until Ctrl-C.

    For example: lakehouse serve --cron '15 1 * * *' --download --notebook report
    """
    lake, words = open_lake(root), {}
    if every and (not (interval := read_interval(every)) or interval == "1mo"):
        raise InputError(f"--every is {every}; expected {EXPECTED.replace(', or 1mo', '')}")
    if notebook:
        from lakehouse.notebooks import read_grid  # noqa: PLC0415  papermill takes a second to import

        if strange := next((word for word in parameter or [] if "=" not in word), ""):
            raise InputError(f"-p {strange} tells no value; expected name=value,value")
        words = read_grid(notebook, {"root": lake.root, **dict(w.partition("=")[::2] for w in parameter or [])})
    elif parameter:
        raise InputError("-p is for a notebook; name one with --notebook")
    limits = {"max_rejected": max_rejected, "min_completeness": min_completeness, "max_conflicts": max_conflicts}
    timetable = load_flow("Timetable", verbose=True)(
        lake,
        cron,
        dt.timedelta(seconds=seconds_of(interval)) if every else None,
        timezone,
        {"download": download, "on_breach": "fail", **limits},
        notebook,
        words,
        notify,
    )
    load_flow("serve")(timetable)
    return DONE


def print_missing(console: Console, holes: pl.DataFrame, options: str) -> None:
    """Show why bars are missing, and the commands that fetch what can be fetched.

    Args:
        console: Where.
        holes: See `download.missing`.
        options: What these commands need beside symbol, interval, days and market.
    """
    if holes.is_empty():
        console.print("Nothing is missing of what the archive has.")
        return
    there = pl.col("fetch").list.len()
    print_frame(console, holes.with_columns(fetch=pl.when(there > 0).then(there)), "Missing bars, and files to fetch")
    ways = holes.filter(there > 0).select("source", "symbol", "interval", "market", "first", "last").rows()
    for source, symbol, interval, market, first, last in ways[:FILES_SHOWN]:
        where = f"--interval {interval}" + f" --source {source}" * (source != "binance")
        where += f" --market {market}" * (market != "spot")
        days = [(slot + SOURCES[source].ahead).date() for slot in (first, last)]
        way = f"lakehouse download {symbol} {where} --from {days[0]} --to {days[1]}{options}"
        console.print(escape(way), soft_wrap=True, highlight=False)
    if len(ways) > FILES_SHOWN:
        console.print(f"… and {len(ways) - FILES_SHOWN:,} more; `lakehouse missing --json` has all")
