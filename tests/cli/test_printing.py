from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from klines import START, bar, hours, place
from rich.console import Console

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.bronze.account import Account, report_of
from lakehouse.cli.printing import print_frame, print_json, print_refresh, print_report, print_status
from lakehouse.layers.quality import LakeReport, read_quality
from lakehouse.raw.files import RawFile
from lakehouse.status import read_status


def shown(printing: Callable[[Console], None], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    printing(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def ingested(root: Path, width: int = 200) -> str:
    lake = Lake(root)
    return shown(lambda console: print_report(console, lake, ingest(lake)), width)


def test_json_has_frames_as_lists_of_objects_and_times_as_iso(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(files=pl.DataFrame({"path": ["é.csv"], "at": [START]}), at=START, root=Path("raw"), count=None)
    assert json.loads(capsys.readouterr().out) == {
        "files": [{"path": "é.csv", "at": "2024-03-01T00:00:00+00:00"}],
        **{"at": "2024-03-01T00:00:00+00:00", "root": "raw", "count": None},
    }


def test_a_report_gives_the_sums_and_only_the_counts_that_are_not_zero(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 3), bar(3, close=12.0), bar(4, volume=-1.0)])
    title, head, row, total = (line.split() for line in ingested(tmp_path).splitlines() if line.strip(" ─"))
    assert title == ["Files", "of", "this", "run", "(1)"]
    assert head == ["path", "series", "read", "inserted", "overruled", "rejected"]
    assert row == ["AAAUSDT_1h.csv", "default", "AAAUSDT", "1h", "6", "4", "1", "1"]
    assert " ".join(total).startswith("6 lines read = 4 inserted + 1 overruled + 1 rejected, in ")


def test_a_run_with_nothing_new_is_one_line(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 3))
    ingested(tmp_path)
    assert ingested(tmp_path) == f"Nothing new in {tmp_path}/raw: 1 file looked at.\n"


def test_a_file_that_failed_is_named_whole_with_its_reason_and_what_to_do(tmp_path: Path) -> None:
    place(tmp_path, "[bold]USDT_1h.csv", ["<html>"], header=False)
    text = ingested(tmp_path)
    assert "Files of this run" not in text
    assert "0 lines read = 0, in " in text
    assert "failed [bold]USDT_1h.csv: HTML" in text
    assert "set `ignore = true` for such files in raw/sources.toml; they are tried at every run." in text


def test_on_a_narrow_terminal_the_series_gives_way_and_a_path_is_folded_not_cut(tmp_path: Path) -> None:
    path = place(tmp_path, f"{'deep/' * 20}AAAUSDT_1h.csv", hours(0, 3)).relative_to(tmp_path / "raw")
    text = ingested(tmp_path, 109)
    assert "series" not in text
    assert str(path) in "".join(line[: 109 - 14].strip() for line in text.splitlines()).replace(" ", "")


def test_of_many_files_those_that_changed_something_are_shown(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    counts = [Counter(read=1000, inserted=1000)] * 21 + [Counter(read=1, rejected=1)]
    accounts = [
        Account(RawFile(f"{number:02}.csv", 9, START), START, number, counts=counted, versions={1})
        for number, counted in enumerate(counts)
    ]
    report = report_of([account.row("run", START) for account in accounts], 0, "run", 0.0)
    text = shown(lambda console: print_report(console, Lake(tmp_path), report))
    named = [line.split()[0] for line in text.splitlines() if ".csv" in line]
    assert named == [*(f"{number:02}.csv" for number in range(19)), "21.csv"]
    assert "… and 2 more;" in text
    assert "21,001 lines read = 21,000 inserted + 1 rejected" in text


def test_a_frame_shows_numbers_times_and_nothing_as_people_write_them() -> None:
    frame = pl.DataFrame({"changed_at": [START, None], "rows": [1234567, 1], "close": [0.5, 70000.123], "x": "[b]"})
    text = shown(lambda console: print_frame(console, frame, "Tables"))
    assert [line.split() for line in text.splitlines() if line.strip(" ─")] == [
        *(["Tables"], ["changed", "at", "rows", "close", "x"]),
        *(["2024-03-01", "00:00", "1,234,567", "0.5", "[b]"], ["–", "1", "70,000.123", "[b]"]),
    ]
    assert shown(lambda console: print_frame(console, frame.clear(), "Tables")) == ""


def test_status_shows_what_there_is_and_no_empty_table(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 3), bar(4, volume=-1.0)])
    lake = Lake(tmp_path)
    ingest(lake)
    text = shown(lambda console: print_status(console, read_status(lake), whole=True))
    assert text.startswith("1 series, 4 bars; 1 line turned away\nbehind: silver and gold; ")
    for title in ("Tables", "Series in bronze", "Last runs", "Quarantine by reason"):
        assert f"\n{title}\n" in text
    for title in ("Waiting in raw/", "Rolled back", "Failed, and tried"):
        assert title not in text
    assert "updated" not in text  # a count that is zero in every run


def test_bars_that_do_not_add_up_are_told_in_a_line_a_series(tmp_path: Path) -> None:
    place(tmp_path, "m[x]/AAAUSDT_1h.csv", hours(0, 47))
    place(tmp_path, "m[x]/AAAUSDT_1d.csv", [bar(0, volume=23.0), bar(24, volume=12.0)])
    lake = Lake(tmp_path)
    done = LakeReport(ingest(lake), (refresh_silver(lake),), read_quality(lake), ())
    worst = "2024-03-02 00:00, volume is 12.0, but its 1h bars come to 24.0"
    told = f"do not add up: 2 bars of m[x] AAAUSDT 1d: 2 volume; the worst: {worst}"
    assert told in " ".join(shown(lambda console: print_refresh(console, lake, done)).split())
    status = " ".join(shown(lambda console: print_status(console, read_status(lake))).split())
    assert "Bars that do not add up, in the table `silver/mismatches`" in status
    assert "AAAUSDT 1d 2 2 volume" in status


def test_a_run_to_gold_shows_the_layers_that_changed_and_what_is_not_good_enough(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 4), *hours(15, 20)])
    lake = Lake(tmp_path)
    done = LakeReport(ingest(lake), (refresh_silver(lake), refresh_silver(lake)), read_quality(lake), ("[red]too few",))
    text = shown(lambda console: print_refresh(console, lake, done))
    assert text.count("silver/candles") == 1
    assert "it is the first time" in text
    assert "52.38 %" in text  # 11 of 21, and never rounded up
    assert "not good enough: [red]too few" in text
    assert "do not add up" not in text
    nothing = LakeReport(ingest(lake), (), read_quality(lake), ())
    assert "Layers" not in shown(lambda console: print_refresh(console, lake, nothing))
