"""What each kind of CSV looks like. Data, not code: a new vendor is a new entry here.

A file is understood by its header (names are folded to small letters and digits, and looked up in
`Dataset.synonyms`) or, without one, by position (`Dataset.positional`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import dataframely as dy
import polars as pl

from lakehouse.contracts import Candle, rules

SEPARATORS = (",", ";", "\t", "|")
MISSING = ("", "null", "nan", "none", "n/a", "na", "nil", "-")  # words for "no value", case folded

# Text times, tried in this order. Without an offset they are UTC, or the `time_zone` of sources.toml.
# Day-first and month-first dates with slashes cannot be told apart: declare `time_format` for those.
TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f%#z",  # the offset as +00
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%MZ",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y-%m-%d %I-%p",  # CryptoDataDownload before 2020: 2019-10-17 12-PM
    "%d.%m.%Y %H:%M:%S%.f",  # Dukascopy
    "%d.%m.%Y %H:%M:%S%.f GMT%z",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
    "%Y%m%d %H%M%S",  # HistData
    "%Y%m%d",
    "%Y.%m.%d %H:%M",  # MetaTrader
    "%Y.%m.%d %H:%M:%S",
)

# Digits alone that are no epoch, by their number; only if all of a file's first lines read so.
COMPACT_TIMES = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class Positional:
    """A headerless layout: the canonical column of each field, "" for a field that is not kept."""

    name: str
    market: str
    fields: tuple[str, ...]
    separators: str = ",;\t|"


@dataclass(frozen=True, slots=True)
class Headed:
    """A vendor known by folded header names. It only gives the layout its name and a default market."""

    name: str
    market: str
    signature: frozenset[str]
    symbol: str = ""  # where the vendor publishes just one


@dataclass(frozen=True, slots=True)
class Form:
    """How to read one file: which field is which column, and what its lines do not say."""

    layout: str
    separator: str
    columns: tuple[str, ...]  # canonical name of each field, "" for one that is not kept
    banner: int = 0  # lines before the first data line, the header included
    header: str = ""  # the header line as text; empty without one
    market: str = ""
    symbol: str = ""  # empty: each line states its own
    interval: str = ""
    time_zone: str = "UTC"
    time_format: str = ""
    told: Mapping[str, object] = field(default_factory=dict, hash=False)  # provenance, the same for every row


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of CSV that must not be taken for candles: every pattern is found among the folded fields."""

    patterns: tuple[str, ...]
    unless: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """One bronze table and how raw files state it. Bronze's code knows nothing else of candles."""

    name: str
    contract: type[dy.Schema]
    key: tuple[str, ...]
    time: str
    partition: tuple[str, ...]
    synonyms: dict[str, tuple[str, ...]]  # canonical column → folded header names, the preferred first; a+b: both
    positional: tuple[Positional, ...]
    headed: tuple[Headed, ...]
    refusals: tuple[Refusal, ...]
    names: tuple[re.Pattern[str], ...]  # file names that tell the symbol and the interval

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The table's columns and dtypes, provenance last."""
        columns = self.contract.create_empty().schema
        return dict(sorted(columns.items(), key=lambda item: item[0].startswith("_")))

    @cached_property
    def rules(self) -> dict[str, pl.Expr]:
        """The contract's rules; see `contracts.rules`."""
        return rules(self.contract)

    @cached_property
    def values(self) -> list[str]:
        """The columns that a statement may change: neither key nor provenance."""
        return [name for name in self.schema if name not in self.key and not name.startswith("_")]

    @cached_property
    def required(self) -> list[str]:
        """The columns that a raw line must give."""
        columns = self.contract.columns()
        return [n for n in self.schema if not columns[n].nullable and not n.startswith("_") and n not in self.partition]


