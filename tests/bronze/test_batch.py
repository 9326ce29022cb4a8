from __future__ import annotations

import datetime as dt
import gzip
import hashlib
from pathlib import Path

import polars as pl
import pytest
from klines import START, bar, hours, place

from lakehouse import Lake
from lakehouse.bronze.account import DEFERRED, Account
from lakehouse.bronze.batch import Batch, read_batches
from lakehouse.bronze.plan import plan
from lakehouse.bronze.settle import joined
from lakehouse.raw.files import list_files
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.opened import open_file
from lakehouse.recognise.sources import Declared


def batches(lake: Lake, batch_bytes: int = 10**6) -> list[Batch]:
    return list(read_batches(lake, plan(lake), batch_bytes))


def finished(batch: Batch) -> list[tuple[str, str]]:
    return [(account.file.path, account.status) for account in batch.finished]


def rows(batch: Batch) -> pl.DataFrame:
    return pl.concat(joined(stated, "open_time") for stated in batch.statements.values())


def test_batches_keep_to_the_budget_and_to_the_order_of_the_statements(tmp_path: Path) -> None:
    for name, at in (("BBBUSDT", 5), ("AAAUSDT", 9), ("CCCUSDT", 1)):
        size = place(tmp_path, f"{name}_1h.csv", hours(0, 1), at=at).stat().st_size
    first, second = batches(Lake(tmp_path), 2 * size)
    assert finished(first) == [("CCCUSDT_1h.csv", "loaded"), ("BBBUSDT_1h.csv", "loaded")]
    assert finished(second) == [("AAAUSDT_1h.csv", "loaded")]
    assert (first.size, second.size) == (2 * size, size)
    assert [a.number for a in (*first.finished, *second.finished)] == [0, 1, 2]


def test_a_huge_file_has_a_part_in_several_batches_and_is_finished_with_the_last(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 19), bar(20, volume=-1.0)])
    parts = batches(Lake(tmp_path), 300)
    assert len(parts) > 2
    assert [len(part.finished) for part in parts] == [*[0] * (len(parts) - 1), 1]
    assert sum(part.counts[0, "read"] for part in parts) == 21
    assert parts[-1].counts[0, "rejected"] == 1
    assert pl.concat(map(rows, parts))["_line"].to_list() == list(range(2, 22))
    (account,) = parts[-1].finished
    assert (account.status, account.first, account.last) == ("loaded", START, START + dt.timedelta(hours=19))


def test_each_row_and_each_rejected_line_tells_where_it_was_stated(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [bar(2), bar(1), "x,1,2", bar(0)])
    (batch,) = batches(Lake(tmp_path))
    assert list(batch.statements) == [("default", "AAAUSDT", "1h")]
    assert rows(batch).select("_line", "_line_order").rows() == [(2, -2), (3, -3), (5, -5)]  # the file runs backwards
    ((number, line),) = batch.rejected
    assert (number, *line.select("_file", "_line", "raw").row(0)) == (0, "AAAUSDT_1h.csv", 4, "x,1,2")
    assert line["rejected_at"].item() == batch.read_at


def test_a_file_of_several_symbols_goes_to_a_partition_each(tmp_path: Path) -> None:
    lines = [f"{symbol},{bar(hour)}" for hour in (0, 1) for symbol in ("BBBUSDT", "AAAUSDT")]
    place(tmp_path, "all_1h.csv", ["symbol,open_time,open,high,low,close,volume", *lines], header=False)
    (batch,) = batches(Lake(tmp_path))
    held = {key[1]: joined(stated, "open_time")["_line"].to_list() for key, stated in batch.statements.items()}
    assert held == {"AAAUSDT": [3, 5], "BBBUSDT": [2, 4]}
    assert batch.finished[0].symbols == {"AAAUSDT", "BBBUSDT"}


def test_a_file_that_cannot_be_unpacked_fails_alone_and_its_bytes_are_known(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    packed = gzip.compress("\n".join(hours(0, 9)).encode(), mtime=0)
    (tmp_path / "raw" / "BBBUSDT_1h.csv.gz").write_bytes(packed[:-8])
    (batch,) = batches(Lake(tmp_path))
    assert finished(batch) == [("AAAUSDT_1h.csv", "loaded"), ("BBBUSDT_1h.csv.gz", "failed")]
    assert rows(batch)["_file_number"].to_list() == [0] * 4
    assert "is the download complete?" in str(batch.finished[1].error)
    assert batch.finished[1].sha256 == hashlib.sha256(packed[:-8]).hexdigest()


def test_forgetting_a_file_leaves_the_others_of_the_batch_alone(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [bar(0), bar(1), bar(2, volume=-1.0)])
    place(tmp_path, "AAAUSDT_1h_b.csv", [bar(0), "x,1,2", ""])
    lake, batch = Lake(tmp_path), Batch()
    accounts = [Account(file, START, number) for number, file in enumerate(list_files(lake.raw))]
    told = {"_modified_at": START, "_ingested_at": START}
    for account in accounts:
        opened = open_file(lake.raw, account.file, CANDLES, Declared(), told)
        for block in opened.blocks:
            batch.add(account, opened, block, CANDLES)
    assert sum(batch.counts.values()) == (3 + 1 + 1) + (2 + 1 + 2)  # read, rejected, skipped
    batch.forget(accounts[1])
    assert batch.counts == {(0, "read"): 3, (0, "rejected"): 1, (0, "skipped"): 1}
    assert (rows(batch)["_file_number"].to_list(), [number for number, _ in batch.rejected]) == ([0, 0], [0])
    assert list(batch.accounts) == [0]


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_is_not_what_was_planned_is_left_for_the_next_run(gone: bool, tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    place(tmp_path, "BBBUSDT_1h.csv", [], at=5)
    lake = Lake(tmp_path)
    todo = plan(lake)
    path.unlink() if gone else place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    (batch,) = read_batches(lake, todo)
    assert finished(batch) == [("AAAUSDT_1h.csv", DEFERRED), ("BBBUSDT_1h.csv", "empty")]
    assert not any(batch.statements.values())
    assert batch.finished[0].error == "written to while it was read; the next run takes it"
