"""The command line: the same verbs as the functions."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape

from lakehouse.bronze import MAX_CONFLICTS
from lakehouse.bronze import ingest as ingest_files
from lakehouse.cli.lakes import open_lake
from lakehouse.cli.printing import print_json, print_refresh, print_report, print_status
from lakehouse.errors import InputError, LakehouseError
from lakehouse.lake import Lake
from lakehouse.layers import LakeReport, RefreshFailed, find_breaches, read_quality, refresh_gold, refresh_silver
from lakehouse.progress import Bar
from lakehouse.reports import choose_series, find_page
from lakehouse.sample import write_sample
from lakehouse.status import is_current, read_series, read_status

DONE, INCOMPLETE, UNUSABLE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
EPILOGUE = """
Exit codes: 0 all that was asked for was done; 1 some files did not come or load (they are named, the others have
loaded), or the data are worse than was asked for; 2 the command could not be carried out; 130 stopped by Ctrl-C, 143
by a supervisor. Every command takes --help.
"""
app = App(
    name="lakehouse",
    help="A lakehouse from raw OHLCV files. Start with `lakehouse run`.",
    help_epilogue=EPILOGUE,
    version=lambda: version("lakehouse-workbook"),
    suppress_keyboard_interrupt=False,  # `main` says what stands
)
console = Console(emoji=False)  # a path may hold :fire:

Root = Annotated[str, Parameter(help="The lake: a folder that holds raw/. Default: LAKEHOUSE_ROOT, else the nearest.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON for machines instead of tables.")]
BatchMb = Annotated[int, Parameter(help="Raw text per batch, MiB: memory grows with it.")]


Again = Annotated[
    str, Parameter(help="Pattern of paths to read once more: what was rolled back, for example '2024/*'.")
]

MaxConflicts = Annotated[float, Parameter(help="Largest part of the bars two files share on which they may differ.")]


@app.command
def run(
    *,
    root: Root = "",
    batch_mb: BatchMb = 64,
    again: Again = "",
    download: Annotated[
        bool, Parameter(negative="", help="First bring what raw/download.toml names from the archive.")
    ] = False,
    rebuild: Annotated[bool, Parameter(negative="", help="Compute silver and gold as a whole.")] = False,
    max_rejected: Annotated[float, Parameter(help="Largest part of the lines that may be rejected.")] = 1.0,
    min_completeness: Annotated[float, Parameter(help="Smallest part of its grid that a series must have.")] = 0.0,
    max_conflicts: MaxConflicts = MAX_CONFLICTS,
    page: Annotated[bool, Parameter(negative="--no-report", name="--report", help="Execute the report.")] = True,
    verbose: Annotated[bool, Parameter(negative="", help="Show what Prefect logs.")] = False,
) -> int:
    """Do the main job with the Prefect flow: raw/ to bronze, silver and gold, then execute the report.

    With PREFECT_API_URL set it reports to that server, else an embedded one is started (some seconds), but not where
    nothing is new. A report that would be the same as the last is not made again.

    For example: lakehouse run --min-completeness 0.99
    """
    lake, code = open_lake(root), DONE
    _demand(batch_mb >= 1, "--batch-mb", batch_mb, "1 or more")
    limits = {"max_rejected": max_rejected, "min_completeness": min_completeness, "max_conflicts": max_conflicts}
    for name, part in limits.items():
        _demand(0 <= part <= 1, f"--{name.replace('_', '-')}", part, "0 to 1")
    asked = again or rebuild or download or verbose or _names_an_api()
    if not asked and is_current(lake):
        done = _refresh_plainly(lake, limits)
        code = INCOMPLETE if done.breaches else DONE
    else:
        refresh_lake = load_flow("refresh_lake", verbose)
        try:
            done = refresh_lake(lake.root, batch_mb, again, rebuild, **limits, on_breach="fail", download=download)
        except RefreshFailed as failed:
            done, code = failed.report, INCOMPLETE
    print_refresh(console, lake, done)
    if page and lake.bronze.exists() and read_series(lake).height:
        _report(lake, same=not any(layer.changed for layer in done.layers))
    console.print(
        f"Tables: {escape(lake.uri('bronze'))}, silver, gold\n"
        "Next:   [bold]lakehouse status[/] for tables, runs and quarantine; "
        "[bold]lakehouse lab[/] to explore"
    )
    return code


@app.command
def ingest(
    *,
    root: Root = "",
    batch_mb: BatchMb = 64,
    again: Again = "",
    max_conflicts: MaxConflicts = MAX_CONFLICTS,
    json: Json = False,
) -> int:
    """Bring what is new in raw/ into bronze, without Prefect."""
    lake = open_lake(root, quiet=json)
    _demand(batch_mb >= 1, "--batch-mb", batch_mb, "1 or more")
    _demand(0 <= max_conflicts <= 1, "--max-conflicts", max_conflicts, "0 to 1")
    with Bar(desc="ingest") as bar:
        report = ingest_files(lake, batch_bytes=batch_mb * 2**20, again=again, on_progress=bar.reach)
    if json:
        print_json(files=report.files, untouched=report.untouched, run_id=report.run_id, seconds=report.seconds)
    else:
        print_report(console, lake, report)
    agreed = report.contradicting_more_than(max_conflicts).is_empty()
    return DONE if report.complete and agreed else INCOMPLETE


@app.command
def status(
    *,
    whole: Annotated[bool, Parameter(name="--all", negative="", help="All rows, and the tables and layers.")] = False,
    root: Root = "",
    json: Json = False,
) -> int:
    """Show on one screen: is anything wrong, what waits, what happened last, which series there are.

    For example: lakehouse status --all
    """
    lake = open_lake(root, quiet=json)
    stands = read_status(lake)
    if json:
        print_json(root=lake.root, **{name: getattr(stands, name) for name in stands.__slots__})
    else:
        print_status(console, stands, whole=whole)
    return DONE


@app.command
def sample(
    dest: Path,
    *,
    symbol: Annotated[list[str] | None, Parameter(help="Repeatable. Default: BTCUSDT.", negative="")] = None,
    interval: Annotated[list[str] | None, Parameter(help="1s to 1d, repeatable. Default: 1h.", negative="")] = None,
    first: Annotated[str, Parameter(name="--from", help="First month.")] = "2024-11",
    last: Annotated[str, Parameter(name="--to", help="Last month, included.")] = "2025-02",
    seed: Annotated[int, Parameter(help="Other seeds give other prices; the same seed the same bytes.")] = 0,
) -> int:
    """Write synthetic klines in the exact form of Binance's archive, a file a month.

    Args:
        dest: The folder to write into, for example raw/ of a lake.
    """
    paths = write_sample(
        dest, symbols=symbol or ["BTCUSDT"], intervals=interval or ["1h"], first=first, last=last, seed=seed
    )
    size = sum(path.stat().st_size for path in paths)
    console.print(f"{len(paths)} synthetic files, {size / 1e6:,.1f} MB, in {escape(str(dest))}")
    return DONE


def load_flow(name: str, verbose: bool = False) -> Any:
    """Import a Prefect flow, which takes seconds; what it logs is told to its server, and shown only when asked for.

    Args:
        name: Of the flow in `lakehouse.flows`.
        verbose: Whether what it logs is shown.
    """
    if not verbose:  # what is worth telling the command itself tells, once
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        from lakehouse import flows  # noqa: PLC0415
    except ValueError as error:  # its settings are read then
        raise InputError(f"Prefect's settings: {' '.join(str(error).split())}") from error
    return getattr(flows, name)


def _names_an_api() -> bool:
    """Whether somebody may have told Prefect where to report to; then each run is reported, also one of nothing."""
    profiles = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser() / "profiles.toml"
    told = profiles.read_text(encoding="utf-8", errors="replace") if profiles.is_file() else ""
    return bool(os.environ.get("PREFECT_API_URL")) or "PREFECT_API_URL" in told


def _refresh_plainly(lake: Lake, limits: Mapping[str, float]) -> LakeReport:
    """The work of the flow, where there is none to do: five seconds of Prefect's start for nothing are not worth it."""
    account = ingest_files(lake)
    layers = [refresh_silver(lake), *refresh_gold(lake)] if lake.bronze.exists() else []
    quality = read_quality(lake)
    breaches = find_breaches(account, quality, **limits)
    return LakeReport(account, tuple(layers), quality, tuple(breaches))


