from __future__ import annotations

import tomllib

import pytest

from lakehouse.dataset import Form
from lakehouse.errors import FileRefused
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.sniff import Seen, sniff
from lakehouse.recognise.sources import Declared, Subject

BAR = "1709251200,10,20,5,12,1"
OHLCV = ("open_time", "open", "high", "low", "close", "volume")
HEAD = ",".join(OHLCV) + "\n"


def sniffed(*lines: str, columns: tuple[str, ...] = ()) -> Form:
    return sniff(Subject("a.csv", CANDLES, Declared(columns=columns)), "\n".join([*lines, ""]).encode())


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("open_time,open,high,low,close,volume", OHLCV),
        ('"Open Time";"OPEN";"High*";"low ";"Close Price";"Vol."', OHLCV),
        ("\topen\thigh\tlow\tclose\tdate", ("", "open", "high", "low", "close", "open_time")),
        ("t|ts|o|h|l|c|v|note", ("", "open_time", "open", "high", "low", "close", "volume", "")),
        ("date,unix,open,high,low,close", ("", "open_time", "open", "high", "low", "close")),
        ("<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", ("open_time", *OHLCV)),
        ("time,date,open,high,low,close,volume", ("open_time", "", *OHLCV[1:])),
        ("date,symbol,open,high,low,close,volume_btc,volume", ("open_time", "symbol", *OHLCV[1:], "quote_volume")),
        (
            "unix,symbol,open,high,low,close,Volume LINK,Volume USDT",
            ("open_time", "symbol", *OHLCV[1:], "quote_volume"),
        ),
        (
            "unix,symbol,open,high,low,close,Volume OP,Volume USDT",
            ("open_time", "symbol", *OHLCV[1:], "quote_volume"),
        ),
        ("time,symbol,open,high,low,close,volume,volume_sma", ("open_time", "symbol", *OHLCV[1:], "")),
        (
            "time,symbol,open,high,low,close,volume_quote,volume_base",
            ("open_time", "symbol", *OHLCV[1:5], "quote_volume", "volume"),
        ),
        (
            "timeOpen;timeClose;open;high;low;close;volume;timestamp",
            ("open_time", "close_time", *OHLCV[1:], ""),
        ),
        ("time,open,high,low,close,Volume,Volume SMA", (*OHLCV, "")),
        ("time,open,high,low,close,volume_usd", (*OHLCV[:5], "quote_volume")),
        ("Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price", (*OHLCV, "quote_volume", "")),
        ("Date,Open,High,Low,Close,Adj Close,Volume", (*OHLCV[:5], "", "volume")),
    ],
)
def test_columns_are_known_by_their_names_in_any_order_and_spelling(header: str, columns: tuple[str, ...]) -> None:
    form = sniffed(header, "5")
    assert (form.columns, form.banner, form.header) == (columns, 1, header)


@pytest.mark.parametrize("banner", ["# by x", "sep=,", "https://www.example.com,,,,,", "", "Created on 10-17-2019,a,b"])
def test_a_banner_above_the_header_is_passed_over(banner: str) -> None:
    form = sniffed(banner, ",".join(OHLCV), BAR)
    assert (form.banner, form.columns) == (2, OHLCV)


def test_bars_above_a_header_are_no_banner() -> None:
    assert sniffed("# x", BAR, ",".join(OHLCV), BAR).banner == 1


@pytest.mark.parametrize(
    ("line", "layout", "separator"),
    [
        ("1709251200000,10,20,5,12,1,1709254799999,12,7,0.5,6,0", "binance-spot", ","),
        ("1709251200,10,20,5,12,1,7", "kraken", ","),
        ("1709251200,10,20,5,12,11,1,7", "kraken-vwap", ","),
        ("20240301 000000;10;20;5;12;0", "histdata", ";"),
        ("2024.03.01,00:00,10,20,5,12,0", "metatrader", ","),
        ("2024-03-01\t10\t20\t5\t12\t0", "ohlcv", "\t"),
        (BAR, "ohlcv", ","),
        ("1709251200,10,20,5,12,", "ohlcv", ","),
    ],
)
def test_without_a_header_the_number_of_fields_tells_the_layout(line: str, layout: str, separator: str) -> None:
    for lines in ([line], ["# a comment", "", line, line]):
        form = sniffed(*lines)
        assert (form.layout, form.separator, form.banner, form.header) == (layout, separator, 0, "")


@pytest.mark.parametrize("slip", ["1709251200,1x,20,5,12,1,7", "1709251200,10,20,5,12,1", "# a remark", ",5"])
def test_one_odd_line_does_not_tell_the_layout(slip: str) -> None:
    lines = ["1709251200,10,20,5,12,1,7"] * 40
    for place in (0, 3, 39):
        assert sniffed(*lines[:place], slip, *lines[place:]).layout == "kraken"


def test_lines_of_another_layout_tell_theirs_where_they_are_the_most() -> None:
    lines = ["1709251200,10,20,5,12,1,7", *["2024.03.01,00:00,10,20,5,12,0"] * 40]
    assert sniffed(*lines).layout == "metatrader"


@pytest.mark.parametrize("slip", ["2024010103", "20240101 0300", "202413010300", "2024010103000", "x1", ""])
def test_one_odd_time_does_not_make_dates_epochs(slip: str) -> None:
    for place in (0, 3, 29):
        words = [f"2024010{day}{hour:02}00" for day in (1, 2) for hour in range(15)]
        words[place] = slip
        assert sniffed(*[f"{word},10,20,5,12,1" for word in words]).time_format == "%Y%m%d%H%M"


