"""The main job, and its parts: `run`, `ingest`, `status`, `sample`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from lakehouse.bronze import MAX_CONFLICTS
from lakehouse.bronze import ingest as ingest_files
from lakehouse.cli.commands import DONE, INCOMPLETE, At, Home, Json, Root, console, demand, load_flow, open_lake
from lakehouse.cli.notebooks import execute, say_page
from lakehouse.cli.printing import print_empty, print_json, print_refresh, print_report, print_status
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.layers import (
    LakeReport,
    RefreshFailed,
    find_breaches,
    read_quality,
    refresh_gold,
    refresh_silver,
    rehearsal,
)
from lakehouse.measures import counted
from lakehouse.progress import Bar
from lakehouse.reports import choose_series, find_page
from lakehouse.sample import walk_of, write_sample
from lakehouse.status import is_current, names_an_api, read_series, read_status

BatchMb = Annotated[int, Parameter(help="Raw text per batch, MiB: memory grows with it.")]
Again = Annotated[
    str, Parameter(help="Pattern of paths to read once more: what was rolled back, for example '2024/*'.")
]
MaxConflicts = Annotated[float, Parameter(help="Largest part of the bars two files share on which they may differ.")]


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
    gate: Annotated[
        bool, Parameter(negative="", help="Write nothing to the tables where a threshold would be broken.")
    ] = False,
    page: Annotated[bool, Parameter(negative="--no-report", name="--report", help="Execute the report.")] = True,
    verbose: Annotated[bool, Parameter(negative="", help="Show what Prefect logs.")] = False,
    json: Json = False,
) -> int:
    """Do the main job with the Prefect flow: raw/ to bronze, silver and gold, then execute the report.

    With PREFECT_API_URL set it reports to that server, else an embedded one is started (some seconds), but not where
    nothing is new. A report that would be the same as the last is not made again. With --gate all is first done on a
    clone that is thrown away, and then not at all if it would be worse than was asked for.

    For example: lakehouse run --min-completeness 0.99 --gate
    """
    lake, code = open_lake(root, quiet=json), DONE
    demand(batch_mb >= 1, "--batch-mb", batch_mb, "1 or more")
    limits = {"max_rejected": max_rejected, "min_completeness": min_completeness, "max_conflicts": max_conflicts}
    for name, part in limits.items():
        demand(0 <= part <= 1, f"--{name.replace('_', '-')}", part, "0 to 1")
    if gate and download:
        raise InputError("--gate judges what lies in raw/; run `lakehouse download` first, then `lakehouse run --gate`")
    asked = again or rebuild or download or verbose or names_an_api()
    current = not asked and is_current(lake)
    if gate and not current and (judged := _judge(lake, limits, again)).breaches:
        if json:
            print_json(root=lake.root, written=False, **_told(judged))
        else:
            print_refresh(console, lake, judged)
            console.print("Nothing was written: --gate. What would change: [bold]lakehouse plan[/]")
        return INCOMPLETE
    if current:
        done = _refresh_plainly(lake, limits)
        code = INCOMPLETE if done.breaches else DONE
    else:
        refresh_lake = load_flow("refresh_lake", verbose)
        try:
            done = refresh_lake(lake.root, batch_mb, again, rebuild, **limits, on_breach="fail", download=download)
        except RefreshFailed as failed:
            done, code = failed.report, INCOMPLETE
    if not json:
        print_refresh(console, lake, done)
    made = None
    if page and lake.bronze.exists() and read_series(lake, closes=False).height:
        made = _report(lake, same=not any(layer.changed for layer in done.layers), quiet=json)
    if json:
        print_json(root=lake.root, written=True, **_told(done), page=made and made.resolve().as_uri())
        return code
    if lake.bronze.exists():
        console.print(f"Tables: {escape(lake.uri('bronze'))}, silver, gold", soft_wrap=True)
        console.print("Next:   [bold]lakehouse status[/] says how it stands; [bold]lakehouse lab[/] to explore")
    return code


def ingest(
    *,
    root: Root = "",
    batch_mb: BatchMb = 64,
    again: Again = "",
    max_conflicts: MaxConflicts = MAX_CONFLICTS,
    json: Json = False,
) -> int:
    """Bring what is new in raw/ into bronze, without Prefect.

    For example: lakehouse ingest --json
    """
    lake = open_lake(root, quiet=json)
    demand(batch_mb >= 1, "--batch-mb", batch_mb, "1 or more")
    demand(0 <= max_conflicts <= 1, "--max-conflicts", max_conflicts, "0 to 1")
    with Bar(desc="ingest") as bar:
        report = ingest_files(lake, batch_bytes=batch_mb * 2**20, again=again, on_progress=bar.reach)
    if json:
        print_json(files=report.files, untouched=report.untouched, run_id=report.run_id, seconds=report.seconds)
    else:
        print_report(console, lake, report)
    agreed = report.contradicting_more_than(max_conflicts).is_empty()
    return DONE if report.complete and agreed else INCOMPLETE


def status(
    *,
    whole: Annotated[bool, Parameter(name="--all", negative="", help="All rows, and the tables and layers.")] = False,
    at: At = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Show on one screen: is anything wrong, what waits, what happened last, which series there are.

    For example: lakehouse status --all
    """
    lake = open_lake(root, quiet=json, at=at)
    stands = read_status(lake)
    if json:
        print_json(root=lake.root, **{name: getattr(stands, name) for name in stands.__slots__})
    elif stands.runs.is_empty() and stands.waiting.is_empty():
        print_empty(console, lake)
    else:
        print_status(console, stands, whole=whole)
    return DONE


