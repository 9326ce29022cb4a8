from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

import polars as pl
import pytest

from lakehouse.dataset import Form
from lakehouse.errors import FileRefused, LakeError
from lakehouse.intervals import spacing
from lakehouse.raw.parse import Block
from lakehouse.recognise.doubts import refuse_foreign
from lakehouse.recognise.identity import recognise, tell_interval
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.names import read_name
from lakehouse.recognise.sources import Declared, Subject, declared_for, read_sources

BARS = b"time,open,high,low,close\n2024-03-01,10,20,5,12\n"
START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)


def times(*hours: float) -> pl.Series:
    return pl.Series("open_time", [START + dt.timedelta(hours=hour) for hour in hours], pl.Datetime("us", "UTC"))


def bars(*hours: float) -> pl.DataFrame:
    return pl.DataFrame({"open_time": times(*hours)})


# ---------------------------------------------------------------- what names tell


@pytest.mark.parametrize(
    ("name", "symbol", "interval"),
    [
        ("BTCUSDT-1h-2024-03.csv", "BTCUSDT", "1h"),
        ("BTCUSDT-1M-2024-03.zip", "BTCUSDT", "1mo"),
        ("BTCUSDT-1m-2024-03-01.csv.gz", "BTCUSDT", "1m"),
        ("BTCUSDT_240628-15m-2024-03.csv", "BTCUSDT_240628", "15m"),
        ("1000SHIBUSDT-1d-2024-03.csv", "1000SHIBUSDT", "1d"),
        ("BT'C-1h-2024-01.csv", "BT'C", "1h"),
        ("Binance_BTCUSDT_1h.csv", "BTCUSDT", "1h"),
        ("Binance_BTCUSDT_d.csv", "BTCUSDT", "1d"),
        ("BTC-USDT-1h.csv", "BTCUSDT", "1h"),
        ("btcusdt_5m (1).csv", "BTCUSDT", "5m"),
        ("XBTUSD_60.csv", "XBTUSD", "1h"),
        ("XBTUSD_1440.csv", "XBTUSD", "1d"),
        ("DAT_ASCII_EURUSD_M1_2019.csv", "EURUSD", "1m"),
        ("HISTDATA_COM_ASCII_EURUSD_M12019.zip", "EURUSD", "1m"),
        ("EURUSD_H4.csv", "EURUSD", "4h"),
        ("EURUSD_Candlestick_1_h_BID.csv", "EURUSD", ""),
        ("BTC-USD.csv", "BTCUSD", ""),
        ("BTCUSDT.csv", "BTCUSDT", ""),
        ("ethbtc.CSV", "ETHBTC", ""),
        ("BTCUSDT_1m.33c8800.csv", "BTCUSDT", "1m"),
        ("BTC_USDT_1h.csv", "BTCUSDT", "1h"),
        ("btc_usdt-5m.csv", "BTCUSDT", "5m"),
        ("BTC_USDT-202401_1h.csv", "BTCUSDT", ""),
        ("BTC-USDT-SWAP_1H.csv", "BTCUSDTSWAP", "1h"),
        ("KRW-BTC_1h.csv", "KRWBTC", "1h"),
        ("BTCUSDT_UPBIT_1h.csv", "BTCUSDT", ""),
        ("candles_BTCUSDT.csv", "BTCUSDT", ""),
        ("gemini_BTCUSD_2020_1min.csv", "BTCUSD", ""),
        ("EURUSD_UTC_1 Min_Bid_2019.01.01.csv", "EURUSD", ""),
        ("eurusd-h1-bid-2019-01-01.csv", "EURUSD", "1h"),
        ("EURUSD60.csv", "EURUSD", "1h"),
        ("US30_M5.csv", "US30", "5m"),
        ("BINANCE_BTCUSDT, 60.csv", "BTCUSDT", "1h"),
        ("BINANCE_BTCUSDT.P, 1D (1).csv", "BTCUSDT.P", "1d"),
        ("NASDAQ_AAPL, 15_5dd6a.csv", "AAPL", "15m"),
        ("Binance_SOL_1h.csv", "SOL", "1h"),
        ("BRK.B_1d.csv", "BRK.B", "1d"),
        ("BTCUSDT-1.csv", "BTCUSDT", ""),
        ("SPX500.csv", "SPX500", ""),
        ("Copy of BTCUSDT-1h-2024-11.csv", "BTCUSDT", "1h"),
        ("AAPL_adjusted_1d.csv", "AAPL", "1d"),
    ],
)
def test_a_name_tells_the_symbol_and_often_the_interval(name: str, symbol: str, interval: str) -> None:
    form = recognise(Subject(name, CANDLES), name, BARS)
    assert (form.symbol, form.interval) == (symbol, interval)


