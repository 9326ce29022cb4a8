"""What goes wrong below a table: another writer, and in words no room, no right to write, a file that has gone."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from obstore.exceptions import BaseError

from lakehouse.errors import ConflictError, LakeError

ATTEMPTS = 12  # against other writers; the pauses between them add up to about a minute

# Polars tells a Parquet file that it cannot read as a ComputeError.
FAILURES = (OSError, DeltaError, BaseError, pl.exceptions.ComputeError)
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


def guarded[T](write: Callable[[], T]) -> T:
    """Decide and write; if another writer came between the two, decide anew.

    A file that has gone is another writer too, a vacuum; unless the same file is missing when all is opened anew.

    Args:
        write: Opens the table, decides, and commits with guards.

    Returns:
        What it returns.

    Raises:
        ConflictError: Other writers won at every attempt.
    """
    gone = ""
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except FAILURES as error:
            if not isinstance(error, CommitFailedError) and (not is_gone(error) or str(error) == gone):
                raise
            if attempt == ATTEMPTS - 1:
                raise ConflictError(
                    f"other writers came first {ATTEMPTS} times in a row ({error}); nothing is half-done, run again"
                ) from error
            gone = str(error)
            # By chance, or writers that lost together meet again.
            time.sleep(random.uniform(0.02, 0.05 * 2 ** min(attempt, 7)))
    raise AssertionError("unreachable")
