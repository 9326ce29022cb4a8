"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.contracts import name_faults
from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.intervals import CUSTOMARY, MINUTES, SOME, read_interval, seconds_of, spacing
from lakehouse.raw import Block, find_repeats, split_line
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
    form = sniff(path, head, dataset, declared.columns)
    named = [read_name(name, dataset.names) for name in dict.fromkeys((inner, path.rsplit("/", 1)[-1]))]
    told = next((one for one in named if one.symbol), named[0])
    words = tuple(dict.fromkeys(word for one in named for word in one.words))
    form = _keep_columns(form, head, dataset, declared, told)
    form = replace(
        form,
        market=declared.market or _unless(form, "market", tell_market(path, words, form.market)),
        symbol=spell_symbol(declared.symbol) or _unless(form, "symbol", told.symbol or form.symbol),
        interval=declared.interval or _unless(form, "interval", told.interval),
        numbered=told.numbered and not declared.interval and "interval" not in form.columns,
        time_zone=declared.time_zone,
        time_format=declared.time_format or form.time_format,
    )
    if "market" not in form.columns and (fault := name_faults(form.market)):
        raise FileRefused(f"market {form.market!r} {fault}; rename the folder, or declare another market")
    if not form.symbol and "symbol" not in form.columns:
        how = how_to_declare(path, f'symbol = "{UNSAID}"    # write what it is')
        raise FileRefused(
            f"neither the name nor a column tells the symbol; rename the file to SYMBOL_1h.csv (with its own) or {how}"
        )
    if form.symbol and (fault := name_faults(form.symbol)):
        raise FileRefused(f"symbol {form.symbol!r} {fault}; rename the file, or declare another symbol")
    return form


def find_strangers(
    paths: Iterable[str], others: Sequence[str], dataset: Dataset, sources: Sequence[Declared]
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

    def look(path: str) -> tuple[tuple[str, str, str], frozenset[str]]:
        told = read_name(path.rsplit("/", 1)[-1], dataset.names)
        declared = declared_for(path, sources)
        unclear = told.symbol and not (declared.market or declared.symbol or declared.ignore)
        strange = strange_words(told.words) if unclear else frozenset[str]()
        return (tell_market(path, told.words, ""), told.symbol, declared.interval or told.interval), strange

    odd = {path: told for path in paths if (told := look(path))[1]}
    if not odd:
        return {}
    asked = {series for series, _ in odd.values()}
    known: dict[tuple[str, str, str], dict[frozenset[str], str]] = {}
    for path in others:
        series, strange = look(path)
        if series in asked:
            known.setdefault(series, {}).setdefault(strange, path)
    found = dict[str, str]()
    for path, (series, strange) in odd.items():
        other = next((other for words, other in known[series].items() if strange - words), "")
        if other:
            (word, *_) = sorted(strange)
            market = series[0] or "default"
            found[path] = (
                f"{word!r} in its name is not understood, and {other} states the same series without it; if the two are "
                "of different things, "
                + how_to_declare(
                    path, f"market = {json.dumps(f'{market}-{word}')}    # or {json.dumps(market)}: the same"
                )
            )
    return found


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


def column_name(form: Form, place: int) -> str:
    """What the header calls a field; without a header, its number."""
    names = split_line(form.header, form.separator)
    return names[place] if place < len(names) else f"column {place + 1}"


def _spacing_of(path: str, rows: pl.DataFrame, form: Form, dataset: Dataset) -> tuple[str, int]:
    """The same for a file: within one series, never across them."""
    by = [name for name in dataset.partition if name in form.columns]
    first = rows.head(FIRST_BARS)
    if not by:
        return spacing(first[dataset.time])
    found: dict[str, tuple[str, int]] = {}
    for series, part in first.partition_by(by, as_dict=True, maintain_order=True).items():
        interval, count = spacing(part[dataset.time])
        if interval and count > found.get(interval, ("", 0))[1]:
            found[interval] = " ".join(map(str, series)), count
    if not found:
        return "", 0
    sure = [interval for interval, (_, count) in found.items() if count >= SOME]
    shortest = min(found, key=seconds_of)
    whole = all(seconds_of(interval) % seconds_of(shortest) == 0 for interval in found)
    if len(sure) > 1 or (sure and sure != [shortest]) or not whole:
        said = ", ".join(f"those of {series} {interval}" for interval, (series, _) in [*found.items()][:3])
        raise FileRefused(
            f"its series have bars of different lengths: {said} apart; cut it into a file for each length"
        )
    return shortest, found[shortest][1]


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
    apart, count = _spacing_of(path, rows, form, dataset)
    times = seconds_of(apart) / seconds_of(named) if named and apart else 1.0
    # A number may be that of a part. What proves it to be none of minutes is a shorter spacing, or many longer ones.
    if form.numbered and times != 1 and (times < 1 or times % 1 or times > 12 or count >= SOME):
        return apart
    if not named and not apart:
        raise FileRefused(
            "neither the name nor the spacing of the bars tells the interval; rename the file (as SYMBOL_1h.csv) or "
            + how_to_declare(path, f'interval = "{UNSAID}"    # such as 1m, 45m, 4h, 1d, 1mo')
        )
    longer = times > 1 and (count >= 99 or (count >= 3 and times >= 7))  # fewer may well be a series with gaps
    longer = longer and apart in CUSTOMARY
    if times < 1 or longer or (form.numbered and times != 1):
        how = how_to_declare(path, f'interval = "{apart}"')
        swapped = declared.time_format.translate(str.maketrans("dm", "md"))
        if swapped != declared.time_format:  # the likelier slip: bars of a month's first days look a month apart
            how = how_to_declare(path, f"time_format = {json.dumps(swapped)}")
        raise FileRefused(f"the name tells bars of {named}, but they are {apart} apart; rename the file or {how}")
    return named or apart


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


def refuse_mixed(path: str, text: bytes, first_line: int, block: Block, form: Form, dataset: Dataset) -> None:
    """Refuse lines that are of different things under one name.

    Args:
        path: The file.
        text: Its lines.
        first_line: The number of the first of them.
        block: What they were parsed to.
        form: As what they were read.
        dataset: What is looked for.

    Raises:
        FileRefused: Lines of one bar state different values, and another column tells them apart; or most lines do, and
            there is hardly a time of their own for them.
    """
    found = find_repeats(text, first_line, block, form, dataset)
    if found is None or (found.place < 0 and (found.share <= 0.5 or found.each < 3)):
        return
    first, second = found.example
    met = f"{found.lines:,} of its lines state a bar otherwise than another line does, such as {first} and {second}"
    if found.place < 0:
        raise FileRefused(f"{met}; {dataset.time} does not tell them apart: is it the whole time, and of one asset?")
    name = column_name(form, found.place)
    told = f"its column {name!r} tells them apart ({', '.join(found.values[:3])})"
    both = [column_name(form, i) for i, column in enumerate(form.columns) if column == "symbol"] + [name]
    how = f"symbol = {json.dumps(both[0] if len(both) == 1 else both, ensure_ascii=False)}"
    advice = how_to_declare(path, f"columns = {{ {how} }}") if form.header else "cut the file by it into one for each"
    raise FileRefused(f"{met}, and {told}. Keep the lines that are meant, or, if it belongs to the symbol, {advice}")


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
