# ruff: noqa: E501  a kind of file is a line or two, and reads best as it stands
"""Kinds of files that people have, through the whole ingest: which series they end as, or what is asked."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from systems import links

from lakehouse import Lake, ingest
from lakehouse.errors import LakeError

DAY = dt.datetime(2031, 3, 3, tzinfo=dt.UTC)  # a Monday
HEAD = "time,open,high,low,close,volume"
STEPS = {"m": dt.timedelta(minutes=1), "h": dt.timedelta(hours=1), "d": dt.timedelta(days=1)}


def bars(count: int, every: str = "1d", price: float = 50, head: str = HEAD, tail: str = "") -> list[str]:
    """A header and so many bars with rising prices; `tail` is put at the end of each line."""
    step = int(every[:-1]) * STEPS[every[-1]]
    lines = [
        f"{DAY + n * step:%Y-%m-%d %H:%M:%S},{price + n},{price + n + 9},{price - 9},{price + n},7{tail}"
        for n in range(count)
    ]
    return [head, *lines] if head else lines


def land(root: Path, files: dict[str, Sequence[str]], sources: str = "") -> Lake:
    for name, lines in files.items():
        path = root / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    if sources:
        (root / "raw" / "sources.toml").write_text(sources)
    return Lake(root)


def series_of(lake: Lake) -> dict[str, int]:
    """`market symbol interval` → how many bars."""
    rows = lake.bronze.scan().group_by("market", "symbol", "interval").len().collect()
    return {" ".join(map(str, row[:3])): row[3] for row in rows.iter_rows()}


KINDS: dict[str, tuple[dict[str, Sequence[str]], dict[str, int]]] = {
    "two exchanges in the names": (
        {"Bitfinex_LTCUSD_d.csv": bars(3), "Kraken_LTCUSD_d.csv": bars(3, price=60)},
        {"bitfinex LTCUSD 1d": 3, "kraken LTCUSD 1d": 3},
    ),
    "an exchange in small letters, of two words, and behind the symbol": (
        {
            "data/okx_LTCUSDT_1h.csv": bars(2, "1h"),
            "data/Gate.io_LTCUSDT_1h.csv": bars(2, "1h"),
            "data/LTCUSDT_bybit_1h.csv": bars(4, "1h"),
        },
        {"okx LTCUSDT 1h": 2, "gateio LTCUSDT 1h": 2, "bybit LTCUSDT 1h": 4},
    ),
    "an exchange in a folder below": (
        {"data/kraken/LTCUSD_1h.csv": bars(2, "1h"), "data/gemini/LTCUSD_1h.csv": bars(2, "1h")},
        {"kraken LTCUSD 1h": 2, "gemini LTCUSD 1h": 2},
    ),
    "a folder that tells more than the name": (
        {"binance-um/Binance_LTCUSDT_1h.csv": bars(2, "1h"), "futures/Binance_LTCUSDT_1h.csv": bars(2, "1h")},
        {"binance-um LTCUSDT 1h": 2, "binance-futures LTCUSDT 1h": 2},
    ),
    "adjusted and not": (
        {
            "stocks/ZZZ_1d.csv": bars(2),
            "stocks/ZZZ_1d_adj.csv": bars(2, price=25),
            "stocks/ZZZ_unadjusted_1d.csv": bars(2),
        },
        {"stocks ZZZ 1d": 2, "stocks-adjusted ZZZ 1d": 2, "stocks-unadjusted ZZZ 1d": 2},
    ),
    "bid and ask, in names and in folders": (
        {"fx/EURUSD_Candlestick_1_h_BID_03.03.2031.csv": bars(2, "1h"), "fx/ask/EURUSD_1h.csv": bars(3, "1h")},
        {"fx-bid EURUSD 1h": 2, "fx-ask EURUSD 1h": 3},
    ),
    "Binance's own tree, wherever it begins": (
        {
            "spot/monthly/klines/LTCUSDT/1d/LTCUSDT-1d-2031-03.csv": bars(2),
            "x/y/futures/um/daily/markPriceKlines/LTCUSDT/1d/LTCUSDT-1d-2031-03-03.csv": bars(2),
            "data/futures/cm/monthly/indexPriceKlines/LTCUSD/1d/LTCUSD-1d-2031-03.csv": bars(2),
            "data/option/daily/klines/LTCUSDT/1d/LTCUSDT-1d-2031-03-03.csv": bars(2),
        },
        {
            "binance LTCUSDT 1d": 2,
            "binance-um-mark LTCUSDT 1d": 2,
            "binance-cm-index LTCUSD 1d": 2,
            "binance-option LTCUSDT 1d": 2,
        },
    ),
    "a folder alone is the market as it is written": (
        {"Mine/x/LTCUSDT_1h.csv": bars(2, "1h"), "spot/LTCUSDT_1h.csv": bars(2, "1h")},
        {"Mine LTCUSDT 1h": 2, "spot LTCUSDT 1h": 2},
    ),
    "a column for the exchange": (
        {
            "a/all.csv": [
                HEAD + ",exchange,pair",
                *bars(2, head="", tail=",Kraken,LTC/USD"),
                *bars(2, head="", tail=",gemini,LTC/USD"),
            ]
        },
        {"kraken LTCUSD 1d": 2, "gemini LTCUSD 1d": 2},
    ),
    "a column for the symbol, by other names": (
        {
            "tic.csv": [HEAD + ",tic", *bars(2, head="", tail=",QQA"), *bars(3, head="", tail=",QQB")],
            "ZZUSD_1d.csv": [HEAD + ",asset", *bars(2, head="", tail=",QQC"), *bars(2, head="", tail=",QQD")],
        },
        {"default QQA 1d": 2, "default QQB 1d": 3, "default QQC 1d": 2, "default QQD 1d": 2},
    ),
    "a company's name beside what the file's name tells": (
        {"QQE_1d.csv": bars(2, head=HEAD + ",Name", tail=",Quite Quaint Ltd.")},
        {"default QQE 1d": 2},
    ),
    "a column for the interval": (
        {
            "LTCUSDT.csv": [
                HEAD + ",bar",
                *bars(4, "1h", head="", tail=",1H"),
                *bars(1, "4h", head="", tail=",4H"),
                *bars(1, head="", tail=",1Dutc"[:3]),
            ]
        },
        {"default LTCUSDT 1h": 4, "default LTCUSDT 4h": 1, "default LTCUSDT 1d": 1},
    ),
    "minutes in a column, and a column that only looks so": (
        {
            "QQF.csv": [HEAD + ",per,ticker", *bars(4, "1h", head="", tail=",60,QQF")],
            "QQG_1d.csv": bars(3, head=HEAD + ",period", tail=",14.5"),
        },
        {"default QQF 1h": 4, "default QQG 1d": 3},
    ),
    "the spacing within a symbol": (
        {
            "x.csv": [
                HEAD + ",ticker",
                *bars(3, head="", tail=",QQH"),
                *(line.replace(" 00:", " 05:") for line in bars(3, head="", tail=",QQI")),
            ]
        },
        {"default QQH 1d": 3, "default QQI 1d": 3},
    ),
    "numbered parts": (
        {"kraken/ETHUSD_5.csv": bars(3), "kraken/ETHUSD_15.csv": bars(7, "1h"), "kraken/XBTUSD_60.csv": bars(3, "1h")},
        {"kraken ETHUSD 1d": 3, "kraken ETHUSD 1h": 7, "kraken XBTUSD 1h": 3},
    ),
    "uncommon intervals": (
        {
            "TVX_QQJUSD, 45.csv": bars(3, "45m"),
            "QQKUSD_90m.csv": bars(3, "90m"),
            "QQL_2d.csv": bars(3, "2d"),
            "QQMUSD.csv": bars(12, "7m"),
        },
        {"default QQJUSD 45m": 3, "default QQKUSD 90m": 3, "default QQL 2d": 3, "default QQMUSD 7m": 12},
    ),
    "60m and 1h, 7d and 1w": (
        {"QQNUSD_60m.csv": bars(3, "1h"), "QQNUSD_1h_b.csv": bars(5, "1h"), "QQO_7d.csv": bars(2, "7d")},
        {"default QQNUSD 1h": 5, "default QQO 1w": 2},
    ),
    "classes of shares, and pairs in three spellings": (
        {
            "x.csv": [
                HEAD + ",symbol",
                *bars(2, head="", tail=",QQ-A"),
                *bars(2, head="", tail=",QQA"),
                *bars(2, head="", tail=",QQ.A"),
            ],
            "y.csv": [
                HEAD + ",symbol",
                *bars(2, head="", tail=",LTC-USDT"),
                *bars(3, head="", tail=",LTC/USDT"),
                *bars(4, head="", tail=",ltc_usdt"),
            ],
        },
        {"default QQ-A 1d": 2, "default QQA 1d": 2, "default QQ.A 1d": 2, "default LTCUSDT 1d": 4},
    ),
    "remarks in names": (
        {
            "Copy of LTCUSDT-1d-2031-03.csv": bars(2),
            "my_LTCUSDT-1d-2031-03.csv": bars(3),
            "LTCUSDT_fixed.csv": bars(4),
            "LTCUSDT-1d-2031-03 (1).csv": bars(2),
            "LTCUSDT-1d-2031-03 - Kopie.csv": bars(2),
            "QQP_final_1d_v2.csv": bars(2),
        },
        {"default LTCUSDT 1d": 4, "default QQP 1d": 2},
    ),
    "a header that is nobody's": (
        {
            "x.csv": [f"date,symbol{HEAD[4:]}", *(f"2031-03-0{d},QQR,5,6,4,5,7" for d in (3, 4))],
            "QQS_1d.csv": bars(2, head=HEAD.replace("time", "date") + ",adjClose,adjHigh", tail=",5,6"),
        },
        {"default QQR 1d": 2, "default QQS 1d": 2},
    ),
    "a time twice with other values, and nothing that tells them apart": (
        {"QQTUSD_1d.csv": [*bars(3), *bars(3, price=70)[1:2]]},
        {"default QQTUSD 1d": 3},
    ),
    "a flag and a time in words are no names": (
        {
            "QQUUSD_1d.csv": [
                HEAD + ",final,date",
                *bars(4, head="", tail=",true,a day"),
                *bars(2, price=70, head="", tail=",false,a day")[:1],
            ]
        },
        {"default QQUUSD 1d": 4},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_file_ends_as_the_series_that_it_is(kind: str, tmp_path: Path) -> None:
    files, expected = KINDS[kind]
    lake = land(tmp_path, files)
    report = ingest(lake)
    assert report.failed["error"].to_list() == []
    assert series_of(lake) == expected


# what → files, sources.toml, part of the message; then what to write instead of sources.toml, and what that gives
ASKED: dict[str, tuple[dict[str, Sequence[str]], str, str, str, dict[str, int]]] = {
    "a word that is not understood": (
        {"stocks/QQA_1d.csv": bars(2), "stocks/QQA_1d_chained.csv": bars(2, price=25)}, "",
        "'chained' in its name is not understood, and stocks/QQA_1d.csv states the same series without that word",
        "ADVICE", {"stocks QQA 1d": 2, "stocks-chained QQA 1d": 2},
    ),
    "a declared symbol, and a column with several": (
        {"x.csv": [HEAD + ",Name", *bars(2, head="", tail=",QQA"), *bars(2, head="", tail=",QQB")]},
        '[[source]]\nglob = "x.csv"\nsymbol = "QQC"\n',
        "says symbol = \"QQC\", but its column 'Name' holds several: QQA, QQB. Without that line",
        "", {"default QQA 1d": 2, "default QQB 1d": 2},
    ),
    "a declared market, and a column with several": (
        {"x.csv": [HEAD + ",venue,ticker", *bars(2, head="", tail=",aa,QQA"), *bars(2, head="", tail=",bb,QQA")]},
        '[[source]]\nglob = "x.csv"\nmarket = "cc"\n',
        "says market = \"cc\", but its column 'venue' holds several: aa, bb",
        "", {"aa QQA 1d": 2, "bb QQA 1d": 2},
    ),
    "a declared interval, and a column with several": (
        {"QQAUSD.csv": [HEAD + ",timeframe", *bars(4, "1h", head="", tail=",1h"), *bars(1, "4h", head="", tail=",4h")]},
        '[[source]]\nglob = "*"\ninterval = "1h"\n',
        "says interval = \"1h\", but its column 'timeframe' holds several: 1h, 4h",
        "", {"default QQAUSD 1h": 4, "default QQAUSD 4h": 1},
    ),
    "a series of securities": (
        {
            "x.csv": [
                HEAD + ",symbol,series", *bars(2, head="", tail=",QQA,EQ"), *bars(2, price=70, head="", tail=",QQA,N1"),
            ],
        }, "",
        "its column 'series' tells them apart (EQ, N1). Keep the lines that are meant, or, if it belongs to the ",
        "ADVICE", {"default QQA EQ 1d": 2, "default QQA N1 1d": 2},
    ),
    "a year of expiry": (
        {
            "QQAUSD_1d.csv": [
                HEAD + ",expiry", *bars(4, head="", tail=",2031"), *bars(4, price=70, head="", tail=",2032"),
            ],
        }, "",
        "its column 'expiry' tells them apart (2031, 2032)",
        "ADVICE", {"default 2031 1d": 4, "default 2032 1d": 4},
    ),
    "an interval that nothing tells": (
        {"QQAUSD.csv": bars(2, "66m")}, "", "neither the name nor the spacing of the bars tells the interval",
        "ADVICE 1h", {"default QQAUSD 1h": 2},
    ),
    "three months are not three minutes": (
        {"QQAUSD_3M.csv": bars(1)}, "", "neither the name nor the spacing of the bars tells the interval",
        "ADVICE 90d", {"default QQAUSD 90d": 1},
    ),
    "a symbol that nothing tells": (
        {"export.csv": bars(2)}, "", "neither the name nor a column tells the symbol",
        "ADVICE QQA", {"default QQA 1d": 2},
    ),
    "a number that may be that of a part": (
        {"ETHUSD_5.csv": bars(3, "10m")}, "", "the name tells bars of 5m, but they are 10m apart",
        "ADVICE", {"default ETHUSD 10m": 3},
    ),
    "a day's name and a month's bars": (
        {"QQA_1d.csv": [HEAD, *(f"2031-0{m}-01,5,6,4,5,7" for m in range(1, 6))]}, "",
        "the name tells bars of 1d, but they are 1mo apart",
        "ADVICE", {"default QQA 1mo": 5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
def test_what_cannot_be_told_is_asked_and_the_advice_gives_the_right_table(what: str, tmp_path: Path) -> None:
    files, sources, message, then, expected = ASKED[what]
    lake = land(tmp_path, files, sources)
    (error,) = ingest(lake).failed["error"]
    assert message in error
    toml = tmp_path / "raw" / "sources.toml"
    advice = error.partition("[[source]]")
    assert "BTC" not in error
    toml.write_text("".join(advice[1:]) if then.startswith("ADVICE") else then)
    if word := then.removeprefix("ADVICE").strip():  # what only the user knows: pasted as it is, it is refused
        with pytest.raises(LakeError, match=r"is still …; write there what it is"):
            ingest(lake)
        toml.write_text(toml.read_text().replace("…", word))
    assert ingest(lake).failed["error"].to_list() == []
    assert series_of(lake) == expected


QQAB = [HEAD + ",ticker", *bars(7, head="", tail=",QQA"), *bars(7, "1h", head="", tail=",QQB")]

# what → files, sources.toml, part of the message; the files and sources.toml after that was done, and what that gives
MENDED: dict[str, tuple[dict[str, Sequence[str]], str, str, dict[str, Sequence[str]], str, dict[str, int]]] = {
    "bars of two lengths": (
        {"x.csv": QQAB}, "",
        "its series have bars of different lengths: those of QQA 1d, those of QQB 1h apart; "
        "cut it into a file for each length",
        {"x.csv": QQAB[:8], "y.csv": [QQAB[0], *QQAB[8:]]}, "", {"default QQA 1d": 7, "default QQB 1h": 7},
    ),
    "a column that tells longer bars than there are": (
        {"x.csv": bars(4, "1h", head=HEAD + ",ticker,granularity", tail=",QQA,4h")}, "",
        "its column 'granularity' tells bars of 4h, but some are 1h apart; drop it, or mend it",
        {"x.csv": bars(4, "1h", head=HEAD + ",ticker", tail=",QQA")}, "", {"default QQA 1h": 4},
    ),
    "a symbol that nothing tells, and a name for it": (
        {"export.csv": bars(2)}, "", "rename the file to SYMBOL_1h.csv (with its own) or declare",
        {"QQA_1d.csv": bars(2)}, "", {"default QQA 1d": 2},
    ),
    "an interval that nothing tells, and a name for it": (
        {"QQAUSD.csv": bars(1)}, "", "rename the file (as SYMBOL_1h.csv) or declare",
        {"QQAUSD_1d.csv": bars(1)}, "", {"default QQAUSD 1d": 1},
    ),
    "a name that the bars belie, and another": (
        {"QQAUSD_1d.csv": bars(3, "1h")}, "", "they are 1h apart; rename the file or declare",
        {"QQAUSD_1h.csv": bars(3, "1h")}, "", {"default QQAUSD 1h": 3},
    ),
    "a folder that is no name of a market": (
        {"\u200fa/QQA_1d.csv": bars(2)}, "", "rename the folder, or declare another market",
        {"a/QQA_1d.csv": bars(2)}, "", {"a QQA 1d": 2},
    ),
    "the same, declared": (
        {"\u200fa/QQA_1d.csv": bars(2)}, "", "rename the folder, or declare another market",
        {"\u200fa/QQA_1d.csv": bars(2)}, '[[source]]\nglob = "*"\nmarket = "a"\n', {"a QQA 1d": 2},
    ),
    "what is no name of a symbol": (
        {"x_1d.csv": bars(2)}, '[[source]]\nglob = "*"\nsymbol = "\u200fQQA"\n', "or declare another symbol",
        {"x_1d.csv": bars(2)}, '[[source]]\nglob = "*"\nsymbol = "QQA"\n', {"default QQA 1d": 2},
    ),
    "another header below": (
        {"QQA_1d.csv": [*bars(2), *bars(3, head="time,open,low,high,close,volume")]}, "",
        "line 4 is another header, 'time,open,low,high,close,volume', and names other columns than the lines above it, "
        "or the same in another order; cut the file in two before that line",
        {"QQA_1d.csv": bars(2), "QQA_1d_b.csv": bars(3)}, "", {"default QQA 1d": 3},
    ),
    "a name twice in the header": (
        {"QQA_1d.csv": bars(2, head=HEAD + ",close", tail=",5")}, "", "more than once: 'time,open,high,low,close,volume,",
        {"QQA_1d.csv": bars(2)}, "", {"default QQA 1d": 2},
    ),
    "names that do not suffice": (
        {"QQA_1d.csv": bars(2, head="a,o,h,l,e,v")}, '[[source]]\nglob = "*"\ncolumns = { open_time = "a" }\n',
        'does not tell close; give its name too: close = "…"',
        {"QQA_1d.csv": bars(2, head="a,o,h,l,e,v")},
        '[[source]]\nglob = "*"\ncolumns = { open_time = "a", close = "e" }\n', {"default QQA 1d": 2},
    ),
    "a day that is not in the name": (
        {"QQAUSD_1h.csv": [line.replace("2031-03-03 ", "") for line in bars(4, "1h")]},
        '[[source]]\nglob = "*"\ndate_in_name = true\n', "expected one such as 2024-01-31 or 20240131",
        {"QQAUSD_1h_20310303.csv": [line.replace("2031-03-03 ", "") for line in bars(4, "1h")]},
        '[[source]]\nglob = "*"\ndate_in_name = true\n', {"default QQAUSD 1h": 4},
    ),
    "two assets under one name, and no header": (
        {"QQAUSD_1d.csv": [*bars(3, head="", tail=",1,a"), *bars(3, price=70, head="", tail=",1,b")]},
        '[[source]]\nglob = "*"\ncolumns = ["open_time", "open", "high", "low", "close", "volume", "", ""]\n',
        "its column 'column 8' tells them apart (a, b). Keep the lines that are meant, or, if it belongs to the symbol, "
        "cut the file by it into one for each",
        {"QQAUSD_1d.csv": bars(3, head="", tail=",1,a"), "QQBUSD_1d.csv": bars(3, price=70, head="", tail=",1,b")},
        '[[source]]\nglob = "*"\ncolumns = ["open_time", "open", "high", "low", "close", "volume", "", ""]\n',
        {"default QQAUSD 1d": 3, "default QQBUSD 1d": 3},
    ),
    "a time that is stated over and over": (
        {"QQA_1d.csv": [HEAD, *(bars(1, price=50 + n)[1] for n in range(6))]}, "",
        "the time is not whole, or another column tells the lines apart; name the column that does",
        {"QQA_1d.csv": bars(6, head=HEAD.replace("time", "x,day"), tail="")[:1]
         + [f"{n},{line}" for n, line in enumerate(bars(6)[1:])]},
        '[[source]]\nglob = "*"\ncolumns = { open_time = "day" }\n', {"default QQA 1d": 6},
    ),
    "numbers as nobody writes them": (
        {"QQA_1d.csv": [line.replace(",50,", ",5x,") for line in [HEAD, *bars(1, head="") * 2]]}, "",
        "open is not a number, and so in all its lines", {"QQA_1d.csv": bars(2)}, "", {"default QQA 1d": 2},
    ),
    "more fields than names": (
        {"QQA_1d.csv": bars(2, tail=",9")}, "",
        "7 fields, not 6, and so in all its lines, such as '2031-03-03 00:00:00,50,59,41,50,7,9'; write numbers like "
        "1234.5, and as many fields in each line as the header has",
        {"QQA_1d.csv": bars(2, head=HEAD + ",x", tail=",9")}, "", {"default QQA 1d": 2},
    ),
    "volumes in contracts, of one of many symbols": (
        {"x.csv": [HEAD + ",symbol,turnover", *bars(50, head="", tail=",QQA,500"), *bars(300, head="", tail=",QQB,7")]},
        '[[source]]\nglob = "x.csv"\ninterval = "1d"\n', 'columns = { volume = "", quote_volume = "" }    # or the names',
        {}, '[[source]]\nglob = "x.csv"\ncolumns = { volume = "", quote_volume = "" }\n',
        {"default QQA 1d": 50, "default QQB 1d": 300},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MENDED)
def test_what_must_be_mended_by_hand_gives_the_right_table_then(what: str, tmp_path: Path) -> None:
    files, sources, message, mended, then, expected = MENDED[what]
    lake = land(tmp_path, files, sources)
    (error,) = ingest(lake).failed["error"]
    assert message in error
    assert not lake.bronze.exists() or lake.bronze.scan().collect().is_empty()
    for name in files if mended else ():
        (tmp_path / "raw" / name).unlink()
    land(tmp_path, mended, then)
    assert ingest(lake).failed["error"].to_list() == []
    assert series_of(lake) == expected


@pytest.mark.parametrize(("encoding", "end", "words"), [("utf-16", "\n", "as UTF-8"), ("utf-8", "\r", "to line feeds")])
def test_a_text_is_read_once_it_is_converted_as_the_message_says(
    encoding: str, end: str, words: str, tmp_path: Path
) -> None:
    lake = land(tmp_path, {"QQA_1d.csv": bars(3)})
    path = tmp_path / "raw" / "QQA_1d.csv"
    path.write_bytes(path.read_text().replace("\n", end).encode(encoding))
    assert words in ingest(lake).failed["error"].item()
    land(tmp_path, {"QQA_1d.csv": bars(3)})
    assert ingest(lake).inserted == 3


def zipped(name: str, data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(name, data)
    return held.getvalue()


TEXT = "".join(f"{line}\n" for line in bars(3)).encode()
FRAME, HELD = pl.read_csv(TEXT), io.BytesIO()
FRAME.write_parquet(HELD)
TRADES = b"time,price,qty\n" + b"".join(
    b"2024-03-0%d 0%d:00:00,%d,1\n" % (d, h, 9 + h) for d in (1, 2, 3) for h in (1, 5)
)
DAYS = pl.read_csv(TRADES, try_parse_dates=True).group_by_dynamic("time", every="1d")
PRICE = pl.col("price")
DAYS_OF_TRADES = DAYS.agg(
    open=PRICE.first(), high=PRICE.max(), low=PRICE.min(), close=PRICE.last(), volume=pl.sum("qty")
)

# what → a file, part of the message, the file after that was done
CONVERTED = {
    "a pointer of Git LFS": (
        "QQA_1d.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "run `git lfs pull` and copy the real file", TEXT,
    ),
    "Parquet": ("QQA_1d.csv", HELD.getvalue(), "export it as CSV", FRAME.write_csv().encode()),
    "an error page": ("QQA_1d.csv", b"<!DOCTYPE html><p>404", "download the file again", TEXT),
    "trades": (
        "QQA_1d.csv", TRADES, "aggregate them to open, high, low, close, volume per interval",
        DAYS_OF_TRADES.write_csv().encode(),
    ),
    "a zip without data": (
        "QQA_1d.zip", zipped("QQA_1d.xlsx", b"PK"), "a zip with 0 CSV files (it holds QQA_1d.xlsx), not one; export its data as CSV",
        zipped("QQA_1d.csv", TEXT),
    ),
    "half a zip": ("QQA_1d.zip", zipped("QQA_1d.csv", TEXT)[:-30], "is the download complete", zipped("QQA_1d.csv", TEXT)),
}  # fmt: skip


@pytest.mark.parametrize("what", CONVERTED)
def test_what_is_no_csv_is_read_once_it_is_converted_as_the_message_says(what: str, tmp_path: Path) -> None:
    name, data, words, converted = CONVERTED[what]
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    (tmp_path / "raw" / name).write_bytes(data)
    assert words in ingest(lake).failed["error"].item()
    (tmp_path / "raw" / name).write_bytes(converted)
    assert (ingest(lake).inserted, ingest(lake).failed.height) == (3, 0)


@links
@pytest.mark.parametrize("mended", [True, False])
def test_a_link_to_nowhere_is_mended_or_removed_as_the_message_says(mended: bool, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    link = tmp_path / "raw" / "QQA_1d.csv"
    link.symlink_to(tmp_path / "real.csv")
    assert "which is not there; mend or remove it" in ingest(lake).failed["error"].item()
    if mended:
        (tmp_path / "real.csv").write_bytes(TEXT)
    else:
        link.unlink()
    report = ingest(lake)
    assert (report.inserted, report.failed.height) == (3 if mended else 0, 0)


@pytest.mark.parametrize("first", ["QQA_1d.csv", "QQA_1d_chained.csv", "both"])
def test_a_word_that_is_not_understood_is_asked_about_whichever_file_comes_first(first: str, tmp_path: Path) -> None:
    files = {"stocks/QQA_1d.csv": bars(2), "stocks/QQA_1d_chained.csv": bars(3, price=25)}
    lake = land(tmp_path, {name: lines for name, lines in files.items() if first in (name[7:], "both")})
    if first != "both":
        assert ingest(lake).failed.is_empty()
        land(tmp_path, files)
    for _ in range(2):  # it stays asked
        (error,) = ingest(lake).failed["error"]
        assert "'chained' in" in error
        assert "stocks/QQA_1d.csv states the same series without that word; if they are two things, declare" in error
        assert series_of(lake) in ({"stocks QQA 1d": 2}, {"stocks QQA 1d": 3})
    toml = tmp_path / "raw" / "sources.toml"
    toml.write_text("".join(error.partition("[[source]]")[1:]))
    assert ingest(lake).failed["error"].to_list() == []
    assert series_of(lake) == {"stocks QQA 1d": 2, "stocks-chained QQA 1d": 3}


def test_a_word_that_all_files_of_a_series_have_is_nothing_to_ask_about(tmp_path: Path) -> None:
    files = {f"QQAUSD_1d_zebra_part{n}.csv": bars(n + 2) for n in range(2)} | {"QQBUSD_1d_lion.csv": bars(2)}
    lake = land(tmp_path, files)
    assert ingest(lake).failed.is_empty()
    assert series_of(lake) == {"default QQAUSD 1d": 3, "default QQBUSD 1d": 2}
    (tmp_path / "raw" / "QQBUSD_1d_tiger.csv").write_text("\n".join(bars(2)) + "\n")  # comes later
    assert "'tiger' in its name is not understood, and QQBUSD_1d_lion.csv" in ingest(lake).failed["error"].item()


def test_the_tables_of_a_lake_written_as_csv_come_back_as_they_were(tmp_path: Path) -> None:
    files = {
        "Kraken_QQAUSD_1h.csv": bars(3, "1h"),
        "mine/QQB-C_45m.csv": bars(3, "45m"),
        "QQD_1d_adj.csv": bars(2),
        "QQD_1d.csv": bars(2, price=90),
    }
    lake = land(tmp_path / "one", files)
    assert ingest(lake).failed.is_empty()
    own = lake.bronze.scan().collect()
    (tmp_path / "two" / "raw").mkdir(parents=True)
    again = Lake(tmp_path / "two")
    own.sample(fraction=1, shuffle=True, seed=3).write_csv(tmp_path / "two" / "raw" / "export.csv")
    assert ingest(again).failed["error"].to_list() == []
    plain = [name for name in own.columns if not name.startswith("_")]
    back = again.bronze.scan().select(plain).collect().sort(plain)
    assert back.equals(own.select(plain).sort(plain))


def test_a_lake_with_symbols_spelt_the_old_way_still_opens_and_grows(tmp_path: Path) -> None:
    before = lambda symbol: symbol.str.to_uppercase().str.replace_all(r"[/\-]", "")  # noqa: E731
    lake = land(tmp_path, {"x.csv": bars(2, head=HEAD + ",symbol", tail=",QQ-A")})
    ingest(Lake(tmp_path, dataset=replace(lake.dataset, spelling={**lake.dataset.spelling, "symbol": before})))
    assert series_of(Lake(tmp_path)) == {"default QQA 1d": 2}
    land(tmp_path, {"y.csv": bars(3, head=HEAD + ",symbol", tail=",QQ-A")})
    assert ingest(Lake(tmp_path)).inserted == 3
    assert series_of(lake) == {"default QQA 1d": 2, "default QQ-A 1d": 3}
    assert ingest(Lake(tmp_path)).read == 0
