"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import polars as pl

from lakehouse.contracts import name_faults
from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.intervals import CUSTOMARY, MINUTES, SOME, read_interval, seconds_of, spacing
from lakehouse.raw import Even, split_line, split_member
from lakehouse.recognise.doubts import column_name
from lakehouse.recognise.layouts import VAGUE
from lakehouse.recognise.names import Told, may_be_strange, read_name, spell_symbol, strange_words, tell_market
from lakehouse.recognise.sniff import Seen, sniff
from lakehouse.recognise.sources import UNSAID, Declared, Subject, as_toml, declared_for

FIRST_BARS = 10_000  # tell the spacing of a file
DAY = 86_400 * 10**6  # microseconds


def recognise(subject: Subject, inner: str, head: bytes, seen: Seen | None = None) -> Form:
    """Tell how a file is to be read.

    Args:
        subject: The file.
        inner: The name of the member, if the file is a zip; else the path's last part.
        head: The first bytes of the unpacked file.
        seen: What has been told of other files; see `sniff`.

    Returns:
        The form, its interval still empty if only the spacing of the bars can tell it. What each line states of the
        market, the symbol or the interval is among its columns, and empty in the form.

    Raises:
        FileRefused: It is something else, or its symbol cannot be told; the message says what to do.
    """
    path, declared = subject.path, subject.declared
    form = sniff(subject, head, seen)
    named = [read_name(name, subject.dataset.names) for name in dict.fromkeys((inner, path.rsplit("/", 1)[-1]))]
    told = next((one for one in named if one.symbol), named[0])
    words = tuple(dict.fromkeys(word for one in named for word in one.words))
    form = _keep_columns(subject, form, head, told)
    by_line = {*form.columns}
    market = declared.market or tell_market(_without_archive(path), words, form.market)
    symbol = spell_symbol(declared.symbol) or told.symbol or form.symbol
    form = replace(
        form,
        market="" if "market" in by_line else market,
        symbol="" if "symbol" in by_line else symbol,
        interval="" if "interval" in by_line else declared.interval or told.interval,
        numbered=told.numbered and not declared.interval and "interval" not in by_line,
    )
    if "market" not in by_line and (fault := name_faults(form.market)):
        raise FileRefused(f"market {form.market!r} {fault}; rename the folder, or declare another market")
    if not form.symbol and "symbol" not in by_line:
        how = subject.how(f'symbol = "{UNSAID}"    # write what it is')
        raise FileRefused(
            f"neither the name nor a column tells the symbol; rename the file to SYMBOL_1h.csv (with its own) or {how}"
        )
    if form.symbol and (fault := name_faults(form.symbol)):
        raise FileRefused(f"symbol {form.symbol!r} {fault}; rename the file, or declare another symbol")
    return form


def _without_archive(path: str) -> str:
    """A member of an archive as if it lay beside it: an archive is no folder that tells a market."""
    archive, member = split_member(path)
    return f"{archive.rpartition('/')[0]}/{member}".lstrip("/") if member else path


def _keep_columns(subject: Subject, form: Form, head: bytes, told: Told) -> Form:
    """Decide which columns of the identity tell it line by line; the others are not kept."""
    columns = list(form.columns)
    for column in (name for name in subject.dataset.partition if name in form.columns):
        place = columns.index(column)
        lines = head.decode("utf-8", "replace").rsplit("\n", 1)[0].split("\n")[form.banner :]
        rows = (split_line(line, form.separator) for line in lines)
        values = [row[place] for row in rows if len(row) == len(columns) and row[place]]
        met, name, said = dict.fromkeys(values), column_name(form, place), getattr(subject.declared, column)
        if said and len(met) > 1:
            raise FileRefused(
                f"raw/sources.toml says {column} = {as_toml(said)}, but its column {name!r} holds several: "
                f"{', '.join([*met][:3])}. Without that line in raw/sources.toml each has bars of its own"
            )
        vague = column == "symbol" and fold(name) in VAGUE and len(met) == 1 and told.symbol
        if said or vague or (column == "interval" and not _are_intervals(values)):
            columns = ["" if name == column else name for name in columns]
    return form if columns == [*form.columns] else replace(form, columns=tuple(columns))


def _are_intervals(words: list[str]) -> bool:
    """Whether a column tells how long the bars are: `per` may be a ratio, `bar` a running number."""
    met = set(words)
    numbers = {word for word in met if word.isdecimal()}
    plausible = numbers <= set(MINUTES.split("|")) and 2 * len(numbers) <= len(words)
    return bool(met) and plausible and all(map(read_interval, met))


