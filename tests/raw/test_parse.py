from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest
from histories import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from lakehouse.dataset import Dataset, Form
from lakehouse.raw import parse
from lakehouse.raw.parse import Block, parse_block, parse_clean, parse_lines, split_line
from lakehouse.recognise.layouts import CANDLES

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
MS = int(START.timestamp() * 1000)
OHLCV = ("open_time", "open", "high", "low", "close", "volume")
EPOCH = Form("t", ",", OHLCV, market="m", symbol="AAA", interval="1h")
LINE = f"{MS},10,20,5,12,1"


def parsed(*lines: str, form: Form = EPOCH) -> tuple[list[int], dict[int, list[str]]]:
    """The numbers of the lines that are rows, and the reasons of those that are not."""
    block = parse_block("\n".join(lines).encode(), 1, form, CANDLES)
    assert block.read == block.rows.height + block.rejected.height
    assert block.read + block.skipped == len(lines)
    return block.rows["_line"].to_list(), dict(block.rejected.select("_line", "reasons").iter_rows())


# ---------------------------------------------------------------- what a line says


def test_a_row_has_all_columns_of_the_table_in_their_order() -> None:
    told = {"_file": "a.csv", "_sha256": "0", "_modified_at": START, "_ingested_at": START}
    block = parse_block(LINE.encode() + b"\n", 7, replace(EPOCH, told=told), CANDLES)
    assert block.rows.schema == CANDLES.schema
    row = block.rows.row(0, named=True)
    assert {name: row[name] for name in OHLCV} == dict(zip(OHLCV, (START, 10, 20, 5, 12, 1), strict=True))
    assert (row["market"], row["symbol"], row["interval"]) == ("m", "AAA", "1h")
    assert (row["_file"], row["_line"], row["_modified_at"], row["close_time"]) == ("a.csv", 7, START, None)


@pytest.mark.parametrize(
    ("bad", "reasons"),
    [
        ("x,10,20,5,12,1", ["open_time is not a time"]),
        ("5,10,20,5,12,1", ["open_time is not a time"]),
        (",10,20,5,12,1", ["open_time is missing"]),
        (f"{MS},ten,20,5,12,1", ["open is not a number"]),
        (f"{MS},null,20,5,12,1", ["open is missing"]),
        (f"{MS},NaN,NaN,NaN,NaN,NaN", ["open is missing", "high is missing", "low is missing", "close is missing"]),
        (f"{MS},10,inf,5,12,1", ["high is not finite"]),
        (f"{MS},10,20,-inf,12,1", ["low is not finite"]),
        (f"{MS},10,11,5,12,1", ["high is below open, low or close"]),
        (f"{MS},10,20,11,12,1", ["low is above open or close"]),
        (f"{MS},10,20,5,12,-1", ["volume is negative"]),
        ("4102444800000,10,20,5,12,1", ["open_time is off the epoch"]),
        (f"{MS},10,20,5,12", ["5 fields, not 6"]),
        (f"{MS},10,20,5,12,1,", ["7 fields, not 6"]),
        ("garbage", ["1 fields, not 6", "open_time is not a time"]),
        (f'"{MS},10,20,5,12,1', ["1 fields, not 6", "open_time is not a time"]),
        (f"{MS},10,20,5,12,1\x00", ["volume is not a number"]),
        (
            f"{MS},10,2,11,x,-1",
            [
                *("close is not a number", "high is below open, low or close"),
                *("low is above open or close", "volume is negative"),
            ],
        ),
    ],
)
def test_a_bad_line_is_rejected_with_every_reason_and_no_echo(bad: str, reasons: list[str]) -> None:
    rows, rejected = parsed(LINE, bad, LINE)
    assert rows == [1, 3]
    assert rejected == {2: reasons}


def test_a_rejected_line_is_kept_as_it_stands() -> None:
    block = parse_block(LINE.encode() + b'\r\n \xe9,"x",\t\r\n', 1, EPOCH, CANDLES)
    assert block.rejected["raw"].to_list() == [' \\xe9,"x",\t']