@pytest.mark.parametrize(
    ("words", "time_format"),
    [
        (["1709251200", "1709254800"], ""),
        (["1709251200000"], ""),
        (["20240301", "20240302"], "%Y%m%d"),
        (["2024030100", "2024030101"], "%Y%m%d%H"),
        (["202403010000", "202403010100"], "%Y%m%d%H%M"),
        (["20240301000000"], "%Y%m%d%H%M%S"),
        (["202403010000", "1709251200000"], ""),
        (["202403019900"], ""),
        (["2024-03-01"], ""),
    ],
)
def test_digits_that_are_a_date_are_no_epoch(words: list[str], time_format: str) -> None:
    assert sniffed(*[f"{word},10,20,5,12,1" for word in words]).time_format == time_format


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer, not the data; run"),
        ("a,b\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        ("time,open\n1,2\n".encode("utf-16-le"), "UTF-16 text; save it as UTF-8"),
        (b"PAR1\x15\x00", "a Parquet file under a .csv name"),
        (b"\n <!DOCTYPE html>", "HTML or XML saved as .csv, probably an error page"),
        (b'<?xml version="1.0"?><Error>', "HTML or XML"),
        (b"<HTML>", "HTML or XML"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", r"binary data, not text \(it starts with b'PK"),
        (b"a,b\r1,2\r3,4", "lines that end in a carriage return alone"),
        (b"Price,Qty,Time\n1,2,3\n", "trades, not candles; aggregate them"),
        (b"1,42000.0,0.1,4200,1709251200000,True,True\n", "trades, not candles; aggregate them"),
        (b"1709251200,42000.0,0.5\n", "3 numbers a line and no header: trades, not candles"),
        (b"Date,Close\n2024-03-01,5\n", "only a closing price; a candle needs open, high, low and close"),
        (b",BTC:open,BTC:close,ETH:open,ETH:close\n", "several assets side by side in one line"),
        (b"time,open,high,low,close,open,high,low,close\n", "its header names 'open' more than once"),
        (
            b"Datum,Er\xc3\xb6ffnung,Hoch,Tief,Schluss,Menge\n1,2,3,4,5,6\n",
            r"no layout that is known; its first line is 'D",
        ),
        (b"\n\nhello world\n", r"its first line is 'hello world'\. If it holds bars, declare it in raw/sources\.toml"),
        (b"404: Not Found", "its first line is '404: Not Found'"),
        (b'{"code":-1003,"msg":"Too many requests"}', "no layout that is known"),
        (b"1\n2\n3\n", "no layout that is known"),
    ],
)
def test_what_is_no_file_of_bars_is_refused_by_what_it_is(content: bytes, message: str) -> None:
    with pytest.raises(FileRefused, match=message):
        sniff(Subject("a.csv", CANDLES), content)


def test_declared_columns_say_what_the_fields_are() -> None:
    columns = ("", *OHLCV[:5])
    assert sniffed("x;" + BAR.replace(",", ";")[:-2], columns=columns).separator == ";"
    form = sniffed("Nr;Zeit;A;B;C;D", "7;1709251200;1;1;1;1", columns=columns)
    assert (form.layout, form.columns, form.banner, form.header) == ("declared", columns, 1, "Nr;Zeit;A;B;C;D")
    assert sniffed("20240301,5,5,5,5", columns=OHLCV[:5]).time_format == "%Y%m%d"


@pytest.mark.parametrize(
    "follows",
    [
        HEAD,  # alone it has no comma at its end
        HEAD + BAR.replace("10", "1.5").replace("1709251200", "2024030112"),
        HEAD + "1709251200,10,20,5,12,1,\n1709254800,10,20,5,12\n",
        HEAD.replace("close", "last") + BAR,
    ],
)
def test_a_file_is_told_the_same_after_one_that_is_written_like_it(follows: str) -> None:
    seen = Seen()
    first = sniff(Subject("a.csv", CANDLES), f"{HEAD}{BAR},\n".encode(), seen)
    assert first.columns == (*OHLCV, "")
    told = sniff(Subject("b.csv", CANDLES), follows.encode(), seen)
    assert told == sniff(Subject("b.csv", CANDLES), follows.encode())


@pytest.mark.parametrize("columns", [("open_time", "open"), (*OHLCV, "open"), (*OHLCV, "price"), (*OHLCV, "_file")])
def test_declared_columns_that_cannot_be_are_named(columns: tuple[str, ...]) -> None:
    with pytest.raises(
        FileRefused, match=r"gives its columns as open_time, open.*; expected open_time, open, high, low"
    ):
        sniffed(BAR, columns=columns)


@pytest.mark.parametrize("path", ["a.csv", 'b/BT"C [1]*?.csv', "ü\\n.csv"])
def test_what_a_message_says_to_declare_can_be_pasted(path: str) -> None:
    advice = Subject(path, CANDLES).how('symbol = "X"')
    (entry,) = tomllib.loads(advice.split("\n", 1)[1])["source"]
    assert entry["symbol"] == "X"
    assert entry["glob"].replace("[[]", "[").replace("[*]", "*").replace("[?]", "?") == path