def find_strangers(
    paths: Iterable[str], others: Iterable[str], dataset: Dataset, sources: Sequence[Declared]
) -> dict[str, str]:
    """Find files whose names have a word that is not understood, where another file of the same series has not got it.

    Of two that are to be read it is asked about the one with the word; where that one was read before, about the other:
    whichever came first, they do not end as one series before somebody has said that they are one.

    Args:
        paths: Those that are to be read, below raw/.
        others: All files below raw/.
        dataset: What is looked for.
        sources: What raw/sources.toml says: who declared a market or a symbol has been asked.

    Returns:
        Path → what is to be asked.
    """

    def look(path: str) -> tuple[tuple[str, str, str], frozenset[str], bool]:
        told, declared = read_name(path.rsplit("/", 1)[-1], dataset.names), declared_for(path, sources)
        asked = bool(declared.market or declared.symbol or declared.ignore or not told.symbol)
        market = tell_market(_without_archive(path), told.words, "")
        words = frozenset[str]() if asked else strange_words(told.words)
        return (market, told.symbol, declared.interval or told.interval), words, asked

    new = {path: look(path) for path in paths}
    if not new:
        return {}
    if not any(words for _, words, _ in new.values()):  # as it mostly is: then most of the others are not looked at
        others = (path for path in others if may_be_strange(path.rsplit("/", 1)[-1], dataset.names))
    known = defaultdict[tuple[str, str, str], dict[frozenset[str], str]](dict)
    for path in (*others, *new):
        series, words, _ = new.get(path) or look(path)
        known[series].setdefault(words, path)
    found = dict[str, str]()
    for path, (series, words, asked) in new.items():
        for other_words, other in known[series].items() if not asked else ():
            if words - other_words:
                odd, word, plain = path, min(words - other_words), other
            elif other_words - words and other not in new:
                odd, word, plain = other, min(other_words - words), path
            else:
                continue
            market = series[0] or "default"
            line = f"market = {as_toml(f'{market}-{word}')}    # or {as_toml(market)}, if it is the same"
            where = "its name" if odd == path else f"the name of {odd}"
            found[path] = (
                f"{word!r} in {where} is not understood, and {plain} states the same series without that word; "
                f"if they are two things, {Subject(odd, dataset, declared_for(odd, sources)).how(line)}"
            )
            break
    return found


def tell_interval(subject: Subject, rows: pl.DataFrame, form: Form, even: Even | None = None) -> str:
    """Infer the interval from the spacing of the bars, or hold it against what the name tells.

    Args:
        subject: The file; what sources.toml says of its interval is taken at its word.
        rows: Its first bars.
        form: What is known of it.
        even: Their times, if they are so.

    Returns:
        The interval; empty if nothing tells it, and there are no bars; or if each line does.

    Raises:
        FileRefused: Nothing tells it, or the name and the bars tell different things.
    """
    named = form.interval
    if subject.declared.interval or rows.is_empty():
        return named
    if even and abs(even[1]) < DAY and not {*subject.dataset.partition} & {*form.columns}:
        found = _even_spacing(*even[1:])
    else:
        found = _spacings(subject, rows.head(FIRST_BARS), form)
    if "interval" in form.columns:
        return ""
    if named and not form.numbered:
        for apart, (_, count) in found.items():
            times = seconds_of(apart) / seconds_of(named)
            longer = apart in CUSTOMARY and (count >= 99 or (count >= 3 and times >= 7))  # fewer may well have gaps
            if times < 1 or (times > 1 and longer):
                raise FileRefused(_belied(subject, named, apart))
        return named
    apart, count = _agreed(found)
    if not named and not apart:
        how = subject.how(f'interval = "{UNSAID}"    # such as 1m, 45m, 4h, 1d, 1mo')
        raise FileRefused(
            "neither the name nor the spacing of the bars tells the interval; rename the file (as SYMBOL_1h.csv) or "
            + how
        )
    times = seconds_of(apart) / seconds_of(named) if named and apart else 1.0
    # A number may be that of a part. What proves it to be none of minutes is a shorter spacing, or many longer ones.
    if times > 1 and not times % 1 and times <= 12 and count < SOME:
        raise FileRefused(_belied(subject, named, apart))
    return apart or named


def _belied(subject: Subject, named: str, apart: str) -> str:
    how = subject.how(f'interval = "{apart}"')
    return f"the name tells bars of {named}, but they are {apart} apart; rename the file or {how}"


@lru_cache
def _even_spacing(step: int, bars: int) -> Mapping[str, tuple[str, int]]:
    """What `_spacings` finds of a series whose bars are so many microseconds apart, less than a day."""
    interval, count = spacing(pl.Series([step * n for n in range(bars)]).cast(pl.Datetime("us")))
    return {interval: ("", count)} if interval and count else {}


def _spacings(subject: Subject, rows: pl.DataFrame, form: Form) -> Mapping[str, tuple[str, int]]:
    """The intervals that bars prove, each within one series: interval → a series, and how many distances it has."""
    by = [name for name in subject.dataset.partition if name in form.columns]
    parts = rows.partition_by(by, as_dict=True, maintain_order=True) if by else {(): rows}
    found: dict[str, tuple[str, int]] = {}
    for series, part in parts.items():
        interval, count = spacing(part[subject.dataset.time])
        said = str(series[by.index("interval")]) if "interval" in by else ""
        if said and interval and seconds_of(interval) < seconds_of(said):
            name = column_name(form, form.columns.index("interval"))
            raise FileRefused(
                f"its column {name!r} tells bars of {said}, but some are {interval} apart; drop it, or mend it"
            )
        if interval and count > found.get(interval, ("", 0))[1]:
            found[interval] = " ".join(map(str, series)), count
    return found


def _agreed(found: Mapping[str, tuple[str, int]]) -> tuple[str, int]:
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
