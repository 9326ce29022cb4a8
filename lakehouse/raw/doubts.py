"""What the first rows of a file show to be doubtful: read without a word, they would be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import polars as pl

from lakehouse.dataset import PRICES, Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw.fields import split_line
from lakehouse.raw.numbers import is_number
from lakehouse.raw.parse import Block
from lakehouse.raw.times import is_doubled, leaps, runs_on, told_label
from lakehouse.raw.units import off_units

FEW = 2_000  # lines show what is to be seen
How = Callable[[str], str]  # a line of TOML → how to write it into sources.toml


def refuse_doubled(block: Block, form: Form, dataset: Dataset, how: How) -> None:
    """Refuse a file that has one bar at a time that its clock has twice: which of the two hours is it?

    Args:
        block: Some of its lines.
        form: How it is read.
        dataset: What is looked for.
        how: How to write something into sources.toml.
    """
    reason = f"{dataset.time} is not a time that {form.time_zone} has once"
    odd = block.rejected.filter(pl.col("reasons").list.contains(reason)) if block.rejected.height else block.rejected
    if odd.height:
        doubled = is_doubled(pl.Series("word", time_words(odd, form, dataset), pl.String), form)
        if doubled.any():
            advice = how('doubled_hour = "first"    # or "second"')
            raise FileRefused(
                f"clocks in {form.time_zone} have {odd.filter(doubled)['raw'][0][:60]!r} twice, and the file has it "
                f"once: say which is meant; {advice}"
            )


def refuse_rows(block: Block, form: Form, dataset: Dataset, how: How, *, said: bool = False) -> None:
    """Refuse a file whose first rows show that they were not read as they are meant.

    Args:
        block: Its first lines.
        form: How it is read, its interval told.
        dataset: What is looked for.
        how: How to write something into sources.toml.
    """
    refuse_doubled(block, form, dataset, how)
    # Of a file of one series the first lines have told it already.
    if {"symbol", "volume", "quote_volume"} <= {*form.columns} and not said and off_units(block.rows):
        raise FileRefused(
            "its volumes are in another unit than the base and the quote asset: what was paid for one piece does not "
            "lie between low and high; " + how(_without_volumes(form))
        )
    first = block.rows.head(60)
    if len({*first[dataset.time].to_physical()}) > 0.4 * first.height:
        return
    stated = set(first.select(*dataset.key, *PRICES).iter_rows())
    times = {row[: len(dataset.key)] for row in stated}
    if first.height > 2 and len(times) < 0.4 * len(stated):
        raise FileRefused(
            f"its first {first.height} lines state {len(times)} time(s), each several times with other values: the "
            f"time is not whole, or another column tells the lines apart; " + _whole_time(form, dataset, how)
        )


def refuse_swapped(rows: pl.DataFrame, form: Form, dataset: Dataset, how: How) -> None:
    """Refuse a file if its declared format takes the months of its times for days, as its name's interval shows.

    Args:
        rows: Its first rows.
        form: How it is read.
        dataset: What is looked for.
        how: How to write something into sources.toml.
    """
    swapped = form.time_format.translate(str.maketrans("dm", "md"))
    if (
        swapped != form.time_format
        and form.interval
        and not form.interval.endswith("mo")
        and leaps(rows.head(300)[dataset.time])
    ):
        raise FileRefused(
            f"read with {form.time_format} its bars are a month apart, and {form.interval} apart with the day and the "
            "month the other way round; " + how(f"time_format = {json.dumps(swapped)}")
        )


def _without_volumes(form: Form) -> str:
    if form.header:
        return 'columns = { volume = "", quote_volume = "" }    # or the names of the columns that they are'
    columns = ["" if name in ("volume", "quote_volume") else name for name in form.columns]
    return f"columns = {json.dumps(columns)}    # without the volumes"


def _whole_time(form: Form, dataset: Dataset, how: How) -> str:
    names = split_line(form.header, form.separator)
    clock = next((i for i, name in enumerate(names) if fold(name) in ("time", "hour", "clock")), -1)
    place = form.columns.index(dataset.time)
    if clock < 0 or form.columns[clock]:
        return "name the column that does"
    if form.layout == "declared":
        columns = [dataset.time if i == clock else name for i, name in enumerate(form.columns)]
        return how(f"columns = {json.dumps(columns)}")
    both = json.dumps([names[place], names[clock]], ensure_ascii=False)
    return how(f"columns = {{ {dataset.time} = {both} }}")


def tell_label(times: pl.Series, interval: str, form: Form, how: How) -> str:
    """Tell whether bars carry the time at which they begin, or at which they end.

    Args:
        times: Of its first bars.
        interval: How long they are.
        form: How it is read.
        how: How to write something into sources.toml.

    Returns:
        `start` or `end`; empty if there are no bars yet.

    Raises:
        FileRefused: It may be either.
    """
    if times.is_empty():
        return ""
    label = told_label(times, interval, form.time_zone)
    if label == "?":
        advice = how('label = "end"    # or "start"')
        raise FileRefused(
            f"its bars of {interval} carry days such as {times[0]:%A %Y-%m-%d}: does it begin or end one? {advice}"
        )
    return label


def time_words(rejected: pl.DataFrame, form: Form, dataset: Dataset) -> list[str]:
    """The words of rejected lines where the time is due.

    Args:
        rejected: The lines.
        form: Which field is which.
        dataset: Whose time.
    """
    places = [i for i, name in enumerate(form.columns) if name == dataset.time]
    rows = [split_line(line, form.separator) for line in rejected["raw"]]
    return [" ".join(row[i] for i in places if i < len(row)) for row in rows]


def refuse_mixed(text: bytes, first_line: int, block: Block, form: Form, dataset: Dataset, how: How) -> None:
    """Refuse lines that state one bar otherwise than another line, if a column that is not kept tells them apart.

    They are of different things under one name: a share and a debenture, two assets, two months of expiry.

    Args:
        text: The lines.
        first_line: The number of the first of them.
        block: What they were parsed to.
        form: How.
        dataset: Whose key.
        how: How to write something into sources.toml.
    """
    key, rows = [name for name in dataset.key if name in form.columns], block.rows
    if runs_on(rows[dataset.time]):  # as nearly all files do: nothing is repeated
        return
    time, falling = pl.col(dataset.time), rows[dataset.time][0] > rows[dataset.time][-1]
    back = time >= time.cum_min().shift() if falling else time <= time.cum_max().shift()  # who repeats steps back
    suspect = rows.filter(time.is_in(rows.filter(back)[dataset.time].implode()))
    repeated = suspect.filter(pl.struct(key).is_duplicated()).select("_line", *key, *dataset.values)
    said = repeated.unique([*key, *dataset.values]).group_by(key).len().filter(pl.col("len") > 1)
    clashes = repeated.join(said, on=key, how="semi").sort(*key, "_line").select("_line", _key=pl.struct(key).rle_id())
    if clashes.is_empty():
        return
    lines, shown = text.split(b"\n"), clashes.head(FEW)
    fields = [split_line(lines[n - first_line].decode("utf-8", "replace"), form.separator) for n in shown["_line"]]
    place = _telling(shown["_key"], fields, form, dataset, often=rows.height > 2 and 2 * clashes.height > rows.height)
    if place < 0:
        return
    name, met = column_name(form, place), [*dict.fromkeys(row[place] for row in fields if place < len(row))]
    symbol = [*(column_name(form, i) for i, column in enumerate(form.columns) if column == "symbol"), name]
    advice = "cut the file by it into one for each"
    if form.header:
        advice = how(f"columns = {{ symbol = {json.dumps(symbol if symbol[1:] else name, ensure_ascii=False)} }}")
    first, second = shown["_line"][:2]
    raise FileRefused(
        f"{clashes.height:,} of its lines state a bar otherwise than another does, such as lines {first} and "
        f"{second}, and its column {name!r} tells them apart ({', '.join(met[:3])}). Keep the lines that are meant, "
        f"or, if it belongs to the symbol, {advice}"
    )


def _telling(keys: pl.Series, fields: list[list[str]], form: Form, dataset: Dataset, *, often: bool) -> int:
    """The first field that is not kept and differs within each key; -1 if there is none.

    It holds text; or, where most lines repeat a key, anything that comes again at other times, as a year of expiry or a
    strike does, and a price does not.
    """
    header = [fold(name) for name in split_line(form.header, form.separator)]
    for place, column in enumerate(form.columns):
        words = [row[place] if place < len(row) else "" for row in fields]
        timely = header[place : place + 1] and header[place] in dataset.synonyms[dataset.time]
        if column or timely or len(set(words)) < 2 or any(re.search(r"\d:\d\d", word) for word in words):
            continue
        apart = pl.DataFrame({"key": keys, "word": words}).group_by("key").agg(pl.col("word").n_unique(), n=pl.len())
        if (apart["word"] < apart["n"]).sum() > 0.1 * apart.height:
            continue
        text = not any(is_number(word) or re.search(r"\d[-/.]\d", word) for word in words)
        flags = {word.lower() for word in words} <= {"true", "false", "yes", "no", "y", "n", "t", "f", ""}
        if (text and not flags) or (often and 2 * len(set(words)) <= len(words)):
            return place
    return -1


def column_name(form: Form, place: int) -> str:
    """What the header calls a field; without a header, its number."""
    names = split_line(form.header, form.separator)
    return names[place] if place < len(names) else f"column {place + 1}"
