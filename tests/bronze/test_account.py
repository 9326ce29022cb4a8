from __future__ import annotations

import datetime as dt
from collections import Counter

import polars as pl
import pytest
from klines import START

from lakehouse.bronze.account import DEFERRED, Account, IngestReport, report_of
from lakehouse.contracts import COUNTS, Revision
from lakehouse.raw.files import RawFile

LATER = START + dt.timedelta(hours=1)


def account(path: str = "A.csv", status: str = "loaded", **counts: int) -> Account:
    """A file of which bronze's versions 3 to 5 took a part each."""
    file = RawFile(path, 100, START)
    return Account(file, LATER, 0, sha256="x", status=status, counts=Counter(counts), versions={3, 5, 4})


def report(*accounts: Account) -> IngestReport:
    return report_of([one.row("run", START) for one in accounts], 2, "run", 0.5)


def test_a_row_of_the_ledger_tells_all_that_its_contract_asks() -> None:
    row = account(read=4, inserted=3, rejected=1, skipped=2).row("run", START)
    assert sorted(row) == sorted(Revision.column_names())
    assert [row[name] for name in (*COUNTS, "skipped")] == [4, 3, 0, 0, 0, 0, 1, 2]
    assert (row["path"], row["size"], row["modified_at"], row["stated_at"]) == ("A.csv", 100, START, LATER)
    assert Revision.validate(pl.DataFrame([row], schema=Revision.create_empty().schema)).height == 1


def test_the_version_of_a_file_in_parts_is_that_of_its_last_part() -> None:
    assert account().row("run", START)["bronze_version"] == 5


@pytest.mark.parametrize(
    ("symbols", "told"), [(set[str](), None), ({"AAAUSDT"}, "AAAUSDT"), ({"AAAUSDT", "BBBUSDT"}, None)]
)
def test_the_symbol_is_told_only_if_there_is_just_one(symbols: set[str], told: str | None) -> None:
    one = account()
    one.symbols |= symbols
    assert one.row("run", START)["symbol"] == told


def test_each_sum_adds_its_own_count_of_all_files() -> None:
    made = report(
        account(
            "A.csv", read=34, inserted=1, updated=2, unchanged=4, superseded=8, overruled=3, rejected=16, skipped=5
        ),
        account("B.csv", read=340, inserted=10, updated=20, unchanged=40, superseded=80, overruled=30, rejected=160),
    )
    assert [getattr(made, name) for name in COUNTS] == [374, 11, 22, 44, 88, 33, 176]
    assert made.read == made.inserted + made.updated + made.unchanged + made.superseded + made.overruled + made.rejected
    assert made.files["path"].to_list() == ["A.csv", "B.csv"]


def test_a_run_with_nothing_to_do_is_complete_and_its_sums_are_zero() -> None:
    made = report()
    assert [getattr(made, name) for name in COUNTS] == [0] * 7
    assert (made.complete, made.failed.height, made.untouched, made.seconds) == (True, 0, 2, 0.5)
    assert made.files.schema == Revision.create_empty().schema


@pytest.mark.parametrize(
    ("status", "complete", "failed"),
    [
        *(("loaded", True, 0), ("empty", True, 0), ("rolled_back", True, 0)),
        *(("failed", False, 1), (DEFERRED, False, 0)),
    ],
)
def test_a_run_is_complete_unless_a_file_failed_or_was_deferred(status: str, complete: bool, failed: int) -> None:
    made = report(account("A.csv"), account("B.csv", status=status))
    assert (made.complete, made.failed.height) == (complete, failed)
    assert made.failed["path"].to_list() == ["B.csv"] * failed
