"""What a file's entry in sources.toml says of its columns, and what is to be written there where a file is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from lakehouse.dataset import PRICES, Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    HEAD_LINES,
    Block,
    Cells,
    days_in,
    guess_columns,
    guess_formats,
    is_data,
    is_header,
    is_number,
    scales_of,
    split_line,
    table_in,
    time_words,
)
from lakehouse.recognise.sources import Declared, how_to_declare


def as_declared(path: str, lines: Sequence[str], cells: Cells, dataset: Dataset, declared: Declared) -> Form:
    """Read a file as sources.toml says that its columns are.

    Args:
        path: The file.
        lines: Its first lines.
        cells: Their fields.
        dataset: What rows are wanted.
        declared: Its entry.

    Returns:
        The form.

    Raises:
        FileRefused: The entry does not fit the contract, or not the file.
    """
    columns = [name for name in (*declared.columns, *(column for column, _ in declared.named)) if name]
    twice = {name for name in columns if columns.count(name) > 1 and name != dataset.time}
    missing = set() if declared.named else set(dataset.required) - set(columns)
    if twice or missing or not set(columns) <= set(dataset.synonyms):
        met = ", ".join(declared.columns or columns)
        raise FileRefused(
            f"raw/sources.toml gives its columns as {met}; expected {', '.join(dataset.required)}, each once "
            f"({dataset.time} twice where date and time stand apart), others of {', '.join(dataset.synonyms)}, "
            'and "" for what is not wanted'
        )
    if declared.named:
        return _by_names(lines, cells, dataset, declared)
    width = len(declared.columns)
    separator = max(cells, key=lambda s: sum(len(row) == width for row in cells[s]), default=",")
    rows = cells.get(separator, [])
    widths = Counter(len(row) for row in rows if len(row) > 1)
    usual = widths.most_common(1)[0][0] if widths else 1
    if usual not in (width, width + all(row[-1] == "" for row in rows if len(row) == usual)):
        shown = next(line for line, row in zip(lines, rows, strict=True) if len(row) == usual)
        raise FileRefused(
            f"raw/sources.toml names {width} columns, and its lines have {usual} fields, such as {shown[:120]!r}; "
            + how_to_declare(path, _columns_of(cells, dataset), declared)
        )
    first = next((n for n, row in enumerate(rows) if is_data(row, declared.columns, dataset)), 1)
    heads = [n for n, row in enumerate(rows[:first]) if is_header(row, declared.columns, dataset)]
    form = Form("declared", separator, declared.columns, market="default")
    if not heads:
        return form
    names = rows[heads[0]]
    known = dataset.name_columns(names)
    for said, called, name in zip(declared.columns, known if {*PRICES} <= {*known} else (), names, strict=False):
        ends = declared.label == "end" and {said, called} == {dataset.time, "close_time"}
        if said and called and said != called and {said, called} & {*dataset.required} and not ends:
            raise FileRefused(
                f"raw/sources.toml calls {said} what its header calls {name!r}; if the header is right, "
                + how_to_declare(path, _columns_of(cells, dataset), declared)
            )
    scales = scales_of(names, rows, form, dataset)
    return replace(form, banner=heads[0] + 1, header=lines[heads[0]], scales=scales)


def _by_names(lines: Sequence[str], cells: Cells, dataset: Dataset, declared: Declared) -> Form:
    wanted = dict(declared.named)
    names = {fold(name) for words in wanted.values() for name in words} - {""}
    for number, line in enumerate(lines[:HEAD_LINES]):
        for separator, rows in cells.items():
            columns = dataset.name_columns(rows[number], wanted)
            if not names <= {fold(name) for name in rows[number]} or not (names or set(dataset.required) <= {*columns}):
                continue
            if missing := [name for name in dataset.required if name not in columns]:
                raise FileRefused(
                    f"with the columns of raw/sources.toml its header {line[:200]!r} does not tell {missing[0]}; "
                    f'give its name too: {missing[0]} = "…"'
                )
            form = Form("declared", separator, columns, number + 1, line, "default")
            return replace(form, scales=scales_of(rows[number], rows, form, dataset))
    met = next((line for line in lines if line.strip()), "")
    raise FileRefused(
        f"raw/sources.toml names the columns {', '.join(name for words in wanted.values() for name in words)}, and "
        f"none of its first {HEAD_LINES} lines has these names; its first line is {met[:200]!r}"
    )


def _columns_of(cells: Cells, dataset: Dataset) -> str:
    """The line of TOML that tells the columns of a file, as far as they can be guessed."""
    names, rows = table_in(cells)
    known = dataset.name_columns(names) if names else [""] * len(rows[0] if rows else ())
    found = guess_columns(rows[:50], known, dataset.time) if rows else []
    if not names and not set(dataset.required) <= set(found):
        return 'columns = ["…", "…"]    # what each field is, in their order'
    if not set(dataset.required) <= set(found):  # nothing to paste: whoever knows the file knows the names
        return (
            'columns = { open_time = "…", open = "…", high = "…", low = "…", close = "…" }    # by its header\'s names'
        )
    if not names or len({*map(fold, names)}) < len(names):
        return f'columns = {json.dumps(found)}    # as the numbers suggest; "" is not used'
    words: dict[str, list[str]] = {}
    for name, column in zip(names, found, strict=True):
        if column:
            words.setdefault(column, []).append(name)
    said = ", ".join(
        f"{column} = {json.dumps(given if len(given) > 1 else given[0], ensure_ascii=False)}"
        for column, given in words.items()
    )
    return f"columns = {{ {said} }}"


def why_not(path: str, lines: Sequence[str], cells: Cells, dataset: Dataset, declared: Declared) -> str:
    """Say why a file has no layout, and what to do.

    Args:
        path: The file.
        lines: Its first lines.
        cells: Their fields.
        dataset: What was looked for.
        declared: What sources.toml says of it.
    """
    first = next((line for line in lines if line.strip()), "")
    for line in lines[:3]:
        row = split_line(line, max(cells, key=line.count, default=","))
        folded, of_data = [fold(name) for name in row], any(map(is_number, row))
        for refusal in dataset.refusals:
            met = all(any(re.search(p, name) for name in folded) for p in refusal.patterns)
            if met and of_data == refusal.of_data and not any(re.search(refusal.unless, name) for name in folded):
                return refusal.message
        if len(folded) in (3, 4) and all(name.isdigit() for name in folded):
            return (
                f"{len(folded)} numbers a line and no header: trades, not candles? (first line: {first[:120]!r}) "
                "Aggregate them to open, high, low, close, volume per interval first"
            )
    how = how_to_declare(path, _columns_of(cells, dataset), declared)
    return f"no layout that is known; its first line is {first[:120]!r}. If it holds bars, {how}"


def refuse_foreign(path: str, block: Block, form: Form, dataset: Dataset, declared: Declared) -> None:
    """Refuse a file if it is for the way in which it is written that its lines are no rows.

    Args:
        path: The file.
        block: Its first lines.
        form: As what they were read.
        dataset: What is looked for.
        declared: What sources.toml says of it.

    Raises:
        FileRefused: Several lines, and the same is wrong with each. Or ten, without a header, and most of them break
            one rule, as they do where the columns stand in another order.
    """
    rejected = block.rejected
    if rejected.height < 2:
        return
    if not form.header and form.layout != "declared" and block.read >= 10:
        commonest, times = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)[0]
        if commonest in dataset.rules and times > block.read / 2:
            raise FileRefused(
                f"{commonest} in {times} of its first {block.read} lines, such as {rejected['raw'][0][:120]!r}; it has "
                f"no header: if its columns stand in another order, {_how(path, rejected, form, dataset, declared)}"
            )
    if block.rows.height:
        return
    always = set.intersection(*map(set, rejected["reasons"]))
    told = (reason for reason in rejected["reasons"][0] if reason in always)
    foreign = (" is not a ", " fields, not ", "high is below", "low is above", "off the epoch")
    if reason := next((reason for reason in told if any(words in reason for words in foreign)), ""):
        raise FileRefused(
            f"{reason}, and so in all its lines, such as {rejected['raw'][0][:120]!r}; "
            + _advise(path, reason, rejected, form, dataset, declared)
        )


def why_none(path: str, rejected: pl.DataFrame, form: Form, dataset: Dataset, declared: Declared) -> str:
    """Say what is wrong with most lines of a file of which none is a row.

    Args: as for `refuse_foreign`; `rejected` are the lines.
    """
    (reason, times), *_ = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)
    advice = (
        _advise(path, reason, rejected, form, dataset, declared) if rejected.height > 1 else "mend it, or remove it"
    )
    return f"none of its lines is a bar: {reason} in {times}, such as {rejected['raw'][0][:120]!r}; {advice}"


def _how(path: str, rejected: pl.DataFrame, form: Form, dataset: Dataset, declared: Declared) -> str:
    lines = [*([form.header] if form.header else []), *rejected["raw"].head(100)]
    cells = {form.separator: [split_line(line, form.separator) for line in lines]}
    return how_to_declare(path, _columns_of(cells, dataset), declared)


def _advise(path: str, reason: str, rejected: pl.DataFrame, form: Form, dataset: Dataset, declared: Declared) -> str:
    rows = [split_line(line, form.separator) for line in rejected["raw"].head(200)]
    rows = [row for row in rows if len(row) == len(form.columns)]
    if reason.startswith(dataset.time) and "missing" not in reason:
        words = [word for word in time_words(rejected.head(200), form, dataset) if word]
        return _advise_time(path, words or [""], form, declared)
    column = reason.split(" ", 1)[0]
    if " is not a " in reason and column in form.columns and not form.decimal:
        word = next((row[form.columns.index(column)] for row in rows), "")
        if re.search(r"\d,\d{3}\b", word):
            return f"{word!r} may be read in two ways; " + how_to_declare(
                path, 'decimal = ","    # or ".", if commas stand between thousands', declared
            )
    if reason in dataset.rules and any(price in reason for price in PRICES):
        return "if its columns stand in another order, " + _how(path, rejected, form, dataset, declared)
    return "write numbers like 1234.5, and as many fields in each line as the header has"


def _advise_time(path: str, words: Sequence[str], form: Form, declared: Declared) -> str:
    if all(re.fullmatch(r"\d{1,2}:\d\d.*", word) for word in words):
        if len(days_in(path)) == 1:
            return "they tell hours and no day; if the day is that of the name, " + how_to_declare(
                path, "date_in_name = true", declared
            )
        return (
            "they tell hours and no day, which is read from a name such as AAPL_2024-01-31.csv with date_in_name = true"
        )
    found = guess_formats(words, form.interval)
    if len(found) == 1:
        return how_to_declare(path, f"time_format = {json.dumps(found[0])}", declared)
    if found:
        both = "\n    ".join(f"# time_format = {json.dumps(word)}" for word in found)
        return (
            f"they can be read as {' or as '.join(found)}, and nothing tells which is meant: take the # from one, and "
            + how_to_declare(path, both, declared)
        )
    if all(map(is_number, words)):
        return (
            f"{words[0]} is no date, and no time in seconds, milliseconds, microseconds or nanoseconds since 1970, as "
            "1709251200 is; the file's times are spoilt"
        )
    return "write times like 2024-01-31 09:30:00, or give their time_format, such as '%d/%m/%Y %H:%M', in sources.toml"
