"""What the command line shows: rich tables for people, JSON for machines."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from lakehouse.bronze import IngestReport
from lakehouse.contracts import COUNTS
from lakehouse.lake import Lake
from lakehouse.layers import LakeReport
from lakehouse.status import Status

FILES_SHOWN = 20
WIDE = 110  # columns of a terminal on which there is room for more
FOLDED = ("path", "error", "reason", "market", "series")  # what may take several lines on a narrow terminal


def print_json(**values: object) -> None:
    """Print one JSON object; frames become lists of objects, times ISO 8601."""

    def plain(value: object) -> object:
        if isinstance(value, pl.DataFrame):
            return value.to_dicts()
        return value.isoformat() if isinstance(value, dt.datetime) else str(value)

    print(json.dumps(values, default=plain, indent=2))


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
    if report.files.is_empty():
        console.print(f"Nothing new in {escape(lake.uri('raw'))}: {report.untouched:,} files looked at.")
        return
    taken = report.files.filter(pl.col("error").is_null()).with_row_index()
    odd = pl.any_horizontal(pl.col("rejected", "updated") > 0) | (pl.col("status") != "loaded")
    shown = taken.sort(odd, "index", descending=[True, False]).head(FILES_SHOWN).sort("index")
    series = pl.concat_str("market", pl.col("symbol").fill_null("(several)"), "interval", separator=" ").fill_null("")
    counts = [name for name in COUNTS if name == "read" or shown[name].sum()]
    columns = ["path", *counts] if console.width < WIDE else ["path", series.alias("series"), *counts]
    print_frame(console, shown.select(columns), f"Files of this run ({taken.height:,})")
    if taken.height > shown.height:
        console.print(f"… and {taken.height - shown.height:,} more; `lakehouse ingest --json` and the ledger have all")
    parts = [f"{getattr(report, name):,} {name}" for name in COUNTS[1:] if getattr(report, name)]
    console.print(f"[bold]{report.read:,} lines read[/] = {' + '.join(parts) or '0'}, in {report.seconds:.1f} s")
    for path, note in report.notes.head(FILES_SHOWN).iter_rows():
        console.print(f"[bold yellow]note[/] [bold]{escape(path)}[/]: {escape(note)}")
    print_failures(console, report)


def print_refresh(console: Console, lake: Lake, done: LakeReport) -> None:
    """Show the account of a run from raw/ to gold: files, layers, how complete they are, what is not good enough.

    Args:
        console: Where.
        lake: Whose run.
        done: Its account.
    """
    print_report(console, lake, done.ingest)
    layers = pl.DataFrame([asdict(layer) for layer in done.layers if layer.changed])
    percent = pl.format("{} %", (1e4 * pl.col("completeness")).floor() / 100)
    print_frame(console, layers.drop("source_version", "seconds", strict=False), "Layers that have changed")
    print_frame(console, done.quality.with_columns(completeness=percent), "Series in silver")
    for breach in done.breaches:
        console.print(f"[bold red]not good enough[/]: {escape(breach)}")


def print_failures(console: Console, report: IngestReport) -> None:
    """Name the files that did not load, each with its reason, and what to do."""
    for row in report.files.filter(pl.col("error").is_not_null()).iter_rows(named=True):
        console.print(f"[bold red]{row['status']}[/] [bold]{escape(row['path'])}[/]: {escape(row['error'])}")
    if report.failed.height:
        console.print(
            "Mend, move away, or set `ignore = true` for such files in raw/sources.toml; they are tried at every run."
        )


def print_status(console: Console, lake: Lake, status: Status) -> None:
    """Show where a lake stands.

    Args:
        console: Where.
        lake: Which.
        status: How it stands.
    """
    console.print(f"[bold]{escape(lake.root)}[/]")
    print_frame(console, status.tables, "Tables")
    print_frame(console, status.layers, "Layers: the version of their source that they have consumed, and its latest")
    print_series(console, status.series)
    print_frame(console, _nonzero(status.runs.drop("run_id")), "Last runs")
    print_frame(console, status.reasons, "Quarantine by reason")
    print_frame(console, status.waiting, "Waiting in raw/ for the next run")
    print_frame(console, status.rolled_back, "Rolled back, until they change or `lakehouse ingest --again PATTERN`")
    print_frame(console, status.failed, "Failed, and tried again at every run")
    print_frame(console, status.unread.head(FILES_SHOWN), f"Not read, for they are no CSV files ({len(status.unread)})")


def print_series(console: Console, series: pl.DataFrame) -> None:
    """Show what bronze holds."""
    print_frame(console, series.with_columns(pl.col("first").dt.date()), "Series in bronze")


def print_frame(console: Console, frame: pl.DataFrame, title: str) -> None:
    """Show a frame as a table; an empty one is not shown.

    Args:
        console: Where.
        frame: Numbers stand right, times are UTC.
        title: Stands above.
    """
    if frame.is_empty():
        return
    table = RichTable(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name, dtype in frame.schema.items():
        table.add_column(
            name.replace("_", " "),
            justify="right" if dtype.is_numeric() else "left",
            overflow="fold",
            no_wrap=name not in FOLDED,
        )
    for row in frame.iter_rows():
        table.add_row(*map(_cell, row))
    console.print(table)


def _nonzero(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out the counts that are zero in every row."""
    return frame.select(name for name in frame.columns if name not in COUNTS or frame[name].sum())


def _cell(value: object) -> str:
    match value:
        case None:
            return "–"
        case dt.datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case dt.date():
            return f"{value:%Y-%m-%d}"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.8g}"
        case _:
            return escape(str(value))
