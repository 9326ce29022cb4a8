from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from deltalake import DeltaTable
from klines import START, bar, hours, place

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.delta import Table
from lakehouse.status import read_series, read_status


def test_status_of_an_empty_lake_is_empty(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    stands = read_status(Lake(tmp_path))
    assert stands.tables["table"].to_list() == ["bronze/candles", "bronze/quarantine", "bronze/ledger"]
    assert stands.tables["version"].to_list() == [None, None, None]
    assert [f.height for f in (stands.series, stands.runs, stands.failed, stands.waiting, stands.reasons)] == [0] * 5


def test_status_tells_what_is_there_what_waits_and_what_failed(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 4), bar(5, volume=-1.0), bar(6, volume=-2.0)])
    place(tmp_path, "BBBUSDT_1h.csv", ["<html>"], header=False)
    lake = Lake(tmp_path)
    ingest(lake)
    place(tmp_path, "CCCUSDT_1h.csv", hours(0, 4), at=9)
    stands = read_status(lake)
    assert stands.tables["rows"].to_list() == [5, 2, 2]
    assert stands.reasons.rows() == [("volume is negative", 2)]
    assert stands.failed["path"].to_list() == ["BBBUSDT_1h.csv"]
    assert stands.waiting["path"].to_list() == ["CCCUSDT_1h.csv"]
    assert stands.runs.select("files", "read", "inserted", "rejected", "failed").rows() == [(2, 7, 5, 2, 1)]


def test_series_tell_the_span_and_the_last_close(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 4), bar(5, close=12.0)])
    lake = Lake(tmp_path)
    ingest(lake)
    (row,) = read_series(lake).rows()
    assert row == ("default", "AAAUSDT", "1h", 6, START, START.replace(hour=5), 12.0)


def test_a_look_at_a_lake_opens_each_table_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 30))
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    begun, opened = Table.find, Counter[str]()

    def counted(table: Table) -> DeltaTable | None:
        opened[table.name] += 1
        return begun(table)

    monkeypatch.setattr(Table, "find", counted)
    stands = read_status(lake)
    layers = ("silver/candles", "silver/gaps", "silver/mismatches", "gold/daily", "gold/weekly", "gold/monthly")
    bronze = ("bronze/candles", "bronze/quarantine", "bronze/conflicts")
    assert opened == dict.fromkeys((*bronze, *layers), 1) | {"bronze/ledger": 2}  # the plan's
    assert stands.layers.select("table", "consumed", "latest").rows() == [
        ("silver/candles", 1, 1),
        ("silver/mismatches", 1, 1),
        ("gold/daily", 1, 1),
        ("gold/weekly", 1, 1),
        ("gold/monthly", 1, 1),
    ]
    at = stands.tables.filter(table="gold/daily")["changed_at"].item()
    assert at == lake.gold.versions()["at"][0]
