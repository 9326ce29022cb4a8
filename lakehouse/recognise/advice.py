"""What is to be written into sources.toml where a file is refused: made from the file's own lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import polars as pl

from lakehouse.dataset import PRICES, Form, fold
from lakehouse.raw import (
    Cells,
    days_in,
    guess_columns,
    guess_formats,
    is_number,
    split_line,
    table_in,
)
from lakehouse.recognise.sources import Subject, as_toml


def columns_line(subject: Subject, cells: Cells) -> str:
    """The line of TOML that tells the columns of a file, as far as its first lines' fields let them be guessed."""
    dataset, (names, rows) = subject.dataset, table_in(cells)
    known = dataset.name_columns(names) if names else [""] * len(rows[0] if rows else ())
    found = guess_columns(rows[:50], known, dataset.time) if rows else []
    if not set(dataset.required) <= set(found):  # nothing to paste: whoever knows the file knows the names
        if not names:
            return 'columns = ["…", "…"]    # what each field is, in their order'
        wanted = ", ".join(f'{column} = "…"' for column in dataset.required)
        return f"columns = {{ {wanted} }}    # by its header's names"
    if not names or len({*map(fold, names)}) < len(names):
        return f'columns = {as_toml(found)}    # as the numbers suggest; "" is not used'
    words = {column: [name for name, c in zip(names, found, strict=True) if c == column] for column in found if column}
    said = (f"{column} = {as_toml(given if given[1:] else given[0])}" for column, given in words.items())
    return f"columns = {{ {', '.join(said)} }}"


def why_not(subject: Subject, lines: Sequence[str], cells: Cells) -> str:
    """Say why a file has no layout, and what to do. Args: the file, its first lines, their fields."""
    first = next((line for line in lines if line.strip()), "")
    for line in lines[:3]:
        row = split_line(line, max(cells, key=line.count, default=","))
        folded, of_data = [fold(name) for name in row], any(map(is_number, row))
        for refusal in subject.dataset.refusals:
            met = all(any(re.search(p, name) for name in folded) for p in refusal.patterns)
            if met and of_data == refusal.of_data and not any(re.search(refusal.unless, name) for name in folded):
                return refusal.message
        if len(folded) in (3, 4) and all(name.isdigit() for name in folded):
            return (
                f"{len(folded)} numbers a line and no header: trades, not candles? (first line: {first[:120]!r}) "
                "Aggregate them to open, high, low, close, volume per interval first"
            )
    how = subject.how(columns_line(subject, cells))
    return f"no layout that is known; its first line is {first[:120]!r}. If it holds bars, {how}"


def why_none(subject: Subject, rejected: pl.DataFrame, form: Form) -> str:
    """Say what is wrong with most lines of a file of which none is a row; Args: as for `advise`."""
    (reason, times), *_ = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)
    advice = advise(subject, rejected, form, reason) if rejected.height > 1 else "mend it, or remove it"
    return f"none of its lines is a bar: {reason} in {times}, such as {rejected['raw'][0][:120]!r}; {advice}"


def advise(subject: Subject, rejected: pl.DataFrame, form: Form, reason: str) -> str:
    """Say what to do where the same is wrong with all lines.

    Args:
        subject: The file.
        rejected: Some of its lines.
        form: How they were read.
        reason: Why they were rejected.
    """
    column, rule = reason.split(" ", 1)[0], reason in subject.dataset.rules
    if column == subject.dataset.time and "missing" not in reason:
        words = [word for word in time_words(subject, rejected.head(200), form) if word]
        return _advise_time(subject, words or [""], form)
    if not rule and column in form.columns and not form.decimal:
        rows = (split_line(line, form.separator) for line in rejected["raw"].head(200))
        word = next((row[form.columns.index(column)] for row in rows if len(row) == len(form.columns)), "")
        if re.search(r"\d,\d{3}\b", word):
            line = 'decimal = ","    # or ".", if commas stand between thousands'
            return f"{word!r} may be read in two ways; {subject.how(line)}"
    if rule and any(price in reason for price in PRICES):
        return advise_columns(subject, rejected, form)
    return "write numbers like 1234.5, and as many fields in each line as the header has"


def advise_columns(subject: Subject, rejected: pl.DataFrame, form: Form) -> str:
    """Say how to declare other columns; Args: as for `advise`."""
    lines = [*filter(None, [form.header]), *rejected["raw"].head(100)]
    cells = {form.separator: [split_line(line, form.separator) for line in lines]}
    return f"if its columns stand in another order, {subject.how(columns_line(subject, cells))}"


def time_words(subject: Subject, rejected: pl.DataFrame, form: Form) -> list[str]:
    """The words of rejected lines where the time is due; Args: as for `advise`."""
    places = [i for i, name in enumerate(form.columns) if name == subject.dataset.time]
    rows = [split_line(line, form.separator) for line in rejected["raw"]]
    return [" ".join(row[i] for i in places if i < len(row)) for row in rows]


def _advise_time(subject: Subject, words: Sequence[str], form: Form) -> str:
    if all(re.fullmatch(r"\d{1,2}:\d\d.*", word) for word in words):
        told = "they tell hours and no day"
        if len(days_in(subject.path)) == 1:
            return f"{told}; if the day is that of the name, {subject.how('date_in_name = true')}"
        return f"{told}, which is read from a name such as AAPL_2024-01-31.csv with date_in_name = true"
    formats = guess_formats(words, form.interval)
    found = [f"time_format = {as_toml(one)}" for one in formats]
    if len(found) == 1:
        return subject.how(found[0])
    if found:
        both = f"they can be read as {' or as '.join(formats)}, and nothing tells which is meant"
        how = subject.how("\n    ".join(f"# {line}" for line in found))
        return f"{both}: take the # from one, and {how}"
    if all(map(is_number, words)):
        return (
            f"{words[0]} is no date, and no time in seconds, milliseconds, microseconds or nanoseconds since 1970, as "
            "1709251200 is; the file's times are spoilt"
        )
    return "write times like 2024-01-31 09:30:00, or give their time_format, such as '%d/%m/%Y %H:%M', in sources.toml"