@pytest.mark.parametrize(
    "good",
    [
        *(f"{MS},1e1,20.0,+5,012,.5", f"{MS},10,20,5,12,", f"{MS},10,20,5,12,null", f"{MS},10,20,5,12,N/A"),
        *(f'"{MS}","10","20","5","12","1"', f" {MS} , 10 , 20 , 5 , 12 , 1 ", f"{MS},10,20,5,12,1\r", f"\ufeff{LINE}"),
        *(f"{MS // 1000},10,20,5,12,1", f"{MS * 1000},10,20,5,12,1", f"{MS * 10**6},10,20,5,12,1"),
        *(f"{MS // 1000}.0,10,20,5,12,1", "2024-03-01,10,20,5,12,1", "2024-03-01T00:00:00Z,10,20,5,12,1"),
    ],
)
def test_one_and_the_same_bar_may_be_written_in_many_ways(good: str) -> None:
    rows, rejected = parsed(LINE, good)
    assert (rows, rejected) == ([1, 2], {})
    times = parse_block(f"{LINE}\n{good}".encode(), 1, EPOCH, CANDLES).rows["open_time"]
    assert times.to_list() == [START, START]


def test_header_and_blank_lines_are_skipped_wherever_they_stand() -> None:
    form = replace(EPOCH, header=",".join(OHLCV))
    lines = [LINE, "", "  ", form.header, f"\ufeff{form.header}", LINE]
    assert parsed(*lines, form=form) == ([1, 6], {})


def test_each_line_may_state_its_own_symbol() -> None:
    form = replace(EPOCH, columns=(*OHLCV[:5], "symbol"), symbol="")
    lines = [f"{MS},10,20,5,12,{symbol}" for symbol in ("BTC/USDT", "btc-usdt ", "None", "", "ETHUSDT")]
    assert parsed(*lines, form=form) == ([1, 2, 5], {3: ["symbol is missing"], 4: ["symbol is missing"]})
    block = parse_block("\n".join(lines).encode(), 1, form, CANDLES)
    assert block.rows["symbol"].to_list() == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]


def test_a_date_and_a_time_in_two_fields_are_joined() -> None:
    form = replace(EPOCH, columns=("open_time", *OHLCV))
    assert parsed("2024.03.01,00:00,10,20,5,12,1", "2024.03.01,x,10,20,5,12,1", form=form)[0] == [1]


def test_counts_are_whole_numbers_however_large() -> None:
    form = replace(EPOCH, columns=(*OHLCV, "trades"))
    lines = [f"{LINE},{trades}" for trades in ("9007199254740993", "7.0", "1e3", "", "1.5", "-1", "1e30")]
    rows, rejected = parsed(*lines, form=form)
    assert rows == [1, 2, 3, 4]
    reasons = [["trades is not a whole number"], ["trades is negative"], ["trades is not a whole number"]]
    assert list(rejected.values()) == reasons
    block = parse_block("\n".join(lines).encode(), 1, form, CANDLES)
    assert block.rows["trades"].to_list() == [9007199254740993, 7, 1000, None]


def test_a_close_time_that_cannot_be_read_is_no_missing_one() -> None:
    form = replace(EPOCH, columns=(*OHLCV, "close_time"))
    for close in ("2024-03-01 00:59:59.999", str(MS + 3599999)):
        rows, rejected = parsed(f"{LINE},{close}", f"{LINE},later", f"{LINE},null", form=form)
        assert (rows, rejected) == ([1, 3], {2: ["close_time is not a time"]})
        assert parsed(f"{LINE},{close}", f"{LINE},5", form=form)[1] == {2: ["close_time is not a time"]}


def test_fields_that_are_not_kept_may_hold_anything_but_must_be_there() -> None:
    form = replace(EPOCH, columns=("", *OHLCV, ""))
    for note in ("note", "", "5", "\\xff"):
        assert parsed(f"a,{LINE},{note}", f"é,{LINE},{note}", form=form)[0] == [1, 2]
    assert parsed(f"a,{LINE},b", f"a,{LINE},b,c", f"a,{LINE}", form=form)[1] == {
        2: ["9 fields, not 8"],
        3: ["7 fields, not 8"],
    }
    block = parse_block(b"a," + LINE.encode() + b",\xff\n", 1, form, CANDLES)
    assert (block.rows.height, block.read) == (1, 1)


def test_quotes_are_honoured_as_csv_does() -> None:
    assert split_line('a,"b,c", d ,"e""f"', ",") == ["a", "b,c", "d", 'e"f']
    assert split_line("a\rb,c", ",") == ["a\rb", "c"]
    assert split_line("", ",") == []


# ---------------------------------------------------------------- the fast reading says what the exact one says


def at(hour: int, written: str) -> str:
    return (START + dt.timedelta(hours=hour)).strftime(written)


