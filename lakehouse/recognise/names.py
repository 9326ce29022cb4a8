"""What a file's name tells: the symbol, the interval, and what other words it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

import polars as pl

from lakehouse.intervals import MINUTES, WORDS, read_interval
from lakehouse.recognise.markets import QUALIFIERS, REMARKS, words_of

MONEY = (
    "USDT|USDC|BUSD|TUSD|DAI|USD|EUR|GBP|JPY|CHF|AUD|CAD|NZD|TRY|BRL|RUB|KRW|INR|SGD|HKD|CNH|SEK|NOK|DKK|PLN|ZAR|MXN"
)

COINS = "BTC|XBT|ETH|BNB"

# What a base is quoted in, if a sign stands between them. Not for names: `bars` ends in that of Argentina.
QUOTES = (
    f"{MONEY}|{COINS}|FDUSD|USDE|USDP|USDD|PYUSD|EURC|EURI|EURT|THB|IDR|VND|UAH|ARS|COP|NGN|TWD|CNY|HUF|CZK|ILS|AED"
)
QUOTES += "|SOL|TRX|DOGE|XRP|DOT|ADA|LTC|KCS|HT|OKB"

LOWER = re.sub(r"\|try", "", MONEY.lower())  # country, entry

# A base and a quote: BTCUSDT, BTC-USDT, BTC_USDT; with `_` money only, because of KRAKEN_BTC.
PAIR = (
    rf"(?:[0-9]*[A-Z][A-Z0-9]*?(?:-?(?:{MONEY}|{COINS}|PERP|PERPETUAL)|_(?:{MONEY}))(?:[-_](?:SWAP|PERP))?(?:\.P)?"
    rf"|[a-z0-9]+?(?:{LOWER}|{COINS.lower()})|[a-z0-9]{{2,5}}?[-_](?:{LOWER}))"
)

SOME_LETTER = r"(?=[0-9]*[A-Za-z])"  # 20240101 is no symbol

TICKER = rf"{SOME_LETTER}[A-Z0-9.'-]*[A-Z0-9]"

BEGIN, END = "(?<![A-Za-z0-9%])", "(?![A-Za-z0-9])"


# Columns that tell the identity of their line, under the names that people use; the surest first.
SAID = {
    "market": ("market", "exchange", "venue", "exchangename", "exchangeid", "exch", "mic"),
    "symbol": (
        *("symbol", "pair", "ticker", "tic", "instrumentname", "instid", "instrumentid", "instrument", "symbolid"),
        *("symbolname", "tickersymbol", "tradingpair", "tradingsymbol", "currencypair", "productid", "product", "sym"),
        *("stocksymbol", "stock", "stockcode", "tscode", "secid", "security", "contract", "asset", "assetname"),
        *("assetid", "coin", "cryptocurrency", "crypto", "code", "name", "stockname", "company"),
    ),
    "interval": (
        *("interval", "timeframe", "tf", "period", "periodid", "per", "bar", "barsize", "bartype", "resolution"),
        *("granularity", "frequency", "freq", "candleinterval", "klineinterval", "candletype", "intervalname"),
    ),
}

# Names of files that tell the symbol and mostly the interval. A pattern that takes whatever stands there is none.
NAMES = (
    re.compile(
        rf"^(?P<symbol>[^-_\sa-z]+(?:_\d+|_PERP)?)-(?P<interval>{WORDS})-\d{{4}}-\d\d(?:-\d\d)?(?!\d)"
    ),  # Binance
    re.compile(r"(?:^|_)(?P<symbol>[A-Z]{6})_(?P<interval>M1)_?\d{4}"),  # HistData
    re.compile(rf"^(?P<symbol>[A-Z]{{6}})(?P<interval>{MINUTES})$"),  # MetaTrader 4: EURUSD60
    re.compile(  # numbers of minutes as Kraken, XBTUSD_60, and TradingView, BINANCE_BTCUSDT, 60, have them
        rf"{BEGIN}(?=(?P<symbol>{PAIR}){END}"  # looked ahead, so that OANDA_EUR_USD tells two, and so none
        rf"(?:(?:[_\- ]|, )(?P<interval>{WORDS}|(?<=[_ ])(?:{MINUTES})){END})?)"
    ),
    re.compile(rf"^[A-Z]+_(?P<symbol>{TICKER}), (?P<interval>{WORDS}|{MINUTES}){END}"),  # TradingView
    re.compile(  # AAPL_1d, Binance_SOL_1h: what stands before a ticker must not look like another
        rf"^(?:(?=[A-Z]*[a-z])[A-Za-z]+[_\- ])*(?P<symbol>{TICKER})[_\- ](?P<interval>{WORDS}){END}"
    ),
    re.compile(rf"^(?P<symbol>{SOME_LETTER}[A-Z0-9]{{5,12}})(?=$| \()"),  # nothing else: SPX500
)


_NO_SYMBOLS = (
    "SYMBOL SYMBOLS TICKER TICKERS DATA DATASET CANDLE CANDLES KLINE KLINES OHLC OHLCV BARS PRICE PRICES EXPORT "
    "HISTORY COPY BACKUP SAMPLE OUTPUT RESULT DOWNLOAD CRYPTO STOCKS FOREX MARKET TRADES"
)
NO_SYMBOLS = frozenset(_NO_SYMBOLS.split())


_KNOWN = REMARKS | QUALIFIERS.keys()


@dataclass(frozen=True, slots=True)
class Told:
    """What a name tells; empty where it tells nothing, or two things."""

    symbol: str = ""
    interval: str = ""
    numbered: bool = False  # a bare number tells the interval: it may be that of a part
    words: tuple[str, ...] = ()  # the others, in small letters


def normal_symbol(symbol: pl.Expr) -> pl.Expr:
    """Write symbols one way: `BTC/USDT`, `btc-usdt` and `BTC_USDT` are `BTCUSDT`; but `BRK-B` is not `BRKB`."""
    upper = symbol.str.strip_chars().str.to_uppercase()
    joined = upper.str.replace_all(rf"[/\-]({QUOTES}|SWAP|PERP|PERPETUAL)\b", "$1")
    return joined.str.replace(rf"_({QUOTES})$", "$1").str.replace_all("/", "-", literal=True)


@cache
def spell_symbol(symbol: str) -> str:
    """One symbol as `normal_symbol` writes it."""
    return str(pl.select(normal_symbol(pl.lit(symbol))).item())


@lru_cache(65536)
def read_name(name: str, patterns: tuple[re.Pattern[str], ...]) -> Told:
    """Read the name of a file, or of the member of a zip: the last part of its path.

    Args:
        name: With its ending.
        patterns: Those of a dataset.

    Returns:
        What it tells. If it tells nothing as it stands, it is read without what are surely remarks.
    """
    stem = re.sub(r"(\.(csv|txt|tsv))?(\.(gz|zip|bz2|xz|zst))?$", "", name, flags=re.IGNORECASE)
    words = words_of(stem)
    for text in (stem, _plain(stem)):
        for pattern in patterns:
            told = [*pattern.finditer(text)]
            symbols = {spell_symbol(match["symbol"]) for match in told}
            if len(symbols) > 1 or symbols & NO_SYMBOLS:
                return Told(words=words)  # which of them is meant?
            if told:
                interval = next((found for match in told if (found := match.groupdict().get("interval"))), "")
                own = {*words_of(told[0]["symbol"]), *words_of(interval)}
                beside = tuple(word for word in words if word not in own)
                return Told(symbols.pop(), read_interval(interval), interval.isdecimal(), beside)
    return Told(words=words)


def _plain(stem: str) -> str:
    """A name without the words that are surely no symbol, and what stands behind each."""
    parts = re.split(r"([\W_]+)", stem)
    known = [len(part) > 1 and part.lower() in _KNOWN for part in parts]
    return "".join(part for i, part in enumerate(parts) if not any(known[max(i - 1, 0) : i + 1]))
