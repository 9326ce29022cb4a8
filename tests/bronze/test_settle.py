from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from klines import START, bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.bronze.settle import Settled, Stated, settle
from lakehouse.recognise.layouts import CANDLES

MINUTE = dt.timedelta(minutes=1)


def statements(close: float, first: int, last: int, *, number: int = 0, after: dt.timedelta = MINUTE) -> Stated:
    """Hourly statements of file `number`, modified `after` START."""
    times = [START + dt.timedelta(hours=hour) for hour in range(first, last + 1)]
    told = {
        **{"market": "default", "symbol": "AAAUSDT", "interval": "1h", "open": 10.0, "high": 20.0, "low": 5.0},
        **{"close": close, "volume": 1.0, "_file": f"{number}.csv", "_sha256": "x"},
        **{"_modified_at": START + after, "_ingested_at": START},
    }
    rows = pl.DataFrame({"open_time": times, "_line": range(2, len(times) + 2)}).with_columns(
        **{name: pl.lit(value) for name, value in told.items()}
    )
    missing = [pl.lit(None).alias(name) for name in CANDLES.schema if name not in rows.columns]
    rows = rows.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in CANDLES.schema.items())
    return number, False, rows


def settled(base: DeltaTable, *stated: Stated) -> Settled:
    return settle(base, {("default", "AAAUSDT", "1h"): stated}, CANDLES, lambda rows: rows.clear())


def test_new_keys_are_inserted_without_a_look_at_the_table(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parents[1])
    ingest(lake)
    done = settled(lake.bronze.open(), statements(10.0, 5, 7))
    assert (done.counts, done.updated, done.confirming) == ({(0, "inserted"): 3}, [], set())


def test_of_one_key_in_a_batch_the_newest_statement_is_kept(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    base = Lake(tmp_path).bronze.open_or_create()
    done = settled(base, statements(12.0, 0, 1, number=1), statements(11.0, 0, 2, number=0))
    assert done.counts == {(0, "overruled"): 2, (1, "inserted"): 2, (0, "inserted"): 1}
    assert done.inserted[0]["close"].to_list() == [12.0, 12.0, 11.0]


def test_each_statement_meets_its_row_and_only_what_differs_changes(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 2), bar(3, close=12.0)]).parents[1])
    ingest(lake)
    done = settled(lake.bronze.open(), statements(12.0, 2, 4))
    assert done.counts == {(0, "updated"): 1, (0, "unchanged"): 1, (0, "inserted"): 1}
    assert [rows["open_time"].to_list() for rows in done.updated] == [[START.replace(hour=2)]]
    assert done.confirming == {0}
    older = settled(lake.bronze.open(), statements(12.0, 2, 4, after=-MINUTE))
    assert older.counts == {(0, "superseded"): 1, (0, "overruled"): 1, (0, "inserted"): 1}