DASHED = "%Y-%m-%d %H:%M:%S"
PRICES = ["42000.5", "42500.0", "41000.25", "42250.75"]
KINDS: dict[str, tuple[Form, Callable[[int], list[str]]]] = {
    "epoch": (EPOCH, lambda hour: [str(MS + hour * 3600000), *PRICES, "12.5"]),
    "binance": (
        replace(EPOCH, columns=CANDLES.positional[0].fields),
        lambda hour: [
            *(str(MS + hour * 3600000), *PRICES, "12.5", str(MS + hour * 3600000 + 3599999)),
            *("1000.5", "77", "6.5", "500.25", "0"),
        ],
    ),
    "text": (EPOCH, lambda hour: [at(hour, DASHED), *PRICES, "12.5"]),
    "offset": (EPOCH, lambda hour: [at(hour, DASHED) + "+00:00", *PRICES, "12.5"]),
    "histdata": (replace(EPOCH, separator=";"), lambda hour: [at(hour, "%Y%m%d %H%M%S"), *PRICES, "0"]),
    "compact": (
        replace(EPOCH, time_format="%Y%m%d%H%M"),
        lambda hour: [at(hour, "%Y%m%d%H%M"), *PRICES, "12.5"],
    ),
    "python-binance": (
        replace(EPOCH, columns=(*OHLCV, "close_time", "trades")),
        lambda hour: [at(hour, DASHED), *PRICES, "12.5", at(hour, "%Y-%m-%d %H:59:59.999"), "7"],
    ),
    "cryptodatadownload": (
        replace(EPOCH, columns=("open_time", "", "symbol", *OHLCV[1:], "quote_volume", "trades"), symbol=""),
        lambda hour: [str(MS + hour * 3600000), at(hour, DASHED), "BTC/USDT", *PRICES, "12.5", "55.5", "7"],
    ),
    "kraken-vwap": (
        replace(EPOCH, columns=("open_time", "open", "high", "low", "close", "", "volume", "trades")),
        lambda hour: [at(hour, DASHED), *PRICES, "42100.5", "12.5", "7"],
    ),
    "yahoo": (
        replace(EPOCH, columns=(*OHLCV[:5], "", "volume")),
        lambda hour: [at(hour, DASHED), *PRICES, "42100.5", "12.5"],
    ),
    "symbol last": (
        replace(EPOCH, columns=(*OHLCV[:5], "symbol"), symbol="", separator="\t"),
        lambda hour: [at(hour, DASHED), *PRICES, "BTCUSDT"],
    ),
}
WORDS = [
    *("", "null", "NaN", "None", "n/a", "-", "inf", "-inf", "Infinity", "true", "0", "-0", "5", "1_0", "0x1", "1 2"),
    *("1e5", "1E5", "+1.5", "-1.5", "1.", ".5", "1,5", "1e", "1e400", "--1", "00042250.75", "1.0", "1e2", "42250.750"),
    *('"1.5"', '"1,5"', '"', '""', '"x', 'x"', " 1.5", "1.5 ", "\t1.5", "\xa01.5", "1\x005", "\ufeff5", "1\r", "é"),
    *("20240101", "20240101000000", "202401010000", "2024-01-01", "2024-01-01 00:00", "2024-1-1", "2024-01-0100:00:00"),
    *("1704067200", "1704067200000", "1704067200000000", "1704067200.0", "1.7040672e12", "56971-01-01", "-2024-01-01"),
    *("2024-01-01 24:00:00", "2024-01-01 23:59:60", "01.02.2024 00:00:00", "2024-01-01T00:00:00Z", "+2024-01-01"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "9007199254740993"),
    *("btc-usdt", "BTC USDT", "N/A", "nil"),
]


@st.composite
def texts(draw: st.DrawFn) -> tuple[Form, bytes]:
    """A few good lines of some kind, and then a word, a field, a line or a byte changed."""
    form, fields = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    rows = [fields(hour) for hour in range(draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(0, 2))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        place = draw(st.integers(0, len(row) - 1))
        row[place] = draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)))
        if draw(st.integers(0, 9)) == 0:
            row.insert(place, draw(st.sampled_from(["", "1.5"])))
    lines = [form.separator.join(row) for row in rows]
    if draw(st.integers(0, 9)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", "  ", "# x", '"', ",,,,,"])))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = bytearray((end.join(lines) + draw(st.sampled_from([end, ""]))).encode("utf-8", "replace"))
    if draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, len(text) - 1))
        text[place : place + draw(st.integers(0, 1))] = draw(
            st.sampled_from([b"", *(bytes([byte]) for byte in b'0-+.eE,; \t\r\n"\x00\xff\xc3')])
        )
    return form, bytes(text)


