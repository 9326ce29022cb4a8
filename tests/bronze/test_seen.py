from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake
from klines import hours, place

from lakehouse import Lake, ingest, status
from lakehouse.bronze import seen
from lakehouse.recognise import CANDLES, names
from lakehouse.status import read_status

OKX, OTHER = "okx_BTCUSDT_1h.csv", "binance_BTCUSDT_1h.csv"


def bars(lake: Lake) -> list[tuple[Any, ...]]:
    return sorted(lake.bronze.scan().select("market", "symbol", "open_time", "close", "volume").collect().iter_rows())


def told(lake: Lake) -> dict[str, str]:
    return dict(read_status(lake).otherwise.iter_rows())


def versions(lake: Lake) -> list[int]:
    return [table.version() for table in (lake.bronze, lake.ledger, lake.conflicts)]


def fresh(lake: Lake, at: Path) -> Lake:
    shutil.copytree(Path(lake.root, "raw"), at / "raw")
    new = Lake(at, lake.dataset)
    ingest(new)
    return new


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """OKX is taken for a file of okx, and so contradicts nobody."""
    place(tmp_path / "lake", OKX, hours(0, 3))
    place(tmp_path / "lake", OTHER, hours(2, 5, 11.0), at=5)
    lake = Lake(tmp_path / "lake")
    ingest(lake)
    return lake


@pytest.fixture
def another_day(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake as a later program finds it, which takes the one exchange for the other."""
    monkeypatch.setitem(names.EXCHANGES, "okx", "binance")
    # What was told before that day, and what is told on it, is remembered for the process.
    monkeypatch.setattr(names, "_market_at", names._market_at.__wrapped__)
    monkeypatch.setattr(seen, "program", lambda: "that of another day")
    return lake


def test_what_the_program_reads_by_the_same_rules_is_not_even_opened(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "open_file", lambda *_: pytest.fail("opened"))
    assert told(lake) == {}


def test_what_the_program_reads_otherwise_is_listed_and_redone_on_request(another_day: Lake, tmp_path: Path) -> None:
    lake, before = another_day, bars(another_day)
    assert told(lake) == {OKX: "market: okx → binance"}
    assert ingest(lake).files.is_empty()  # not by itself
    assert bars(lake) == before
    report = ingest(lake, again="*")
    assert sorted(report.files.select("path", "market", "status").rows()) == [
        (OTHER, "binance", "loaded"),
        (OKX, "binance", "loaded"),
    ]
    assert told(lake) == {}
    assert bars(lake) == bars(fresh(lake, tmp_path / "fresh")) != before  # law 9
    stood = versions(lake)
    assert ingest(lake).files.is_empty()
    assert versions(lake) == stood


def test_a_column_that_is_named_otherwise_by_now_is_redone_too(tmp_path: Path) -> None:
    header = "open_time,open,high,low,close,volume,turnover"
    place(tmp_path / "lake", OTHER, [header, *(f"{line},7.5" for line in hours(0, 3))], header=False)
    words = {**CANDLES.synonyms, "volume": ("turnover",), "quote_volume": ("none",)}
    ingest(Lake(tmp_path / "lake", replace(CANDLES, synonyms=words, amounts=())))
    lake = Lake(tmp_path / "lake")
    assert list(told(lake)) == [OTHER]
    assert "columns: ['open_time', 'open', 'high', 'low', 'close', '', 'volume'] → " in told(lake)[OTHER]
    ingest(lake, again=OTHER)
    assert told(lake) == {}
    assert bars(lake) == bars(fresh(lake, tmp_path / "fresh"))


def test_a_file_is_looked_at_once_for_each_set_of_rules(another_day: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(told(another_day)) == [OKX]
    monkeypatch.setattr(seen, "open_file", lambda *_: pytest.fail("opened"))
    assert list(told(another_day)) == [OKX]


def test_a_look_opens_so_many_files_and_says_how_many_are_left(
    another_day: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "LOOKS", 1)
    looks = [read_status(another_day) for _ in range(3)]
    assert [(stands.otherwise.height, stands.unlooked) for stands in looks] == [(1, 1), (1, 0), (1, 0)]


def test_what_would_be_refused_by_now_is_listed_and_its_bars_go_if_it_is_redone(
    another_day: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = [pattern for pattern in CANDLES.names if not pattern.search(OKX)]
    lake = Lake(another_day.root, replace(CANDLES, names=tuple(patterns)))
    assert "refused:  → " in told(lake)[OKX]
    assert ingest(lake, again=OKX).failed["path"].to_list() == [OKX]
    assert {row[0] for row in bars(lake)} == {"binance"}


def test_of_a_file_of_an_older_lake_what_it_was_taken_as_has_to_do(another_day: Lake) -> None:
    lake = another_day
    rows = lake.ledger.scan().drop("read_as", "read_by").collect()
    write_deltalake(lake.ledger.uri, rows, mode="overwrite", schema_mode="overwrite")
    assert told(lake) == {OKX: "market: okx → binance"}
    ingest(lake, again=OKX)
    assert told(lake) == {}


def test_a_file_that_is_gone_or_has_changed_is_not_listed(another_day: Lake) -> None:
    Path(another_day.root, "raw", OKX).unlink()
    assert told(another_day) == {}
    place(Path(another_day.root), OKX, hours(0, 4), at=9)
    assert told(another_day) == {}
