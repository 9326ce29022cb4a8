"""Why is there a hole? Each reason, made by hand."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.cli.commands import main
from lakehouse.download import StandIn, download, missing
from lakehouse.download.standin import zipped
from lakehouse.errors import InputError, LakeError

HOUR = dt.timedelta(hours=1)


def day_of(symbol: str, day: int, hours: range | list[int]) -> tuple[str, bytes]:
    """A daily file of January 2024, which states some hours."""
    name, begin = f"{symbol}-1h-2024-01-{day:02d}", 1704067200000 + (day - 1) * 86400000
    lines = [f"{begin + h * 3600000},10,50,5,{10 + h},1,{begin + h * 3600000 + 3599999},1,1,1,1,0\n" for h in hours]
    return f"data/spot/daily/klines/{symbol}/1h/{name}.zip", zipped(f"{name}.csv", "".join(lines).encode())


def at(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2024, 1, day, hour, tzinfo=dt.UTC)


def known(lake: Lake) -> None:
    ingest(lake)
    refresh_silver(lake)


def told(lake: Lake, symbol: str, **options: str) -> list[tuple[object, ...]]:
    return missing(lake, [symbol], **options).select("reason", "first", "last", "missing").rows()  # type: ignore[arg-type]


@pytest.fixture
def two(there: StandIn) -> StandIn:
    """AAAUSDT has days 2 to 9 without the 6th, BBBUSDT all. Both lack 3 and 4 o'clock of the 4th, AAA also 5 to 7."""
    for day in (2, 3, 4, 5, 7, 8, 9):
        there.publish(*day_of("AAAUSDT", day, [h for h in range(24) if day != 4 or h not in range(3, 8)]))
    for day in range(2, 10):
        there.publish(*day_of("BBBUSDT", day, [h for h in range(24) if day != 4 or h not in range(3, 5)]))
    return there


def test_each_hole_has_its_reason(two: StandIn, lake: Lake) -> None:
    download(lake, ["AAAUSDT", "BBBUSDT"], last="2024-01-08")
    for day in (3, 8):
        Path(lake.root, "raw", day_of("AAAUSDT", day, [])[0]).unlink()
    known(lake)
    assert two.files
    assert told(lake, "AAAUSDT", first="2024-01-01", last="2024-01-11") == [
        ("before listing", at(1), at(1, 23), 24),
        ("not fetched", at(3), at(3, 23), 24),
        ("outage", at(4, 3), at(4, 4), 2),
        ("file is short", at(4, 5), at(4, 7), 3),
        ("never published", at(6), at(6, 23), 24),
        ("not fetched", at(8), at(9, 23), 48),
        ("not yet published", at(10), at(11, 23), 48),
    ]
    holes = missing(lake, ["AAAUSDT"])
    assert holes.filter(reason="not fetched")["fetch"].to_list() == [
        [day_of("AAAUSDT", 3, [])[0]],
        [day_of("AAAUSDT", day, [])[0] for day in (8, 9)],
    ]
    sizes = [len(two.files[day_of("AAAUSDT", day, [])[0]]) for day in (3, 8, 9)]
    assert holes["bytes"].to_list() == [sizes[0], 0, 0, 0, sizes[1] + sizes[2]]


def test_an_outage_of_one_symbol_alone_is_not_said(two: StandIn, lake: Lake) -> None:
    assert two.files
    download(lake, ["AAAUSDT"])
    known(lake)
    (row,) = missing(lake, ["AAAUSDT"]).filter(pl.col("first").dt.day() == 4).rows(named=True)
    assert (row["reason"], row["missing"]) == ("file is short", 5)
    assert row["note"] == "no other symbol of the market is here to compare with"


def test_delisted_is_what_others_have_outlived(two: StandIn, lake: Lake) -> None:
    for day in range(10, 15):
        two.publish(*day_of("BBBUSDT", day, range(24)))
    download(lake, ["AAAUSDT", "BBBUSDT"])
    known(lake)
    assert told(lake, "AAAUSDT", last="2024-01-10")[-1] == ("delisted", at(10), at(10, 23), 24)


def test_what_lies_in_raw_and_no_run_has_taken_is_not_loaded(two: StandIn, lake: Lake) -> None:
    assert two.files
    download(lake, ["BBBUSDT"], last="2024-01-03")
    assert told(lake, "BBBUSDT", last="2024-01-04") == [
        ("not loaded", at(2), at(3, 23), 48),
        ("not fetched", at(4), at(4, 23), 24),
    ]


