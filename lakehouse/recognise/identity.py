"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.contracts import name_faults
from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.intervals import CUSTOMARY, MINUTES, SOME, read_interval, seconds_of, spacing
from lakehouse.raw import column_name, split_line, split_member
from lakehouse.recognise.markets import strange_words, tell_market
from lakehouse.recognise.names import Told, read_name, spell_symbol
from lakehouse.recognise.sniff import sniff
from lakehouse.recognise.sources import UNSAID, Declared, declared_for, how_to_declare

FIRST_BARS = 10_000  # tell the spacing of a file
# Columns that mostly hold the symbol, and sometimes a company's name or the like.
_VAGUE = "name code company stockname security asset assetname coin cryptocurrency crypto contract product"
VAGUE = frozenset(_VAGUE.split())  # one value throughout tells less than the file's name does


def recognise(path: str, inner: str, head: bytes, dataset: Dataset, declared: Declared) -> Form:
    """Tell how a file is to be read.

    Args:
        path: The path below raw/.
        inner: The name of the member, if the file is a zip; else the path's last part.
        head: The first bytes of the unpacked file.
        dataset: What is looked for.
        declared: What sources.toml says of this file.

    Returns:
        The form, its interval still empty if only the spacing of the bars can tell it. What each line states of the
        market, the symbol or the interval is among its columns, and empty in the form.

    Raises:
        FileRefused: It is something else, or its symbol cannot be told; the message says what to do.
    """
    form = sniff(path, head, dataset, declared)
    named = [read_name(name, dataset.names) for name in dict.fromkeys((inner, path.rsplit("/", 1)[-1]))]
    told = next((one for one in named if one.symbol), named[0])
    words = tuple(dict.fromkeys(word for one in named for word in one.words))
    form = _keep_columns(form, head, dataset, declared, told)
    form = replace(
        form,
        market=declared.market or _unless(form, "market", tell_market(_without_archive(path), words, form.market)),
        symbol=spell_symbol(declared.symbol) or _unless(form, "symbol", told.symbol or form.symbol),
        interval=declared.interval or _unless(form, "interval", told.interval),
        numbered=told.numbered and not declared.interval and "interval" not in form.columns,
    )
    if "market" not in form.columns and (fault := name_faults(form.market)):
        raise FileRefused(f"market {form.market!r} {fault}; rename the folder, or declare another market")
    if not form.symbol and "symbol" not in form.columns:
        how = how_to_declare(path, f'symbol = "{UNSAID}"    # write what it is', declared)
        raise FileRefused(
            f"neither the name nor a column tells the symbol; rename the file to SYMBOL_1h.csv (with its own) or {how}"
        )
    if form.symbol and (fault := name_faults(form.symbol)):
        raise FileRefused(f"symbol {form.symbol!r} {fault}; rename the file, or declare another symbol")
    return form


def find_strangers(
    paths: Iterable[str], others: Iterable[str], dataset: Dataset, sources: Sequence[Declared]
) -> dict[str, str]:
    """Find files whose names have a word that is not understood, where another file of the same series has not got it.

    Args:
        paths: Those that are to be read, below raw/.
        others: All files below raw/.
        dataset: What is looked for.
        sources: What raw/sources.toml says: who declared a market or a symbol has been asked.

    Returns:
        Path → what is to be asked.
    """

    def strange(path: str) -> frozenset[str]:
        told, declared = read_name(path.rsplit("/", 1)[-1], dataset.names), declared_for(path, sources)
        asked = declared.market or declared.symbol or declared.ignore or not told.symbol
        return frozenset() if asked else strange_words(told.words)

    def series_of(path: str) -> tuple[str, str, str]:
        told = read_name(path.rsplit("/", 1)[-1], dataset.names)
        market = tell_market(_without_archive(path), told.words, "")
        return market, told.symbol, declared_for(path, sources).interval or told.interval

    odd = {path: (series_of(path), words) for path in paths if (words := strange(path))}
    if not odd:  # as it mostly is, and then the others' names are not looked at
        return {}
    asked = {series for series, _ in odd.values()}
    known = defaultdict[tuple[str, str, str], dict[frozenset[str], str]](dict)
    for path in (*others, *odd):
        if (series := series_of(path)) in asked:
            known[series].setdefault(strange(path), path)
    found = dict[str, str]()
    for path, (series, words) in odd.items():
        other = next((other for others_words, other in known[series].items() if words - others_words), "")
        if other:
            market = series[0] or "default"
            word = min(words)
            line = f"market = {json.dumps(f'{market}-{word}')}    # or {json.dumps(market)}, if it is the same"
            found[path] = (
                f"{word!r} in its name is not understood, and {other} states the same series without that word; "
                "if they are two things, " + how_to_declare(path, line, declared_for(path, sources))
            )
    return found


def _without_archive(path: str) -> str:
    """A member of an archive as if it lay beside it: an archive is no folder that tells a market."""
    archive, member = split_member(path)
    return f"{archive.rpartition('/')[0]}/{member}".lstrip("/") if member else path


def _unless(form: Form, column: str, told: str) -> str:
    return "" if column in form.columns else told


