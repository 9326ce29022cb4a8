"""Downloads from a stand-in on this machine; nothing here asks a network."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse import Lake, ingest
from lakehouse.cli.commands import main
from lakehouse.download import ArchiveError, StandIn, download, download_wanted, list_archive
from lakehouse.download.standin import PUBLISHED, zipped
from lakehouse.errors import InputError

NOVEMBER = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-11.zip"
LATER = PUBLISHED + dt.timedelta(days=30)


def raw(lake: Lake, key: str = "") -> Path:
    return Path(lake.root, "raw", key)


def zips(lake: Lake) -> list[Path]:
    return sorted(raw(lake).rglob("[!.]*.zip"))


def verdicts(lake: Lake) -> dict[str, str]:
    report = download(lake, ["BTCUSDT"], first="2024-11", last="2024-11")
    return dict(report.files.select("path", "verdict").iter_rows())


def test_from_an_empty_folder_to_bars_and_again_does_nothing(there: StandIn, lake: Lake) -> None:
    report = download(lake, ["BTCUSDT"])
    # November, December and January as months, February as 27 days: its last day is not published yet.
    assert (report.files.height, report.complete, set(report.files["verdict"])) == (30, True, {"verified"})
    assert zips(lake)[-1] == raw(lake, "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip")
    assert raw(lake, NOVEMBER).stat().st_mtime == PUBLISHED.timestamp()
    assert ingest(lake).inserted == (30 + 31 + 31 + 27) * 24
    there.asked.clear()
    again = download(lake, ["BTCUSDT"])
    assert (again.files.height, again.untouched) == (0, 30)
    assert all(asked.startswith("?") for asked in there.asked)
    assert ingest(lake).files.is_empty()


def test_a_republished_file_is_a_new_revision_and_diff_shows_the_bar(there: StandIn, lake: Lake) -> None:
    opens = [1730419200000 + h * 3600000 for h in range(24)]
    lines = "".join(f"{at},10,20,5,{{}},1,{at + 3599999},1,1,1,1,0\n" for at in opens)
    there.publish(NOVEMBER, zipped("BTCUSDT-1h-2024-11.csv", lines.format(*[10] * 24).encode()))
    download(lake, ["BTCUSDT"], last="2024-11")
    ingest(lake)
    changed = lines.format(*[10] * 5, 11, *[10] * 18)
    there.publish(NOVEMBER, zipped("BTCUSDT-1h-2024-11.csv", changed.encode()), LATER)
    assert download(lake, ["BTCUSDT"], last="2024-11").files["verdict"].to_list() == ["verified"]
    assert ingest(lake).updated == 1
    found = lake.bronze.diff(-2, -1)
    assert found.select("close_before", "close_after").rows() == [(10.0, 11.0)]
    assert found["open_time"].to_list() == [dt.datetime(2024, 11, 1, 5, tzinfo=dt.UTC)]


@pytest.mark.parametrize("fault", ["429", "503", "cut", "short", "flip", "stall", "gzip"])
def test_what_passes_is_tried_again(fault: str, there: StandIn, lake: Lake) -> None:
    there.fail(NOVEMBER, fault)
    began = time.monotonic()
    assert verdicts(lake) == {NOVEMBER: "verified"}
    assert raw(lake, NOVEMBER).read_bytes() == there.files[NOVEMBER]
    assert there.asked.count(NOVEMBER) == (1 if fault == "gzip" else 2)
    assert time.monotonic() - began > (1 if fault in ("429", "503") else 0)  # Retry-After says a second


@pytest.mark.parametrize(
    ("fault", "verdict"), [("404", "not there"), ("cut", "transfer broken"), ("flip", "transfer broken")]
)
def test_what_does_not_pass_is_told_and_the_other_files_come(
    fault: str, verdict: str, there: StandIn, lake: Lake
) -> None:
    there.fail(NOVEMBER, fault, 99)
    report = download(lake, ["BTCUSDT"], last="2024-12")
    assert report.failed.select("path", "verdict").rows() == [(NOVEMBER, verdict)]
    assert [path.name for path in zips(lake)] == ["BTCUSDT-1h-2024-12.zip"]
    assert not report.complete
    assert not [*raw(lake).rglob(".*.part")]


@pytest.mark.parametrize(
    ("checksum", "verdict"), [("good", "verified"), ("newline", "verified"), ("stale", "checksum stale")]
)
def test_a_checksum_file_is_one_of_three_witnesses(checksum: str, verdict: str, there: StandIn, lake: Lake) -> None:
    there.publish(NOVEMBER, there.files[NOVEMBER], checksum=checksum)
    assert verdicts(lake) == {NOVEMBER: verdict}
    assert zips(lake) == [raw(lake, NOVEMBER)]


@pytest.mark.parametrize(
    ("checksum", "verdict", "note"),
    [("good", "verified", ""), (None, "verified by size and CRC", ""), ("stale", "checksum stale", "and the size of")],
)
def test_an_etag_of_a_file_that_was_uploaded_in_parts_is_no_witness(
    checksum: str | None, verdict: str, note: str, there: StandIn, lake: Lake
) -> None:
    there.publish(NOVEMBER, there.files[NOVEMBER], checksum=checksum, parts=3)
    assert there.entries[NOVEMBER].etag.endswith("-3")
    (row,) = download(lake, ["BTCUSDT"], last="2024-11").files.rows(named=True)
    assert (row["verdict"], note in row["note"]) == (verdict, True)
    there.asked.clear()
    assert download(lake, ["BTCUSDT"], last="2024-11").untouched == 1
    assert NOVEMBER not in there.asked


def test_half_a_file_that_was_uploaded_in_parts_is_asked_for_again(there: StandIn, lake: Lake) -> None:
    there.publish(NOVEMBER, there.files[NOVEMBER], checksum=None, parts=3)
    there.fail(NOVEMBER, "flip", 2)  # no MD5, no CHECKSUM: the CRC within alone tells it
    assert verdicts(lake) == {NOVEMBER: "verified by size and CRC"}
    assert raw(lake, NOVEMBER).read_bytes() == there.files[NOVEMBER]


@pytest.mark.parametrize(
    ("market", "kind", "symbol", "folder"),
    [
        ("um", "klines", "BTCUSDT", "futures/um/monthly/klines"),
        ("cm", "klines", "BTCUSD_PERP", "futures/cm/monthly/klines"),
        ("um", "mark", "BTCUSDT", "futures/um/monthly/markPriceKlines"),
        ("cm", "index", "BTCUSD", "futures/cm/monthly/indexPriceKlines"),
        ("um", "premium", "BTCUSDT", "futures/um/monthly/premiumIndexKlines"),
    ],
)
def test_futures_and_their_indices_land_in_their_own_tree_and_load(
    market: str, kind: str, symbol: str, folder: str, there: StandIn, lake: Lake
) -> None:
    there.publish_sample([symbol], market=market, kind=kind)
    report = download(lake, [symbol], last="2024-12", market=market, kind=kind)
    assert report.files["path"].to_list() == [
        f"data/{folder}/{symbol}/1h/{symbol}-1h-2024-{month}.zip" for month in (11, 12)
    ]
    account = ingest(lake)
    assert (account.inserted, account.rejected, account.failed.height) == (61 * 24, 0, 0)
    assert account.files["symbol"].unique().to_list() == [symbol]
    assert account.files["market"].unique().to_list() == [f"binance-{market}{'' if kind == 'klines' else f'-{kind}'}"]


def test_a_zip_that_is_broken_in_the_archive_is_kept_out_and_not_fetched_each_night(there: StandIn, lake: Lake) -> None:
    whole = there.files[NOVEMBER]
    there.publish(NOVEMBER, whole[:200] + b"????" + whole[204:])
    assert verdicts(lake) == {NOVEMBER: "published broken"}
    assert zips(lake) == []
    there.asked.clear()
    assert verdicts(lake) == {NOVEMBER: "published broken"}
    assert NOVEMBER not in there.asked
    there.publish(NOVEMBER, whole, LATER)
    assert verdicts(lake) == {NOVEMBER: "verified"}


def test_a_file_republished_after_the_listing_is_taken_as_it_is_now(
    there: StandIn, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = zipped("BTCUSDT-1h-2024-11.csv", b"1730419200000,10,20,5,10,1,0,1,1,1,1,0\n")
    monkeypatch.setattr("lakehouse.download.run.standing", lambda *_: there.publish(NOVEMBER, new, LATER))
    assert verdicts(lake) == {NOVEMBER: "verified"}
    assert raw(lake, NOVEMBER).stat().st_mtime == LATER.timestamp()


def test_a_month_without_its_zero_is_that_month(there: StandIn, lake: Lake) -> None:
    there.publish(NOVEMBER.replace("2024-11", "2024-9"), zipped("BTCUSDT-1h-2024-9.csv", b"1,2,3\n"))
    report = download(lake, ["BTCUSDT"], first="2024-09", last="2024-11")
    assert [path.rpartition("/")[2] for path in report.files["path"]] == [
        "BTCUSDT-1h-2024-11.zip",
        "BTCUSDT-1h-2024-9.zip",
    ]
    assert report.notes == ("BTCUSDT 1h (spot, klines): the archive has nothing from 2024-10-01 to 2024-10-31",)


def test_a_part_of_a_month_comes_as_days(there: StandIn, lake: Lake) -> None:
    report = download(lake, ["BTCUSDT"], first="2025-01-30", last="2025-02-02")
    assert [path[-14:-4] for path in report.files["path"]] == ["2025-01-30", "2025-01-31", "2025-02-01", "2025-02-02"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"symbols": ["BTCUSD"]}, "no BTCUSD in data/spot/.*BTCUSDT"),
        ({"symbols": ["BTCUSDT"], "intervals": ["5m"]}, "no 5m in .*there are 1, 1h"),
        ({"symbols": ["BTCUSDT"], "last": "2020-01"}, "the archive has 2024-11-01 to 2025-02-27"),
        ({"symbols": ["BTCUSDT"], "first": "2024-13"}, "neither a month"),
        ({"symbols": ["BTCUSDT"], "market": "um"}, "no futures in data/"),
    ],
)
def test_a_wish_that_cannot_be_met_says_what_there_is(
    wish: dict[str, list[str]], message: str, there: StandIn, lake: Lake
) -> None:
    with pytest.raises(InputError, match=message):
        download(lake, **wish)  # type: ignore[arg-type]
    assert zips(lake) == []


def test_what_is_wanted_every_night_stands_in_a_file(there: StandIn, lake: Lake) -> None:
    raw(lake, "download.toml").write_text(
        '[[download]]\nsymbols = ["BTCUSDT", "NOUSDT"]\nintervals = ["1h"]\nto = "2024-12"', encoding="utf-8"
    )
    report = download_wanted(lake)
    assert (report.files.height, len(report.unmet), report.complete) == (2, 1, False)
    raw(lake, "download.toml").write_text('[[download]]\nsymbol = "BTCUSDT"', encoding="utf-8")
    with pytest.raises(InputError, match="symbol is not known"):
        download_wanted(lake)


def test_the_list_shows_symbols_and_spans(there: StandIn) -> None:
    assert list_archive()["symbol"].to_list() == ["BTCUSDT"]
    (row,) = list_archive(["BTCUSDT"]).rows(named=True)
    assert (row["interval"], row["first"], row["last"]) == ("1h", dt.date(2024, 11, 1), dt.date(2025, 2, 27))
    assert (row["monthly"], row["daily"]) == (3, 31 + 27)


def test_offline_says_so_in_a_second(lake: Lake) -> None:
    began = time.monotonic()
    with pytest.raises(ArchiveError, match=r"cannot be reached.*raw/ stands"):
        download(lake, ["BTCUSDT"], archive="http://127.0.0.1:9")
    assert time.monotonic() - began < 10  # it does not wait and try again


def test_a_dry_run_lists_and_fetches_nothing(there: StandIn, lake: Lake) -> None:
    report = download(lake, ["BTCUSDT"], last="2024-11", dry_run=True)
    assert report.size == len(there.files[NOVEMBER])
    assert zips(lake) == []


def test_the_command_tells_the_verdicts(there: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    there.publish(NOVEMBER, there.files[NOVEMBER], checksum="stale")
    with pytest.raises(SystemExit) as stop:
        main(["download", "BTCUSDT", "--to", "2024-12", "--root", lake.root])
    assert stop.value.code == 0
    assert f"checksum stale {NOVEMBER}" in capsys.readouterr().out


def test_json_is_for_machines_and_a_dry_run_tells_the_bytes(
    there: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["download", "BTCUSDT", "--to", "2024-11", "--dry-run", "--json", "--root", lake.root])
    told = json.loads(capsys.readouterr().out)
    assert (told["files"][0]["path"], told["files"][0]["verdict"]) == (NOVEMBER, "to fetch")
    assert (told["size"], told["unmet"]) == (len(there.files[NOVEMBER]), [])
    with pytest.raises(SystemExit):
        main(["missing", "BTCUSDT", "--to", "2024-11", "--json", "--root", lake.root])
    (hole,) = json.loads(capsys.readouterr().out)["missing"]
    assert (hole["reason"], hole["fetch"], hole["missing"]) == ("not fetched", [NOVEMBER], 720)


FULL = """
import resource, sys
from lakehouse.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process there")
def test_no_room_ends_in_one_line_and_nothing_half_is_left(there: StandIn, lake: Lake) -> None:
    """The system refuses to write more than so many bytes, as a full disk does."""
    for month in ("2024-11", "2024-12"):
        name = f"BTCUSDT-1h-{month}"
        content = zipped(f"{name}.csv", os.urandom(500 if month == "2024-11" else 500_000))
        there.publish(f"data/spot/monthly/klines/BTCUSDT/1h/{name}.zip", content)
    wish = ["download", "BTCUSDT", "--to", "2024-12", "--root", lake.root, "--archive", there.url, "--parallel", "1"]
    done = subprocess.run([sys.executable, "-c", FULL, "100000", *wish], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"error: {lake.root}/raw cannot be written: [Errno 27]" in done.stderr
    assert [path.name for path in zips(lake)] == ["BTCUSDT-1h-2024-11.zip"]
    assert not [*raw(lake).rglob(".*.part")]


def start(lake: Lake, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lakehouse", "download", "BTCUSDT", "--root", lake.root, "--archive", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_a_file(lake: Lake) -> None:
    end = time.monotonic() + 30
    while not zips(lake) and time.monotonic() < end:
        time.sleep(0.02)


def test_ctrl_c_in_a_stalled_transfer_leaves_everything_whole(there: StandIn, lake: Lake) -> None:
    there.fail("*2024-12.zip", "stall", 99)
    process = start(lake, there.url)
    wait_for_a_file(lake)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, b"stopped" in err) == (130, True)
    assert time.monotonic() - began < 10
    assert all(path.read_bytes() == there.files[path.relative_to(raw(lake)).as_posix()] for path in zips(lake))
