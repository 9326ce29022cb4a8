"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl

from lakehouse.contracts import name_faults
from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.intervals import INTERVAL_SECONDS, INTERVALS
from lakehouse.recognise.names import names_in, spell_symbol
from lakehouse.recognise.sniff import sniff
from lakehouse.recognise.sources import Declared, how_to_declare

FIRST_BARS = 10_000  # tell the spacing of a file


def recognise(path: str, inner: str, head: bytes, dataset: Dataset, declared: Declared) -> Form:
    """Tell how a file is to be read.

    Args:
        path: The path below raw/.
        inner: The name of the member, if the file is a zip; else the path's last part.
        head: The first bytes of the unpacked file.
        dataset: What is looked for.
        declared: What sources.toml says of this file.

    Returns:
        The form, its interval still empty if only the spacing of the bars can tell it.

    Raises:
        FileRefused: It is something else, or its symbol cannot be told; the message says what to do.
    """
    form = sniff(path, head, dataset, declared)
    symbol, interval = names_in([inner, path.rsplit("/", 1)[-1]], dataset)
    folder = path.split("/", maxsplit=1)[0] if "/" in path else ""
    if declared.symbol:
        form = replace(form, columns=tuple("" if name == "symbol" else name for name in form.columns))
    form = replace(
        form,
        market=declared.market or folder or form.market,
        symbol=spell_symbol(declared.symbol) or ("" if "symbol" in form.columns else symbol or form.symbol),
        interval=declared.interval or interval,
    )
    if fault := name_faults(form.market):
        raise FileRefused(f"market {form.market!r} {fault}; rename the folder, or declare another market")
    if not form.symbol and "symbol" not in form.columns:
        how = how_to_declare(path, 'symbol = "BTCUSDT"')
        raise FileRefused(f"neither the name nor a column tells the symbol; rename the file (BTCUSDT_1h.csv) or {how}")
    if form.symbol and (fault := name_faults(form.symbol)):
        raise FileRefused(f"symbol {form.symbol!r} {fault}; rename the file, or declare another symbol")
    return form


def spacing(times: pl.Series) -> str:
    """Infer the interval from the commonest distance between neighbouring times; empty if it is no interval."""
    commonest = times.unique().sort().diff(null_behavior="drop").mode().min()  # of equally common ones the shortest
    if not isinstance(commonest, dt.timedelta):
        return ""
    days, seconds = divmod(commonest, dt.timedelta(days=1))
    if 28 <= days <= 31 and not seconds:
        return "1mo"
    return {float(v): k for k, v in INTERVAL_SECONDS.items()}.get(commonest.total_seconds(), "")


def tell_interval(path: str, times: pl.Series, form: Form, declared: Declared) -> str:
    """Infer the interval from the spacing of the bars, or hold it against what the name tells.

    Args:
        path: The file.
        times: Of its first bars.
        form: What is known of it.
        declared: What sources.toml says of it, and is taken at its word.

    Returns:
        The interval; empty if nothing tells it, and there are no bars.

    Raises:
        FileRefused: Nothing tells it, or the name and the bars tell different things.
    """
    apart = spacing(times.head(FIRST_BARS))
    if not form.interval and not apart and len(times):
        how = how_to_declare(path, f'interval = "1h"    # one of {", ".join(INTERVALS)}')
        raise FileRefused(
            "neither the name nor the spacing of the bars tells the interval; "
            f"rename the file (BTCUSDT_1h.csv) or {how}"
        )
    if not form.interval or not apart or declared.interval:
        return form.interval or apart
    shorter = INTERVALS.index(apart) < INTERVALS.index(form.interval)
    longer = apart != form.interval and len(times) >= 100  # fewer may well be the rest of a series with gaps
    if shorter or longer:
        how = how_to_declare(path, f'interval = "{apart}"')
        raise FileRefused(
            f"the name tells bars of {form.interval}, but they are {apart} apart; rename the file or {how}"
        )
    return form.interval