def _keep_columns(form: Form, head: bytes, dataset: Dataset, declared: Declared, told: Told) -> Form:
    """Decide which columns of the identity tell it line by line; the others are not kept."""
    columns = list(form.columns)
    for column in dataset.partition:
        if column not in columns:
            continue
        place = columns.index(column)
        lines = head.decode("utf-8", "replace").rsplit("\n", 1)[0].split("\n")[form.banner :]
        rows = (split_line(line, form.separator) for line in lines)
        values = [row[place] for row in rows if len(row) == len(columns) and row[place]]
        met, name = dict.fromkeys(values), column_name(form, place)
        said = getattr(declared, column)
        if said and len(met) > 1:
            raise FileRefused(
                f"raw/sources.toml says {column} = {json.dumps(said)}, but its column {name!r} holds several: "
                f"{', '.join([*met][:3])}. Without that line in raw/sources.toml each has bars of its own"
            )
        vague = column == "symbol" and fold(name) in VAGUE and len(met) == 1 and told.symbol
        if said or vague or (column == "interval" and not _are_intervals(values)):
            columns = ["" if name == column else name for name in columns]
    return replace(form, columns=tuple(columns))


def _are_intervals(words: list[str]) -> bool:
    """Whether a column tells how long the bars are: `per` may be a ratio, `bar` a running number."""
    met = set(words)
    numbers = {word for word in met if word.isdecimal()}
    plausible = numbers <= set(MINUTES.split("|")) and 2 * len(numbers) <= len(words)
    return bool(met) and plausible and all(map(read_interval, met))


def _spacings(rows: pl.DataFrame, form: Form, dataset: Dataset) -> dict[str, tuple[str, int]]:
    """The intervals that bars prove, each within one series: interval → a series, and how many distances it has."""
    by = [name for name in dataset.partition if name in form.columns]
    first = rows.head(FIRST_BARS)
    parts = first.partition_by(by, as_dict=True, maintain_order=True) if by else {(): first}
    found: dict[str, tuple[str, int]] = {}
    for series, part in parts.items():
        interval, count = spacing(part[dataset.time])
        if interval and count > found.get(interval, ("", 0))[1]:
            found[interval] = " ".join(map(str, series)), count
    return found


def _agreed(found: dict[str, tuple[str, int]]) -> tuple[str, int]:
    """The interval that the series of a file agree upon, and how many distances tell it; empty if they do not."""
    sure = [interval for interval, (_, count) in found.items() if count >= SOME]
    shortest = min(found, key=seconds_of, default="")
    if len(sure) > 1 or (sure and sure != [shortest]):
        said = ", ".join(f"those of {series} {interval}" for interval, (series, _) in [*found.items()][:3])
        raise FileRefused(
            f"its series have bars of different lengths: {said} apart; cut it into a file for each length"
        )
    whole = found and all(seconds_of(interval) % seconds_of(shortest) == 0 for interval in found)
    return (shortest, found[shortest][1]) if whole else ("", 0)


def tell_interval(path: str, rows: pl.DataFrame, form: Form, declared: Declared, dataset: Dataset) -> str:
    """Infer the interval from the spacing of the bars, or hold it against what the name tells.

    Args:
        path: The file.
        rows: Its first bars.
        form: What is known of it.
        declared: What sources.toml says of it, and is taken at its word.
        dataset: What its rows are.

    Returns:
        The interval; empty if nothing tells it, and there are no bars; or if each line does.

    Raises:
        FileRefused: Nothing tells it, or the name and the bars tell different things.
    """
    named = form.interval
    if declared.interval or rows.is_empty():
        return named
    if "interval" in form.columns:
        _hold_lines(rows.head(FIRST_BARS), form, dataset)
        return ""
    found = _spacings(rows, form, dataset)
    if named and not form.numbered:
        for apart, (_, count) in found.items():
            times = seconds_of(apart) / seconds_of(named)
            longer = apart in CUSTOMARY and (count >= 99 or (count >= 3 and times >= 7))  # fewer may well have gaps
            if times < 1 or (times > 1 and longer):
                raise FileRefused(_belied(path, named, apart, declared))
        return named
    apart, count = _agreed(found)
    if not named and not apart:
        raise FileRefused(
            "neither the name nor the spacing of the bars tells the interval; rename the file (as SYMBOL_1h.csv) or "
            + how_to_declare(path, f'interval = "{UNSAID}"    # such as 1m, 45m, 4h, 1d, 1mo', declared)
        )
    times = seconds_of(apart) / seconds_of(named) if named and apart else 1.0
    # A number may be that of a part. What proves it to be none of minutes is a shorter spacing, or many longer ones.
    if times > 1 and not times % 1 and times <= 12 and count < SOME:
        raise FileRefused(_belied(path, named, apart, declared))
    return apart or named


def _belied(path: str, named: str, apart: str, declared: Declared) -> str:
    how = how_to_declare(path, f'interval = "{apart}"', declared)
    return f"the name tells bars of {named}, but they are {apart} apart; rename the file or {how}"


def _hold_lines(rows: pl.DataFrame, form: Form, dataset: Dataset) -> None:
    by = [name for name in dataset.partition if name in form.columns]
    for series, part in rows.partition_by(by, as_dict=True, maintain_order=True).items():
        said = str(series[by.index("interval")])
        apart, _ = spacing(part[dataset.time])
        if apart and seconds_of(apart) < seconds_of(said):
            name = column_name(form, form.columns.index("interval"))
            raise FileRefused(
                f"its column {name!r} tells bars of {said}, but some are {apart} apart; drop it, or mend it"
            )