def test_a_zip_that_the_archive_has_broken_is_told_as_such(two: StandIn, lake: Lake) -> None:
    key, content = day_of("BBBUSDT", 3, range(24))
    two.publish(key, content[:40] + b"????" + content[44:])
    download(lake, ["BBBUSDT"], last="2024-01-04")
    known(lake)
    assert told(lake, "BBBUSDT", last="2024-01-04")[0] == ("published broken", at(3), at(3, 23), 24)


def test_a_month_that_is_short_names_the_day_that_states_it_too(there: StandIn, lake: Lake) -> None:
    begin, month = 1704067200000, "data/spot/monthly/klines/CCCUSDT/1h/CCCUSDT-1h-2024-01.zip"
    lines = [f"{begin + h * 3600000},10,20,5,9,1,{begin},1,1,1,1,0\n" for h in range(31 * 24) if h // 24 != 16]
    there.publish(month, zipped("CCCUSDT-1h-2024-01.csv", "".join(lines).encode()))
    there.publish(*day_of("CCCUSDT", 17, range(24)))
    download(lake, ["CCCUSDT"])
    known(lake)
    (row,) = missing(lake, ["CCCUSDT"]).rows(named=True)
    assert (row["reason"], row["first"], row["fetch"]) == ("file is short", at(17), [day_of("CCCUSDT", 17, [])[0]])


def test_bars_of_files_outside_the_archives_tree_count(two: StandIn, lake: Lake) -> None:
    assert two.files
    lines = [f"{1704153600000 + h * 3600000},10,20,5,9,1,1704153600000,1,1,1,1,0" for h in range(24) if h != 5]
    Path(lake.root, "raw", "BBBUSDT-1h-2024-01-02.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    known(lake)
    assert told(lake, "BBBUSDT", last="2024-01-02") == [("not fetched", at(2, 5), at(2, 5), 1)]


def test_a_month_is_a_slot_as_well(there: StandIn, lake: Lake) -> None:
    folder, begin = "data/spot/monthly/klines/DDDUSDT/1mo/DDDUSDT-1mo-", dt.datetime(2023, 1, 1, tzinfo=dt.UTC)
    for month in (1, 2, 4, 6, 7):
        opened = int(begin.replace(month=month).timestamp() * 1000)
        line = f"{opened},10,20,5,9,1,{opened + 2419199999},1,1,1,1,0\n"
        there.publish(f"{folder}2023-{month:02d}.zip", zipped(f"DDDUSDT-1mo-2023-{month:02d}.csv", line.encode()))
    download(lake, ["DDDUSDT"], ["1mo"], first="2023-02", last="2023-06")
    known(lake)
    holes = missing(lake, ["DDDUSDT"], ["1mo"]).select("reason", pl.col("first", "last").dt.month(), "missing")
    assert holes.rows() == [
        ("not fetched", 1, 1, 1),
        ("never published", 3, 3, 1),
        ("never published", 5, 5, 1),
        ("not fetched", 7, 7, 1),
    ]


def test_silver_that_is_behind_bronze_is_not_believed(two: StandIn, lake: Lake) -> None:
    assert two.files
    download(lake, ["BBBUSDT"], last="2024-01-03")
    ingest(lake)
    with pytest.raises(LakeError, match="`lakehouse run` first"):
        missing(lake, ["BBBUSDT"])
    with pytest.raises(InputError, match="no symbol was named"):
        missing(lake)


def test_the_commands_that_are_printed_fill_the_holes(
    two: StandIn, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert two.files
    download(lake, ["AAAUSDT"], first="2024-01-04", last="2024-01-07")
    known(lake)
    with pytest.raises(SystemExit) as stop:
        main(["missing", "AAAUSDT", "--root", lake.root])
    ways = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lakehouse download")]
    assert (stop.value.code, len(ways)) == (0, 2)
    for way in ways:
        with pytest.raises(SystemExit):
            main([*shlex.split(way)[1:], "--root", lake.root])
    known(lake)
    assert set(missing(lake, ["AAAUSDT"])["reason"]) == {"file is short", "never published"}


def test_without_a_symbol_no_option_is_silently_left_out(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    for option in (("--interval", "1h"), ("--from", "2024-01"), ("--market", "um"), ("--kind", "mark")):
        with pytest.raises(SystemExit) as stop:
            main(["missing", *option, "--root", lake.root])
        told = capsys.readouterr().err
        assert (stop.value.code, "no symbol was named; without one, raw/download.toml says" in told) == (2, True)
