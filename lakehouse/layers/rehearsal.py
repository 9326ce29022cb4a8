"""Lakes to try things on: a clone that shares its Parquet files with the lake, and a run rehearsed on one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import obstore
import polars as pl
from obstore.store import LocalStore

from lakehouse.bronze import IngestReport, ingest
from lakehouse.delta import check_url, open_store
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.raw import at_once

LAYERS = ("bronze", "silver", "gold", "tags")


def clone(lake: Lake, dest: str | Path) -> Lake:
    """Make a lake of its own out of another, with all versions of its tables, that can be changed and thrown away.

    Parquet files are never changed once they are written, so they are linked, not copied, where both lie on one disk.
    A lake in a bucket is downloaded, all versions of it.

    Args:
        lake: The lake.
        dest: A folder; nothing may be there yet.

    Returns:
        The new lake, with a copy of raw/.

    Raises:
        InputError: Something is there.
    """
    target = Path(dest)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already; name a folder that is not")
    copy_raw(lake.raw_uri, target / "raw")
    if "://" not in lake.root:
        _link_tables(Path(lake.root), target)
    else:
        here = LocalStore(target)  # not Python: stores spell alike what a table's log names
        for layer in LAYERS:
            _download(lake.uri(layer), partial(_put, here, layer))
    return Lake(target, lake.dataset)


def copy_raw(place: str, dest: str | Path) -> None:
    """Copy raw files to a folder, with their times, which say what statement is newer.

    Args:
        place: The folder or URL where they are.
        dest: Where they go; made if it is not there.
    """
    if "://" not in place:
        shutil.copytree(place, dest, dirs_exist_ok=True)
        return
    Path(dest).mkdir(parents=True, exist_ok=True)

    def write(meta: obstore.ObjectMeta, content: Iterator[bytes]) -> None:
        target = Path(dest, meta["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.writelines(content)
        os.utime(target, (at := meta["last_modified"].timestamp(), at))

    _download(place, write)


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


def _put(store: LocalStore, folder: str, meta: obstore.ObjectMeta, content: Iterator[bytes]) -> None:
    obstore.put(store, f"{folder}/{meta['path']}", b"".join(content))


def _download(place: str, write: Callable[[obstore.ObjectMeta, Iterator[bytes]], object]) -> None:
    """Hand what lies in a bucket to `write`, piece by piece."""
    check_url(place)
    store = open_store(place)

    def bring(meta: obstore.ObjectMeta) -> None:
        write(meta, map(bytes, obstore.get(store, meta["path"])))

    with ThreadPoolExecutor(at_once(store)) as pool:
        for chunk in obstore.list(store):
            list(pool.map(bring, chunk))


def _local(place: str) -> Path:
    if "://" in place:
        told = "only such a lake can be rehearsed on; `lakehouse clone` downloads it"
        raise InputError(f"{place} is no folder of this machine; {told}")
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
