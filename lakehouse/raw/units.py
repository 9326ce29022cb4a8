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
SAMPLE = 100  # bars of a block
TICKS = ("tickvolume", "tickvol")
FIXED_POINT = 10**11  # whole prices as high as this count parts: nothing costs a hundred thousand millions
ROUND = 10**6  # nor is every price of what costs thousands of millions a whole number of millions
Paid = tuple[str, float, float, float, float]  # symbol, low, high, volume, quote volume


def proven(bars: Iterable[Paid], scale: float = 1.0) -> bool | None:
    """Whether quote volume / volume lies between low and high in most bars, and in those of every symbol.

    Args:
        bars: Some bars; those in which nothing was traded say nothing.
        scale: What volumes are multiplied by first.

    Returns:
        None if no bar says anything.
    """
    fits = defaultdict[str, list[bool]](list)
    for symbol, low, high, volume, quote in bars:
        if volume > 0 and quote > 0 and low > 0:
            pieces = volume * scale
            # Volumes are rounded to whole pieces by some, and the price of few pieces is then far off.
            rounded = 0.5 if volume == int(volume) and pieces < 50 else 0.0
            dear_enough = pieces <= rounded or quote / (pieces - rounded) >= low * 0.98
            fits[symbol].append(dear_enough and quote / (pieces + rounded) <= high * 1.02)
    if not fits:
        return None
    told = [fit for symbol in fits.values() for fit in symbol]
    each = all(sum(symbol) >= len(symbol) / 2 for symbol in fits.values() if len(symbol) > 1)
    return each and sum(told) >= MOST * len(told)


def paid_in(rows: Sequence[Sequence[str]], form: Form, volume: int, quote: int) -> list[Paid]:
    """Take from lines what `proven` wants.

    Args:
        rows: Their fields.
        form: Which field is which.
        volume: The place of what may be the volume.
        quote: The place of what may be the quote volume.
    """
    at = {name: place for place, name in enumerate(form.columns)}
    scale = form.scales.get
    return [
        (
            row[at["symbol"]] if "symbol" in at else "",
            as_float(row[at["low"]], form.decimal) * scale("low", 1.0),
            as_float(row[at["high"]], form.decimal) * scale("high", 1.0),
            as_float(row[volume], form.decimal) * scale("volume", 1.0),
            as_float(row[quote], form.decimal),
        )
        for row in rows
    ]


