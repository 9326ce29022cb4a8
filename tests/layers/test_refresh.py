from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from klines import START, bar, hours, place

from lakehouse import Lake, ingest
from lakehouse.delta.table import Table
from lakehouse.errors import ConflictError, VersionError
from lakehouse.layers.refresh import Layer, RefreshReport, Share, Workers, refresh, refresh_share
from lakehouse.layers.stretches import Snapshot

COLUMNS = {"symbol": pl.String(), "open_time": pl.Datetime("us", "UTC"), "twice": pl.Float64()}


class Doubled:
    """A layer of one's own: twice the close, an hour's change influences that hour alone; it keeps what it computed."""

    def __init__(self, lake: Lake, apart: dt.timedelta = dt.timedelta(hours=1)) -> None:
        self.table = Table("own/doubled", lake.uri("doubled"), COLUMNS, ["symbol", "open_time"], made_from=lake.bronze)
        self.stretches: list[tuple[str, int, int]] = []
        self.layer = Layer((self.table,), ("symbol",), "open_time", pl.lit(apart), self.compute)

    def compute(self, source: Snapshot, stretches: pl.DataFrame) -> tuple[pl.DataFrame, tuple[pl.DataFrame]]:
        for symbol, *ends in stretches.iter_rows():
            self.stretches.append((symbol, *((t - START) // dt.timedelta(hours=1) for t in ends)))
        rows = source.read(stretches).select("symbol", "open_time", twice=2 * pl.col("close"))
        return stretches, (rows.collect(),)

    def rows(self) -> list[tuple[str, int, float]]:
        hour = (pl.col("open_time") - pl.lit(START)).dt.total_hours()
        return self.table.scan().sort("symbol", "open_time").select("symbol", hour, "twice").collect().rows()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 9))
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 9))
    ingest(Lake(tmp_path))
    return Lake(tmp_path)


def test_the_first_time_all_is_computed_and_then_only_what_has_changed(lake: Lake) -> None:
    doubled = Doubled(lake)
    report = refresh(doubled.layer)
    assert (report.inserted, report.updated, report.rebuilt) == (20, 0, "it is the first time")
    assert sorted(doubled.stretches) == [("AAAUSDT", 0, 9), ("BBBUSDT", 0, 9)]
    doubled.stretches.clear()
    place(Path(lake.root), "AAAUSDT_1h_new.csv", [bar(2, 11.0), bar(3, 11.0), bar(7, 12.0)], at=9)
    ingest(lake)
    report = refresh(doubled.layer)
    assert (report.inserted, report.updated, report.deleted, report.rebuilt) == (0, 3, 0, "")
    assert sorted(doubled.stretches) == [("AAAUSDT", 2, 3), ("AAAUSDT", 7, 7)]
    assert [row for row in doubled.rows() if row[2] != 20.0] == [
        ("AAAUSDT", 2, 22.0),
        ("AAAUSDT", 3, 22.0),
        ("AAAUSDT", 7, 24.0),
    ]


def test_nothing_new_computes_nothing_and_adds_no_version(lake: Lake) -> None:
    doubled = Doubled(lake)
    first = refresh(doubled.layer)
    doubled.stretches.clear()
    again = refresh(doubled.layer)
    assert (again.version, again.source_version, again.changed) == (first.version, first.source_version, 0)
    assert doubled.stretches == []


def test_computing_all_again_writes_what_differs_and_without_that_adds_no_version(lake: Lake) -> None:
    doubled = Doubled(lake)
    first = refresh(doubled.layer)
    again = refresh(doubled.layer, rebuild=True)
    assert (again.version, again.changed, again.rebuilt) == (first.version, 0, "it was asked for")
    doubled.table.open().update(new_values={"twice": 7.0}, predicate="symbol = 'AAAUSDT'")
    assert refresh(doubled.layer, rebuild=True).updated == 10
    assert {row[2] for row in doubled.rows()} == {20.0}


def test_a_change_that_makes_no_difference_here_is_consumed_and_writes_no_row(lake: Lake) -> None:
    doubled = Doubled(lake)
    refresh(doubled.layer)
    place(Path(lake.root), "AAAUSDT_1h_new.csv", [bar(2, 10.0, volume=5.0)], at=9)  # the close is as it was
    ingest(lake)
    report = refresh(doubled.layer)
    assert (report.changed, report.source_version) == (0, lake.bronze.version())
    doubled.stretches.clear()
    refresh(doubled.layer)
    assert doubled.stretches == []


