"""The chapters and the report, headless and in the browser: `notebook`, `notebooks`, `batch`, `report`, `lab`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import DONE, INCOMPLETE, At, Home, Json, Root, console, demand, load_flow, open_lake
from lakehouse.cli.printing import print_frame, print_json
from lakehouse.errors import BatchFailed, InputError, LakeError
from lakehouse.lake import Lake
from lakehouse.measures import counted
from lakehouse.reports import list_runs, remove_runs

LAB = [  # JupyterLab on this machine only, with a kernel at once and without a call home
    *(
        "--ip=127.0.0.1",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.app_settings_dir={Path(__file__).parent}/lab",
    ),
]


Output = Annotated[Path | None, Home, Parameter(help="Where to put the executed copy. Default: in runs/.")]


def execute(
    name: str, parameters: Mapping[str, str | int | float | bool], output: Path | None, *, quiet: bool = False
) -> tuple[Path, dict[str, str | int | float | bool]]:
    """Execute a notebook, and say where its page is.

    Args:
        name: The notebook's.
        parameters: By name.
        output: Where the executed copy goes; else a folder of its own in `runs/`.
        quiet: Whether something else than a person reads what is printed.

    Returns:
        Its page, and what it recorded.
    """
    from lakehouse.notebooks import read_results, run_notebook  # noqa: PLC0415  papermill takes a second to import

    with console.status(f"executing {name}"):
        executed = run_notebook(name, parameters, output)
    page = executed.with_suffix(".html")
    if not quiet:
        say_page(page)
    return page, read_results(executed)


def say_page(page: Path, more: str = "") -> None:
    """Say where a page lies.

    Args:
        page: The page.
        more: What else there is to say of it.
    """
    console.print(f"Page:   {escape(page.resolve().as_uri() + more)}", soft_wrap=True)


def notebook(
    name: str,
    *,
    parameter: Annotated[
        list[str] | None, Parameter(name=["--parameter", "-p"], help="name=value, repeatable.", negative="")
    ] = None,
    at: At = "",
    root: Root = "",
    output: Output = None,
    json: Json = False,
) -> int:
    """Execute a notebook headless, and make an HTML page of it that opens without network.

    For example: lakehouse notebook 04_silver -p symbol=ETHUSDT

    Args:
        name: A path, or the name of a notebook in notebooks/, for example 00_quick_tour.
    """
    from lakehouse.notebooks import read_parameters  # noqa: PLC0415  papermill takes a second to import

    words = _read_words(parameter, "name=value", root, at)
    _tell_lake(name, words, root, json, at=words.get("at", ""))
    return _execute_and_tell(name, read_parameters(name, words), output, json)


def report(
    *,
    symbol: Annotated[str, Parameter(help="Default: that of the series with most bars.")] = "",
    interval: Annotated[str, Parameter(help="The same.")] = "",
    start: Annotated[str, Parameter(help="First day, for example 2024-03-01. Default: all.")] = "",
    end: Annotated[str, Parameter(help="Last day, included. Default: all.")] = "",
    market: Annotated[str, Parameter(help="Default: the market with most bars of it.")] = "",
    at: At = "",
    root: Root = "",
    output: Output = None,
    json: Json = False,
) -> int:
    """Write the report on one series: a page with charts that opens without network.

    For example: lakehouse report --symbol ETHUSDT --interval 1h --start 2025-01-01
    """
    series = {"symbol": symbol, "interval": interval, "market": market}
    about = {**series, "start": start, "end": end, "root": open_lake(root, quiet=json, at=at).root, "at": at}
    return _execute_and_tell("report", about, output, json)


def lab(
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)], name: str = "00_quick_tour", root: Root = ""
) -> int:
    """Open JupyterLab on a notebook, on this machine only; nothing is asked of a network.

    For example: lakehouse lab --name 03_time_travel --port=8890

    Args:
        options: Passed on to JupyterLab, for example --port=8890, --no-browser or --allow-root.
        name: A path, or the name of a notebook in notebooks/.
    """
    from lakehouse.notebooks import CHAPTERS, find_notebook  # noqa: PLC0415

    if find_notebook(name).parent == CHAPTERS:  # nobody wants to write into an installed package
        console.print(f"Notebooks: {escape(str(shutil.copytree(CHAPTERS, Path.cwd() / 'notebooks')))}")
    path = find_notebook(name)
    command = [sys.executable, "-m", "jupyterlab", str(path), *LAB, *_rooted(path, root), *options]
    own = f"{sys.prefix}/share/jupyter"  # this interpreter's kernel goes before another `python3` that is on the path
    told = {"JUPYTER_PATH": os.pathsep.join(filter(None, [own, os.environ.get("JUPYTER_PATH")]))}
    told |= {"LAKEHOUSE_ROOT": Lake(root).root} if root else {}
    return subprocess.run(command, check=False, env={**os.environ, **told}).returncode


def notebooks(*, json: Json = False) -> int:
    """List the notebooks that there are, what each is for, and the parameters that it takes.

    For example: lakehouse notebooks, then lakehouse notebook 04_silver -p symbol=ETHUSDT
    """
    from lakehouse.notebooks import list_notebooks  # noqa: PLC0415  papermill takes a second to import

    found = list_notebooks()
    if json:
        print_json(notebooks=found)
        return DONE
    for row in found.iter_rows(named=True):
        console.print(f"[bold]{row['name']}[/]: {escape(row['purpose'])}")
        console.print(f"    {escape(', '.join(row['parameters']))}")
    return DONE


def runs(
    *,
    keep: Annotated[int, Parameter(help="Remove all but so many of each notebook, the latest. 0: remove none.")] = 0,
    json: Json = False,
) -> int:
    """List the pages in runs/, which `runs/index.html` shows too; with --keep remove the older ones.

    For example: lakehouse runs --keep 30
    """
    gone = remove_runs(keep) if keep else []
    if gone:
        from lakehouse.notebooks import write_index  # noqa: PLC0415  papermill takes a second to import

        write_index()
    found = list_runs()
    if json:
        print_json(runs=found, removed=[str(path) for path in gone])
        return DONE
    print_frame(
        console, found.select("made_at", "title", mb=pl.col("bytes") / 1e6).with_columns(pl.col("mb").round(1)), "Pages"
    )
    if gone:
        console.print(f"{counted(len(gone), 'run')} removed, {counted(found.height, 'page')} left")
    elif found.is_empty():
        console.print("No page in runs/ here; `lakehouse report` makes one")
    return DONE


def batch(
    name: str,
    *,
    parameter: Annotated[
        list[str] | None, Parameter(name=["--parameter", "-p"], help="name=value,value, repeatable.", negative="")
    ] = None,
    at_once: Annotated[int, Parameter(help="Notebooks at the same time; each is a process.")] = 2,
    output: Annotated[Path | None, Home, Parameter(help="Folder for copies and pages. Default: in runs/.")] = None,
    root: Root = "",
    json: Json = False,
) -> int:
    """Execute a notebook for each combination of values, through the Prefect flow; those that fail are named.

    For example: lakehouse batch report -p symbol=BTCUSDT,ETHUSDT -p interval=1h

    Args:
        name: A path, or the name of a notebook in notebooks/.
    """
    from lakehouse.notebooks import read_grid  # noqa: PLC0415

    demand(at_once >= 1, "--at-once", at_once, "1 or more")
    words = _read_words(parameter, "name=value,value", root)
    grid = read_grid(name, words)
    if len(grid.get("root", ())) < 2:
        _tell_lake(name, words, root, json)
    run_notebooks = load_flow("run_notebooks")
    code = DONE
    try:
        runs = run_notebooks(name, grid, str(output or ""), at_once)
    except BatchFailed as failed:
        runs, code = failed.runs, INCOMPLETE
    if json:
        print_json(runs=runs)
        return code
    print_frame(console, runs.drop("page", "error", *(n for n in grid if len(grid[n]) == 1), strict=False), name)
    for row in runs.filter(pl.col("error").is_not_null()).iter_rows(named=True):
        console.print(f"[bold red]failed[/] {escape(row['notebook'])}: {escape(row['error'])}", soft_wrap=True)
    for page in runs["page"].drop_nulls().to_list()[:1] if "page" in runs.columns else []:
        console.print(f"Pages:  {escape(page.rpartition('/')[0])}", soft_wrap=True)
    return code


def _read_words(parameter: list[str] | None, expected: str, root: str, at: str = "") -> dict[str, str]:
    """What is given as parameters, by name; the lake and a tag are such: an error where a notebook has none of them."""
    if strange := next((word for word in parameter or [] if "=" not in word), ""):
        raise InputError(f"-p {strange} tells no value; expected {expected}")
    words = ({"root": Lake(root).root} if root else {}) | ({"at": at} if at else {})
    return words | dict(word.partition("=")[::2] for word in parameter or [])


def _tell_lake(name: str, words: Mapping[str, str], root: str, json: bool, at: str = "") -> None:
    """Say which lake a notebook is about; of one that does not leave `root` open that may be anything else."""
    from lakehouse.notebooks import name_lake  # noqa: PLC0415

    if (root or name_lake(name, {})) and (lake := name_lake(name, words).get("root")):
        open_lake(str(lake), quiet=json, at=at)


def _execute_and_tell(
    name: str, parameters: Mapping[str, str | int | float | bool], output: Path | None, json: bool
) -> int:
    page, results = execute(name, parameters, output, quiet=True)
    if json:
        print_json(notebook=name, page=page.resolve().as_uri(), results=results)
        return DONE
    found = ", ".join(f"{key} {value}" for key, value in results.items())
    console.print(f"[bold]{name}[/]: {escape(found)}" if found else f"[bold]{name}[/] has run", soft_wrap=True)
    say_page(page)
    return DONE


def _rooted(path: Path, root: str) -> list[str]:
    """Root JupyterLab where both the lake and the notebook lie, so that raw/ and runs/ can be reached in it.

    A lake elsewhere stays out: the notebooks are what was asked for.
    """
    try:
        top = Path(Lake(root or None).root)
    except LakeError:  # the notebook says it where one is needed
        return []
    return [f"--ServerApp.root_dir={top}"] if path.is_relative_to(top) else []