@pytest.mark.parametrize(
    "name",
    [
        *("export.csv", "20240301.csv", "2024-03_1h.csv", "data_1.csv", "BTC.csv", "1.csv", "PRICES_1.csv"),
        *("BTCUSDT_ETHUSDT_1h.csv", "OANDA_EUR_USD_1h.csv", "BINANCE_SOL_1h.csv", "KRAKEN_BTC.csv", "entry_1h.csv"),
        "BTC%2FUSDT_1h.csv",
        "ab " * 80 + "!.csv",  # a pattern that tries all ways to cut this up would never end
    ],
)
def test_a_name_that_tells_no_symbol_is_refused_with_what_to_do(name: str) -> None:
    message = 'with its own) or declare it in raw/sources.toml:\n    [[source]]\n    glob = "x/'
    with pytest.raises(FileRefused, match=re.escape(message)):
        recognise(Subject(f"x/{name}", CANDLES), name, BARS)


def test_a_zip_is_known_by_the_name_inside_or_else_by_its_own() -> None:
    for inner in ("BTCUSDT-1h-2024-03.csv", "data.csv"):
        assert recognise(Subject("BTCUSDT-1h-2024-03.zip", CANDLES), inner, BARS).interval == "1h"


def test_the_first_folder_is_the_market_or_else_the_vendor_is() -> None:
    for path, market in [("spot/x/AAAUSDT.csv", "spot"), ("AAAUSDT.csv", "default")]:
        assert recognise(Subject(path, CANDLES), "AAAUSDT.csv", BARS).market == market
    form = recognise(Subject("spot/AAAUSDT.csv", CANDLES, Declared(market="mine")), "AAAUSDT.csv", BARS)
    assert form.market == "mine"


def test_what_is_declared_outdoes_names_and_columns() -> None:
    told = Declared(symbol="eth/usdt", interval="4h", time_zone="Europe/Berlin", time_format="%d/%m/%Y")
    head = b"time,symbol,open,high,low,close\n"
    form = recognise(Subject("BTCUSDT_1h.csv", CANDLES, told), "BTCUSDT_1h.csv", head)
    assert (form.symbol, form.interval, form.time_zone) == ("ETHUSDT", "4h", "Europe/Berlin")
    assert (form.time_format, form.columns[1]) == ("%d/%m/%Y", "")
    assert recognise(Subject("x.csv", CANDLES), "x.csv", head).symbol == ""


# ---------------------------------------------------------------- what the spacing tells


@pytest.mark.parametrize(
    ("hours", "interval"),
    [
        ([0, 1, 2, 5], "1h"),
        ([5, 2, 1, 0], "1h"),
        ([0, 0, 0.25, 0.5, 2], "15m"),
        ([0, 1, 3], "1h"),
        ([0, 24, 72], "1d"),
        ([0, 168], "1w"),
        ([0, 31 * 24], "1mo"),
        ([0, 1.1], ""),
        ([0], ""),
        ([], ""),
    ],
)
def test_the_commonest_distance_is_the_interval(hours: list[float], interval: str) -> None:
    assert spacing(times(*hours))[0] == interval


def test_an_interval_that_nothing_tells_is_refused_only_if_there_are_bars() -> None:
    form = Form("", ",", ())
    assert tell_interval(Subject("a.csv", CANDLES), bars(), form) == ""
    assert tell_interval(Subject("a.csv", CANDLES), bars(0, 1), form) == "1h"
    with pytest.raises(FileRefused, match=r"(?s)neither the name nor the spacing .*interval = \"…\"    # such as 1m"):
        tell_interval(Subject("a.csv", CANDLES), bars(0), form)


