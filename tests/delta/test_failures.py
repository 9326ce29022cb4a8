from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from klines import hours, place

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.delta.failures import guarded, is_gone, writing
from lakehouse.errors import ConflictError, LakeError, VersionError
from lakehouse.status import read_status

FULL = "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"
MISSING = "No such file or directory (os error 2): /lake/silver/candles/part-{}.parquet"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(FULL), "No space left on device (os error 28)"),
        (DeltaError("Failed to write: Read-only file system (os error 30)"), "Read-only file system (os error 30)"),
        (TableNotFoundError("no log\nand more"), "no log"),
        (pl.exceptions.ComputeError("parquet: File out of specification"), "parquet: File out of specification"),
    ],
)
def test_what_the_disk_says_becomes_our_error_with_what_to_do(error: Exception, cause: str) -> None:
    with pytest.raises(LakeError) as caught, writing("/lake/silver/candles"):
        raise error
    assert str(caught.value) == (
        f"/lake/silver/candles cannot be written: {cause}. What was committed before stands; "
        "make room or mend the permissions, then run again"
    )


def test_a_file_that_has_gone_is_not_answered_with_make_room() -> None:
    told = r"lacks a file .*\(os error 2\)\. Put it back, or restore an earlier version$"
    with pytest.raises(LakeError, match=told), writing("/lake"):
        raise FileNotFoundError(MISSING.format(1))


def test_our_own_errors_pass() -> None:
    for error in (VersionError("v"), ConflictError("c")):
        with pytest.raises(type(error)), writing("/lake"):
            raise error


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (FileNotFoundError("x"), True),
        (DeltaError(MISSING), True),
        (DeltaError("Object at location part-1.parquet not found"), True),
        (TableNotFoundError("not found"), False),
        (OSError(FULL), False),
        (KeyError("not found"), False),
    ],
)
def test_a_file_that_has_gone_is_told_from_what_else_may_fail(error: Exception, gone: bool) -> None:
    assert is_gone(error) == gone


def test_a_file_that_a_vacuum_took_is_decided_anew_and_one_that_is_missing_for_good_is_not() -> None:
    coming = iter([FileNotFoundError(MISSING.format(1)), CommitFailedError("raced"), DeltaError(MISSING.format(2))])

    def write() -> str:
        for error in coming:
            raise error
        return "done"

    assert guarded(write) == "done"
    tries = []

    def fails() -> None:
        tries.append(1)
        raise FileNotFoundError(MISSING.format(1))

    with pytest.raises(FileNotFoundError):
        guarded(fails)
    assert len(tries) == 2


@pytest.mark.parametrize("standing", ["silver", "silver/candles", "silver/gaps"])
def test_a_file_where_a_folder_of_tables_must_be_is_told(standing: str, tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    lake = Lake(tmp_path)
    ingest(lake)
    path = tmp_path / standing
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a folder", encoding="utf-8")
    told = rf"{re.escape(str(path))} is a file, and must be a folder of tables; move it away, then run again$"
    for look in (refresh_silver, read_status):
        with pytest.raises(LakeError, match=told):
            look(lake)
    path.rename(tmp_path / "elsewhere")
    assert refresh_silver(lake).inserted == 5
