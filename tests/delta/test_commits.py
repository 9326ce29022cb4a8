from __future__ import annotations

import datetime as dt
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError
from klines import START

from lakehouse.delta.commits import Changes, commit
from lakehouse.delta.failures import guarded
from lakehouse.delta.parquet import Span, file_stats, read_spans
from lakehouse.delta.table import Table
from lakehouse.errors import ConflictError

SCHEMA = {"symbol": pl.String(), "open_time": pl.Datetime("us", "UTC"), "close": pl.Float64()}
KEY = ("symbol", "open_time")
HOUR = dt.timedelta(hours=1)


def bars(close: float, *hours: float, symbol: str = "A'B") -> pl.DataFrame:
    return pl.DataFrame([(symbol, START + hour * HOUR, close) for hour in hours], schema=SCHEMA, orient="row")


def span(low: float, high: float) -> Span:
    return Span({"symbol": "A'B"}, "open_time", START + low * HOUR, START + high * HOUR)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Version 1: hours 0 to 2 in one file; version 2: hours 5 and 6 in another."""
    table = Table("bronze/bars", str(tmp_path / "bars"), SCHEMA, KEY, ("symbol",))
    base = table.open_or_create()
    assert commit(base, KEY, Changes(bars(1.0, 0, 1, 2)), guards=["a"]) == 1
    assert commit(base, KEY, Changes(bars(1.0, 5, 6)), guards=["a"]) == 2
    return table


def rows(table: Table) -> dict[int, float]:
    return {int((at - START) / HOUR): close for _, at, close in table.scan().sort("open_time").collect().iter_rows()}


def lose_first_file(table: Table) -> None:
    (first,) = file_stats(table.open()).filter(pl.col("max.open_time") < START + 3 * HOUR)["path"]
    Path(table.uri, unquote(first)).unlink()


def test_what_lies_on_either_end_of_a_span_is_read_and_no_other_file_is_opened(table: Table) -> None:
    found = read_spans(table.open(), [span(0, 0), span(1.5, 2)]).collect()
    assert sorted(found["open_time"].dt.hour()) == [0, 2]
    lose_first_file(table)
    assert read_spans(table.open(), [span(5, 5)]).collect()["open_time"].to_list() == [START + 5 * HOUR]


def test_a_row_between_two_milliseconds_is_found_though_the_log_cuts_them(table: Table) -> None:
    late = 7 + 900e-6 / 3600
    commit(table.open(), KEY, Changes(bars(2.0, late)), guards=["a"])
    assert read_spans(table.open(), [span(late, late)]).collect()["close"].to_list() == [2.0]
    changes = Changes(bars(1.0), bars(3.0, late))
    commit(table.open(), KEY, changes, guards=["a"])
    assert rows(table) == {0: 1.0, 1: 1.0, 2: 1.0, 5: 1.0, 6: 1.0, 7: 3.0}


def test_without_a_row_there_is_no_version_unless_the_guards_are_to_be_kept(table: Table) -> None:
    none = Changes(bars(1.0))
    assert commit(table.open(), KEY, none, guards=["a"]) == table.version() == 2
    assert commit(table.open(), KEY, none, guards=["a"], even_empty=True) == 3


def test_a_correction_opens_the_file_of_its_span_alone(table: Table) -> None:
    lose_first_file(table)
    changes = Changes(bars(3.0, -1), bars(3.0, 5))
    commit(table.open(), KEY, changes, guards=["a"], notes={"run": "night", "files": 2})
    found = read_spans(table.open(), [span(-1, -1), span(5, 6)]).sort("open_time").collect()
    assert found["close"].to_list() == [3.0, 3.0, 1.0]
    assert table.versions().select("inserted", "updated", "files", "run").row(0) == (1, 1, 2, "night")


def test_rows_come_change_and_go_in_one_commit_that_keeps_what_it_was_made_from(table: Table) -> None:
    going = bars(9.0, 1, 3)  # hour 3 is not there; values do not matter
    changes = Changes(bars(3.0, 4), bars(3.0, 5), going)
    commit(table.open(), KEY, changes, guards=["a"], consumed={"← x": 7})
    assert rows(table) == {0: 1.0, 2: 1.0, 4: 3.0, 5: 3.0, 6: 1.0}
    assert table.versions().select("version", "inserted", "updated").row(0) == (3, 1, 1)
    assert (table.open().transaction_version("← x"), table.open().transaction_version("a")) == (7, 3)


def test_of_two_commits_in_flight_with_one_guard_the_second_is_refused(table: Table) -> None:
    first, second, other = table.open(), table.open(), table.open()
    commit(first, KEY, Changes(bars(2.0, 8)), guards=["a"])
    with pytest.raises(CommitFailedError, match="transaction"):
        commit(second, KEY, Changes(bars(3.0, 8)), guards=["a"])
    assert commit(other, KEY, Changes(bars(4.0, 8, symbol="C")), guards=["c"]) == 4
    assert table.scan().filter(pl.col("close") > 1.0).sort("close").collect()["close"].to_list() == [2.0, 4.0]


def test_what_was_decided_too_early_is_decided_anew(table: Table) -> None:
    seen = []

    def write() -> int:
        base = table.open()
        seen.append(base.version())
        if len(seen) == 1:  # another writer comes in between
            commit(table.open(), KEY, Changes(bars(2.0, 8)), guards=["a"])
        return commit(base, KEY, Changes(bars(2.0, 9)), guards=["a"])

    assert (guarded(write), seen) == (4, [2, 3])


@pytest.mark.parametrize(
    ("error", "told", "times"),
    [
        (CommitFailedError("raced"), r"came first 3 times in a row \(raced\); nothing is half-done, run again", 3),
        (DeltaError("no space"), "no space", 1),
    ],
)
def test_a_lost_race_is_run_again_but_not_for_ever_and_no_other_error_is(
    error: DeltaError, told: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.delta.failures.ATTEMPTS", 3)
    tries = []

    def write() -> None:
        tries.append(1)
        raise error

    with pytest.raises(ConflictError if times > 1 else DeltaError, match=told):
        guarded(write)
    assert len(tries) == times