def test_a_year_that_python_does_not_know_is_a_rejected_line_and_stops_nothing() -> None:
    names = ("open_time", "open", "high", "low", "close", "volume")
    form = Form("t", ",", names, market="m", symbol="AAA", interval="1h")
    lines = b"-2024-03-01 00:00:00,1,2,1,2,3\n2024-03-01 00:00:00,1,2,1,2,3\n"
    block = parse_block(lines, 1, form, CANDLES)
    assert (block.rows.height, block.rejected["_line"].to_list()) == (1, [1])


@settings(deadline=None, max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow])
@given(texts())
def test_the_fast_reading_is_silent_or_says_what_the_exact_one_says(case: tuple[Form, bytes]) -> None:
    form, text = case
    if not text:
        return
    fast, exact = parse_clean(text, 5, form, CANDLES), parse_lines(text, 5, form, CANDLES)
    assert exact.read == exact.rows.height + exact.rejected.height
    assert exact.read + exact.skipped == text.count(b"\n") + (not text.endswith(b"\n"))
    if fast is not None:
        assert_frame_equal(fast.rows, exact.rows, check_exact=True)
        assert (fast.read, fast.skipped, exact.rejected.height) == (exact.read, exact.skipped, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_clean_lines_are_read_the_fast_way(kind: str) -> None:
    form, fields = KINDS[kind]
    for end in ("\n", "\r\n"):
        text = "".join(form.separator.join(fields(hour)) + end for hour in range(20)).encode()
        block = parse_clean(text, 1, form, CANDLES)
        assert block is not None
        assert block.rows["open_time"].to_list() == [START + dt.timedelta(hours=hour) for hour in range(20)]


@pytest.mark.parametrize("surplus", [",", ",1", ",,"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_surplus_fields_are_seen_even_at_the_very_end(surplus: str, end: str) -> None:
    for columns in (OHLCV, (*OHLCV[:5], "")):
        text = f"{LINE}\n{LINE}{surplus}{end}".encode()
        form = replace(EPOCH, columns=columns)
        assert parse_clean(text, 1, form, CANDLES) is None
        assert parse_block(text, 1, form, CANDLES).rejected["_line"].to_list() == [2]


@pytest.mark.parametrize("surplus", ["", "1", "500"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_line_loads_that_has_another_number_of_fields(kind: str, surplus: str) -> None:
    form, fields = KINDS[kind]
    width = len(form.columns)
    good, wrong = [form.separator.join(fields(hour)) for hour in range(4)], list[str]()
    for place in range(width + 1):
        row = fields(5)
        row.insert(place, surplus)
        wrong.append(form.separator.join(row))
        assert parse_clean("\n".join([*good, wrong[-1]]).encode(), 1, form, CANDLES) is None
    numbers, rejected = parsed(*good, *wrong, *good, form=form)
    last = 4 + len(wrong)
    assert numbers == [1, 2, 3, 4, *range(last + 1, last + 5)]
    assert [rejected[line][0] for line in range(5, last + 1)] == [f"{width + 1} fields, not {width}"] * len(wrong)


def test_the_first_word_of_a_column_may_be_anything() -> None:
    for word in ("", "-2024-01-01", "9" * 30, "\ufeff1", "%Y"):
        assert parsed(f"{word},10,20,5,12,1", LINE)[0] == [2]


def test_only_the_piece_with_the_bad_line_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()

    def listen(block: bytes, first_line: int, form: Form, dataset: Dataset) -> Block:
        read.append(first_line)
        return parse_lines(block, first_line, form, dataset)

    monkeypatch.setattr(parse, "PIECE_BYTES", 100)
    monkeypatch.setattr(parse, "parse_lines", listen)
    lines = [LINE] * 50
    lines[20] = "bad"
    block = parse_block("\n".join(lines).encode(), 3, EPOCH, CANDLES)
    assert block.rows["_line"].to_list() == [*range(3, 23), *range(24, 53)]
    assert block.rejected["_line"].to_list() == [23]
    assert (block.read, block.skipped) == (50, 0)
    assert len(read) == 1
    assert read[0] in range(19, 24)


def test_an_empty_frame_of_columns_has_the_types_of_the_table() -> None:
    block = parse_block(b"x\n", 1, EPOCH, CANDLES)
    assert block.rows.schema == CANDLES.schema
    assert block.rejected.schema == {"_line": pl.Int64, "raw": pl.String, "reasons": pl.List(pl.String)}
