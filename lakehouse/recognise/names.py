"""What a file's name and its folders tell: the market, the symbol, the interval, and which words are none of these."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import polars as pl

from lakehouse.intervals import MINUTES, WORDS, read_interval

KNOWN = tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8"))
_WORDS = {kind: words.split() for kind, words in KNOWN["names"].items() if isinstance(words, str)}

MONEY, COINS = _WORDS["money"], _WORDS["coins"]
EXCHANGES = {word: word for word in _WORDS["makers"]} | KNOWN["names"]["exchanges"]
_CALLED = {word: what for what, words in KNOWN["names"]["called"].items() for word in words.split()}
QUALIFIERS = {word: word for word in _WORDS["qualifiers"]} | _CALLED  # word → what the market is called for it
REMARKS = frozenset(_WORDS["remarks"])
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
# Numbers, dates, parts, revisions, hashes. What is one letter tells nothing apart that anyone would keep.
_MARK = re.compile(
    rf"\d+[a-z]?|[a-z]|(?:part|chunk|batch|piece|split|fold|version|ver|rev|vol|no|nr|fy|[pvnyqwt])\d+z?|\d+(?:st|nd|rd|th|yr?)"
    rf"|\d*(?:{_MONTHS})[a-z]*\d+|\d+(?:{_MONTHS})[a-z]*|\d+(?:t\d+z?|bars|rows|days|years|q\d|-?(?:min|mins|hour|hours))"
    r"|(?=[a-f]*\d)[0-9a-f]{5,}"
)

_TREES = [(re.compile(rf"(?:^|/){tree['path']}/"), tree) for tree in KNOWN["trees"]]

# A base and a quote: BTCUSDT, BTC-USDT, BTC_USDT; with `_` money only, because of KRAKEN_BTC. `try` ends entry.
_money, _coins = "|".join(MONEY), "|".join(COINS)
_lower = _money.lower().replace("|try", "")
_QUOTES = "|".join((*MONEY, *COINS, *_WORDS["quotes"]))
PAIR = (
    rf"(?:[0-9]*[A-Z][A-Z0-9]*?(?:-?(?:{_money}|{_coins}|PERP|PERPETUAL)|_(?:{_money}))(?:[-_](?:SWAP|PERP))?(?:\.P)?"
    rf"|[a-z0-9]+?(?:{_lower}|{_coins.lower()})|[a-z0-9]{{2,5}}?[-_](?:{_lower}))"
)
SOME_LETTER = r"(?=[0-9]*[A-Za-z])"  # 20240101 is no symbol
TICKER = rf"{SOME_LETTER}[A-Z0-9.'-]*[A-Z0-9]"
BEGIN, END = "(?<![A-Za-z0-9%])", "(?![A-Za-z0-9])"

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


_DAY = re.compile(r"(?<![^\W_])(?:19|20)\d\d-[01]\d-[0-3]\d(?![^\W_])")  # not that of `exp2024-12-27`, part of a word


@dataclass(frozen=True, slots=True)
class Told:
    """What a name tells; empty where it tells nothing, or two things."""

    symbol: str = ""
    interval: str = ""
    numbered: bool = False  # a bare number tells the interval: it may be that of a part
    words: tuple[str, ...] = ()  # the others, in small letters


def read_name(name: str, patterns: tuple[re.Pattern[str], ...]) -> Told:
    """Read the last part of a path by a dataset's patterns; if it tells nothing as it stands, without its remarks.

    Names that differ by a date alone are read once, if that is nothing of what they tell; then they have one's words.
    """
    days = [_DAY.sub(day, name) for day in ("2020-01-01", "2021-12-31")]
    one, other = (_read_name(day, patterns) for day in days)
    same = (one.symbol, one.interval, one.numbered) == (other.symbol, other.interval, other.numbered)
    return one if same else _read_name(name, patterns)


@lru_cache(65536)
def _read_name(name: str, patterns: tuple[re.Pattern[str], ...]) -> Told:
    stem = re.sub(r"(\.(csv|txt|tsv))?(\.(gz|zip|bz2|xz|zst))?$", "", name, flags=re.IGNORECASE)
    words = words_of(stem)
    for text in (stem, _plain(stem)):
        for pattern in patterns:
            told = [*pattern.finditer(text)]
            symbols = {spell_symbol(match["symbol"]) for match in told}
            if len(symbols) > 1 or symbols & {*_WORDS["no_symbols"]}:
                return Told(words=words)  # which of them is meant?
            if told:
                interval = next((found for match in told if (found := match.groupdict().get("interval"))), "")
                own = {*words_of(told[0]["symbol"]), *words_of(interval)}
                beside = tuple(word for word in words if word not in own)
                return Told(symbols.pop(), read_interval(interval), interval.isdecimal(), beside)
    return Told(words=words)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters."""
    return tuple(word for word in re.split(r"[\W_]+", name.lower()) if word)


