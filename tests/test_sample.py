"""The synthetic klines: the same bytes always, and the form of Binance's archive."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path

import pytest
from example import write_example_raw

from lakehouse.errors import InputError
from lakehouse.sample import INTERVALS, write_sample

RAW = Path(__file__).parents[1] / "raw"
HOUR_MS = 3_600_000
NOV_2024_MS = 1_730_419_200_000  # 2024-11-01T00:00Z
JAN_2025_US = 1_735_689_600_000_000  # 2025-01-01T00:00Z
FEB_2025_US = 1_738_368_000_000_000  # 2025-02-01T00:00Z
OUTAGE_MS = 1_734_404_400_000  # 2024-12-17T03:00Z


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as lines:
        return list(csv.reader(lines))


def read_bytes(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def four_months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_sample(tmp_path_factory.mktemp("sample"))


def test_each_symbol_interval_and_month_has_a_file_of_its_own(tmp_path: Path) -> None:
    written = write_sample(tmp_path / "new", symbols=["ETHUSDT", "X_1"], intervals=["12h", "1d"], last="2024-12")
    assert [path.name for path in written] == [
        "ETHUSDT-12h-2024-11.csv",
        "ETHUSDT-12h-2024-12.csv",
        "ETHUSDT-1d-2024-11.csv",
        "ETHUSDT-1d-2024-12.csv",
        "X_1-12h-2024-11.csv",
        "X_1-12h-2024-12.csv",
        "X_1-1d-2024-11.csv",
        "X_1-1d-2024-12.csv",
    ]
    assert [len(read_rows(path)) for path in written] == [60, 62, 30, 31] * 2


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, four_months: list[Path]) -> None:
    assert read_bytes(write_sample(tmp_path)) == read_bytes(four_months)


def test_another_seed_gives_other_prices(tmp_path: Path, four_months: list[Path]) -> None:
    other = write_sample(tmp_path, seed=1)
    assert [path.name for path in other] == [path.name for path in four_months]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(other, four_months, strict=True))


def test_a_month_alone_equals_the_month_in_a_longer_run(tmp_path: Path, four_months: list[Path]) -> None:
    (alone,) = write_sample(tmp_path, first="2025-01", last="2025-01")
    assert alone.read_bytes() == four_months[2].read_bytes()


def test_times_are_milliseconds_before_2025_and_microseconds_after(four_months: list[Path]) -> None:
    first, turn = read_rows(four_months[0])[0], read_rows(four_months[2])[0]
    assert (first[0], first[6]) == (str(NOV_2024_MS), "1730422799999")
    assert (turn[0], turn[6]) == (str(JAN_2025_US), "1735693199999999")


def test_the_grid_is_complete(four_months: list[Path]) -> None:
    november, december, january, february = (read_rows(path) for path in four_months)
    assert [len(rows) for rows in (november, december, january, february)] == [720, 744, 744, 672]
    in_ms = [int(row[0]) for row in november + december]
    assert in_ms == list(range(NOV_2024_MS, JAN_2025_US // 1000, HOUR_MS))
    in_us = [int(row[0]) for row in january + february]
    assert in_us == list(range(JAN_2025_US, JAN_2025_US + (744 + 672) * HOUR_MS * 1000, HOUR_MS * 1000))
    assert all(int(row[6]) == int(row[0]) + HOUR_MS - 1 for row in november + december)
    assert all(int(row[6]) == int(row[0]) + HOUR_MS * 1000 - 1 for row in january + february)


def test_every_line_has_the_form_of_the_archive(four_months: list[Path]) -> None:
    number = r"\d+\.\d{8}"
    line = rf"\d{{13,16}}(,{number}){{5}},\d{{13,16}},{number},\d+,{number},{number},0\n"
    for path in four_months:
        assert re.fullmatch(rf"({line})+".encode(), path.read_bytes())


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "DOGEUSDT", "X"])
@pytest.mark.parametrize("interval", ["5m", "1h", "1d"])
def test_each_bar_wraps_its_prices_and_opens_at_the_last_close(tmp_path: Path, symbol: str, interval: str) -> None:
    paths = write_sample(tmp_path, symbols=[symbol], intervals=[interval], first="2024-12", last="2025-01")
    rows = [row for path in paths for row in read_rows(path)]
    for row in rows:
        open_, high, low, close, volume = map(float, row[1:6])
        quote_volume, trades, taker, taker_quote = map(float, row[7:11])
        assert 0 < low <= min(open_, close) <= max(open_, close) <= high
        assert low * (1 - 1e-6) <= quote_volume / volume <= high * (1 + 1e-6)
        assert 0 <= taker <= volume
        assert 0 <= taker_quote <= quote_volume
        assert volume > 0
        assert trades >= 1
    assert [row[1] for row in rows[1:]] == [row[4] for row in rows[:-1]]  # across the months too


def test_prices_above_100_move_in_cents(four_months: list[Path]) -> None:
    assert all(price.endswith("000000") for row in read_rows(four_months[0]) for price in row[1:5])


def test_months_join_without_a_jump_wherever_the_run_begins(tmp_path: Path) -> None:
    (before,) = write_sample(tmp_path, first="2021-06", last="2021-06")
    (after,) = write_sample(tmp_path, first="2021-07", last="2021-07")
    (minutes,) = write_sample(tmp_path, first="2021-07", last="2021-07", intervals=["30m"])
    assert read_rows(before)[-1][4] == read_rows(after)[0][1] == read_rows(minutes)[0][1]


def test_large_moves_are_more_common_than_in_a_normal_walk(four_months: list[Path]) -> None:
    rows = [row for path in four_months for row in read_rows(path)]
    moves = [float(row[4]) / float(row[1]) - 1 for row in rows]
    variance = sum(move**2 for move in moves) / len(moves)
    kurtosis = sum(move**4 for move in moves) / len(moves) / variance**2
    assert 0.002 < variance**0.5 < 0.01
    assert kurtosis > 4  # 3 is normal


@pytest.mark.parametrize("interval", [name for name in INTERVALS if name != "1s"])
def test_every_interval_fills_a_february(tmp_path: Path, interval: str) -> None:
    unit = {"m": 60, "h": 3_600, "d": 86_400}[interval[-1]]
    (path,) = write_sample(tmp_path, intervals=[interval], first="2024-02", last="2024-02")
    assert len(read_rows(path)) == 29 * 86_400 // (unit * int(interval[:-1]))


@pytest.mark.parametrize(("fine", "coarse", "times"), [("1h", "4h", 4), ("1h", "1d", 24), ("1m", "15m", 15)])
def test_coarse_bars_are_the_sums_of_fine_ones(fine: str, coarse: str, times: int, tmp_path: Path) -> None:
    small, large = (read_rows(write_sample(tmp_path, intervals=[name], last="2024-11")[0]) for name in (fine, coarse))
    assert len(small) == times * len(large)
    for number, bar in enumerate(large):
        parts = small[number * times : (number + 1) * times]
        assert (bar[0], bar[1], bar[4], bar[6]) == (parts[0][0], parts[0][1], parts[-1][4], parts[-1][6])
        assert bar[2] == max((part[2] for part in parts), key=float)
        assert bar[3] == min((part[3] for part in parts), key=float)
        for field in (5, 7, 8, 9, 10):
            assert float(bar[field]) == pytest.approx(sum(float(part[field]) for part in parts), rel=1e-12)


def test_the_folder_says_that_it_is_synthetic_and_with_which_seeds(tmp_path: Path) -> None:
    for seed in (10, 1, 10):
        write_sample(tmp_path, symbols=[f"S{seed}"], intervals=["1d"], last="2024-11", seed=seed)
    heading, *made = (tmp_path / "SYNTHETIC.md").read_text().splitlines()
    assert "SYNTHETIC" in heading
    assert [re.findall(r"`lakehouse sample` with seed (\d+);", line) for line in made] == [["10"], ["1"]]


def test_writing_again_leaves_the_files_untouched(tmp_path: Path) -> None:
    before = [path.stat() for path in write_sample(tmp_path, intervals=["1d"])]
    after = [path.stat() for path in write_sample(tmp_path, intervals=["1d"])]
    assert [(stat.st_ino, stat.st_mtime_ns) for stat in after] == [(stat.st_ino, stat.st_mtime_ns) for stat in before]


def test_real_data_are_never_overwritten(tmp_path: Path) -> None:
    real = tmp_path / "BTCUSDT-1d-2024-11.csv"
    real.write_text("1730419200000,70292.01\n")
    with pytest.raises(InputError, match=r"BTCUSDT-1d-2024-11\.csv is there already and holds other data: choose"):
        write_sample(tmp_path, intervals=["1d"])
    assert real.read_text() == "1730419200000,70292.01\n"


def test_the_committed_raw_folder_is_what_write_example_raw_makes(tmp_path: Path) -> None:
    made = read_bytes([*write_example_raw(tmp_path, tmp_path / "scratch"), tmp_path / "SYNTHETIC.md"])
    assert {name: (RAW / name).read_bytes() for name in made} == made
    assert sum(map(len, made.values())) < 1_000_000


def test_the_example_has_an_outage_a_copy_and_a_turn_from_ms_to_us(tmp_path: Path) -> None:
    rows = {path.name: read_rows(path) for path in write_example_raw(tmp_path, tmp_path / "scratch")}
    assert {name: len(lines) for name, lines in rows.items()} == {
        "BTCUSDT-1h-2024-11 (1).csv": 720,
        "BTCUSDT-1h-2024-11.csv": 720,
        "BTCUSDT-1h-2024-12.csv": 744 - 9,
        "BTCUSDT-1h-2025-01.csv": 744,
        "ETHUSDT-1h-2024-12.csv": 744,
        "ETHUSDT-1h-2025-01.csv": 744,
        "ETHUSDT-1h-2025-02-01.csv": 24,
    }
    assert rows["BTCUSDT-1h-2024-11 (1).csv"] == rows["BTCUSDT-1h-2024-11.csv"]
    times = [int(row[0]) for row in rows["BTCUSDT-1h-2024-12.csv"]]
    gaps = {before: after - before for before, after in pairwise(times)}
    assert {before: gap for before, gap in gaps.items() if gap != HOUR_MS} == {OUTAGE_MS - HOUR_MS: 10 * HOUR_MS}
    assert rows["ETHUSDT-1h-2025-01.csv"][0][0] == str(JAN_2025_US)


def test_the_example_has_five_lines_broken_in_five_ways(tmp_path: Path) -> None:
    write_example_raw(tmp_path / "example", tmp_path / "scratch")
    (whole,) = write_sample(tmp_path, symbols=["ETHUSDT"], first="2025-02")
    tidy = read_rows(whole)[:24]
    met = read_rows(tmp_path / "example" / "ETHUSDT-1h-2025-02-01.csv")
    assert [int(row[0]) for row in met] == [FEB_2025_US + hour * HOUR_MS * 1000 for hour in range(24)]
    assert [number for number, (a, b) in enumerate(zip(met, tidy, strict=True), 1) if a != b] == [5, 9, 13, 17, 21]
    assert met[4][1] == "n/a?"
    assert float(met[8][2]) < float(met[8][3])
    assert len(met[12]) == 7
    assert float(met[16][5]) < 0
    assert met[20][4] == "NaN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"intervals": ["7m"]}, r"interval '7m' is not known; the known ones are 1s, 1m, 3m, .* 12h, 1d$"),
        ({"first": "2024-13"}, r"month '2024-13' is not one of 2000-01 to 2099-12, written YYYY-MM"),
        ({"last": "2025-2"}, r"month '2025-2' is not one of"),
        ({"first": "2025-03"}, r"last month 2025-02 is before the first, 2025-03: did you swap them\?"),
        ({"symbols": ["BTC/USDT"]}, r"symbol 'BTC/USDT' is not made of A to Z, 0 to 9 and _: write it as 'BTCUSDT'"),
        ({"symbols": ["btcusdt"]}, r"symbol 'btcusdt' is not made of"),
        ({"symbols": [""]}, r"symbol '' is not made of"),
        ({"symbols": "BTCUSDT"}, r"symbols and intervals are lists, such as \['BTCUSDT'\], not 'BTCUSDT' and"),
        ({"intervals": "1h"}, r"symbols and intervals are lists, .* and '1h'"),
    ],
)
def test_an_unusable_argument_is_named_and_nothing_is_written(
    tmp_path: Path, arguments: dict[str, str | list[str]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_sample(tmp_path / "dest", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "dest").exists()
