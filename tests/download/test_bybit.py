"""The second archive by the same mechanism: months of UTC+3 as gzip, by year, and no file with a checksum."""

from __future__ import annotations

import datetime as dt
import gzip
import shlex
from pathlib import Path

import pytest

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.cli.commands import main
from lakehouse.download import StandIn, download, download_wanted, list_archive, missing
from lakehouse.download.standin import PUBLISHED
from lakehouse.errors import InputError

TREE = "kline_for_metatrader4/BTCUSDT"
NOVEMBER = f"{TREE}/2024/BTCUSDT_60_2024-11-01_2024-11-30.csv.gz"
DECEMBER = f"{TREE}/2024/BTCUSDT_60_2024-12-01_2024-12-31.csv.gz"
JANUARY = f"{TREE}/2025/BTCUSDT_60_2025-01-01_2025-01-31.csv.gz"
LATER = PUBLISHED + dt.timedelta(days=30)
VERIFIED = "verified by size, MD5 and CRC"


def packed(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def verdicts(lake: Lake, **span: str) -> dict[str, str]:
    report = download(lake, ["BTCUSDT"], source="bybit", **span)  # type: ignore[arg-type]
    return dict(report.files.select("path", "verdict").iter_rows())


@pytest.fixture
def bybit(there: StandIn) -> StandIn:
    there.publish_sample(["BTCUSDT"], source="bybit")
    there.publish(NOVEMBER.replace("_60_", "_5_"), b"", checksum=None)  # all intervals lie in one folder
    return there


def test_from_an_empty_folder_to_bars_and_again_does_nothing(bybit: StandIn, lake: Lake) -> None:
    assert verdicts(lake) == dict.fromkeys((NOVEMBER, DECEMBER, JANUARY), VERIFIED)
    assert not any("_5_" in asked for asked in bybit.asked)
    account = ingest(lake)
    # November begins at 3 o'clock of its clock with the sample; each file ends with the next month's first bar.
    assert (account.read, account.inserted, account.superseded) == (718 + 745 + 745, 717 + 744 + 745, 2)
    assert account.files.select("market", "symbol", "interval").unique().rows() == [("bybit-linear", "BTCUSDT", "1h")]
    bars = lake.bronze.scan().sort("open_time").collect()
    line = gzip.decompress(bybit.files[NOVEMBER]).decode().split("\n", 1)[0].split(",")
    assert line[0] == "2024.11.01 03:00"
    assert bars["open_time"][0] == dt.datetime(2024, 11, 1, tzinfo=dt.UTC)
    assert bars.select("open", "high", "low", "close", "volume").row(0) == tuple(map(float, line[1:]))
    bybit.asked.clear()
    again = download(lake, ["BTCUSDT"], source="bybit")
    assert (again.files.height, again.untouched, again.complete) == (0, 3, True)
    assert all(asked.startswith("?") for asked in bybit.asked)
    assert ingest(lake).files.is_empty()


def test_a_republished_month_is_a_new_revision(bybit: StandIn, lake: Lake) -> None:
    bybit.publish(NOVEMBER, packed("2024.11.01 03:00,10,20,5,10,1", "2024.11.01 04:00,10,20,5,10,1"), checksum=None)
    verdicts(lake, last="2024-11")
    ingest(lake)
    later = packed("2024.11.01 03:00,10,20,5,10,1", "2024.11.01 04:00,10,20,5,11,1")
    bybit.publish(NOVEMBER, later, LATER, checksum=None)
    assert verdicts(lake, last="2024-11") == {NOVEMBER: VERIFIED}
    assert ingest(lake).updated == 1
    (row,) = lake.bronze.diff(-2, -1).rows(named=True)
    assert (row["open_time"].hour, row["close_before"], row["close_after"]) == (1, 10.0, 11.0)


@pytest.mark.parametrize("fault", ["503", "cut", "short", "flip", "gzip"])
def test_what_passes_is_tried_again(fault: str, bybit: StandIn, lake: Lake) -> None:
    bybit.fail(NOVEMBER, fault)
    assert verdicts(lake, last="2024-11") == {NOVEMBER: VERIFIED}
    assert Path(lake.root, "raw", NOVEMBER).read_bytes() == bybit.files[NOVEMBER]
    assert bybit.asked.count(NOVEMBER) == (1 if fault == "gzip" else 2)


@pytest.mark.parametrize(("fault", "verdict"), [("404", "not there"), ("flip", "transfer broken")])
def test_what_does_not_pass_is_told_and_the_others_come(fault: str, verdict: str, bybit: StandIn, lake: Lake) -> None:
    bybit.fail(NOVEMBER, fault, 99)
    assert verdicts(lake, last="2024-12") == {NOVEMBER: verdict, DECEMBER: VERIFIED}
    assert not Path(lake.root, "raw", NOVEMBER).exists()


def test_without_an_md5_the_verdict_says_so_and_the_crc_finds_what_is_wrong(bybit: StandIn, lake: Lake) -> None:
    bybit.publish(NOVEMBER, bybit.files[NOVEMBER], checksum=None, parts=2)
    bybit.fail(NOVEMBER, "flip")
    assert verdicts(lake, last="2024-11") == {NOVEMBER: "verified by size and CRC"}
    assert Path(lake.root, "raw", NOVEMBER).read_bytes() == bybit.files[NOVEMBER]


def test_a_gzip_that_is_broken_in_the_archive_is_kept_out(bybit: StandIn, lake: Lake) -> None:
    bybit.publish(NOVEMBER, bybit.files[NOVEMBER][:-9], checksum=None)
    assert verdicts(lake, last="2024-11") == {NOVEMBER: "published broken"}
    assert not Path(lake.root, "raw", NOVEMBER).exists()


def test_each_hole_has_its_reason_by_the_clock_of_the_archive(bybit: StandIn, lake: Lake) -> None:
    hours = [f"2024.11.{day:02d} {hour:02d}:00,10,20,5,10,1" for day in range(1, 31) for hour in range(24)]
    bybit.publish(NOVEMBER, packed(*(hours[:100] + hours[102:]), "2024.12.01 00:00,10,20,5,10,1"), checksum=None)
    download(lake, ["BTCUSDT"], source="bybit")
    Path(lake.root, "raw", DECEMBER).unlink()
    ingest(lake)
    refresh_silver(lake)
    holes = missing(lake, ["BTCUSDT"], source="bybit", last="2025-02-01")
    assert holes.select("reason", "first", "last", "missing").rows() == [
        ("file is short", at(2024, 11, 5, 1), at(2024, 11, 5, 2), 2),  # 4 and 5 o'clock of its clock
        ("not fetched", at(2024, 11, 30, 22), at(2024, 12, 31, 20), 743),
        ("not yet published", at(2025, 1, 31, 22), at(2025, 2, 1, 20), 23),
    ]
    assert holes["fetch"].to_list() == [[], [DECEMBER], []]


def at(year: int, month: int, day: int, hour: int) -> dt.datetime:
    return dt.datetime(year, month, day, hour, tzinfo=dt.UTC)


def test_the_command_that_missing_prints_fetches_it(
    bybit: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bybit.files
    with pytest.raises(SystemExit):
        main(["missing", "BTCUSDT", "--source", "bybit", "--root", lake.root])
    (way,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lakehouse download")]
    with pytest.raises(SystemExit) as stop:
        main([*shlex.split(way)[1:], "--root", lake.root])
    assert stop.value.code == 0
    assert VERIFIED in capsys.readouterr().out
    assert ingest(lake).inserted == 2206


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"symbols": ["BTCUSD"]}, "count dollars"),
        ({"symbols": ["XRPUSDT"]}, r"no XRPUSDT in kline_for_metatrader4/; there are 1, BTCUSDT"),
        ({"intervals": ["4h"]}, "no files of 4h; it has 1m, 5m, 15m, 30m, 1h"),
        ({"intervals": ["30m"]}, f"no files of 30m in {TREE}/"),
        ({"market": "spot"}, "not known at bybit; the known ones are linear"),
        ({"source": "okx"}, "the known ones are binance, bybit"),
        ({"last": "2020-01"}, "the archive has 2024-11-01 to 2025-01-31"),
    ],
)
def test_a_wish_that_cannot_be_met_says_what_there_is(
    wish: dict[str, list[str]], message: str, bybit: StandIn, lake: Lake
) -> None:
    assert bybit.files
    with pytest.raises(InputError, match=message):
        download(lake, **{"symbols": ["BTCUSDT"], "source": "bybit", **wish})  # type: ignore[arg-type]


