"""What each kind of CSV looks like. Data, not code: a new vendor is a new entry here.

A file is understood by its header (names are folded to small letters and digits, and looked up in
`Dataset.synonyms`) or, without one, by position (`Dataset.positional`).
"""

from __future__ import annotations

from lakehouse.contracts import Candle
from lakehouse.dataset import Dataset, Headed, Positional, Refusal
from lakehouse.intervals import normal_interval
from lakehouse.recognise.markets import normal_market
from lakehouse.recognise.names import MONEY, NAMES, SAID, normal_symbol

METATRADER = "its times are taken as UTC; MetaTrader writes those of the broker's server, which time_zone can tell"

CANDLES = Dataset(
    name="candles",
    contract=Candle,
    key=("market", "symbol", "interval", "open_time"),
    time="open_time",
    partition=("market", "symbol", "interval"),
    synonyms={
        "open_time": (
            *("timeperiodstart", "periodstart", "unix", "unixtimestamp", "opentime", "timeopen", "timestamp"),
            *("date+time", "time", "datetime", "gmttime", "localtime", "date", "ts", "windowstart", "startat"),
            *("starttime", "begin", "candlestart", "tsevent"),
        ),
        "open": ("open", "openprice", "o"),
        "high": ("high", "highprice", "h", "max"),
        "low": ("low", "lowprice", "l", "min"),
        "close": ("close", "closeprice", "c", "last", "closelast"),
        "volume": ("volume", "vol", "basevolume", "volumebase", "volumebtc", "volumefrom", "v", "realvolume"),
        "close_time": (
            *("timeperiodend", "periodend", "closetime", "timeclose", "endtime", "timeend", "windowend"),
            *("candleend", "closedate", "datetimeclose", "closetimestamp"),
        ),
        "quote_volume": (
            *("quotevolume", "quoteassetvolume", "volumequote", "volumecurrency", "volumeusd", "volumeusdt"),
            *("volumeto", "turnover", "volquote", "volccyquote"),
        ),
        "trades": ("trades", "count", "numberoftrades", "tradecount", "tradescount", "nooftrades", "transactions"),
        "taker_buy_volume": ("takerbuyvolume", "takerbuybaseassetvolume", "takerbuybasevolume", "takerbuybase"),
        "taker_buy_quote_volume": ("takerbuyquotevolume", "takerbuyquoteassetvolume", "takerbuyquote"),
        **SAID,
    },
    positional=(
        Positional(
            "binance-spot",
            "binance",
            (
                *("open_time", "open", "high", "low", "close", "volume", "close_time"),
                *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", ""),
            ),
        ),
        Positional("kraken", "kraken", ("open_time", "open", "high", "low", "close", "volume", "trades")),
        Positional("kraken-vwap", "kraken", ("open_time", "open", "high", "low", "close", "", "volume", "trades")),
        Positional(
            *("histdata", "histdata", ("open_time", "open", "high", "low", "close", "volume"), ";"),
            written=r"\d{8} \d{6}",
            time_zone="America/New_York",
        ),
        Positional(
            *("metatrader", "default", ("open_time", "open_time", "open", "high", "low", "close", "volume")),
            note=METATRADER,
        ),
        Positional("ohlcv", "default", ("open_time", "open", "high", "low", "close", "volume")),
    ),
    headed=(
        Headed("binance-futures", "binance-um", frozenset({"opentime", "count", "takerbuyvolume"})),
        Headed("python-binance", "binance", frozenset({"quoteassetvolume", "numberoftrades"})),
        Headed("python-binance", "binance", frozenset({"takerbuybase", "takerbuyquote"})),
        Headed("yahoo", "yahoo", frozenset({"date", "open", "high", "low", "close", "adjclose", "volume"}), alone=True),
        Headed("kaggle-bitstamp", "bitstamp", frozenset({"volumebtc", "weightedprice"}), "BTCUSD"),
        Headed("cryptodatadownload", "cryptodatadownload", frozenset({"unix", "date", "symbol"})),
        *(
            Headed("cryptodatadownload", "cryptodatadownload", frozenset({"date", "symbol", f"volume{money.lower()}"}))
            for money in MONEY.split("|")
        ),
        Headed("dukascopy", "dukascopy", frozenset({"gmttime"})),
        Headed("dukascopy", "dukascopy", frozenset({"localtime"})),
        Headed("databento", "default", frozenset({"tsevent", "rtype", "publisherid"}), price_scale=1e-9),
        Headed("ohlcv", "default", frozenset({"tickvol", "spread"}), note=METATRADER),
        Headed("ohlcv", "default", frozenset({"tickvolume", "spread"}), note=METATRADER),
        Headed("ohlcv", "default", frozenset()),  # ccxt, pandas, and whoever else names the columns
    ),
    refusals=(
        Refusal(
            (r"^.+open$", r"^.+close$"),
            "^open$",
            "several assets side by side in one line, or several prices of one; write one file for each, with the "
            "columns time, open, high, low, close, volume",
        ),
        Refusal(
            (r"^(price|rate|tradeprice)$", r"^(qty|quantity|amount|size|volume|side|isbuyermaker)$"),
            "^(open|high)$",
            "trades, not candles; aggregate them to open, high, low, close, volume per interval first",
        ),
        Refusal(
            (r"^(close|price|adjclose|last)$",),
            "^(open|high|low)$",
            "only a closing price; a candle needs open, high, low and close",
        ),
        Refusal(
            *((r"^(true|false)$",), "^(open|high|low)$"),
            "trades, not candles; aggregate them to bars per interval first",
            of_data=True,
        ),
    ),
    amounts=(
        *("vol", "volume", "basevolume", "volumebase", "amount", "money", "value", "turnover", "quotevolume"),
        *("volumequote", "volquote", "volccy", "volccyquote", "quoteassetvolume", "volumeccy", "volumecurrency"),
        *("tottrdqty", "tottrdval", "notional"),
    ),
    names=NAMES,
    spelling={"market": normal_market, "symbol": normal_symbol, "interval": normal_interval},
)
