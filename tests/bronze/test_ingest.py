from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from klines import bar, hours, place
from systems import limits

from lakehouse import Lake, ingest
from lakehouse.contracts import COUNTS
from lakehouse.errors import LakeError


def counts(lake: Lake) -> dict[str, int]:
    report = ingest(lake)
    return {name: getattr(report, name) for name in COUNTS if getattr(report, name)}


def closes(lake: Lake) -> list[float]:
    return lake.bronze.scan().sort("open_time").collect()["close"].to_list()


def test_a_correction_updates_only_the_bars_that_differ(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", hours(0, 9), at=0).parents[1])
    assert counts(lake) == {"read": 10, "inserted": 10}
    place(tmp_path, "late/AAAUSDT_1h.csv", [bar(3, close=12.0)], at=5)  # another market: no correction
    place(tmp_path, "AAAUSDT_1h_fixed.csv", [bar(3, close=12.0), bar(4), bar(10)], at=10)
    assert counts(lake) == {"read": 4, "inserted": 2, "updated": 1, "unchanged": 1}
    row = lake.bronze.scan().filter(pl.col("close") == 12.0, pl.col("market") == "default").collect()
    assert row.select("_file", "_line").row(0) == ("AAAUSDT_1h_fixed.csv", 2)


def test_a_late_older_file_overwrites_nothing_and_deletes_nothing(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 2, close=12.0), at=10)
    lake = Lake(tmp_path)
    ingest(lake)
    place(tmp_path, "AAAUSDT_1h_old.csv", hours(1, 3, close=8.0), at=0)
    assert counts(lake) == {"read": 3, "inserted": 1, "overruled": 2}
    assert closes(lake) == [12.0, 12.0, 12.0, 8.0]


def test_a_newer_file_that_only_agreed_still_wins_against_a_late_one(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 2, close=12.0), at=0)
    place(tmp_path, "AAAUSDT_1h_again.csv", hours(0, 1, close=12.0), at=20)
    lake = Lake(tmp_path)
    ingest(lake, batch_bytes=100)
    place(tmp_path, "AAAUSDT_1h_late.csv", hours(0, 2, close=8.0), at=10)
    assert counts(lake) == {"read": 3, "updated": 1, "overruled": 2}
    assert closes(lake) == [12.0, 12.0, 8.0]


def test_in_a_file_that_runs_backwards_the_earlier_line_is_the_newer(tmp_path: Path) -> None:
    lines = [bar(2), bar(1, close=12.0), bar(1, close=8.0), bar(0)]
    place(tmp_path, "AAAUSDT_1h.csv", lines)
    lake = Lake(tmp_path)
    assert counts(lake) == {"read": 4, "inserted": 3, "overruled": 1}
    assert closes(lake) == [10.0, 12.0, 10.0]


def test_the_order_of_lines_holds_across_blocks_of_a_huge_file(tmp_path: Path) -> None:
    lines = [bar(hour, close=close) for close in (6.0, 7.0, 8.0) for hour in range(100)]
    place(tmp_path, "AAAUSDT_1h.csv", lines)
    lake = Lake(tmp_path)
    report = ingest(lake, batch_bytes=1000)
    assert (report.read, report.read - report.superseded) == (300, 100 + report.updated)
    assert closes(lake) == [8.0] * 100
    assert report.files["read"].to_list() == [300]
    assert lake.bronze.version() > 3


def test_rejected_lines_go_to_quarantine_once_with_every_reason(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", [bar(0), bar(1, close=99.0), bar(2, volume=-1.0), "x,1,2"])
    lake = Lake(tmp_path)
    assert counts(lake) == {"read": 4, "inserted": 1, "rejected": 3}
    kept = lake.quarantine.scan().sort("_line").collect()
    assert kept["reasons"].to_list() == [
        ["high is below open, low or close"],
        ["volume is negative"],
        ["3 fields, not 6", "open_time is not a time"],
    ]
    assert kept["raw"][2] == "x,1,2"
    path.write_text(
        path.read_text(encoding="utf-8").replace("x,1,2", bar(3)), encoding="utf-8"
    )  # mending the file is the replay
    assert counts(lake) == {"read": 4, "inserted": 1, "unchanged": 1, "rejected": 2}


def test_files_that_fail_do_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "BBBUSDT_1h.csv", ["version https://git-lfs.github.com/spec/v1"], header=False)
    lake = Lake(tmp_path)
    report = ingest(lake)
    assert report.failed.select("path", "error").row(0)[0] == "BBBUSDT_1h.csv"
    assert (report.inserted, report.complete) == (5, False)
    versions = lake.ledger.version()
    assert ingest(lake).failed.height == 1
    assert lake.ledger.version() == versions


def test_a_declared_source_mends_a_failed_file(tmp_path: Path) -> None:
    place(tmp_path, "export.csv", [bar(0), bar(1)])
    lake = Lake(tmp_path)
    assert "tells the symbol" in ingest(lake).failed["error"][0]
    (tmp_path / "raw" / "sources.toml").write_text(
        '[[source]]\nglob = "export.csv"\nsymbol = "AAAUSDT"\n', encoding="utf-8"
    )
    report = ingest(lake)
    assert (report.inserted, report.complete) == (2, True)
    assert lake.ledger.scan().collect()["status"].to_list() == ["loaded"]


def test_progress_counts_the_bytes(tmp_path: Path) -> None:
    paths = [place(tmp_path, f"{name}USDT_1h.csv", hours(0, 9)) for name in ("AAA", "BBB", "CCC")]
    size = paths[0].stat().st_size
    seen: list[tuple[int, int]] = []
    ingest(Lake(tmp_path), batch_bytes=size, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(size, 3 * size), (2 * size, 3 * size), (3 * size, 3 * size)]


def test_a_lake_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    (tmp_path / "bronze").write_text("in the way", encoding="utf-8")
    with pytest.raises(
        LakeError, match=r"bronze is a file, and must be a folder of tables; move it away, then run again"
    ):
        ingest(Lake(tmp_path))


FULL_DISK = """
import resource, sys
from lakehouse import Lake, ingest
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
try:
    ingest(Lake(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


@limits
def test_a_disk_that_takes_no_more_is_a_clear_error_and_the_next_run_heals(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [bar(hour, close=5 + hour / 100) for hour in range(900)])
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("LakeError")
    assert "cannot be written: File too large" in done.stdout
    report = ingest(Lake(tmp_path))
    assert (report.inserted, report.complete) == (900, True)


def test_a_file_whose_last_part_is_blank_has_loaded_even_so(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 5), *[" " * 50] * 5]).parents[1])
    assert ingest(lake, batch_bytes=300).files.select("status", "read").rows() == [("loaded", 6)]