def test_a_name_that_the_bars_belie_is_refused() -> None:
    named = Form("", ",", (), interval="1h")
    assert tell_interval(Subject("a.csv", CANDLES), bars(0, 2, 4), named) == "1h"  # a few bars may have gaps
    message = r'the name tells bars of 1h, but they are 1m apart; rename .*interval = "1m"'
    with pytest.raises(FileRefused, match="(?s)" + message):
        tell_interval(Subject("a.csv", CANDLES), bars(0, 1 / 60, 2 / 60), named)
    with pytest.raises(FileRefused, match="they are 1d apart"):
        tell_interval(Subject("a.csv", CANDLES), bars(*range(0, 2400, 24)), named)
    assert tell_interval(Subject("a.csv", CANDLES, Declared(interval="1h")), bars(0, 1 / 60), named) == "1h"


# ---------------------------------------------------------------- a file that is foreign throughout


HEADED = Form("", ",", CANDLES.positional[0].fields, header="time")


def refuse(*reasons: list[str], form: Form = HEADED, good: int = 0) -> None:
    """Hand over a block of some good rows and of lines with these reasons."""
    lines = pl.DataFrame({"raw": [f"line {n}" for n in range(len(reasons))], "reasons": list(reasons)})
    rows = pl.DataFrame({"open_time": times(*range(good))})
    refuse_foreign(Subject("a.csv", CANDLES), Block(rows, lines, good + len(reasons), 0, 1), form)


def test_a_file_that_is_unreadable_in_the_same_way_throughout_is_refused() -> None:
    time, comma = "open_time is not a time", "open is not a number"
    with pytest.raises(FileRefused, match=r"(?s)open_time is not a time, and so in all .*'line 0'; write times like"):
        refuse([time, comma], [time])
    with pytest.raises(FileRefused, match=r"open is not a number, .*; write numbers like 1234\.5"):
        refuse([comma], [comma, "volume is negative"])
    with pytest.raises(FileRefused, match=r"7 fields, not 6, and so in all its lines"):
        refuse(["7 fields, not 6"], ["7 fields, not 6"])


def test_bad_lines_that_differ_or_are_alone_are_lines_for_quarantine() -> None:
    refuse(["open_time is not a time"])
    refuse(["open is not a number"], ["open_time is not a time"])
    refuse(["open is missing"], ["open is missing"])
    refuse(["open is not a number"], ["open is not a number"], good=1)


LOW = "low is above open or close"


def test_a_file_without_a_header_that_mostly_breaks_a_rule_may_have_another_order_of_columns() -> None:
    bare = replace(HEADED, header="")
    message = r"(?s)low is above open or close in 6 of its first 11 lines, .*; it has no header: if its columns stand"
    with pytest.raises(FileRefused, match=message):
        refuse(*[[LOW]] * 6, form=bare, good=5)
    refuse(*[[LOW]] * 6, form=HEADED, good=5)
    refuse(*[[LOW]] * 6, form=bare, good=6)
    refuse(*[[LOW]] * 6, form=replace(bare, layout="declared"), good=5)


# ---------------------------------------------------------------- sources.toml


def test_sources_are_read_in_their_order_and_the_first_glob_wins() -> None:
    sources = read_sources(
        '[[source]]\nglob = "a/*.csv"\nsymbol = "X"\ncolumns = ["open_time", ""]\n'
        '[[source]]\nglob = "*"\nignore = true\ntime_format = "%d/%m/%Y"\n'
    )
    assert sources[0] == Declared(glob="a/*.csv", symbol="X", columns=("open_time", ""))
    assert [declared_for(path, sources).ignore for path in ("a/b.csv", "a/b/c.csv", "b.csv")] == [False, False, True]
    assert declared_for("b.csv", sources[:1]) == Declared()
    assert read_sources("") == []