def sample(
    dest: Annotated[Path, Home],
    *,
    symbol: Annotated[list[str] | None, Parameter(help="Repeatable. Default: BTCUSDT.", negative="")] = None,
    interval: Annotated[list[str] | None, Parameter(help="1s to 1d, repeatable. Default: 1h.", negative="")] = None,
    first: Annotated[str, Parameter(name="--from", help="First month.")] = "2024-11",
    last: Annotated[str, Parameter(name="--to", help="Last month, included.")] = "2025-02",
    seed: Annotated[int, Parameter(help="Other seeds give other prices; the same seed the same bytes.")] = 0,
    json: Json = False,
) -> int:
    """Write synthetic klines in the exact form of Binance's archive, a file a month.

    For example: lakehouse sample raw --symbol BTCUSDT --interval 1m --from 2024-01 --to 2024-12

    Args:
        dest: The folder to write into, for example raw/ of a lake.
    """
    paths = write_sample(
        dest, symbols=symbol or ["BTCUSDT"], intervals=interval or ["1h"], first=first, last=last, seed=seed
    )
    size = sum(path.stat().st_size for path in paths)
    if json:
        print_json(files=list(map(str, paths)), size=size)
        return DONE
    console.print(f"{counted(len(paths), 'synthetic file')}, {size / 1e6:,.1f} MB, in {escape(str(dest))}")
    if len(walks := {walk_of(one): one for one in reversed(interval or ["1h"])}) > 1:
        told = " and ".join(walks.values())
        console.print(f"Bars of {told} agree at the ends of months alone: the finer do not add up to the coarser.")
    return DONE


def _judge(lake: Lake, limits: Mapping[str, float], again: str) -> LakeReport:
    """What a run would come to; nothing is written."""
    with rehearsal(lake) as trial:
        return _refresh_plainly(trial, limits, again)


def _refresh_plainly(lake: Lake, limits: Mapping[str, float], again: str = "") -> LakeReport:
    """The work of the flow, where none is to be done, or for trial: five seconds of Prefect's start are too dear."""
    account = ingest_files(lake, again=again)
    layers = [refresh_silver(lake), *refresh_gold(lake)] if lake.bronze.exists() else []
    quality = read_quality(lake)
    breaches = find_breaches(account, quality, **limits)
    return LakeReport(account, tuple(layers), quality, tuple(breaches))


def _told(done: LakeReport) -> dict[str, object]:
    """A run for machines."""
    account, fetched = done.ingest, done.download
    told: dict[str, object] = {"files": account.files, "untouched": account.untouched, "run_id": account.run_id}
    told |= {"layers": [asdict(layer) for layer in done.layers], "quality": done.quality, "breaches": done.breaches}
    return told | {"download": fetched and fetched.files, "missed": fetched.failures if fetched else ()}


def _report(lake: Lake, *, same: bool, quiet: bool) -> Path:
    """Make the report on the largest series, or find it; returns its page."""
    chosen = choose_series(lake)
    about = {name: chosen[name] for name in ("symbol", "interval", "market")} | {"root": lake.root, "at": ""}
    if same and (last := find_page("report", {**about, "version": lake.bronze.version()})):
        if not quiet:
            say_page(last, " (nothing has changed since)")
        return last
    return execute("report", about, None, quiet=quiet)[0]