INTERVAL_SECONDS = {
    **{"1s": 1, "1m": 60, "2m": 120, "3m": 180, "5m": 300, "10m": 600, "15m": 900, "30m": 1800},
    **{"1h": 3600, "2h": 7200, "3h": 10800, "4h": 14400, "6h": 21600, "8h": 28800, "12h": 43200},
    **{"1d": 86400, "3d": 259200, "1w": 604800},
}
# Other words for an interval, as file names have them. `1M` is a month at Binance, `M1` a minute elsewhere.
INTERVAL_WORDS = {
    **{name: name for name in (*INTERVAL_SECONDS, "1mo")},
    **{"1M": "1mo", "1H": "1h", "4H": "4h", "1D": "1d", "1W": "1w", "d": "1d", "h": "1h", "D": "1d"},
    **{"daily": "1d", "hourly": "1h", "day": "1d", "hour": "1h", "minute": "1m", "1-min": "1m", "1min": "1m"},
    **{"5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "1hour": "1h", "1day": "1d", "Daily": "1d"},
    **{"M1": "1m", "M5": "5m", "M15": "15m", "M30": "30m", "H1": "1h", "H4": "4h", "D1": "1d", "W1": "1w"},
    **{"m1": "1m", "m5": "5m", "m15": "15m", "m30": "30m", "h1": "1h", "h4": "4h", "d1": "1d"},
    **{str(seconds // 60): name for name, seconds in INTERVAL_SECONDS.items() if seconds >= 60},  # minutes: 60, 1440
}
_MINUTES = "|".join(word for word in INTERVAL_WORDS if word.isdigit())
_WORDS = "|".join(sorted((re.escape(word) for word in INTERVAL_WORDS if not word.isdigit()), key=len, reverse=True))

MONEY = (
    "USDT|USDC|BUSD|TUSD|DAI|USD|EUR|GBP|JPY|CHF|AUD|CAD|NZD|TRY|BRL|RUB|KRW|INR|SGD|HKD|CNH|SEK|NOK|DKK|PLN|ZAR|MXN"
)
COINS = "BTC|XBT|ETH|BNB"
_LOWER = re.sub(r"\|try", "", MONEY.lower())  # country, entry
# A base and a quote: BTCUSDT, BTC-USDT, BTC_USDT; with `_` money only, because of KRAKEN_BTC.
_PAIR = (
    rf"(?:[0-9]*[A-Z][A-Z0-9]*?(?:-?(?:{MONEY}|{COINS}|PERP|PERPETUAL)|_(?:{MONEY}))(?:[-_](?:SWAP|PERP))?(?:\.P)?"
    rf"|[a-z0-9]+?(?:{_LOWER}|{COINS.lower()})|[a-z0-9]{{2,5}}?[-_](?:{_LOWER}))"
)
_SOME_LETTER = r"(?=[0-9]*[A-Za-z])"  # 20240101 is no symbol
_TICKER = rf"{_SOME_LETTER}[A-Z0-9.'-]*[A-Z0-9]"
_BEGIN, _END = "(?<![A-Za-z0-9%])", "(?![A-Za-z0-9])"

CANDLES = Dataset(
    name="candles",
    contract=Candle,
    key=("market", "symbol", "interval", "open_time"),
    time="open_time",
    partition=("market", "symbol", "interval"),
    synonyms={
        "open_time": (
            *("unix", "unixtimestamp", "opentime", "timeopen", "timestamp", "date+time", "time", "datetime"),
            *("gmttime", "localtime", "date", "ts", "windowstart", "startat", "starttime"),
        ),
        "open": ("open", "openprice", "o"),
        "high": ("high", "highprice", "h"),
        "low": ("low", "lowprice", "l"),
        "close": ("close", "closeprice", "c"),
        "volume": ("volume", "vol", "basevolume", "volumebase", "volumebtc", "volumefrom", "v"),
        "close_time": ("closetime", "timeclose"),
        "quote_volume": (
            *("quotevolume", "quoteassetvolume", "volumequote", "volumecurrency", "volumeusd", "volumeusdt"),
            *("volumeto", "turnover", "volquote", "volccyquote"),
        ),
        "trades": ("trades", "count", "numberoftrades", "tradecount", "tradescount", "nooftrades", "transactions"),
        "taker_buy_volume": ("takerbuyvolume", "takerbuybaseassetvolume", "takerbuybasevolume", "takerbuybase"),
        "taker_buy_quote_volume": ("takerbuyquotevolume", "takerbuyquoteassetvolume", "takerbuyquote"),
        "symbol": ("symbol", "pair", "ticker", "instrumentname", "instid"),
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
        Positional("histdata", "histdata", ("open_time", "open", "high", "low", "close", "volume"), ";"),
        Positional("metatrader", "default", ("open_time", "open_time", "open", "high", "low", "close", "volume")),
        Positional("ohlcv", "default", ("open_time", "open", "high", "low", "close", "volume"), ",\t|"),
    ),
    headed=(
        Headed("binance-futures", "binance-um", frozenset({"opentime", "count", "takerbuyvolume"})),
        Headed("python-binance", "binance", frozenset({"quoteassetvolume", "numberoftrades"})),
        Headed("python-binance", "binance", frozenset({"takerbuybase", "takerbuyquote"})),
        Headed("yahoo", "yahoo", frozenset({"adjclose"})),
        Headed("kaggle-bitstamp", "bitstamp", frozenset({"volumebtc", "weightedprice"}), "BTCUSD"),
        Headed("cryptodatadownload", "cryptodatadownload", frozenset({"unix", "symbol"})),
        Headed("cryptodatadownload", "cryptodatadownload", frozenset({"date", "symbol"})),
        Headed("dukascopy", "dukascopy", frozenset({"gmttime"})),
        Headed("dukascopy", "dukascopy", frozenset({"localtime"})),
        Headed("ohlcv", "default", frozenset()),  # ccxt, pandas, and whoever else names the columns
    ),
    refusals=(
        Refusal(
            (r"^.+open$", r"^.+close$"),
            "^open$",
            "several assets side by side in one line; write one file for each asset, with the columns "
            "time, open, high, low, close, volume",
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
            (r"^(true|false)$",), "^(open|high|low)$", "trades, not candles; aggregate them to bars per interval first"
        ),
    ),
    names=(
        re.compile(rf"^(?P<symbol>[^-]+)-(?P<interval>{_WORDS})-\d{{4}}-\d\d(?:-\d\d)?(?!\d)"),  # Binance's archive
        re.compile(r"(?:^|_)(?P<symbol>[A-Z]{6})_(?P<interval>M1)_?\d{4}"),  # HistData
        re.compile(rf"^(?P<symbol>[A-Z]{{6}})(?P<interval>{_MINUTES})$"),  # MetaTrader 4: EURUSD60
        re.compile(  # numbers of minutes as Kraken, XBTUSD_60, and TradingView, BINANCE_BTCUSDT, 60, have them
            rf"{_BEGIN}(?=(?P<symbol>{_PAIR}){_END}"  # looked ahead, so that OANDA_EUR_USD tells two, and so none
            rf"(?:(?:[_\- ]|, )(?P<interval>{_WORDS}|(?<=[_ ])(?:{_MINUTES})){_END})?)"
        ),
        re.compile(rf"^[A-Z]+_(?P<symbol>{_TICKER}), (?P<interval>{_WORDS}|{_MINUTES}){_END}"),  # TradingView
        re.compile(  # AAPL_1d, Binance_SOL_1h: what stands before a ticker must not look like another
            rf"^(?:(?=[A-Z]*[a-z])[A-Za-z]+[_\- ])*(?P<symbol>{_TICKER})[_\- ](?P<interval>{_WORDS}){_END}"
        ),
        re.compile(rf"^(?P<symbol>{_SOME_LETTER}[A-Z0-9]{{5,12}})(?=$| \()"),  # nothing else: SPX500
    ),
)


def fold(name: str) -> str:
    """Fold a header name: `Volume_(BTC)` and `volume btc` both become `volumebtc`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