@pytest.mark.parametrize("interval", ["1s", "45m", "10m", "2d", "1w", "1mo"])
@pytest.mark.parametrize("time_format", ["%d/%m/%Y %H:%M", "%m/%d/%y", "%d.%m.%Y %H", "%Y-%m-%d %I:%M %p", "%+", "%s"])
def test_good_declarations_pass(interval: str, time_format: str) -> None:
    entry = f'[[source]]\nglob = "*"\ninterval = "{interval}"\ntime_format = "{time_format}"\n'
    assert read_sources(entry)[0].time_format == time_format


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[source]]\nglob = ", r"Invalid value \(at end of document\)"),
        ('[source]\nglob = "*"', r"\[source\] is not known; each entry begins with \[\[source\]\]"),
        ('[[sources]]\nglob = "*"', r"\[sources\] is not known; each entry begins with \[\[source\]\]"),
        ('source = ["*"]', r"each entry begins with \[\[source\]\]"),
        ('[[source]]\nsymbol = "X"', "an entry has no 'glob'"),
        (
            '[[source]]\nglob = "*"\nsymbl = "X"',
            "unknown key 'symbl'; known are glob, market, symbol, interval, time_zone",
        ),
        ('[[source]]\nglob = "*"\nsymbol = 5', "'symbol' is 5; expected text"),
        ('[[source]]\nglob = "*"\nignore = "yes"', "'ignore' is 'yes'; expected true or false"),
        ('[[source]]\nglob = "*"\ncolumns = "open"', "'columns' is 'open'; expected list of names"),
        ('[[source]]\nglob = "*"\ncolumns = [1]', r"'columns' is \[1\]; expected list of names"),
        (
            '[[source]]\nglob = "*"\ninterval = "3M"',
            "interval '3M'; expected a whole number of s, m, h, d or w, such as 15m or 1d, or 1mo",
        ),
        (
            '[[source]]\nglob = "*"\ntime_zone = "Mars/Base"',
            "time_zone 'Mars/Base'; expected a name such as UTC or Europe",
        ),
        ('[[source]]\nglob = "*"\ntime_zone = "localtime"', "time_zone 'localtime'"),
        ('[[source]]\nglob = "*"\ntime_format = "%H:%M"', "time_format '%H:%M' tells no day; expected one like '%d/%m"),
        ('[[source]]\nglob = "*"\ntime_format = "%d/%m"', "time_format '%d/%m' tells no day"),
        ('[[source]]\nglob = "*"\ntime_format = "%Q"', "time_format '%Q' tells no day"),
        ('[[source]]\nglob = "*"\ntime_format = "dd/mm/yyyy"', "time_format 'dd/mm/yyyy' tells no day"),
    ],
)
def test_a_slip_in_sources_toml_is_named(text: str, message: str) -> None:
    with pytest.raises(LakeError, match=r"(?s)^raw/sources\.toml: .*" + message):
        read_sources(text)


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("BTCUSDT-1h-2024-03-01.csv", "BTCUSDT-1h-2024-03-02.csv", ("BTCUSDT", "1h")),
        ("AAPL-2024-03-01_1d.csv", "AAPL-2024-03-02_1d.csv", ("AAPL-2024-03-01", "1d")),  # not the symbol of the other
    ],
)
def test_names_that_differ_by_a_date_are_read_once_unless_it_is_in_what_they_tell(
    name: str, other: str, told: tuple[str, str]
) -> None:
    one, two = (read_name(each, CANDLES.names) for each in (name, other))
    assert (one.symbol, one.interval) == told
    assert (one is two) == ("2024" not in told[0])
    assert (two.symbol, two.interval) == (told[0].replace("-01", "-02"), told[1])


def test_a_date_that_is_part_of_a_word_stays_what_it_is() -> None:
    """Futures that expire on two days are two things, and the word that nobody understands is to be named."""
    words = [read_name(f"BTCUSD_exp{day}_1h.csv", CANDLES.names).words for day in ("2024-12-27", "2025-03-28")]
    assert [word for told in words for word in told if word.startswith("exp")] == ["exp2024", "exp2025"]
