"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import polars as pl

from lakehouse.contracts import NAME_BYTES
from lakehouse.errors import FileRefused, LakeError
from lakehouse.layouts import INTERVAL_SECONDS, INTERVAL_WORDS, Dataset, Form
from lakehouse.parse import Block, normal_symbol
from lakehouse.sniff import how_to_declare, sniff
from lakehouse.times import from_text

INTERVALS = (*INTERVAL_SECONDS, "1mo")
FIRST_BARS = 10_000  # tell the spacing of a file


@dataclass(frozen=True, slots=True)
class Declared:
    """What `raw/sources.toml` says of the files that match one glob; empty where it says nothing."""

    glob: str = "*"
    market: str = ""
    symbol: str = ""
    interval: str = ""
    time_zone: str = "UTC"
    time_format: str = ""
    columns: tuple[str, ...] = ()
    ignore: bool = False


def read_sources(text: str) -> list[Declared]:
    """Read `raw/sources.toml`.

    Args:
        text: A TOML document with an array of tables `source`; each needs `glob`, and may give
            `market`, `symbol`, `interval`, `time_zone`, `time_format`, `columns`, `ignore`.

    Returns:
        The declarations in their order; the first glob that matches a file wins.

    Raises:
        LakeError: The document is not TOML, or says what is not known.
    """
    try:
        document = tomllib.loads(text)
        entries = document.pop("source", [])
        if document or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            met = f"[{next(iter(document))}]" if document else "[source]"
            raise ValueError(f"{met} is not known; each entry begins with [[source]]")
        return [_declared(entry) for entry in entries]
    except ValueError as error:
        raise LakeError(f"raw/sources.toml: {error}") from error


def _declared(entry: Mapping[str, Any]) -> Declared:
    known = {field.name: type(field.default) for field in fields(Declared)}
    for name, value in entry.items():
        if name not in known:
            raise ValueError(f"unknown key '{name}'; known are {', '.join(known)}")
        words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        if not (words if name == "columns" else isinstance(value, known[name])):
            kind = {tuple: "list of names", bool: "true or false", str: "text"}[known[name]]
            raise ValueError(f"'{name}' is {value!r}; expected {kind}")
    if "glob" not in entry:
        raise ValueError("an entry has no 'glob', which says which files it is about")
    declared = Declared(**{**entry, "columns": tuple(entry.get("columns", ()))})
    if declared.interval and declared.interval not in INTERVALS:
        raise ValueError(f"interval '{declared.interval}'; expected one of {', '.join(INTERVALS)}")
    if _read_time(pl.lit("2024-03-14"), "%Y-%m-%d", declared.time_zone) is None:
        raise ValueError(f"time_zone '{declared.time_zone}'; expected a name such as UTC or Europe/Berlin")
    if declared.time_format:
        moment = dt.datetime(2024, 3, 14, 13, 30, tzinfo=dt.UTC)
        word = pl.lit(moment).dt.strftime(declared.time_format.replace("%#z", "%z"))  # %#z is for reading only
        found = _read_time(word, declared.time_format, "UTC")
        if found is None or found.date() != moment.date():
            raise ValueError(f"time_format '{declared.time_format}' tells no day; expected one like '%d/%m/%Y %H:%M'")
    return declared


def _read_time(word: pl.Expr, time_format: str, zone: str) -> dt.datetime | None:
    try:
        found: dt.datetime | None = pl.select(from_text(word, time_format, zone)).item()
    except pl.exceptions.PolarsError:  # there is no such format, or no such zone
        return None
    return found


def declared_for(path: str, sources: Sequence[Declared]) -> Declared:
    """Find the first declaration whose glob matches a path; an empty one if none does."""
    return next((s for s in sources if fnmatch.fnmatchcase(path, s.glob)), Declared())


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
    form = sniff(path, head, dataset, declared.columns)
    symbol, interval = _names_in([inner, path.rsplit("/", 1)[-1]], dataset)
    folder = path.split("/", maxsplit=1)[0] if "/" in path else ""
    if declared.symbol:
        form = replace(form, columns=tuple("" if name == "symbol" else name for name in form.columns))
    form = replace(
        form,
        market=declared.market or folder or form.market,
        symbol=_normal(declared.symbol) or ("" if "symbol" in form.columns else symbol or form.symbol),
        interval=declared.interval or interval,
        time_zone=declared.time_zone,
        time_format=declared.time_format or form.time_format,
    )
    if len(form.market.encode()) > NAME_BYTES:
        raise FileRefused(f"market '{form.market}' is too long; rename the folder, or declare a shorter one")
    if not form.symbol and "symbol" not in form.columns:
        how = how_to_declare(path, 'symbol = "BTCUSDT"')
        raise FileRefused(f"neither the name nor a column tells the symbol; rename the file (BTCUSDT_1h.csv) or {how}")
    return form


@cache
def _normal(symbol: str) -> str:
    return str(pl.select(normal_symbol(pl.lit(symbol))).item())


def _names_in(candidates: Sequence[str], dataset: Dataset) -> tuple[str, str]:
    for name in candidates:
        stem = re.sub(r"(\.csv)?(\.gz|\.zip)?$", "", name, flags=re.IGNORECASE)
        for pattern in dataset.names:
            told = [match.groupdict() for match in pattern.finditer(stem)]
            if len({_normal(one["symbol"]) for one in told}) > 1:
                return "", ""  # which of them is meant?
            if told:
                words = (INTERVAL_WORDS[one["interval"]] for one in told if one.get("interval"))
                return _normal(told[0]["symbol"]), next(words, "")
    return "", ""


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


def refuse_foreign(path: str, block: Block, form: Form, dataset: Dataset) -> None:
    """Refuse a file if it is for the way in which it is written that its lines are no rows.

    Args:
        path: The file.
        block: Its first lines.
        form: As what they were read.
        dataset: What is looked for.

    Raises:
        FileRefused: Several lines, and the same column is unreadable in each. Or ten, without a header, and most of
            them break one rule, as they do where the columns stand in another order.
    """
    rejected = block.rejected
    if rejected.height < 2:
        return
    if not form.header and form.layout != "declared" and block.read >= 10:
        commonest, times = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)[0]
        if commonest in dataset.rules and times > block.read / 2:
            how = how_to_declare(path, f"columns = {json.dumps(form.columns)}    # in their order")
            raise FileRefused(
                f"{commonest} in {times} of its first {block.read} lines, such as {rejected['raw'][0][:120]!r}; "
                f"it has no header: if its columns stand in another order, {how}"
            )
    if block.rows.height:
        return
    always = set.intersection(*map(set, rejected["reasons"]))
    told = (reason for reason in rejected["reasons"][0] if reason in always)
    unread = next((reason for reason in told if " is not a " in reason or " fields, not " in reason), "")
    if unread:
        advice = "write numbers like 1234.5, and as many fields in each line as the header has"
        if unread.startswith(dataset.time):
            advice = how_to_declare(path, 'time_format = "%d/%m/%Y %H:%M"')
        raise FileRefused(f"{unread}, and so in all its lines, such as {rejected['raw'][0][:120]!r}; {advice}")
