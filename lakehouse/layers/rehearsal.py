"""Lakes to try things on: a clone that shares its Parquet files with the lake, and a run rehearsed on one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from lakehouse.bronze import IngestReport, ingest
from lakehouse.errors import InputError
from lakehouse.lake import Lake

LAYERS = ("bronze", "silver", "gold", "tags")


def clone(lake: Lake, dest: str | Path) -> Lake:
    """Make a lake of its own out of another, with all versions of its tables, that can be changed and thrown away.

    Parquet files are never changed once they are written, so they are linked, not copied, where both lie on one disk.

    Args:
        lake: A lake in a folder.
        dest: Where; nothing may be there yet.

    Returns:
        The new lake, with a copy of raw/.

    Raises:
        InputError: Something is there, or the lake lies in no folder.
    """
    source, raw, target = _local(lake.root), _local(lake.raw_uri), Path(dest)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already; name a folder that is not")
    shutil.copytree(raw, target / "raw")
    _link_tables(source, target)
    return Lake(target, lake.dataset)


@contextmanager
def rehearsal(lake: Lake) -> Iterator[Lake]:
    """Give a clone that is thrown away: whatever is done to it, the lake stays as it is.

    Args:
        lake: A lake in a folder.

    Raises:
        InputError: The lake lies in no folder.
    """
    source = _local(lake.root)
    with tempfile.TemporaryDirectory(prefix="lakehouse-plan-") as folder:
        target = Path(folder)
        _link_tables(source, target)
        yield Lake(target, lake.dataset, raw=lake.raw_uri)


def rehearse(
    lake: Lake, *, on_progress: Callable[[int, int], object] | None = None
) -> tuple[IngestReport, pl.DataFrame]:
    """Tell what `ingest` would do, and do nothing: the same work on a clone that is thrown away.

    Args:
        lake: A lake in a folder.
        on_progress: As of `ingest`.

    Returns:
        The account that `ingest` would give, and what would change in bronze, as `Table.diff` gives it.

    Raises:
        InputError: The lake lies in no folder.
    """
    with rehearsal(lake) as trial:
        before = max(0, trial.bronze.version())
        report = ingest(trial, on_progress=on_progress)
        changes = trial.bronze.diff(before, -1) if trial.bronze.exists() else pl.DataFrame()
    return report, changes


def _local(place: str) -> Path:
    if "://" in place:
        raise InputError(f"{place} is no folder of this machine; only such a lake can be cloned")
    return Path(place)


def _link_tables(source: Path, target: Path) -> None:
    for layer in LAYERS:
        if (source / layer).is_dir():
            shutil.copytree(source / layer, target / layer, copy_function=_link)


def _link(file: str, to: str) -> None:
    """Link what never changes; the logs, and what lies on another disk, are copied."""
    if file.endswith(".parquet") and "_delta_log" not in file and not file.endswith("seen.parquet"):
        try:
            os.link(file, to)
        except OSError:
            pass
        else:
            return
    shutil.copy2(file, to)
