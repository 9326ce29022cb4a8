"""Which market a file is about, and what its prices are of: the words that names and folders have for it.

Data, not code: an exchange that is not known yet is a new word below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

# Who made the bars: exchanges, brokers, and vendors that have one feed of their own. CryptoDataDownload is none of
# them, it hands on those of many.
_MAKERS = """
ascendex bibox bigone binance binanceus bingx bitbank bitbay bitfinex bitflyer bitforex bitget bithumb bitkub bitmart
bitmex bitopro bitpanda bitrue bitso bitstamp bittrex bitvavo blofin btcmarkets btcturk bybit cexio coinbase coincheck
coindcx coinex coinone coinsph coinw cryptocom deepcoin deribit digifinex dydx exmo foxbit ftx ftxus gateio gemini
hashkey hitbtc htx huobi hyperliquid indodax itbit korbit kraken krakenfutures kucoin kucoinfutures latoken lbank luno
mercado mexc ndax novadax okcoin okx paradex paymium phemex poloniex probit tokocrypto uniswap upbit wazirx whitebit
yobit zaif zonda
alpaca alphavantage barchart darwinex dukascopy eodhd finnhub firstratedata forexcom ftmo fxcm fxpro histdata icmarkets
iex iexcloud iqfeed kibot norgate oanda pepperstone quandl stooq swissquote tickstory tiingo truefx twelvedata yahoo
amex asx bovespa bse cboe cbot cme comex euronext eurex hkex hose hsx jpx krx lse mcx moex nasdaq nse nymex nyse sgx
sse szse tase tsx twse xetra
"""
EXCHANGES = {word: word for word in _MAKERS.split()} | {
    **{
        "okex": "okx",
        "gdax": "coinbase",
        "yfinance": "yahoo",
        "binanceusdm": "binance-um",
        "binancecoinm": "binance-cm",
    },
    **{"gate io": "gateio", "crypto com": "cryptocom", "coinbase pro": "coinbase", "huobi pro": "huobi"},
    **{"binance us": "binanceus", "kraken futures": "krakenfutures", "kucoin futures": "kucoinfutures"},
    **{
        "alpha vantage": "alphavantage",
        "twelve data": "twelvedata",
        "ic markets": "icmarkets",
        "forex com": "forexcom",
    },
}

# What the prices are of → what the market is called for it. Last prices of spot are what one expects, and add nothing.
QUALIFIERS = {
    **{word: word for word in ("bid", "ask", "mid", "mark", "index", "premium", "oracle", "perp", "swap", "futures")},
    **{word: word for word in ("option", "um", "cm", "linear", "inverse", "margin", "delivery", "quarterly")},
    **{
        word: word
        for word in ("adjusted", "unadjusted", "raw", "hfq", "qfq", "backadjusted", "totalreturn", "continuous")
    },
    **{word: word for word in ("testnet", "sandbox", "demo", "paper", "synthetic", "simulated", "heikinashi", "renko")},
    **{word: word for word in ("continuous", "rth", "extended", "premarket", "afterhours")},
    **{"bids": "bid", "asks": "ask", "offer": "ask", "midpoint": "mid", "markprice": "mark", "indexprice": "index"},
    **{"premiumindex": "premium", "perpetual": "perp", "perpetuals": "perp", "swaps": "swap", "future": "futures"},
    **{"options": "option", "usdm": "um", "coinm": "cm", "quarter": "quarterly", "cont": "continuous"},
    **{"adj": "adjusted", "adjclose": "adjusted", "splitadjusted": "adjusted", "splitadj": "adjusted"},
    **{"divadj": "adjusted", "unadj": "unadjusted", "noadj": "unadjusted", "nonadjusted": "unadjusted"},
    **{"markpriceklines": "mark", "indexpriceklines": "index", "premiumindexklines": "premium"},
    **{"heikin": "heikinashi", "ashi": "heikinashi", "spot": "", "klines": ""},
}

# Words that say nothing of what the bars are: marks of copies, how they were kept, and what they are anyhow.
_REMARKS = """
a added again all an and api archive archived ascii asset assets at backfill backtest backtesting backup bak bar bars
batch begin by candle candles candlestick candlesticks ccxt checked chunk clean cleaned cleansed coin coins com
combined commodity complete completed concat copia copie copies copy corrected crypto cryptocurrency
cryptodatadownload csv currency current daily dat data database dataset date day days db dedup deduped deduplicated
draft dump earlier early edited edt end eod equities equity est et etf etfs example export exported exports extra feed
file files final finished first fix fixed for forex frame from full fx github gmt gz hist historical history hour
hourly hours import imported in interval intraday joined kaggle kline klines kopia kopie last late later latest live
market markets merged metatrader min mine mins minute minutes month monthly months more mt4 mt5 my new newer newest nr
num number of ohlc ohlcv old older oldest on or org orig original our out output pair pairs pandas part partial piece
price prices processed python quote quotes rate rates redo rest result results rev revision sample samples save saved
second series set sets share shares sorted source sources split start stock stocks symbol symbols table temp test
testing tf the third tick ticker tickers till time timeframe timeseries tmp to today total trade trades trading
tradingview train training tsv txt until update updated updates utc valid validation vendor ver verified version week
weekly weeks whole with www year yearly years yesterday zip
jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july august september october
november december q1 q2 q3 q4
"""
REMARKS = frozenset(_REMARKS.split())
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
# Numbers, dates, parts, revisions, hashes. What is one letter tells nothing apart that anyone would keep.
_MARK = re.compile(
    rf"\d+[a-z]?|[a-z]|(?:part|chunk|batch|piece|split|fold|version|ver|rev|vol|no|nr|fy|[pvnyqwt])\d+z?|\d+(?:st|nd|rd|th|yr?)"
    rf"|\d*(?:{_MONTHS})[a-z]*\d+|\d+(?:{_MONTHS})[a-z]*|\d+(?:t\d+z?|bars|rows|days|years|q\d|-?(?:min|mins|hour|hours))"
    r"|(?=[a-f]*\d)[0-9a-f]{5,}"
)

# The trees of public archives, as the exchanges' own scripts and `lakehouse download` lay them.
_TREE = re.compile(
    r"(?:^|/)(?:(spot|futures/um|futures/cm|option)/(?:monthly|daily)/(\w*[kK]lines)"
    r"|kline_for_metatrader4/\w+?(USDT?)/\d{4})/"
)
_BRANCHES = {"spot": "binance", "futures/um": "binance-um", "futures/cm": "binance-cm", "option": "binance-option"}
_BRANCHES |= {"USDT": "bybit-linear", "USD": "bybit-inverse"}
_CLOCKS = dict.fromkeys(("USDT", "USD"), "Etc/GMT-3")  # three hours ahead of UTC, all year
_NOTES = {"USD": "its volume is taken as coins; of contracts that are settled in coins it counts dollars"}


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters."""
    return tuple(word for word in re.split(r"[\W_]+", name.lower()) if word)


