"""The laws of the design, each held against an oracle in plain Python, or against what must not happen."""

from __future__ import annotations

import gzip
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars.selectors as cs
import pytest
from deltalake import DeltaTable
from histories import MODIFIED, ONE_BATCH, START, Step, asked_for_all, examples, histories, lines, overlapping_files
from hypothesis import HealthCheck, example, given, settings
from oracle import Files, Oracle
from writers import Writer, deliver, fresh_lake, put, snapshot, write_together

from lakehouse import Lake, ingest
from lakehouse.bronze.account import IngestReport
from lakehouse.delta import commits, rewrite
from lakehouse.delta.table import Table

FATES = ["inserted", "updated", "unchanged", "superseded", "overruled"]
laws = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))
History = list[Step]
Rows = list[dict[str, Any]]


def play(history: History) -> Iterator[tuple[Lake, Oracle, IngestReport, bool]]:
    """Do the runs; after each, give the lake, the oracle, the run's report and whether it was one batch."""
    with tempfile.TemporaryDirectory() as folder:
        lake, oracle = fresh_lake(Path(folder, "lake"), {}), Oracle()
        raw: dict[str, tuple[bytes, int]] = {}
        for step, batch_bytes in history:
            for path, (data, modified_at) in step.items():
                if data is not None:
                    raw[path] = data, modified_at
                    put(Path(lake.root), path, data, modified_at)
                elif raw.pop(path, None):
                    Path(lake.root, "raw", path).unlink()
            report = ingest(lake, batch_bytes=batch_bytes)
            oracle.run(raw)
            yield lake, oracle, report, batch_bytes == ONE_BATCH


def rows_of(table: Table, *but: str) -> Rows:
    """The rows of a table in the order of their keys; times as epoch µs."""
    if not table.exists():
        return []
    return table.scan().drop(but).sort(table.key).with_columns(cs.temporal().to_physical()).collect().to_dicts()


def tables_of(lake: Lake) -> tuple[Rows, Rows, Rows]:
    """What must not depend on how the lake was written."""
    told = ["path", "sha256", "stated_at", "status", "read", "rejected", "skipped"]
    ledger = [{name: row[name] for name in told} for row in rows_of(lake.ledger)]
    return rows_of(lake.bronze, "_ingested_at"), rows_of(lake.quarantine, "rejected_at"), ledger


def assert_tables_are(lake: Lake, oracle: Oracle, exact: bool = True) -> None:
    """Candles and quarantine are the oracle's; if not exact, a row may show any line that states its values."""
    shown = rows_of(lake.bronze, "_ingested_at")
    if not exact:
        for row in shown:
            key = (row["market"], row["symbol"], row["interval"], row["open_time"])
            oracle.rows[key] = next((s for s in oracle.may_show(key) if s.row() == row), oracle.rows[key])
    assert shown == [oracle.rows[key].row() for key in sorted(oracle.rows)]
    rejected = [(row["_file"], row["_sha256"], row["_line"], row["raw"]) for row in rows_of(lake.quarantine)]
    assert rejected == sorted((*key, text) for key, text in oracle.quarantine.items())


def distinct(table: Table, column: str) -> set[Any]:
    return set(table.scan().select(column).unique().collect().to_series()) if table.exists() else set()


def versions(lake: Lake) -> list[int]:
    return [table.version() for table in (lake.bronze, lake.quarantine, lake.ledger)]


# Law 1


@laws(max_examples=examples(16))
@given(histories())
def test_every_line_of_every_file_is_accounted_for(history: History) -> None:
    """Law 1, conservation: what was read is inserted, updated, unchanged, superseded, overruled or rejected."""
    for lake, oracle, report, one_batch in play(history):
        ledger = {(row["path"], row["stated_at"]): row for row in rows_of(lake.ledger)}
        assert len(ledger) == len(rows_of(lake.ledger)) == len(oracle.ledger)
        for told in oracle.ledger:
            row = ledger[told.path, told.stated_at]
            assert (row["sha256"], row["status"]) == (told.sha256, "loaded" if told.counts["read"] else "empty")
            assert row["read"] == sum(row[fate] for fate in FATES) + row["rejected"]
            names = ["read", "rejected", "skipped", *(FATES if one_batch else [])]
            assert {name: row[name] for name in names} == {name: told.counts[name] for name in names}
        assert sum(row["inserted"] for row in ledger.values()) == len(oracle.rows)
        assert report.read == sum(getattr(report, name) for name in [*FATES, "rejected"])


