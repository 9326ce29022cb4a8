"""What the command line shows: rich tables for people, JSON for machines."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

import polars as pl
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from lakehouse.bronze import IngestReport
from lakehouse.cli.commands import say
from lakehouse.contracts import COUNTS
from lakehouse.lake import Lake
from lakehouse.layers import LakeReport, read_mismatches
from lakehouse.measures import counted, spell, spell_part
from lakehouse.status import Status

if TYPE_CHECKING:
    from lakehouse.download import DownloadReport  # asks for httpx, which takes as long as all of ours

FILES_SHOWN = 20
SHORT = 5  # rows of a table, where several share a screen
NARROW = 12  # columns that a text needs at least where it may take several lines
WIDE = 110  # columns of a terminal on which there is room for more
# What may take several lines on a narrow terminal:
FOLDED = {"path", "error", "reason", "note", "otherwise", "market", "series", "values", "stated_by", "operation"}
FOLDED |= {"loses to", "says", "by", "stands", "counts", "worst"}


def print_json(**values: object) -> None:
    """Print one JSON object; frames become lists of objects, times ISO 8601."""

    def plain(value: object) -> object:
        if isinstance(value, pl.DataFrame):
            return value.to_dicts()
        return value.isoformat() if isinstance(value, dt.datetime) else str(value)

    say(json.dumps(values, default=plain, indent=2) + "\n")


def print_report(console: Console, lake: Lake, report: IngestReport) -> None:
    """Show the account of a run: file by file, then the sums, then what went wrong.

    Args:
        console: Where.
        lake: Whose run.
        report: Its account.
    """
    if report.unread:
        more = f" and {len(report.unread) - 5:,} more" if len(report.unread) > 5 else ""
        console.print(f"Not read, for they are no CSV files: {escape(', '.join(report.unread[:5]))}{more}")
    if report.files.is_empty() and not report.untouched:
        print_empty(console, lake)
        return
    if report.files.is_empty():
        console.print(f"Nothing new in {escape(lake.raw_uri)}: {counted(report.untouched, 'file')} looked at.")
        return
    taken = report.files.filter(pl.col("error").is_null()).with_row_index()
    odd = pl.any_horizontal(pl.col("rejected", "updated") > 0) | (pl.col("status") != "loaded")
    shown = taken.sort(odd, "index", descending=[True, False]).head(FILES_SHOWN).sort("index")
    series = pl.concat_str("market", pl.col("symbol").fill_null("(several)"), "interval", separator=" ").fill_null("")
    counts = [name for name in COUNTS if name == "read" or shown[name].sum()]
    columns = ["path", *counts] if console.width < WIDE else ["path", series.alias("series"), *counts]
    print_frame(console, shown.select(columns), f"Files of this run ({taken.height:,})")
    if taken.height > shown.height:
        console.print(f"… and {taken.height - shown.height:,} more; `--json` tells all, the ledger keeps all")
    parts = [f"{getattr(report, name):,} {name}" for name in COUNTS[1:] if getattr(report, name)]
    console.print(f"[bold]{counted(report.read, 'line')} read[/] = {' + '.join(parts) or 0}, in {report.seconds:.1f} s")
    print_failures(console, report)


def print_empty(console: Console, lake: Lake) -> None:
    """Say what to do first in a lake that holds nothing."""
    raw = escape(shlex.quote(lake.raw_uri))
    console.print(
        f"{escape(lake.raw_uri)} holds no file of bars. Put CSV files there, or `lakehouse download BTCUSDT`, "
        f"or try `lakehouse sample {raw}`; then `lakehouse run`.",
        soft_wrap=True,
    )


def print_refresh(console: Console, lake: Lake, done: LakeReport) -> None:
    """Show the account of a run from raw/ to gold: files, layers, how complete they are, what is not good enough.

    Args:
        console: Where.
        lake: Whose run.
        done: Its account.
    """
    if done.download:
        print_download(console, lake, done.download)
    print_report(console, lake, done.ingest)
    layers = pl.DataFrame([asdict(layer) for layer in done.layers if layer.changed])
    percent = pl.col("completeness").map_elements(spell_part, pl.String, skip_nulls=False)
    print_frame(console, layers.drop("source_version", "seconds", strict=False), "Layers that have changed")
    print_frame(console, done.quality.with_columns(completeness=percent), "Series in silver")
    for row in read_mismatches(lake).iter_rows(named=True) if done.quality["mismatched"].sum() else ():
        series, told = (
            f"{row['market']} {row['symbol']} {row['interval']}",
            f"{row['counts']}; the worst: {row['worst']}",
        )
        console.print(f"[bold yellow]do not add up[/]: {counted(row['bars'], 'bar')} of {escape(f'{series}: {told}')}")
    for breach in done.breaches:
        console.print(f"[bold red]not good enough[/]: {escape(breach)}")


def print_download(console: Console, lake: Lake, report: DownloadReport) -> None:
    """Show what a download has done: what is worth a word, then the sums.

    Args:
        console: Where.
        lake: Whose.
        report: Its account.
    """
    told = report.files.filter(pl.col("note") != "")
    for row in told.iter_rows(named=True):
        console.print(f"[bold]{row['verdict']}[/] {escape(row['path'])}: {escape(row['note'])}", soft_wrap=True)
    for line in (*report.unmet, *report.notes):
        console.print(escape(line), soft_wrap=True)
    sums = (
        report.files.group_by("verdict").agg(files=pl.len(), bytes=pl.col("size").sum()).sort("files", descending=True)
    )
    print_frame(console, sums, f"Files of this download, {report.size / 1e6:,.1f} MB in {report.seconds:.1f} s")
    if report.files.is_empty() and not report.unmet:
        console.print("Nothing new in the archive.")
    if report.untouched:
        console.print(f"{counted(report.untouched, 'file')} in {escape(lake.raw_uri)}: as the archive lists.")
    if report.failed.height:
        console.print("What is not in raw/ now is tried again at the next download.")


def print_failures(console: Console, report: IngestReport) -> None:
    """Name the files that did not load or contradict others, each with its reason, and what to do."""
    notes = report.notes.group_by("note", maintain_order=True).agg("path")  # of two that differ both say the same
    for note, paths in notes.head(FILES_SHOWN).iter_rows():
        more = f" and {len(paths) - SHORT:,} more" if len(paths) > SHORT else ""
        console.print(f"[bold yellow]look at[/] [bold]{escape(', '.join(paths[:SHORT]))}{more}[/]: {escape(note)}")
    if notes.height > FILES_SHOWN:
        console.print(f"… and {notes.height - FILES_SHOWN:,} more; `--json` tells all, the ledger keeps all")
    for row in report.files.filter(pl.col("error").is_not_null()).iter_rows(named=True):
        # Not wrapped: what is to be pasted into sources.toml must come out of the terminal as it was written.
        console.print(
            f"[bold red]{row['status']}[/] [bold]{escape(row['path'])}[/]: {escape(row['error'])}", soft_wrap=True
        )
    if report.failed.height:
        console.print(
            "Mend, move away, or set `ignore = true` for such files in raw/sources.toml; they are tried at every run."
        )


def print_status(console: Console, status: Status, *, whole: bool = False) -> None:
    """Show where a lake stands, on one screen: is anything wrong, what waits, what happened last, what is there.

    Args:
        console: Where.
        status: How it stands.
        whole: Whether to show all of it, whatever room it takes.
    """
    shown = 10**9 if whole else SHORT
    bars, turned = (
        int(status.tables.filter(table=f"bronze/{name}")["rows"].sum()) for name in ("candles", "quarantine")
    )
    wrong = [
        (
            status.failed.height,
            "did not load; tried again at every run",
            "move them away, mend them, or `ignore = true`",
        ),
        (status.rolled_back.height, "rolled back by a restore", "to be taken back in by `lakehouse again PATTERN`"),
        (status.otherwise.height, "read otherwise by now", "`lakehouse again PATTERN` redoes them"),
        (status.contradicting.height, "in contradiction with others", "`lakehouse conflicts` shows the bars"),
    ]
    behind = status.layers.filter(pl.col("consumed").ne_missing(pl.col("latest")))["table"].to_list()
    console.print(f"{status.series.height:,} series, {counted(bars, 'bar')}; {counted(turned, 'line')} turned away")
    for count, what, then in wrong:
        if count:
            console.print(f"[bold red]{counted(count, 'file')} {what}[/]: {then}")
    if status.waiting.height:
        size, count = int(status.waiting["size"].sum()) / 1e6, status.waiting.height
        then = f"`lakehouse run` takes {'it' if count == 1 else 'them'} in"
        console.print(f"[bold]{counted(count, 'file')} waiting[/], {size:,.1f} MB; {then}")
    if status.unlooked:
        told = f"{counted(status.unlooked, 'file')} of an older program not looked at yet"
        console.print(f"{told}; the next `lakehouse status` goes on")
    if bars and status.layers.is_empty():
        behind = ["silver and gold"]
    if behind:
        console.print(f"[bold]behind: {', '.join(behind)}[/]; `lakehouse run` catches up")
    if not (behind or status.waiting.height or any(count for count, *_ in wrong[:3])):
        console.print("[bold green]Nothing is wrong, and nothing waits.[/]")
    print_frame(console, _nonzero(status.runs.drop("run_id")).head(shown), "Last runs")
    titles = {
        "failed": "Failed, and tried again at every run",
        "waiting": "Waiting in raw/ for the next run",
        "rolled_back": "Rolled back, until they change or `lakehouse again PATTERN`",
        "withdrawn": "Withdrawn, until they change or `lakehouse again PATTERN`",
        "otherwise": "Read otherwise by now than when they were taken; `lakehouse again PATTERN` redoes them",
        "contradicting": "Files that contradict others; `lakehouse conflicts` shows the bars",
        "series": "Series in bronze",
        "mismatches": "Bars that do not add up, in the table `silver/mismatches`",
        "reasons": "Quarantine by reason",
        "unread": "Not read, for they are no CSV files",
        "tables": "Tables",
        "layers": "Layers: the version of their source that they have consumed, and its latest",
    }
    for name, title in titles.items():
        frame: pl.DataFrame = getattr(status, name)
        frame = frame.with_columns(pl.col("first").dt.date()) if name == "series" else frame
        if whole or name not in ("tables", "layers"):
            print_frame(console, frame.head(shown), title)
            if frame.height > shown:
                console.print(f"… and {frame.height - shown:,} more; `lakehouse status --all` shows them")


def print_versions(console: Console, versions: pl.DataFrame, title: str) -> None:
    """Show versions of a table; on a narrow terminal without the names of the runs.

    Args:
        console: Where.
        versions: See `Table.versions`.
        title: Stands above.
    """
    shown = _nonzero(versions)
    print_frame(console, shown if console.width >= WIDE else shown.drop("run"), title)


def print_frame(console: Console, frame: pl.DataFrame, title: str) -> None:
    """Show a frame as a table, or row by row where the table would be cut; an empty one is not shown.

    Args:
        console: Where.
        frame: Numbers stand right, times are UTC.
        title: Stands above.
    """
    if frame.is_empty():
        return
    if title:  # not the table's own: a narrow table would fold it
        console.print(f"[bold]{escape(title)}[/]")
    apart = 1 if console.width >= WIDE else 0
    heads = [name.replace("_", " ") for name in frame.columns]
    rows = [[escape(spell(value)) for value in row] for row in frame.iter_rows()]
    least = [
        NARROW if name in FOLDED else max(cell_len(cell) for cell in (head, *cells))
        for name, head, *cells in zip(frame.columns, heads, *rows, strict=True)
    ]
    if sum(least) + (len(least) - 1) * (apart + 1) > console.width:
        wide = max(map(len, heads))
        for row in rows:
            for head, cell in zip(heads, row, strict=True):
                console.print(f"{escape(head.ljust(wide))}  {cell}", soft_wrap=True)
            console.print()
        return
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, apart, 0, 0), show_edge=False)
    for (name, dtype), head in zip(frame.schema.items(), heads, strict=True):
        table.add_column(
            escape(head),
            justify="right" if dtype.is_numeric() else "left",
            overflow="fold",
            no_wrap=name not in FOLDED,
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()


def tell_rest(console: Console, there: int, limit: int, rest: str = "") -> None:
    """Say how much is not shown.

    Args:
        console: Where.
        there: How many rows there are.
        limit: How many are shown.
        rest: What shows others, if not the command itself.
    """
    if there > limit:
        console.print(f"… and {there - limit:,} more; {rest or f'--limit {there} or --json shows all'}")


def _nonzero(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out the counts that are zero in every row."""
    counts = {*COUNTS, "deleted", "files"}
    return frame.select(name for name in frame.columns if name not in counts or frame[name].sum())
