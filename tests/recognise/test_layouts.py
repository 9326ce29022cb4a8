"""Each layout that is declared, on rows made up for it: what kind it is, and what its first bar says."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from pathlib import Path

import pytest
from klines import hours, place

from lakehouse import Lake, ingest
from lakehouse.dataset import Dataset, fold
from lakehouse.errors import LakeError
from lakehouse.recognise.layouts import CANDLES

DAY = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
MS = int(DAY.timestamp() * 1000)
KLINE = "{t},10,20,5,12,3,{c},36,7,1,12,0"

# what → path, lines, then: layout, market, symbol, interval, and (open_time, open, close, volume) of the first bar
VENDORS: dict[str, tuple[str, list[str], tuple[str, str, str, str], tuple[dt.datetime, float, float, float | None]]] = {
    "Binance spot, milliseconds": (
        "BTCUSDT-1h-2024-03.csv",
        [KLINE.format(t=MS, c=MS + 3599999)],
        ("binance-spot", "binance", "BTCUSDT", "1h"),
        (DAY, 10, 12, 3),
    ),
    "Binance spot, microseconds": (
        "spot/ETHBTC-1m-2025-03-01.csv",
        [KLINE.format(t=MS * 1000, c=MS * 1000 + 59999999)],
        ("binance-spot", "spot", "ETHBTC", "1m"),
        (DAY, 10, 12, 3),
    ),
    "Binance futures": (
        "binance-um/BTCUSDT_240628-1d-2024-03.csv",
        [
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
            KLINE.format(t=MS, c=MS + 86399999),
        ],
        ("binance-futures", "binance-um", "BTCUSDT_240628", "1d"),
        (DAY, 10, 12, 3),
    ),
    "python-binance": (
        "my_BTCUSDT_1h_backtest.csv",
        [
            "timestamp,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,taker_buy_base_asset_volume,taker_buy_quote_asset_volume,ignore",
            "2024-03-01 00:00:00,10,20,5,12,3,2024-03-01 00:59:59.999,36,7,1,12,0",
        ],
        ("python-binance", "binance", "BTCUSDT", "1h"),
        (DAY, 10, 12, 3),
    ),
    "ccxt through pandas": (
        "bybit/BTCUSDT_5m.csv",
        [",timestamp,open,high,low,close,volume", "0,2024-03-01 00:00:00+00:00,10,20,5,12,3"],
        ("ohlcv", "bybit", "BTCUSDT", "5m"),
        (DAY, 10, 12, 3),
    ),
    "OKX": (
        "okx/BTC-USDT-candlesticks-2024-03-01.csv",
        [
            "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
            *(f"BTC-USDT,10,20,5,12,3,36,36,{MS + minute * 60_000},1" for minute in range(2)),
        ],
        ("ohlcv", "okx", "BTCUSDT", "1m"),
        (DAY, 10, 12, 3),
    ),
    "Polygon": (
        "stocks/2024-03-01.csv",
        [
            "ticker,volume,open,close,high,low,window_start,transactions",
            *(f"SPY,3,10,12,20,5,{(MS + minute * 60_000) * 10**6},7" for minute in range(2)),
        ],
        ("ohlcv", "stocks", "SPY", "1m"),
        (DAY, 10, 12, 3),
    ),
    "TradingView": (
        "tv/BINANCE_BTCUSDT, 240_5dd6a.csv",
        ["time,open,high,low,close,Volume", f"{MS // 1000},10,20,5,12,3"],
        ("ohlcv", "binance", "BTCUSDT", "4h"),
        (DAY, 10, 12, 3),
    ),
    "MetaTrader 4, as it names its files": (
        "EURUSD60.csv",
        ["2024.03.01,00:00,10,20,5,12,3"],
        ("metatrader", "default", "EURUSD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "a spreadsheet with days first": (
        "EURUSD_H1.csv",
        ["Date;Open;High;Low;Close;Volume", "01.03.2024 00:00;10;20;5;12;3"],
        ("ohlcv", "default", "EURUSD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "twelve hours twice": (
        "EURUSD_H1.csv",
        ["Date,Open,High,Low,Close,Volume", "2024-03-01 12:00 AM,10,20,5,12,3"],
        ("ohlcv", "default", "EURUSD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "ISO 8601 with an offset": (
        "BTCUSDT_1h.csv",
        ["time,open,high,low,close,volume", "2024-03-01T02:00:00+02:00,10,20,5,12,3"],
        ("ohlcv", "default", "BTCUSDT", "1h"),
        (DAY, 10, 12, 3),
    ),
    "CryptoDataDownload": (
        "Binance_BTCUSDT_1h.csv",
        [
            "https://www.CryptoDataDownload.com",
            "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount",
            f"{MS // 1000 + 3600}.0,2024-03-01 01:00:00,BTC/USDT,12,20,5,13,4,48,9",
            f"{MS},2024-03-01 00:00:00,BTC/USDT,10,20,5,12,3,36,7",
        ],
        ("cryptodatadownload", "binance", "BTCUSDT", "1h"),
        (DAY, 10, 12, 3),
    ),
    "CryptoDataDownload before 2020": (
        "Coinbase_ETHUSD_1h.csv",
        ["Date,Symbol,Open,High,Low,Close,Volume ETH,Volume USD", "2024-03-01 12-AM,ETHUSD,10,20,5,12,3,36"],
        ("cryptodatadownload", "coinbase", "ETHUSD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "Yahoo": (
        "BTC-USD.csv",
        [
            "Date,Open,High,Low,Close,Adj Close,Volume",
            *[f"2024-03-0{day},10,20,5,12,12,3" for day in (1, 2, 3)],
            "2024-03-04,null,null,null,null,null,null",
        ],
        ("yahoo", "yahoo", "BTCUSD", "1d"),
        (DAY, 10, 12, 3),
    ),
    "Kaggle's bitstamp": (
        "bitstampUSD_1-min_data_2012-01-01_to_2021-03-31.csv",
        [
            "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
            *[f"{MS // 1000 + 60 * minute},10,20,5,12,3,36,12" for minute in range(3)],
            f"{MS // 1000 + 180},NaN,NaN,NaN,NaN,NaN,NaN,NaN",
        ],
        ("kaggle-bitstamp", "bitstamp", "BTCUSD", "1m"),
        (DAY, 10, 12, 3),
    ),
    "Kraken": (
        "XBTUSD_60.csv",
        [f"{MS // 1000},10,20,5,12,3,7"],
        ("kraken", "kraken", "XBTUSD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "Kraken with vwap": (
        "XBTUSD_1440.csv",
        [f"{MS // 1000},10,20,5,12,11.5,3,7"],
        ("kraken-vwap", "kraken", "XBTUSD", "1d"),
        (DAY, 10, 12, 3),
    ),
    "HistData": (
        "HISTDATA_COM_ASCII_EURUSD_M12024.csv",
        ["20240301 000000;1.10;1.20;1.05;1.12;0"],
        ("histdata", "histdata", "EURUSD", "1m"),
        (DAY + dt.timedelta(hours=5), 1.10, 1.12, 0),
    ),
    "MetaTrader 5": (
        "EURUSD_M5_202403010000_202403010010.csv",
        [
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            "2024.03.01\t00:00:00\t1.10\t1.20\t1.05\t1.12\t99\t3\t0",
        ],
        ("ohlcv", "default", "EURUSD", "5m"),
        (DAY, 1.10, 1.12, 3),
    ),
    "MetaTrader 4": (
        "EURUSD_M15.csv",
        ["2024.03.01,00:00,1.10,1.20,1.05,1.12,3"],
        ("metatrader", "default", "EURUSD", "15m"),
        (DAY, 1.10, 1.12, 3),
    ),
    "Stooq": (
        "BTCUSD_1h.csv",
        [
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            "BTC.USD,60,20240301,000000,10,20,5,12,3,0",
        ],
        ("ohlcv", "default", "BTC.USD", "1h"),
        (DAY, 10, 12, 3),
    ),
    "Dukascopy": (
        "EURUSD_1H_ASK.csv",
        ["Gmt time,Open,High,Low,Close,Volume", "01.03.2024 00:00:00.000,1.10,1.20,1.05,1.12,3"],
        ("dukascopy", "dukascopy-ask", "EURUSD", "1h"),
        (DAY, 1.10, 1.12, 3),
    ),
    "no volume at all": (
        "AAPL_1d.csv",
        ["Date;Open;High;Low;Close", "2024-03-01;10;20;5;12"],
        ("ohlcv", "default", "AAPL", "1d"),
        (DAY, 10, 12, None),
    ),
}


def test_a_vendor_is_known_by_its_own_header_or_fields(tmp_path: Path) -> None:
    for number, (path, lines, _, _) in enumerate(VENDORS.values()):
        place(tmp_path / str(number), path, lines, header=False)
    for number, (what, (_, lines, told, first)) in enumerate(VENDORS.items()):
        lake = Lake(tmp_path / str(number))
        report = ingest(lake)
        file = report.files.row(0, named=True)
        assert (file["layout"], file["market"], file["symbol"], file["interval"]) == told, what
        bar = lake.bronze.scan().sort("open_time").collect().row(0, named=True)
        assert (bar["open_time"], bar["open"], bar["close"], bar["volume"]) == first, what
        assert report.rejected == sum("NaN" in line or "null" in line for line in lines), what


def test_a_zip_of_histdata_has_a_text_file_beside_the_bars(tmp_path: Path) -> None:
    path = place(tmp_path, "HISTDATA_COM_ASCII_EURUSD_M12024.zip", [])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("DAT_ASCII_EURUSD_M1_2024.txt", "no gaps")
        archive.writestr("DAT_ASCII_EURUSD_M1_2024.csv", "20240301 170000;1.1;1.2;1.0;1.1;0\r\n")
    (tmp_path / "raw" / "sources.toml").write_text('[[source]]\nglob = "HISTDATA*"\ntime_zone = "EST"\n')
    ingest(Lake(tmp_path))
    bar = Lake(tmp_path).bronze.scan().collect().row(0, named=True)
    assert (bar["symbol"], bar["interval"], bar["open_time"]) == ("EURUSD", "1m", DAY.replace(hour=22))


def test_all_that_binance_states_is_kept(tmp_path: Path) -> None:
    lake = Lake(place(tmp_path, "BTCUSDT-1h-2024-03.csv", [KLINE.format(t=MS, c=MS + 1)], header=False).parents[1])
    ingest(lake)
    bar = lake.bronze.scan().collect().row(0, named=True)
    names = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", "close_time")
    assert tuple(bar[name] for name in names) == (36.0, 7, 1.0, 12.0, DAY + dt.timedelta(milliseconds=1))


def test_sources_toml_tells_what_names_cannot(tmp_path: Path) -> None:
    lines = ["1;x;31/03/2024 01:30;10;20;5;12", "2;x;31/03/2024 02:30;10;20;5;12"]  # 02:30 is no time in Berlin then
    place(tmp_path, "broker/export.csv", lines, header=False)
    (tmp_path / "raw" / "sources.toml").write_text(
        '[[source]]\nglob = "broker/*"\nmarket = "mine"\nsymbol = "DAX"\ninterval = "1h"\n'
        'time_zone = "Europe/Berlin"\ntime_format = "%d/%m/%Y %H:%M"\n'
        'columns = ["", "", "open_time", "open", "high", "low", "close"]\n'
    )
    lake = Lake(tmp_path)
    report = ingest(lake)
    assert (report.inserted, report.rejected) == (1, 1)
    bar = lake.bronze.scan().collect().row(0, named=True)
    assert (bar["market"], bar["symbol"], bar["interval"]) == ("mine", "DAX", "1h")
    assert bar["open_time"] == dt.datetime(2024, 3, 31, 0, 30, tzinfo=dt.UTC)
    assert lake.quarantine.scan().collect()["reasons"].to_list() == [
        ["open_time is not a time that Europe/Berlin has once"]
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[source]", r"raw/sources.toml: "),
        ('[[source]]\nsymbol = "A"', "an entry has no 'glob'"),
        ('[[source]]\nglob = "*"\nsymbl = "A"', "unknown key 'symbl'; known are glob, market, symbol"),
        ('[[source]]\nglob = "*"\nsymbol = 5', "'symbol' is 5; expected text"),
        ('[[source]]\nglob = "*"\ninterval = "3M"', "interval '3M'; expected a whole number of s, m"),
        ('[[source]]\nglob = "*"\ntime_zone = "Mars/Base"', "Mars/Base"),
        ('[[source]]\nglob = "*"\ntime_format = "%H:%M"', "time_format '%H:%M' tells no day"),
    ],
)
def test_a_slip_in_sources_toml_is_named(tmp_path: Path, text: str, message: str) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 1))
    (tmp_path / "raw" / "sources.toml").write_text(text)
    with pytest.raises(LakeError, match=re.escape(message)):
        ingest(Lake(tmp_path))


def test_declared_columns_are_columns_of_the_contract() -> None:
    dataset: Dataset = CANDLES
    assert set(dataset.synonyms) <= set(dataset.schema)
    for layout in dataset.positional:
        assert set(layout.fields) <= {*dataset.schema, ""}
        assert set(dataset.required) <= set(layout.fields)
    words = [word for known in dataset.synonyms.values() for word in known]
    assert [word.split("+") for word in words] == [[fold(part) for part in word.split("+")] for word in words]
    assert len(words) == len(set(words))
