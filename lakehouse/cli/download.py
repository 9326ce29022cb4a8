"""`lakehouse download`, and `lakehouse archive`, which stands in for the public one on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from lakehouse.cli.commands import DONE, INCOMPLETE, Json, Root, app, console, open_lake
from lakehouse.cli.printing import FILES_SHOWN, print_download, print_frame, print_json
from lakehouse.download import FAULTS, StandIn, download_wanted, list_archive
from lakehouse.download import download as bring
from lakehouse.download import missing as explain
from lakehouse.errors import InputError
from lakehouse.measures import counted
from lakehouse.progress import Bar

Market = Annotated[str, Parameter(help="spot, um (futures in USDT) or cm (futures in coins).")]
Kind = Annotated[str, Parameter(help="klines; of futures also mark, index, premium.")]
Intervals = Annotated[
    list[str] | None, Parameter(name="--interval", help="1s to 1mo, repeatable. Default: 1h.", negative="")
]
Address = Annotated[str, Parameter(help="Default: LAKEHOUSE_ARCHIVE_URL, else Binance's public archive.")]


@app.command
def download(
    *symbols: str,
    interval: Intervals = None,
    first: Annotated[str, Parameter(name="--from", help="First month or day. Default: all.")] = "",
    last: Annotated[str, Parameter(name="--to", help="Last month or day, included. Default: all.")] = "",
    market: Market = "spot",
    kind: Kind = "klines",
    list_: Annotated[bool, Parameter(name="--list", negative="", help="Show what the archive has.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Tell files and bytes, fetch nothing.")] = False,
    parallel: Annotated[int, Parameter(help="Files at a time.")] = 8,
    archive: Address = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Bring klines of Binance's public archive into raw/, each file verified; again costs a listing only.

    For example: lakehouse download BTCUSDT ETHUSDT --interval 1h --from 2024-01

    Args:
        symbols: Such as BTCUSDT ETHUSDT. None: what the tables [[download]] of raw/download.toml name.
    """
    if list_:
        there = list_archive(symbols, interval or (), market=market, kind=kind, archive=archive)
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
        options = {"archive": archive, "parallel": parallel, "dry_run": dry_run}
        if symbols:
            span = {"first": first, "last": last, "market": market, "kind": kind}
            report = bring(lake, symbols, interval or ["1h"], **span, **options, on_progress=bar.reach)  # type: ignore[arg-type]
        else:
            _refuse_options(interval, first, last, market, kind)
            report = download_wanted(lake, **options, on_progress=bar.reach)  # type: ignore[arg-type]
    if json:
        told = {name: getattr(report, name) for name in ("files", "untouched", "notes", "unmet", "seconds")}
        print_json(**told, size=report.size)
    else:
        print_download(console, lake, report)
    return DONE if report.complete else INCOMPLETE


@app.command
def missing(
    *symbols: str,
    interval: Intervals = None,
    first: Annotated[str, Parameter(name="--from", help="First month or day. Default: the archive's.")] = "",
    last: Annotated[str, Parameter(name="--to", help="Last month or day, included. Default: the archive's.")] = "",
    market: Market = "spot",
    kind: Kind = "klines",
    archive: Address = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Say why bars are missing: not fetched, never published, delisted, an outage; and how to fetch what is there.

    For example: lakehouse missing BTCUSDT --interval 1h

    Args:
        symbols: Such as BTCUSDT ETHUSDT. None: what the tables [[download]] of raw/download.toml name.
    """
    span = {"first": first, "last": last, "market": market, "kind": kind}
    if not symbols:
        _refuse_options(interval, first, last, market, kind)
    holes = explain(open_lake(root, quiet=json), symbols, interval or ["1h"], **span, archive=archive)
    if json:
        print_json(missing=holes)
    else:
        print_missing(console, holes, f" --kind {kind}" * (kind != "klines") + f" --archive {archive}" * bool(archive))
    return DONE


@app.command
def archive(
    *,
    port: int = 8765,
    symbol: Annotated[list[str] | None, Parameter(help="Repeatable.", negative="")] = None,
    interval: Intervals = None,
    first: Annotated[str, Parameter(name="--from", help="First month.")] = "2024-11",
    last: Annotated[str, Parameter(name="--to", help="Last month, which is not complete yet.")] = "2025-02",
    market: Market = "spot",
    kind: Kind = "klines",
    fault: Annotated[
        list[str] | None, Parameter(help=f"Happens to one file each, repeatable: {', '.join(FAULTS)}.", negative="")
    ] = None,
) -> int:
    """Serve an archive of synthetic klines on this machine, to try `lakehouse download` without network.

    For example: lakehouse archive --fault republished
    """
    with StandIn(port) as there:
        there.publish_sample(symbol or ["BTCUSDT", "ETHUSDT"], interval or ["1h"], first, last, market, kind)
        zips = sorted(key for key in there.files if key.endswith(".zip"))
        for at, name in enumerate(fault or []):
            there.fail(zips[at % len(zips)], name)
        console.print(f"{counted(len(zips), 'synthetic file')} at {there.url}, until Ctrl-C. In another terminal:")
        console.print(f"lakehouse download BTCUSDT --archive {there.url}", soft_wrap=True)
        while True:
            time.sleep(1)


def _refuse_options(interval: list[str] | None, first: str, last: str, market: str, kind: str) -> None:
    """See that nothing was asked for that raw/download.toml alone says."""
    if interval or first or last or (market, kind) != ("spot", "klines"):
        raise InputError("no symbol was named; without one, raw/download.toml says what, and it alone")


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
    ways = holes.filter(there > 0).select("symbol", "interval", "market", pl.col("first", "last").dt.date()).rows()
    for symbol, interval, market, first, last in ways[:FILES_SHOWN]:
        where = f"--interval {interval}" + f" --market {market}" * (market != "spot")
        way = f"lakehouse download {symbol} {where} --from {first} --to {last}{options}"
        console.print(escape(way), soft_wrap=True, highlight=False)
    if len(ways) > FILES_SHOWN:
        console.print(f"… and {len(ways) - FILES_SHOWN:,} more; `lakehouse missing --json` has all")