def off_units(rows: pl.DataFrame) -> bool:
    """Whether the volumes of a block are shown to be in another unit, by some of its bars.

    Args:
        rows: With the columns symbol, low, high, volume and quote_volume.
    """
    some = rows.select("symbol", "low", "high", "volume", "quote_volume").gather_every(1 + rows.height // SAMPLE)
    return proven(bar for bar in some.iter_rows() if None not in bar) is False


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
    scales = form.scales
    prices = [row[i] for row in bars for i, name in enumerate(form.columns) if name in PRICES]
    if prices and not scales.keys() & {*PRICES} and all(map(str.isdecimal, prices)) and _are_parts([*map(int, prices)]):
        fault = f"prices such as {prices[0]}; if they count billionths, as fixed-point numbers do"
        return form, fault, "price_scale = 1e-9"
    names = plain_names(split_line(form.header, form.separator)) if form.header else []
    form = _with_ticks(form, names, bars)
    return _with_volumes(form, names, bars, dataset, said)


def _are_parts(prices: Sequence[int]) -> bool:
    millions = all(price >= 1000 * ROUND and price % ROUND == 0 for price in prices)
    return millions or max(prices) >= FIXED_POINT


def _with_ticks(form: Form, names: Sequence[str], bars: Sequence[Sequence[str]]) -> Form:
    """Take MetaTrader's count of ticks for the volume where it knows no real one."""
    ticks = next((i for i, name in enumerate(names[: len(form.columns)]) if name in TICKS), -1)
    if ticks < 0 or not bars or form.columns[ticks]:
        return form
    real = form.columns.index("volume") if "volume" in form.columns else -1
    if real >= 0 and any(as_float(row[real]) for row in bars):
        return form
    columns = tuple("volume" if i == ticks else "" if i == real else name for i, name in enumerate(form.columns))
    note = "it knows no real volume: volume is its count of ticks"
    return replace(form, columns=columns, notes=(*form.notes, note))


def _with_volumes(
    form: Form, names: Sequence[str], bars: Sequence[Sequence[str]], dataset: Dataset, said: bool
) -> tuple[Form, str, str]:
    at = {name: place for place, name in enumerate(form.columns)}
    volume, quote = at.get("volume", -1), at.get("quote_volume", -1)
    may_be = [i for i, name in enumerate(names) if name in dataset.amounts and i < len(form.columns)]
    may_be = sorted({*may_be, *(place for place in (volume, quote) if place >= 0)})
    if not bars or volume < 0 or len(may_be) < 2:
        return form, "", ""
    told = proven(paid_in(bars, form, volume, quote)) if quote >= 0 else False
    if told is not False:
        return form, "", ""
    if said:  # taken at its word, unless it is the wrong way round
        if quote < 0 or not proven(paid_in(bars, form, quote, volume)):
            return form, "", ""
    else:
        pairs = [pair for pair in permutations(may_be, 2) if proven(paid_in(bars, form, *pair))]
        if pairs:
            return _exchanged(form, names, *pairs[0]), "", ""
        if quote >= 0 and form.layout.startswith("binance") and (contract := _contract(form, bars, volume, quote)):
            return _in_contracts(form, contract), "", ""
        if all(proven(paid_in(bars, form, *pair)) is None for pair in permutations(may_be, 2)):
            return form, "", ""
    other = quote if quote >= 0 else next(place for place in may_be if place != volume)
    return form, *_off_units(form, names, bars, (volume, other), said)


def _exchanged(form: Form, names: Sequence[str], volume: int, quote: int) -> Form:
    at = {name: place for place, name in enumerate(form.columns)}
    swap = {}
    if (at["volume"], at.get("quote_volume")) == (quote, volume):
        swap = {"taker_buy_volume": "taker_buy_quote_volume", "taker_buy_quote_volume": "taker_buy_volume"}
    kept = {i: swap.get(name, name) for i, name in enumerate(form.columns) if name not in ("volume", "quote_volume")}
    if not swap:  # in which unit are those?
        kept = {i: "" if name.startswith("taker_buy") else name for i, name in kept.items()}
    columns = {**kept, volume: "volume", quote: "quote_volume"}
    said = (names[volume], names[quote]) if names else (f"field {volume + 1}", f"field {quote + 1}")
    note = f"its prices show that volume is {said[0]!r} and quote volume {said[1]!r}"
    return replace(form, columns=tuple(columns.get(i, "") for i in range(len(form.columns))), notes=(*form.notes, note))


def _contract(form: Form, bars: Sequence[Sequence[str]], volume: int, quote: int) -> int:
    """How much of the quote asset a contract is, if volumes are contracts and quote volumes in the base asset."""
    pieces = paid_in(bars, form, quote, volume)
    for size in (100, 10):
        if proven((symbol, low, high, base, count * size) for symbol, low, high, base, count in pieces):
            return size
    return 0


def _in_contracts(form: Form, size: int) -> Form:
    """Binance's coin-margined futures count contracts, and state the base asset where others state the quote asset."""
    new = {"volume": "", "quote_volume": "volume", "taker_buy_volume": "", "taker_buy_quote_volume": "taker_buy_volume"}
    columns = tuple(new.get(name, name) for name in form.columns)
    note = f"it counts contracts of {size}: volume is taken from where it states the base asset"
    return replace(form, columns=columns, notes=(*form.notes, note))


def _off_units(
    form: Form, names: Sequence[str], bars: Sequence[Sequence[str]], pair: tuple[int, int], said: bool
) -> tuple[str, str]:
    paid = paid_in(bars, form, *pair)
    lots = next((size for size in (100, 1000, 10) if proven(paid, size)), 0)
    _, low, high, volume, quote = next((bar for bar in paid if bar[3] > 0), ("", 0.0, 0.0, 0.0, 0.0))
    shown = f", as in a bar of {quote:,.10g} / {volume:,.10g} at {low:,.10g} to {high:,.10g}" if volume else ""
    fault = (
        "its volumes are in another unit than the base and the quote asset: what was paid for one piece does not lie "
        f"between low and high{shown}"
    )
    if lots and not said:
        return f"{fault}; if it counts lots of {lots}", f"volume_scale = {lots}"
    if names:
        line = 'columns = { volume = "", quote_volume = "" }    # or the names of the columns that they are'
    else:
        columns = ["" if name in ("volume", "quote_volume") else name for name in form.columns]
        line = f"columns = {json.dumps(columns)}    # without the volumes"
    return fault, line


def scales_of(names: Sequence[str], rows: Sequence[Sequence[str]], form: Form, dataset: Dataset) -> dict[str, float]:
    """Tell how prices are to be multiplied, where a vendor writes them as whole numbers.

    Args:
        names: The header's.
        rows: The first lines' fields.
        form: Which field is which.
        dataset: Whose layouts tell it.
    """
    scale = next(layout for layout in dataset.headed if layout.is_of(plain_names(names))).price_scale
    places = [i for i, name in enumerate(form.columns) if name in PRICES] if scale != 1 else []
    bars = [row for row in rows if places and is_data(row, form.columns, dataset)]
    whole = bool(bars) and all(row[i].lstrip("-").isdecimal() for row in bars for i in places)
    return dict.fromkeys(PRICES, scale) if whole else {}