def test_the_list_shows_symbols_and_the_intervals_that_there_are(bybit: StandIn) -> None:
    bybit.publish("kline_for_metatrader4/BTCUSD/2024/BTCUSD_60_2024-11-01_2024-11-30.csv.gz", b"", checksum=None)
    assert list_archive(source="bybit")["symbol"].to_list() == ["BTCUSDT"]
    assert list_archive(["BTCUSDT"], source="bybit").select("interval", "first", "last", "monthly", "daily").rows() == [
        ("1h", dt.date(2024, 11, 1), dt.date(2025, 1, 31), 3, 0),
        ("5m", dt.date(2024, 11, 1), dt.date(2024, 11, 30), 1, 0),
    ]


def test_tables_of_a_night_name_their_source_and_one_that_is_away_does_not_stop_the_other(
    bybit: StandIn, lake: Lake
) -> None:
    table = '[[download]]\nsource = "{}"\nsymbols = ["BTCUSDT"]\nintervals = ["1h"]\nto = "2024-11"\n'
    Path(lake.root, "raw/download.toml").write_text(table.format("binance") + table.format("bybit"), encoding="utf-8")
    assert download_wanted(lake).files["verdict"].to_list() == ["verified", VERIFIED]
    assert ingest(lake).files["market"].sort().to_list() == ["binance", "bybit-linear"]
    refresh_silver(lake)
    assert missing(lake).select("source", "market").unique().sort("source").rows() == [("bybit", "linear")]
    for key in [key for key in bybit.entries if key.startswith("data/")]:
        del bybit.entries[key]
    report = download_wanted(lake)
    assert (report.untouched, report.complete, len(report.unmet)) == (1, False, 1)
    assert "nothing below data/" in report.unmet[0]


def test_contracts_in_coins_are_told_apart_and_their_volume_is_noted(lake: Lake) -> None:
    path = Path(lake.root, "raw/kline_for_metatrader4/BTCUSD/2024/BTCUSD_60_2024-11-01_2024-11-30.csv.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(packed(*(f"2024.11.01 {hour:02d}:00,10,20,5,10,1" for hour in range(24))))
    (row,) = ingest(lake).files.rows(named=True)
    assert (row["market"], row["first_open_time"]) == ("bybit-inverse", at(2024, 10, 31, 21))
    assert "it counts dollars" in row["note"]
