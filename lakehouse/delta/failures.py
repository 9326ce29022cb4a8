"""What goes wrong below a table, in words: no room, no right to write, a file that has gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.errors import LakeError

# Polars tells a Parquet file that it cannot read as a ComputeError.
FAILURES = (OSError, DeltaError, pl.exceptions.ComputeError)
GONE = re.compile(r"No such file|os error 2\b|NotFound|not found|NoSuchKey")


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Tell what libraries raise when a lake cannot be written, in our words.

    Args:
        where: The lake, or the table.

    Raises:
        LakeError: The disk is full or read-only, or a file of the table has gone.
    """
    try:
        yield
    except FAILURES as error:
        # To make room would be bad advice: somebody has vacuumed, or a disk is not mounted.
        if is_gone(error):
            raise LakeError(
                f"{where} lacks a file that its latest version needs: {_cause(error)}. "
                "Put it back, or restore an earlier version"
            ) from error
        raise LakeError(
            f"{where} cannot be written: {_cause(error)}. What was committed before stands; "
            "make room or mend the permissions, then run again"
        ) from error


def refuse_file(where: str) -> None:
    """See that no file stands where a table's folder, or the one around it, must be: libraries say that otherwise."""
    path = Path(where)  # a bucket has no folders
    if "://" not in where and (files := [place for place in (path.parent, path) if place.is_file()]):
        raise LakeError(f"{files[0]} is a file, and must be a folder of tables; move it away, then run again")


def is_gone(error: Exception) -> bool:
    """Whether an error says that a data file is not there."""
    if isinstance(error, TableNotFoundError):
        return False
    return isinstance(error, FileNotFoundError) or (isinstance(error, FAILURES) and bool(GONE.search(str(error))))


def _cause(error: Exception) -> str:
    """What the system said, out of the layers that libraries wrap around it."""
    text = str(error)
    said = re.search(r"[A-Z][\w ,-]+\(os error \d+\)", text) or re.search(r'(?<=message: ")[^"]+', text)
    return said[0] if said else text.strip().splitlines()[0]
