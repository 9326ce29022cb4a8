"""In which unit prices and volumes are: what was paid for one piece must lie between low and high."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations

import polars as pl

from lakehouse.dataset import PRICES, Dataset, Form, plain_names
from lakehouse.raw.fields import is_data, split_line
from lakehouse.raw.numbers import as_float

MOST = 0.9  # of the bars
SOME_BARS = 40  # show the units
# Volumes are rounded to whole pieces by some, and the price of few pieces is then far off.
FEW_PIECES, HALF = 50, 0.5
LEAST, MOST_PAID = 0.98, 1.02  # of low and of high: what is paid may be rounded too
SAMPLE = 100  # bars of a block
TICKS = ("tickvolume", "tickvol")
FIXED_POINT = 10**11  # whole prices as high as this count parts: nothing costs a hundred thousand millions
OFF_UNITS = (
    "its volumes are in another unit than the base and the quote asset: what was paid for one piece does not lie "
    "between low and high"
)
ROUND = 10**6  # nor is every price of what costs thousands of millions a whole number of millions
Paid = tuple[str, float, float, float, float]  # symbol, low, high, volume, quote volume


def proven(bars: Iterable[Paid], scale: float = 1.0) -> bool | None:
    """Whether quote volume / (volume × scale) lies between low and high in most bars, and in those of every symbol.

    Bars in which nothing was traded say nothing; None if no bar says anything.
    """
    fits = defaultdict[str, list[bool]](list)
    for symbol, low, high, volume, quote in bars:
        if volume > 0 and quote > 0 and low > 0:
            pieces = volume * scale
            rounded = HALF if volume == int(volume) and pieces < FEW_PIECES else 0.0
            dear_enough = pieces <= rounded or quote / (pieces - rounded) >= low * LEAST
            fits[symbol].append(dear_enough and quote / (pieces + rounded) <= high * MOST_PAID)
    if not fits:
        return None
    told = [fit for symbol in fits.values() for fit in symbol]
    each = all(sum(symbol) >= len(symbol) / 2 for symbol in fits.values() if len(symbol) > 1)
    return each and sum(told) >= MOST * len(told)


def _paid_in(rows: Sequence[Sequence[str]], form: Form, volume: int, quote: int) -> list[Paid]:
    """Take from lines what `proven` wants, the volume and the quote volume from these places."""
    at = {name: place for place, name in enumerate(form.columns)}
    symbol, low, high = at.get("symbol", -1), at["low"], at["high"]
    scales = [form.scales.get(name, 1.0) for name in ("low", "high", "volume")]
    return [
        (
            row[symbol] if symbol >= 0 else "",
            as_float(row[low], form.decimal) * scales[0],
            as_float(row[high], form.decimal) * scales[1],
            as_float(row[volume], form.decimal) * scales[2],
            as_float(row[quote], form.decimal),
        )
        for row in rows
    ]


def off_units(rows: pl.DataFrame) -> bool:
    """Whether the volumes of a block are shown to be in another unit, by some of its bars."""
    some = rows.select("symbol", "low", "high", "volume", "quote_volume").gather_every(1 + rows.height // SAMPLE)
    return proven(bar for bar in some.iter_rows() if None not in bar) is False


def are_off(rows: pl.DataFrame, file: pl.Series) -> list[bool]:
    """Whether `proven` denies it of the first bars of files, whose numbers and rows follow each other."""
    low, high, pieces, quote = (pl.col(name) for name in ("low", "high", "volume", "quote_volume"))
    rounded = pl.when(pieces == pieces.floor(), pieces < FEW_PIECES).then(HALF).otherwise(0.0)
    dear_enough = (pieces <= rounded) | (quote / (pieces - rounded) >= low * LEAST)
    fits, says = dear_enough & (quote / (pieces + rounded) <= high * MOST_PAID), (pieces > 0) & (quote > 0) & (low > 0)
    some = (one.head(SOME_BARS).sum() for one in (fits & says, says))
    told = rows.group_by(file, maintain_order=True).agg(*(one.alias(str(n)) for n, one in enumerate(some)))
    return (told["0"] < MOST * told["1"]).to_list()


def of_columns(form: Form, dataset: Dataset) -> bool:
    """Whether the volumes of files with these columns are what they are called, unless `proven` denies it."""
    names = plain_names(split_line(form.header, form.separator))
    amounts = {place for place, name in enumerate(names[: len(form.columns)]) if name in dataset.amounts}
    volumes = {place for place, name in enumerate(form.columns) if name == "volume"}
    certain = "quote_volume" in form.columns or not volumes or amounts <= volumes
    return certain and not {*TICKS} & {*names} and not {*dataset.partition} & {*form.columns}


def without_volumes(form: Form) -> str:
    """The line of TOML by which a file is read without its volumes."""
    if form.header:
        return 'columns = { volume = "", quote_volume = "" }    # or the names of the columns that they are'
    columns = ["" if name in ("volume", "quote_volume") else name for name in form.columns]
    return f"columns = {json.dumps(columns)}    # without the volumes"


def with_units(form: Form, bars: Sequence[Sequence[str]], dataset: Dataset, *, said: bool) -> tuple[Form, str, str]:
    """Find the columns and scales by which prices and volumes are in the contract's units.

    Args:
        form: What is known of the file.
        bars: Fields of its first bars.
        dataset: What rows are wanted.
        said: Whether sources.toml says what the volumes are.

    Returns:
        The form, in its notes what was decided by the numbers. What is wrong, if they show that a unit is another, and
        not which; and the line of TOML that may be right.
    """
    places = [place for place, name in enumerate(form.columns) if name in PRICES]
    prices = [row[place] for row in bars for place in places]
    if prices and not form.scales.keys() & {*PRICES} and _are_parts(prices):
        fault = f"prices such as {prices[0]}; if they count billionths, as fixed-point numbers do"
        return form, fault, "price_scale = 1e-9"
    names = plain_names(split_line(form.header, form.separator))
    form = _with_ticks(form, names, bars)
    at = {name: place for place, name in enumerate(form.columns)}
    volume, quote = at.get("volume", -1), at.get("quote_volume", -1)
    amounts = {place for place, name in enumerate(names[: len(form.columns)]) if name in dataset.amounts}
    may_be = sorted((amounts | {volume, quote}) - {-1})
    if not bars or volume < 0 or len(may_be) < 2:
        return form, "", ""
    if quote >= 0 and proven(_paid_in(bars, form, volume, quote)) is not False:
        return form, "", ""
    told = {pair: proven(_paid_in(bars, form, *pair)) for pair in permutations(may_be, 2)}
    if said and not told.get((quote, volume)):  # taken at its word, unless it is the wrong way round
        return form, "", ""
    if not said:
        if pair := next((pair for pair, fits in told.items() if fits), None):
            return _exchanged(form, names, *pair), "", ""
        if quote >= 0 and form.layout.startswith("binance"):
            pieces = _paid_in(bars, form, quote, volume)
            for size in (100, 10):
                if proven((*bar, base, count * size) for *bar, base, count in pieces):  # type: ignore[misc]
                    return _in_contracts(form, size), "", ""
        if all(fits is None for fits in told.values()):
            return form, "", ""
    other = quote if quote >= 0 else next(place for place in may_be if place != volume)
    return form, *_off_units(form, _paid_in(bars, form, volume, other), said)


def _are_parts(prices: Sequence[str]) -> bool:
    if not all(price.isdecimal() for price in prices):
        return False
    whole = [int(price) for price in prices]
    return max(whole) >= FIXED_POINT or all(price >= 1000 * ROUND and price % ROUND == 0 for price in whole)


def _with_ticks(form: Form, names: Sequence[str], bars: Sequence[Sequence[str]]) -> Form:
    """Take MetaTrader's count of ticks for the volume where it knows no real one."""
    ticks = next((i for i, name in enumerate(names[: len(form.columns)]) if name in TICKS), -1)
    real = form.columns.index("volume") if "volume" in form.columns else -1
    if ticks < 0 or not bars or form.columns[ticks] or (real >= 0 and any(as_float(row[real]) for row in bars)):
        return form
    columns = ("volume" if i == ticks else "" if i == real else name for i, name in enumerate(form.columns))
    return _renamed(form, columns, "it knows no real volume: volume is its count of ticks")


