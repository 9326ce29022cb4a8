"""What a file's name tells: the symbol, and the interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.intervals import INTERVAL_WORDS

MONEY = (
    "USDT|USDC|BUSD|TUSD|DAI|USD|EUR|GBP|JPY|CHF|AUD|CAD|NZD|TRY|BRL|RUB|KRW|INR|SGD|HKD|CNH|SEK|NOK|DKK|PLN|ZAR|MXN"
)

COINS = "BTC|XBT|ETH|BNB"

LOWER = re.sub(r"\|try", "", MONEY.lower())  # country, entry

# A base and a quote: BTCUSDT, BTC-USDT, BTC_USDT; with `_` money only, because of KRAKEN_BTC.
PAIR = (
    rf"(?:[0-9]*[A-Z][A-Z0-9]*?(?:-?(?:{MONEY}|{COINS}|PERP|PERPETUAL)|_(?:{MONEY}))(?:[-_](?:SWAP|PERP))?(?:\.P)?"
    rf"|[a-z0-9]+?(?:{LOWER}|{COINS.lower()})|[a-z0-9]{{2,5}}?[-_](?:{LOWER}))"
)

SOME_LETTER = r"(?=[0-9]*[A-Za-z])"  # 20240101 is no symbol

TICKER = rf"{SOME_LETTER}[A-Z0-9.'-]*[A-Z0-9]"

BEGIN, END = "(?<![A-Za-z0-9%])", "(?![A-Za-z0-9])"


def normal_symbol(symbol: pl.Expr) -> pl.Expr:
    """Write symbols one way: `BTC/USDT`, `btc-usdt` and `BTC_USDT` are `BTCUSDT`."""
    upper = symbol.str.strip_chars().str.to_uppercase()
    return upper.str.replace_all(r"[/\-]", "").str.replace(rf"_({MONEY}|{COINS})$", "$1")


@cache
def spell_symbol(symbol: str) -> str:
    """One symbol as `normal_symbol` writes it."""
    return str(pl.select(normal_symbol(pl.lit(symbol))).item())


def names_in(candidates: Sequence[str], dataset: Dataset) -> tuple[str, str]:
    """The symbol and the interval that the first telling name tells; empty where none does, or several are told."""
    for name in candidates:
        stem = re.sub(r"(\.csv)?(\.gz|\.zip)?$", "", name, flags=re.IGNORECASE)
        for pattern in dataset.names:
            told = [match.groupdict() for match in pattern.finditer(stem)]
            if len({spell_symbol(one["symbol"]) for one in told}) > 1:
                return "", ""  # which of them is meant?
            if told:
                words = (INTERVAL_WORDS[one["interval"]] for one in told if one.get("interval"))
                return spell_symbol(told[0]["symbol"]), next(words, "")
    return "", ""
