"""The chapters and the report, headless and in the browser: `notebook`, `notebooks`, `batch`, `report`, `lab`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import DONE, INCOMPLETE, Json, Root, app, console, execute
from lakehouse.cli.lakes import open_lake
from lakehouse.cli.printing import print_frame, print_json
from lakehouse.errors import BatchFailed, InputError
from lakehouse.lake import Lake

LAB = [  # JupyterLab on this machine only, with a kernel at once and without a call home
    *(
        "--ip=127.0.0.1",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.app_settings_dir={Path(__file__).parent}/lab",
    ),
]


@app.command
def notebook(
    name: str,
    *,
    parameter: Annotated[
        list[str] | None, Parameter(name=["--parameter", "-p"], help="name=value, repeatable.", negative="")
    ] = None,
    root: Root = "",
    output: Annotated[Path | None, Parameter(help="Where to put the executed copy. Default: in runs/.")] = None,
) -> int:
    """Execute a notebook headless, and make an HTML page of it that opens without network.

    Args:
        name: A path, or the name of a notebook in notebooks/, for example 00_quick_tour.
    """
    from lakehouse.notebooks import read_parameters  # noqa: PLC0415  papermill takes a second to import

    if strange := next((word for word in parameter or [] if "=" not in word), ""):
        raise InputError(f"-p {strange} tells no value; expected name=value")
    words = {"root": Lake(root).root} if root else {}
    words |= dict(word.partition("=")[::2] for word in parameter or [])
    return execute(name, read_parameters(name, words), output)


@app.command
def report(
    *,
    symbol: Annotated[str, Parameter(help="Default: that of the series with most bars.")] = "",
    interval: Annotated[str, Parameter(help="The same.")] = "",
    start: Annotated[str, Parameter(help="First day, for example 2024-03-01. Default: all.")] = "",
    end: Annotated[str, Parameter(help="Last day, included. Default: all.")] = "",
    market: Annotated[str, Parameter(help="Default: the market with most bars of it.")] = "",
    root: Root = "",
    output: Annotated[Path | None, Parameter(help="Where to put the executed copy. Default: in runs/.")] = None,
) -> int:
    """Write the report on one series: a page with charts that opens without network.

    For example: lakehouse report --symbol ETHUSDT --interval 1h --start 2025-01-01
    """
    series = {"symbol": symbol, "interval": interval, "market": market}
    return execute("report", {**series, "start": start, "end": end, "root": open_lake(root).root}, output)


@app.command
def lab(
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)], name: str = "00_quick_tour", root: Root = ""
) -> int:
    """Open JupyterLab on a notebook, on this machine only; nothing is asked of a network.

    Args:
        options: Passed on to JupyterLab, for example --port=8890, --no-browser or --allow-root.
        name: A path, or the name of a notebook in notebooks/.
    """
    from lakehouse.notebooks import CHAPTERS, find_notebook  # noqa: PLC0415

    if find_notebook(name).parent == CHAPTERS:  # nobody wants to write into an installed package
        console.print(f"Notebooks: {escape(str(shutil.copytree(CHAPTERS, Path.cwd() / 'notebooks')))}")
    command = [sys.executable, "-m", "jupyterlab", str(find_notebook(name)), *LAB, *options]
    own = f"{sys.prefix}/share/jupyter"  # this interpreter's kernel goes before another `python3` that is on the path
    told = {"JUPYTER_PATH": os.pathsep.join(filter(None, [own, os.environ.get("JUPYTER_PATH")]))}
    told |= {"LAKEHOUSE_ROOT": Lake(root).root} if root else {}
    return subprocess.run(command, check=False, env={**os.environ, **told}).returncode


@app.command
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


@app.command
def batch(
    name: str,
    *,
    parameter: Annotated[
        list[str] | None, Parameter(name=["--parameter", "-p"], help="name=value,value, repeatable.", negative="")
    ] = None,
    at_once: Annotated[int, Parameter(help="Notebooks at the same time; each is a process.")] = 2,
    output: Annotated[str, Parameter(help="Folder for copies and pages. Default: in runs/.")] = "",
    root: Root = "",
    json: Json = False,
) -> int:
    """Execute a notebook for each combination of values, through the Prefect flow; those that fail are named.

    For example: lakehouse batch report -p symbol=BTCUSDT,ETHUSDT -p interval=1h

    Args:
        name: A path, or the name of a notebook in notebooks/.
    """
    from lakehouse.notebooks import read_grid  # noqa: PLC0415

    if strange := next((word for word in parameter or [] if "=" not in word), ""):
        raise InputError(f"-p {strange} tells no value; expected name=value,value")
    words = {"root": Lake(root).root} if root else {}
    words |= dict(word.partition("=")[::2] for word in parameter or [])
    grid = read_grid(name, words)
    if "root" in grid or root:
        open_lake(root, quiet=json)
    from lakehouse.flows import run_notebooks  # noqa: PLC0415  Prefect takes seconds to import

    code = DONE
    try:
        runs = run_notebooks(name, grid, output, at_once)
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
