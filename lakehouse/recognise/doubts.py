"""What the lines of a file show to be doubtful: read without a word, they would be wrong."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import polars as pl

from lakehouse.dataset import PRICES, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    OFF_UNITS,
    Block,
    is_doubled,
    is_number,
    leaps,
    off_units,
    runs_on,
    split_line,
    without_volumes,
)
from lakehouse.recognise.advice import advise, advise_columns, time_words
from lakehouse.recognise.sniff import header_columns
from lakehouse.recognise.sources import Subject, as_toml

FEW = 2_000  # lines show what is to be seen
FOREIGN = (" is not a ", " fields, not ", "high is below", "low is above", "off the epoch")


def column_name(form: Form, place: int) -> str:
    """What the header calls a field; without a header, its number."""
    names = split_line(form.header, form.separator)
    return names[place] if place < len(names) else f"column {place + 1}"


def follow_headers(subject: Subject, block: Block, form: Form) -> Block:
    """Count the headers among the rejected lines as skipped, as files have them that were joined from several.

    One that names other columns, or the same in another order, is refused: what follows it must not be read so.
    Args: as for `refuse_rows`.
    """
    same = list[int]()
    if block.rejected.is_empty():
        return block
    worded = block.rejected.filter(~pl.col("raw").str.contains(r'^[\s"]*[-+.]?\d'))  # a header begins with a name
    for number, raw in worded.select("_line", "raw").iter_rows():
        names = split_line(raw, form.separator)
        columns = header_columns(names, subject.dataset)
        if [*map(fold, names)] == [*map(fold, split_line(form.header, form.separator))] or (
            columns and [name if name in form.columns else "" for name in columns] == list(form.columns)
        ):
            same.append(number)
        elif columns:
            raise FileRefused(
                f"line {number} is another header, {raw[:120]!r}, and names other columns than the lines above it, or "
                "the same in another order; cut the file in two before that line"
            )
    rejected = block.rejected.filter(~pl.col("_line").is_in(same)) if same else block.rejected
    return replace(block, rejected=rejected, read=block.read - len(same), skipped=block.skipped + len(same))


def refuse_foreign(subject: Subject, block: Block, form: Form) -> None:
    """Refuse a file if it is for the way in which it is written that its lines are no rows.

    It is if there are several, and the same is wrong with each. Or ten, without a header, and most of them break one
    rule, as they do where the columns stand in another order. Args: as for `refuse_rows`.
    """
    rejected = block.rejected
    if rejected.height < 2:
        return
    if not form.header and form.layout != "declared" and block.read >= 10:
        commonest, times = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)[0]
        if commonest in subject.dataset.rules and times > block.read / 2:
            raise FileRefused(
                f"{commonest} in {times} of its first {block.read} lines, such as {rejected['raw'][0][:120]!r}; it has "
                f"no header: {advise_columns(subject, rejected, form)}"
            )
    always = set.intersection(*map(set, rejected["reasons"])) if block.rows.is_empty() else set[str]()
    told = (reason for reason in rejected["reasons"][0] if reason in always)
    if reason := next((reason for reason in told if any(words in reason for words in FOREIGN)), ""):
        raise FileRefused(
            f"{reason}, and so in all its lines, such as {rejected['raw'][0][:120]!r}; "
            + advise(subject, rejected, form, reason)
        )


def refuse_swapped(subject: Subject, block: Block, form: Form) -> None:
    """Refuse a file if its declared format takes months for days, as its interval shows; Args: as for `refuse_rows`."""
    swapped = form.time_format.translate(str.maketrans("dm", "md"))
    named = form.interval and not form.interval.endswith("mo")
    if swapped != form.time_format and named and leaps(block.rows[subject.dataset.time].head(300)):
        raise FileRefused(
            f"read with {form.time_format} its bars are a month apart, and {form.interval} apart with the day and the "
            "month the other way round; " + subject.how(f"time_format = {as_toml(swapped)}")
        )


def refuse_doubled(subject: Subject, block: Block, form: Form) -> None:
    """Refuse a file that has one bar at a time that its clock has twice: which is it? Args: as for `refuse_rows`."""
    reason = f"{subject.dataset.time} is not a time that {form.time_zone} has once"
    odd = block.rejected.filter(pl.col("reasons").list.contains(reason)) if block.rejected.height else block.rejected
    if odd.is_empty():
        return
    doubled = is_doubled(pl.Series("word", time_words(subject, odd, form), pl.String), form)
    if doubled.any():
        raise FileRefused(
            f"clocks in {form.time_zone} have {odd.filter(doubled)['raw'][0][:60]!r} twice, and the file has it once: "
            f"say which is meant; {subject.how('doubled_hour = "first"    # or "second"')}"
        )


def refuse_rows(subject: Subject, block: Block, form: Form) -> None:
    """Refuse a file whose first rows, their interval told, show that they were not read as they are meant.

    Args:
        subject: The file.
        block: Its first lines.
        form: How they were read.
    """
    dataset, times = subject.dataset, block.rows[subject.dataset.time].head(60).cast(pl.Int64).to_list()
    # Of a file of one series the first lines have told it already.
    many = {"symbol", "volume", "quote_volume"} <= {*form.columns}
    if many and not subject.declared.tells_volumes and off_units(block.rows):
        raise FileRefused(f"{OFF_UNITS}; {subject.how(without_volumes(form))}")
    if len({*times}) > 0.4 * len(times):
        return
    stated = set(block.rows.head(60).select(*dataset.key, *PRICES).iter_rows())
    bars = {row[: len(dataset.key)] for row in stated}
    if len(times) > 2 and len(bars) < 0.4 * len(stated):
        raise FileRefused(
            f"its first {len(times)} lines state {len(bars)} time(s), each several times with other values: the "
            f"time is not whole, or another column tells the lines apart; {_whole_time(subject, form)}"
        )


def _whole_time(subject: Subject, form: Form) -> str:
    time, names = subject.dataset.time, split_line(form.header, form.separator)
    clock = next((i for i, name in enumerate(names) if fold(name) in ("time", "hour", "clock")), -1)
    if clock < 0 or form.columns[clock]:
        return "name the column that does"
    if form.layout == "declared":
        columns = [time if i == clock else name for i, name in enumerate(form.columns)]
        return subject.how(f"columns = {as_toml(columns)}")
    return subject.how(f"columns = {{ {time} = {as_toml([names[form.columns.index(time)], names[clock]])} }}")


def refuse_mixed(subject: Subject, block: Block, form: Form, text: bytes, first_line: int) -> None:
    """Refuse lines that state one bar otherwise than another line, if a column that is not kept tells them apart.

    They are of different things under one name: a share and a debenture, two assets, two months of expiry.

    Args:
        subject: The file.
        block: What some of its lines were parsed to.
        form: How.
        text: The lines.
        first_line: The number of the first of them.
    """
    dataset, rows = subject.dataset, block.rows
    if runs_on(rows[dataset.time]):  # as nearly all files do: nothing is repeated
        return
    key = [name for name in dataset.key if name in form.columns]
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
    often = rows.height > 2 and 2 * clashes.height > rows.height
    if (place := _telling(subject, shown["_key"], fields, form, often)) < 0:
        return
    name, met = column_name(form, place), [*dict.fromkeys(row[place] for row in fields if place < len(row))]
    symbol = [*(column_name(form, i) for i, column in enumerate(form.columns) if column == "symbol"), name]
    advice = "cut the file by it into one for each"
    if form.header:
        advice = subject.how(f"columns = {{ symbol = {as_toml(symbol if symbol[1:] else name)} }}")
    first, second = shown["_line"][:2]
    raise FileRefused(
        f"{clashes.height:,} of its lines state a bar otherwise than another does, such as lines {first} and "
        f"{second}, and its column {name!r} tells them apart ({', '.join(met[:3])}). Keep the lines that are meant, "
        f"or, if it belongs to the symbol, {advice}"
    )


def _telling(subject: Subject, keys: pl.Series, fields: list[list[str]], form: Form, often: bool) -> int:
    """The first field that is not kept and differs within each key; -1 if there is none.

    It holds text; or, where most lines repeat a key, anything that comes again at other times, as a year of expiry or a
    strike does, and a price does not.
    """
    header = [fold(name) for name in split_line(form.header, form.separator)]
    for place, column in enumerate(form.columns):
        words = [row[place] if place < len(row) else "" for row in fields]
        timely = header[place : place + 1] and header[place] in subject.dataset.synonyms[subject.dataset.time]
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
