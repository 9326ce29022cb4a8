"""What lies in runs/: its pages, the latest one about something, and the clean-up."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lakehouse.errors import InputError

RUNS = "runs"
RUN = re.compile(r"(\d{8}T\d{6})-(.+?)(-[0-9a-f]{6})?$")  # <UTC time>-<notebook>
HEAD = 4096  # bytes of a page in which its title stands


def list_runs(folder: str | Path = RUNS) -> pl.DataFrame:
    """List the pages below runs/, the latest first.

    Args:
        folder: Where they lie.

    Returns:
        made_at (Datetime, UTC, to the second), notebook, title, page (its path), bytes (of its whole run).
    """
    rows = []
    for run in Path(folder).glob("*T*-*"):
        if (told := RUN.match(run.name)) and run.is_dir():
            made = dt.datetime.strptime(told[1], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
            size = sum(path.stat().st_size for path in run.iterdir() if path.is_file())
            rows += [(made, told[2], _title(page), str(page), size) for page in sorted(run.glob("*.html"))]
    schema: dict[str, Any] = {
        "made_at": pl.Datetime("us", "UTC"),
        "notebook": pl.String,
        "title": pl.String,
        "page": pl.String,
    }
    found = pl.DataFrame(rows, schema={**schema, "bytes": pl.Int64}, orient="row")
    return found.sort("made_at", "page", descending=[True, False])


def find_page(name: str, about: Mapping[str, object], folder: str | Path = RUNS) -> Path | None:
    """Find the latest page of a notebook if it is about just that: equal parameters and results.

    Args:
        name: The notebook.
        about: Names of parameters or recorded results → their values.
        folder: Where pages lie.
    """
    runs = list_runs(folder).filter(notebook=name)
    for page in runs["page"].head(1):
        try:
            book = json.loads(Path(page).with_suffix(".ipynb").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = dict(book["metadata"].get("papermill", {}).get("parameters", {}))
        for output in (output for cell in book["cells"] for output in cell.get("outputs", [])):
            known |= output.get("data", {}).get("application/vnd.lakehouse.results+json", {})
        return Path(page) if all(known.get(key) == value for key, value in about.items()) else None
    return None


def remove_runs(keep: int, folder: str | Path = RUNS) -> list[Path]:
    """Remove old runs with all that lies in their folders.

    Args:
        keep: How many of each notebook stay, at least one: the latest.
        folder: Where they lie.

    Returns:
        The folders that are gone.

    Raises:
        InputError: `keep` is less than one.
    """
    if keep < 1:
        raise InputError(f"keep is {keep}; expected 1 or more")
    runs = [path for path in sorted(Path(folder).glob("*T*-*"), reverse=True) if path.is_dir() and RUN.match(path.name)]
    met = dict[str, int]()
    gone = []
    for run in runs:
        name = RUN.sub(r"\2", run.name)
        met[name] = met.get(name, 0) + 1
        if met[name] > keep:
            shutil.rmtree(run)
            gone.append(run)
    return gone


def _title(page: Path) -> str:
    with page.open(encoding="utf-8", errors="replace") as text:
        told = re.search(r"<title>(.*?)</title>", text.read(HEAD))
    return html.unescape(told[1]) if told else page.stem