def test_bars_before_a_header_are_not_lost(tmp_path: Path) -> None:
    """Law 1: two exports that were joined, the second of them with a header."""
    data = lines([1, 2]) + b"open_time,open,high,low,close,volume\n" + lines([3])
    report = ingest(fresh_lake(tmp_path, {"binance/BTCUSDT_1h.csv": (data, MODIFIED)}))
    assert report.read == 3


# Law 2

AGREED: History = [
    ({"binance/BTCUSDT-1h-1.csv": (lines([1]), MODIFIED)}, ONE_BATCH),
    ({"binance/BTCUSDT-1h-2.csv": (lines([1]), MODIFIED + 2)}, ONE_BATCH),  # confirms
    ({"binance/BTCUSDT-1h-3.csv": (lines([1], salt=7), MODIFIED + 1)}, ONE_BATCH),  # comes late
]


@laws(max_examples=examples(20))
@given(histories())
@example(AGREED)
def test_the_newest_statement_wins_in_whatever_order_files_arrive(history: History) -> None:
    """Law 2: after each run every key shows its newest statement, and quarantine each bad line once."""
    for lake, oracle, _, one_batch in play(history):
        assert_tables_are(lake, oracle, exact=one_batch)


def test_times_finer_than_a_millisecond_are_one_key(tmp_path: Path) -> None:
    """Law 2: the statistics of the Delta log are cut to milliseconds, and must not hide a row."""
    lake = fresh_lake(tmp_path, {})
    for close in (1, 2):
        data = f"{START * 1_000_000 + 456},1,9,0,{close},1\n".encode()
        deliver(tmp_path, {f"binance/BTCUSDT-1h-{close}.csv": (data, MODIFIED + close)})
        ingest(lake)
    assert [row["close"] for row in rows_of(lake.bronze)] == [2]


def test_the_order_of_lines_holds_in_a_cut_file_that_runs_backwards(tmp_path: Path) -> None:
    """Law 2: line 2 agrees with the table; the repeated key far below is older and must not win."""
    lake = fresh_lake(tmp_path, {"binance/BTCUSDT-1h-1.csv": (lines([50]), MODIFIED)})
    ingest(lake)
    data = lines([51]) + lines([50]) + lines(range(49, 0, -1)) + lines([50], salt=7)
    deliver(tmp_path, {"binance/BTCUSDT-1h-2.csv": (data, MODIFIED + 1)})
    ingest(lake, batch_bytes=400)
    assert [row["volume"] for row in rows_of(lake.bronze)] == [0.0] * 51


# Law 3


@laws(max_examples=examples(10))
@given(histories())
def test_a_run_with_nothing_new_adds_no_version(history: History) -> None:
    """Law 3, for every table, and also if files were touched; the account of such a run is empty."""
    for lake, _, _, _ in play(history):
        before = versions(lake)
        assert ingest(lake).files.is_empty()
        for path in Path(lake.root, "raw").rglob("*.*"):
            path.touch()
        assert ingest(lake).files.is_empty()
        assert versions(lake) == before


# Law 4


@pytest.fixture(scope="module")
def four_months(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Files]:
    """A lake of two symbols with a Parquet file for each month of 720 hours."""
    files = {
        f"binance/{symbol}-1h-2025-{month:02}.csv": (lines(range(720 * month - 720, 720 * month), bad=600), MODIFIED)
        for symbol in ("BTCUSDT", "ETHUSDT")
        for month in (1, 2, 3, 4)
    }
    lake = fresh_lake(tmp_path_factory.mktemp("four_months") / "lake", files)
    ingest(lake, batch_bytes=40_000)  # a batch for each file
    return Path(lake.root), files


@contextmanager
def moved_away(lake: Lake, keep: Sequence[int]) -> Iterator[None]:
    """Move every Parquet file of candles and quarantine out of the lake, but for these months of BTCUSDT."""
    bronze = Path(lake.uri("bronze"))
    files = lake.bronze.files().filter(symbol="BTCUSDT").sort("min.open_time")["path"]
    kept = {bronze / "candles" / files[month - 1] for month in keep}
    places = {p: bronze.parent / "away" / p.relative_to(bronze) for p in bronze.glob("[cq]*/**/*.parquet")}
    moved = {place: away for place, away in places.items() if place not in kept}
    assert len(moved) == 16 - len(keep)
    for place, away in moved.items():
        away.parent.mkdir(parents=True, exist_ok=True)
        place.rename(away)
    yield
    for place, away in moved.items():
        away.rename(place)


