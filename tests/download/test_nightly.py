"""One command a night: listing, fetch, ingest, layers, report."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from lakehouse import Lake
from lakehouse.cli.commands import main
from lakehouse.download import StandIn
from lakehouse.download.standin import PUBLISHED, zipped

NOVEMBER = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-11.zip"
WISH = '[[download]]\nsymbols = ["BTCUSDT"]\nintervals = ["1h"]\nto = "2024-12"\n'

pytestmark = pytest.mark.usefixtures("prefect_api")


def call(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main([*args])
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out + out.err


def versions(lake: Lake) -> list[int]:
    return [table.version() for table in (lake.bronze, lake.ledger, lake.silver, lake.gaps, lake.gold)]


@pytest.mark.slow
def test_from_an_empty_folder_to_the_report(
    there: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert there.files
    monkeypatch.chdir(tmp_path)
    code, text = call(capsys, "download", "BTCUSDT", "--to", "2024-12", "--root", ".")
    assert (code, "verified" in text) == (0, True), text
    code, text = call(capsys, "run", "--root", ".")
    assert (code, f"{61 * 24:,} lines read = {61 * 24:,} inserted" in text) == (0, True)
    (page,) = tmp_path.glob("runs/*-report/*.html")
    assert "BTCUSDT 1h" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_night_brings_what_is_new_to_gold_and_a_second_one_adds_no_version(
    there: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    night = ("run", "--download", "--no-report", "--root", lake.root)
    Path(lake.root, "raw/download.toml").write_text(WISH, encoding="utf-8")
    code, text = call(capsys, *night)
    assert (code, "verified" in text, f"{61 * 24:,} inserted" in text) == (0, True, True)
    before = versions(lake)
    code, text = call(capsys, *night)
    assert (code, "Nothing new in the archive" in text, versions(lake) == before) == (0, True, True)
    # Republished, with another close of the first bar: a new revision, and diff tells the bar from what to what.
    opened, close = lake.bronze.scan().sort("open_time").select("open_time", "close").head(1).collect().row(0)
    at = int(opened.timestamp() * 1000)
    line = f"{at},{close},{close * 3},0.5,{close * 2},1,{at + 3599999},1,1,1,1,0\n"
    there.publish(NOVEMBER, zipped("BTCUSDT-1h-2024-11.csv", line.encode()), PUBLISHED + dt.timedelta(days=30))
    code, text = call(capsys, *night)
    assert (code, "1 updated" in text) == (0, True)
    assert lake.bronze.diff(-2, -1).select("open_time", "close_before", "close_after").rows() == [
        (opened, close, close * 2)
    ]


def test_a_night_without_network_brings_what_is_here_to_gold_and_ends_in_1(
    there: StandIn, lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(lake.root, "raw", NOVEMBER)
    path.parent.mkdir(parents=True)
    path.write_bytes(there.files[NOVEMBER])
    Path(lake.root, "raw/download.toml").write_text(WISH, encoding="utf-8")
    monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", "http://127.0.0.1:9")
    code, text = call(capsys, "run", "--download", "--no-report", "--root", lake.root)
    assert (code, "cannot be reached" in text, "as the archive lists" in text) == (1, True, False)
    assert lake.gold.scan().collect().height == 30


def test_a_file_that_did_not_come_ends_the_night_in_1_and_the_others_are_in_gold(
    there: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    there.fail(NOVEMBER, "404", 99)
    Path(lake.root, "raw/download.toml").write_text(WISH, encoding="utf-8")
    code, text = call(capsys, "run", "--download", "--no-report", "--root", lake.root)
    assert (code, f"not there {NOVEMBER}" in text) == (1, True)
    assert lake.gold.scan().collect().height == 31


def test_a_night_without_a_wish_is_told_how_to_write_one(
    there: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = call(capsys, "run", "--download", "--no-report", "--root", lake.root)
    assert (code, "[[download]]" in text, there.asked) == (2, True, [])
    advised = text.partition("such as\n")[2]  # and the advice, taken, works
    Path(lake.root, "raw/download.toml").write_text(advised.replace("2020-01", "2024-11"), encoding="utf-8")
    code, text = call(capsys, "run", "--download", "--no-report", "--root", lake.root)
    assert (code, f"{119 * 24:,} inserted" in text) == (0, True)
