"""Notebooks by name, and by the dozen: `notebooks`, `batch`."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import DONE, INCOMPLETE, Json, Root, app, console
from lakehouse.cli.lakes import open_lake
from lakehouse.cli.printing import print_frame, print_json
from lakehouse.errors import BatchFailed, InputError
from lakehouse.lake import Lake


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
