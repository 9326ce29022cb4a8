"""`lakehouse notebook`, `report` and `lab`: the chapters, headless and in the browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from lakehouse.cli.commands import Root, app, console, execute
from lakehouse.errors import InputError
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
    symbol: str = "BTCUSDT",
    interval: str = "1h",
    start: Annotated[str, Parameter(help="First day, for example 2024-03-01. Default: all.")] = "",
    end: Annotated[str, Parameter(help="Last day, included. Default: all.")] = "",
    market: Annotated[str, Parameter(help="Default: the market with most bars of it.")] = "",
    root: Root = "",
    output: Annotated[Path | None, Parameter(help="Where to put the executed copy. Default: in runs/.")] = None,
) -> int:
    """Write the report on one series: a page with charts that opens without network."""
    series = {"symbol": symbol, "interval": interval, "market": market}
    return execute("report", {**series, "start": start, "end": end, "root": Lake(root or None).root}, output)


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