def _renamed(form: Form, columns: Iterable[str], note: str) -> Form:
    return replace(form, columns=tuple(columns), notes=(*form.notes, note))


def _exchanged(form: Form, names: Sequence[str], volume: int, quote: int) -> Form:
    """Take the volumes from the places that the prices prove."""
    new = {"volume": "", "quote_volume": ""}
    if form.columns[volume] == "quote_volume" and form.columns[quote] == "volume":
        new |= {"taker_buy_volume": "taker_buy_quote_volume", "taker_buy_quote_volume": "taker_buy_volume"}
    else:  # in which unit are those?
        new |= {"taker_buy_volume": "", "taker_buy_quote_volume": ""}
    places = {volume: "volume", quote: "quote_volume"}
    columns = (places.get(i, new.get(name, name)) for i, name in enumerate(form.columns))
    said = [repr(names[place]) if names else repr(f"field {place + 1}") for place in places]
    return _renamed(form, columns, f"its prices show that volume is {said[0]} and quote volume {said[1]}")


def _in_contracts(form: Form, size: int) -> Form:
    """Binance's coin-margined futures count contracts, and state the base asset where others state the quote asset."""
    new = {"volume": "", "quote_volume": "volume", "taker_buy_volume": "", "taker_buy_quote_volume": "taker_buy_volume"}
    note = f"it counts contracts of {size}: volume is taken from where it states the base asset"
    return _renamed(form, (new.get(name, name) for name in form.columns), note)


def _off_units(form: Form, paid: Sequence[Paid], said: bool) -> tuple[str, str]:
    lots = next((size for size in (100, 1000, 10) if proven(paid, size)), 0)
    _, low, high, volume, quote = next((bar for bar in paid if bar[3] > 0), ("", 0.0, 0.0, 0.0, 0.0))
    shown = f", as in a bar of {quote:,.10g} / {volume:,.10g} at {low:,.10g} to {high:,.10g}" if volume else ""
    fault = f"{OFF_UNITS}{shown}"
    if lots and not said:
        return f"{fault}; if it counts lots of {lots}", f"volume_scale = {lots}"
    return fault, without_volumes(form)


def scales_of(form: Form, rows: Sequence[Sequence[str]], dataset: Dataset) -> dict[str, float]:
    """Tell how prices are to be multiplied, where the vendor of a headed file writes them as whole numbers.

    Args:
        form: Which field is which.
        rows: The first lines' fields.
        dataset: Whose layouts tell it.
    """
    names = plain_names(split_line(form.header, form.separator))
    scale = next(layout for layout in dataset.headed if layout.is_of(names)).price_scale
    places = [i for i, name in enumerate(form.columns) if name in PRICES] if scale != 1 else []
    bars = [row for row in rows if places and is_data(row, form.columns, dataset)]
    whole = bool(bars) and all(row[i].lstrip("-").isdecimal() for row in bars for i in places)
    return dict.fromkeys(PRICES, scale) if whole else {}