def test_changes_that_lie_near_each_other_are_computed_together_and_of_very_many_the_nearest(lake: Lake) -> None:
    doubled = Doubled(lake, apart=dt.timedelta(hours=4))
    refresh(doubled.layer)
    doubled.stretches.clear()
    far = [bar(hour) for hour in range(100, 2100, 20)]  # a hundred bars
    place(Path(lake.root), "AAAUSDT_1h_new.csv", [bar(2, 11.0), bar(6, 11.0), *far], at=9)
    ingest(lake)
    assert refresh(doubled.layer).inserted == 100
    assert len(doubled.stretches) <= 64
    assert min(doubled.stretches) == ("AAAUSDT", 2, 6)


def test_rows_that_the_source_has_no_more_are_deleted(lake: Lake) -> None:
    place(Path(lake.root), "AAAUSDT_1h_new.csv", [bar(20), bar(2, 11.0)], at=9)
    ingest(lake)
    doubled = Doubled(lake)
    refresh(doubled.layer)
    lake.bronze.restore(-2)
    report = refresh(doubled.layer)
    assert (report.inserted, report.updated, report.deleted) == (0, 1, 1)
    assert {row[2] for row in doubled.rows()} == {20.0}


def test_workers_do_whole_series_and_end_as_one_process_does(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.layers.refresh.DEALT_ROWS", 0)
    doubled, met = Doubled(lake), list[Share]()

    def do(shares: Sequence[Share]) -> Iterator[Counter[str]]:
        met.extend(shares)
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(refresh_share, shares)

    report = refresh(doubled.layer, workers=Workers(8, do))
    assert [share.stretches["symbol"].to_list() for share in met] == [["AAAUSDT"], ["BBBUSDT"]]
    assert (report.inserted, report.version) == (20, doubled.table.version())
    assert doubled.rows() == [(symbol, hour, 20.0) for symbol in ("AAAUSDT", "BBBUSDT") for hour in range(10)]
    assert refresh(doubled.layer, workers=Workers(8, do)).version == report.version  # all is said to be consumed
    assert len(met) == 2


def test_what_a_worker_lost_is_computed_by_the_next_refresh(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.layers.refresh.DEALT_ROWS", 0)
    doubled = Doubled(lake)

    def do(shares: Sequence[Share]) -> Iterator[Counter[str]]:
        yield refresh_share(shares[0])
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        refresh(doubled.layer, workers=Workers(8, do))
    assert len(doubled.rows()) == 10
    report = refresh(doubled.layer)
    assert (report.inserted, report.rebuilt) == (10, "the last time was broken off")


def test_a_worker_does_not_write_over_a_later_refresh(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.layers.refresh.DEALT_ROWS", 0)
    doubled = Doubled(lake)

    def do(shares: Sequence[Share]) -> Iterator[Counter[str]]:
        yield refresh_share(shares[0])
        place(Path(lake.root), "BBBUSDT_1h_new.csv", [bar(2, 11.0)], at=9)
        ingest(lake)
        refresh(doubled.layer)
        yield refresh_share(shares[1])

    with pytest.raises(ConflictError, match="another refresh of own/doubled came between"):
        refresh(doubled.layer, workers=Workers(8, do))
    assert [row for row in doubled.rows() if row[2] != 20.0] == [("BBBUSDT", 2, 22.0)]
    assert refresh(doubled.layer).changed == 0


def test_a_layer_without_a_source_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(VersionError, match="table 'bronze/candles' does not exist yet"):
        refresh(Doubled(Lake(tmp_path)).layer)


def test_a_report_reads_as_a_line() -> None:
    report = RefreshReport("gold/daily", 3, 7, 1200, 0, 2, "it was asked for", 0.25)
    assert str(report) == "gold/daily v3: 1,200 inserted, 2 deleted (all computed: it was asked for), 0.2 s"
    assert str(RefreshReport("gold/daily", 3, 7, 0, 0, 0, "", 0.0)) == "gold/daily v3: nothing new, 0.0 s"