def _exchanges(words: Sequence[str]) -> dict[int, str]:
    """The exchanges that some words name, each under the place after it."""
    found, place = dict[int, str](), 0
    while place < len(words):
        two = EXCHANGES.get(" ".join(words[place : place + 2]), "") if place + 1 < len(words) else ""
        one = EXCHANGES.get(words[place], "")
        place += 2 if two else 1
        found |= {place: two or one} if two or one else {}
    return found


def exchange_of(words: Sequence[str]) -> str:
    """The exchange that some words name; empty if they name none, or several."""
    named = set(_exchanges(words).values())
    return named.pop() if len(named) == 1 else ""


def tell_market(path: str, words: Sequence[str], layout: str) -> str:
    """Tell the market of a file by its name and its folders.

    Args:
        path: The path below raw/.
        words: Of the file's name, its symbol and interval apart.
        layout: The market of the file's layout.

    Returns:
        The exchange that the name tells; else the branch of a public archive, wherever below raw/ that begins; else
        the exchange that a folder tells; else the first folder; else that of the layout. What the prices are of, as
        far as name and folders have a word for it, is added: `dukascopy-bid`.
    """
    folders = path.split("/")[:-1]
    below = [word for folder in folders[1:] for word in words_of(folder)]
    first = folders[0] if folders else ""
    told, deep = exchange_of(words), exchange_of(below)
    tree = _TREE.search(path)
    if tree:
        market, below = _BRANCHES[tree[1] or tree[3]], [(tree[2] or "").lower()]
    elif first and not deep:
        market = first
    else:
        market, below = deep or layout, [*words_of(first), *below]
    if told and told not in words_of(market):  # a folder `binance-um` tells more than a file `Binance_BTCUSDT_1h.csv`
        market, below = told, below if tree else [*words_of(first), *below]
    for word in (*(word for word in below if word != "raw"), *words):  # a folder of that name holds files as they came
        what = QUALIFIERS.get(word, "")
        if what and what not in market.split("-"):
            market = f"{market}-{what}"
    return market


def habits_of(path: str) -> tuple[str, str]:
    """How files of a public archive are written that do not say it: their time zone, and what is to be noted."""
    tree = _TREE.search(path)
    branch = tree[3] or "" if tree else ""
    return _CLOCKS.get(branch, ""), _NOTES.get(branch, "")


def strange_words(words: Sequence[str]) -> frozenset[str]:
    """The words beside a symbol that are neither known nor a remark; before an exchange stands who collected it."""
    known = _exchanges(words)
    rest = words[max(known, default=0) :]
    return frozenset(w for w in rest if w not in QUALIFIERS and w not in REMARKS and not _MARK.fullmatch(w))


def normal_market(market: pl.Expr) -> pl.Expr:
    """Write exchanges one way: `Binance` is `binance`. Other markets stay as they are."""
    name = market.str.strip_chars()
    return pl.coalesce(name.str.to_lowercase().replace_strict(EXCHANGES, default=None, return_dtype=pl.String), name)