def _plain(stem: str) -> str:
    """A name without the words that are surely no symbol, and what stands behind each."""
    parts = re.split(r"([\W_]+)", stem)
    known = [len(part) > 1 and (part.lower() in REMARKS or part.lower() in QUALIFIERS) for part in parts]
    return "".join(part for i, part in enumerate(parts) if not any(known[max(i - 1, 0) : i + 1]))


def _exchanges(words: Sequence[str]) -> dict[int, str]:
    """The exchanges that some words name, each under the place after it."""
    found, place = dict[int, str](), 0
    while place < len(words):
        two = EXCHANGES.get(" ".join(words[place : place + 2]), "") if place + 1 < len(words) else ""
        one = EXCHANGES.get(words[place], "")
        place += 2 if two else 1
        found |= {place: two or one} if two or one else {}
    return found


def _exchange_of(words: Sequence[str]) -> str:
    """The exchange that some words name; empty if they name none, or several."""
    named = set(_exchanges(words).values())
    return named.pop() if len(named) == 1 else ""


def tree_of(path: str) -> dict[str, str]:
    """The public archive in whose tree a file lies, wherever below raw/ that begins, as `known.toml` has it.

    Returns:
        market, kind, and what the file's lines do not say: time_zone, note; nothing for files elsewhere.
    """
    return _tree_at(path[: path.rfind("/") + 1])


@lru_cache(4096)
def _tree_at(folder: str) -> dict[str, str]:
    for pattern, tree in _TREES:
        if found := pattern.search(folder):
            return {**tree, **found.groupdict()}
    return {}


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
    return _market_at(path[: path.rfind("/") + 1], tuple(words), layout)


@lru_cache(65536)
def _market_at(path: str, words: tuple[str, ...], layout: str) -> str:
    first, *folders = path.split("/")[:-1] or [""]
    below = [word for folder in folders for word in words_of(folder)]
    told, deep = _exchange_of(words), _exchange_of(below)
    if tree := tree_of(path):
        market, below = tree["market"], [tree.get("kind", "").lower()]
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


@lru_cache(65536)
def strange_words(words: tuple[str, ...]) -> frozenset[str]:
    """The words beside a symbol that are neither known nor a remark; before an exchange stands who collected it."""
    rest = words[max(_exchanges(words), default=0) :]
    return frozenset(w for w in rest if w not in QUALIFIERS and w not in REMARKS and not _MARK.fullmatch(w))


def may_be_strange(name: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    """Whether the name of a file may have strange words: names that differ by their digits alone are read once."""
    return _has_strange(re.sub(r"\d", "1", name), patterns)


@lru_cache(65536)
def _has_strange(name: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    return bool(strange_words(read_name(name, patterns).words))


def normal_market(market: pl.Expr) -> pl.Expr:
    """Write exchanges one way: `Binance` is `binance`. Other markets stay as they are."""
    name = market.str.strip_chars()
    return pl.coalesce(name.str.to_lowercase().replace_strict(EXCHANGES, default=None, return_dtype=pl.String), name)


def normal_symbol(symbol: pl.Expr) -> pl.Expr:
    """Write symbols one way: `BTC/USDT`, `btc-usdt` and `BTC_USDT` are `BTCUSDT`; but `BRK-B` is not `BRKB`."""
    upper = symbol.str.strip_chars().str.to_uppercase()
    joined = upper.str.replace_all(rf"[/\-]({_QUOTES}|SWAP|PERP|PERPETUAL)\b", "$1")
    return joined.str.replace(rf"_({_QUOTES})$", "$1").str.replace_all("/", "-", literal=True)


@cache
def spell_symbol(symbol: str) -> str:
    """One symbol as `normal_symbol` writes it."""
    return str(pl.select(normal_symbol(pl.lit(symbol))).item())