def _report(lake: Lake, *, same: bool) -> None:
    chosen = choose_series(lake)
    about = {name: chosen[name] for name in ("symbol", "interval", "market")} | {"root": lake.root}
    if same and (last := find_page("report", {**about, "version": lake.bronze.version()})):
        console.print(f"Page:   {escape(last.resolve().as_uri())} (nothing has changed since)", soft_wrap=True)
    else:
        execute("report", about, None, results=False)


def _demand(holds: bool, option: str, given: float, expected: str) -> None:
    if not holds:
        raise InputError(f"{option} is {given}; expected {expected}")


def execute(
    name: str, parameters: Mapping[str, str | int | float | bool], output: Path | None, *, results: bool = True
) -> int:
    """Execute a notebook and say where its page is.

    Args:
            name: The notebook's.
        parameters: By name.
        output: Where the executed copy goes; else a folder of its own in `runs/`.
        results: Whether to print what it recorded.
    """
    from lakehouse.notebooks import read_results, run_notebook  # noqa: PLC0415

    with console.status(f"executing {name}"):
        executed = run_notebook(name, parameters, output)
    found = ", ".join(f"{key} {value}" for key, value in read_results(executed).items())
    if results:
        console.print(f"[bold]{name}[/]: {escape(found)}" if found else f"[bold]{name}[/] has run")
    console.print(f"Page:   {escape(executed.with_suffix('.html').resolve().as_uri())}", soft_wrap=True)
    return DONE


class Terminated(KeyboardInterrupt):
    """A supervisor's SIGTERM: handled like Ctrl-C, so that what this process has started is stopped with it."""


def main(args: list[str] | None = None) -> None:
    """Run the command line; what goes wrong is printed in one piece, without a traceback, unless it is a fault of ours.

    Args:
        args: The words after `lakehouse`. Default: those of the process.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that a terminal or a pipe cannot show must not end a run
            stream.reconfigure(errors="replace")
    try:
        code = app(args, exit_on_error=True, result_action="return_value")
    except (LakehouseError, OSError) as error:  # OSError: full, read-only or gone, wherever it is met first
        Console(stderr=True, emoji=False).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        code = UNUSABLE
    except KeyboardInterrupt as stop:
        print("stopped; what was committed stands, run again to go on", file=sys.stderr)
        code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    sys.exit(code)


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated
