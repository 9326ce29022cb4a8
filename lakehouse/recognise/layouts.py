"""What each kind of CSV looks like: the tables of `known.toml` as a dataset. A new vendor is a new entry there.

A file is understood by its header (names are folded to small letters and digits, and looked up in
`Dataset.synonyms`) or, without one, by position (`Dataset.positional`).
"""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.contracts import Candle
from lakehouse.dataset import Dataset, Headed, Positional, Refusal
from lakehouse.intervals import normal_interval
from lakehouse.recognise.names import KNOWN, MONEY, NAMES, normal_market, normal_symbol


def _positional() -> Iterator[Positional]:
    for entry in KNOWN["layouts"]["positional"]:
        fields = tuple(field.strip("-") for field in entry["fields"].split())
        yield Positional(**{"market": "default", **entry, "fields": fields})


def _headed() -> Iterator[Headed]:
    for entry in KNOWN["layouts"]["headed"]:
        for money in MONEY if "{money}" in entry["signature"] else ("",):
            names = frozenset(entry["signature"].format(money=money.lower()).split())
            yield Headed(**{"market": "default", **entry, "signature": names})


CANDLES = Dataset(
    name="candles",
    contract=Candle,
    key=("market", "symbol", "interval", "open_time"),
    time="open_time",
    partition=("market", "symbol", "interval"),
    synonyms={column: tuple(words.split()) for column, words in KNOWN["columns"].items()},
    positional=tuple(_positional()),
    headed=tuple(_headed()),
    refusals=tuple(
        Refusal(**{**entry, "patterns": tuple(entry["patterns"])}) for entry in KNOWN["layouts"]["refusals"]
    ),
    amounts=tuple(KNOWN["header"]["amounts"].split()),
    names=NAMES,
    spelling={"market": normal_market, "symbol": normal_symbol, "interval": normal_interval},
)
VAGUE = frozenset(KNOWN["header"]["vague"].split())  # names of columns that tell the symbol less surely than a file's