@pytest.mark.parametrize(
    ("new", "touched"),
    [
        ({}, []),
        ({"binance/BTCUSDT-1h-2025-05.csv": lines(range(2880, 3600), bad=300)}, []),
        ({"binance/BTCUSDT-1h-fix.csv": lines([800, 801, 900], salt=1)}, [2]),
        ({"binance/BTCUSDT-1h-fix.csv": lines([100, 2200, 2201, 2880], salt=1)}, [1, 4]),
        ({"binance/BTCUSDT-1h-2025-03.csv": lines(range(1440, 2160), salt=1)}, [3]),
    ],
    ids=["nothing new", "a new month", "a correction", "corrections of two months", "a month restated"],
)
def test_a_run_opens_no_file_that_it_need_not_touch(
    four_months: tuple[Path, Files], tmp_path: Path, new: Mapping[str, bytes], touched: Sequence[int]
) -> None:
    """Law 4, cost follows the change: other Parquet files are moved away, known raw files are garbled."""
    files, newer = four_months[1], {path: (data, MODIFIED + 1) for path, data in new.items()}
    root = Path(shutil.copytree(four_months[0], tmp_path / "lake"))
    deliver(root, {path: (b"x" * len(data), modified_at) for path, (data, modified_at) in files.items()} | newer)
    lake, oracle = Lake(root), Oracle()
    before = versions(lake)
    with moved_away(lake, touched):
        report = ingest(lake)
    assert report.files["path"].to_list() == list(new)
    assert (versions(lake) == before) == (not new)
    oracle.run(files)
    oracle.run({**files, **newer})
    assert_tables_are(lake, oracle)


# Law 6


@pytest.mark.parametrize("wanted", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_any_moment_is_healed_by_the_next(wanted: int, tmp_path: Path) -> None:
    """Law 6: lakes whose every run but the last is killed -9 end as one that was left in peace."""
    files, batch_bytes, chance = overlapping_files(), 50_000, random.Random(6)
    peaceful, oracle = fresh_lake(tmp_path / "peaceful", files), Oracle()
    with Writer() as writer:
        writer.ready().begin(tmp_path / "peaceful", batch_bytes)
        began = time.perf_counter()
        assert writer.end() == 0
        seconds = time.perf_counter() - began
    oracle.run(files)
    assert_tables_are(peaceful, oracle)
    expected = tables_of(peaceful)
    kills = midway = torn = 0
    longer = 1.2 if wanted > 1 else 2.0
    coming = Writer()
    while kills < wanted or (wanted > 1 and not (torn and midway) and kills < 150):  # moments fall as they may
        lake = fresh_lake(root := Path(tempfile.mkdtemp(dir=tmp_path)), files)  # a run may end before it is killed
        before, code, span = versions(lake), None, (0.3 if wanted > 1 else 0.7) * seconds
        while code is None:
            with coming as writer:
                writer.ready().begin(root, batch_bytes)
                coming = Writer()  # imports while the other one works
                code, span = writer.end(chance.uniform(0, span)), longer * span  # or it might never end
            assert code in (None, 0)
            kills += code is None
            now = versions(lake)
            midway += code is None and now != before
            before = now
            torn += not distinct(lake.bronze, "_sha256") <= distinct(lake.ledger, "sha256")
        assert tables_of(lake) == expected
    with coming:
        assert midway >= wanted // 10  # killed after they had written something, before they had written all
        assert torn or wanted == 1  # killed between candles and ledger, where it hurts most; about one in five is


# Law 7

WRITERS = 4


def test_many_writers_of_the_same_files_end_as_one(tmp_path: Path) -> None:
    """Law 7: processes that begin together, each with all files to do."""
    alone = fresh_lake(tmp_path / "alone", overlapping_files())
    ingest(alone)
    lake = fresh_lake(tmp_path / "shared", overlapping_files())
    write_together(tmp_path / "shared", 60_000, [""] * (WRITERS if asked_for_all() else 3))
    assert tables_of(lake) == tables_of(alone)


@pytest.mark.slow
def test_writers_that_each_drop_their_own_files_end_as_one(tmp_path: Path) -> None:
    """Law 7: files appear while others are being ingested; each overlaps with those of all other writers."""
    modified = random.Random(7).sample(range(100), 3 * WRITERS)
    hours = [range(first := 300 * (number % 3) + 20 * number, first + 400) for number in range(3 * WRITERS)]
    files = {
        f"binance/BTCUSDT-1h-{number}.csv": (lines(hours[number], number + 1, bad=90), MODIFIED + modified[number])
        for number in range(3 * WRITERS)
    }
    alone, oracle = fresh_lake(tmp_path / "alone", files), Oracle()
    ingest(alone)
    oracle.run(files)
    assert_tables_are(alone, oracle)
    lake = fresh_lake(tmp_path / "shared", {})
    inboxes = [tmp_path / f"inbox-{number}" for number in range(WRITERS)]
    for number, path in enumerate(files):
        put(inboxes[number // 3], path, *files[path])
    write_together(tmp_path / "shared", 20_000, inboxes)
    ingest(lake)
    assert tables_of(lake) == tables_of(alone)


def test_a_file_that_agrees_holds_against_an_older_one_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 7: while a late file is being written, a newer one that confirms the table comes and goes."""
    lake = fresh_lake(tmp_path, {"binance/BTCUSDT-1h-1.csv": (lines([1]), MODIFIED)})
    ingest(lake)
    deliver(tmp_path, {"binance/BTCUSDT-1h-2.csv": (lines([1], salt=7), MODIFIED + 1)})

    def rewrite_late(*args: Any) -> rewrite.Rewritten:
        monkeypatch.setattr(commits, "rewrite_rows", rewrite.rewrite_rows)
        deliver(tmp_path, {"binance/BTCUSDT-1h-3.csv": (lines([1]), MODIFIED + 2)})
        ingest(Lake(tmp_path))
        return rewrite.rewrite_rows(*args)

    monkeypatch.setattr(commits, "rewrite_rows", rewrite_late)
    ingest(lake)
    ingest(lake)
    assert [row["volume"] for row in rows_of(lake.bronze)] == [0.0]


def test_a_file_that_agrees_holds_while_its_writer_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 7: before a late file is decided on, a newer one confirms the table, but is not in the ledger yet."""
    lake = fresh_lake(tmp_path, {"binance/BTCUSDT-1h-1.csv": (lines([1]), MODIFIED)})
    ingest(lake)
    deliver(tmp_path, {"binance/BTCUSDT-1h-2.csv": (lines([1], salt=7), MODIFIED + 1)})
    other, pausing, go_on = threading.Thread(target=ingest, args=[Lake(tmp_path)]), threading.Event(), threading.Event()
    open_table = Table.open_or_create

    def open_slowly(table: Table) -> DeltaTable:
        if table.name == "bronze/ledger" and threading.current_thread() is other:
            pausing.set()
            go_on.wait(600)
        elif table.name == "bronze/candles" and not other.ident:
            deliver(tmp_path, {"binance/BTCUSDT-1h-3.csv": (lines([1]), MODIFIED + 2)})
            other.start()
            pausing.wait(600)
        return open_table(table)

    monkeypatch.setattr(Table, "open_or_create", open_slowly)
    ingest(lake)
    go_on.set()
    other.join()
    ingest(lake)
    assert [row["volume"] for row in rows_of(lake.bronze)] == [0.0]


# Law 8


def test_raw_is_never_written_to(tmp_path: Path) -> None:
    """Law 8: every byte and every stat of raw/ is as it was, after files of all kinds and fates."""
    lake = fresh_lake(tmp_path, overlapping_files())
    others = {
        "sources.toml": b'[[source]]\nglob = "*.csv"\ntime_zone = "UTC"\n',
        "binance/BTCUSDT-1h-9.csv.gz": gzip.compress(lines(range(5)), mtime=0),
        "binance/ETHUSDT-1h-9.csv.gz": gzip.compress(lines(range(5)), mtime=0)[:-9],
        **{"binance/notes.txt": b"keep me", "page.csv": b"<html></html>", "empty.csv": b""},
    }
    deliver(tmp_path, {path: (data, MODIFIED) for path, data in others.items()})
    before = snapshot(tmp_path / "raw")
    report = ingest(lake, batch_bytes=60_000)
    ingest(lake)
    assert set(report.files["status"]) == {"empty", "failed", "loaded"}
    assert snapshot(tmp_path / "raw") == before
