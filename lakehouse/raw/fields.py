"""Lines cut into fields: which are bars, which is a header, what is no text at all; and what value a field has."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest

import polars as pl

from lakehouse.dataset import PRICES, Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.raw.numbers import decimal_of, from_word, is_number, said, scaled
from lakehouse.raw.times import COMPACT_TIMES, from_epoch, from_words

SEPARATORS = (",", ";", "\t", "|")
HEAD_LINES = 20  # banner lines and a header are looked for in these
Cells = Mapping[str, Sequence[Sequence[str]]]  # the first lines' fields, by separator


def split_line(line: str, separator: str) -> list[str]:
    """Split one line as CSV does: quotes are honoured, blanks around the fields removed."""
    if '"' not in line:
        fields = line.split(separator) if line else []
        return fields if " " not in line and line.isprintable() else [field.strip() for field in fields]
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:  # a stray carriage return
        return [field.strip() for field in line.split(separator)]


def has_digit(word: str) -> bool:
    """Whether a digit is in a word."""
    return word.isdigit() or any(map(str.isdigit, word))


def is_day(word: str, time_format: str) -> bool:
    """Whether a word is a day in one format."""
    try:
        return bool(time_format) and 1900 <= dt.datetime.strptime(word, time_format).year < 2100
    except ValueError:
        return False


def is_data(row: Sequence[str], columns: Sequence[str], dataset: Dataset, written: str = "") -> bool:
    """Whether a line has as many fields as columns, and a number wherever one is due.

    Args:
        row: Its fields.
        columns: What they are.
        dataset: Whose columns.
        written: How times are written, if that matters.
    """
    if len(row) != len(columns):
        return False
    times, numbers = _due(tuple(columns), dataset)
    if not all(re.fullmatch(written, row[i]) if written else has_digit(row[i]) for i in times):
        return False
    return all(is_number(row[i] or "0") for i in numbers)


@lru_cache
def _due(columns: tuple[str, ...], dataset: Dataset) -> tuple[list[int], list[int]]:
    """Where the time is due, and where numbers are."""
    times = [i for i, column in enumerate(columns) if column == dataset.time]
    return times, [i for i, column in enumerate(columns) if column in dataset.numeric and column != dataset.time]


def written_like(text: str, form: Form, time: str) -> re.Pattern[str]:
    """What matches texts whose lines are all written as the first bar of this one: other numbers, and the same signs.

    Args:
        text: The first lines of a file.
        form: What its fields are. What stands above the bars is the same.
        time: The column of times, which have as many digits.
    """
    *above, line = text.split("\n", form.banner + 1)[: form.banner + 1]
    number = r"-?\d++(?:\.\d++)?+"
    fields = [
        number if name != time and re.fullmatch(number, field) else re.sub(r"\d", r"\\d", re.escape(field))
        for name, field in zip_longest(form.columns, line.rstrip("\r").split(form.separator), fillvalue="")
    ]
    bar = re.escape(form.separator).join(fields)
    banner = "".join(re.escape(each + "\n") for each in above)
    return re.compile(rf"{banner}(?:{bar}(?:\r?\n|\Z))++", re.ASCII)


def tells_the_same(form: Form, text: str, dataset: Dataset) -> bool:
    """Whether the first bar shows what all the numbers of a file would: a decimal point, so prices are not parts.

    Args:
        form: How the file is read.
        text: Its first lines, all written alike. Where the first does not show it, they may all the same.
        dataset: Whose columns.
    """
    row = split_line(text.split("\n", form.banner + 1)[form.banner].rstrip("\r"), form.separator)
    numbers, time = {i: row[i] for i in number_places(form, dataset)}, row[form.columns.index(dataset.time)]
    return (
        form.decimal == "." == decimal_of(numbers.values())
        and any("." in number for i, number in numbers.items() if form.columns[i] in PRICES)
        and not any("," in number for number in numbers.values())
        and not (time.isdecimal() and len(time) in COMPACT_TIMES)
    )


def number_places(form: Form, dataset: Dataset) -> list[int]:
    """Where a form has numbers that may have a decimal mark."""
    return [i for i, name in enumerate(form.columns) if name and isinstance(dataset.schema[name], pl.Float64)]


def is_header(row: Sequence[str], columns: Sequence[str], dataset: Dataset) -> bool:
    """Whether a line above the first bar names its fields: as many as bars have, and mostly no numbers.

    Args: as for `is_data`.
    """
    if len(row) != len(columns) or not any(row):
        return False
    time = "".join(field for field, column in zip(row, columns, strict=True) if column == dataset.time)
    due = [field for field, column in zip(row, columns, strict=True) if column and column != dataset.time]
    words = sum(bool(field) and not is_number(field) for field in due)
    return (bool(time) and not has_digit(time)) or not any(map(is_number, row)) or words > len(due) / 2


def refuse_non_text(head: bytes) -> None:
    """Refuse what is no text, or another kind of text than CSV, by its first bytes."""
    start = head[:4096]
    if start.startswith(b"version https://git-lfs"):
        raise FileRefused("a Git LFS pointer, not the data; run `git lfs pull` and copy the real file")
    unmarked = 0 not in start[::2] and start[1::2].count(0) > len(start) // 3
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or unmarked:
        raise FileRefused("UTF-16 text; save it as UTF-8 (Excel: 'CSV UTF-8')")
    if start.startswith(b"PAR1"):
        raise FileRefused("a Parquet file under a .csv name; export it as CSV")
    if re.match(rb"\s*<(!|\?|html|head|body|error)", start, re.IGNORECASE):
        raise FileRefused("HTML or XML saved as .csv, probably an error page; download the file again")
    if len(re.findall(rb"[\x00-\x08\x0e-\x1f]", start)) > len(start) // 20:
        raise FileRefused(f"binary data, not text (it starts with {start[:8]!r}); is it packed under a wrong name?")
    if b"\r" in start and b"\n" not in head:
        raise FileRefused(
            "lines that end in a carriage return alone, as on old Macintoshes; convert them to line feeds"
        )


def word_of(name: str, form: Form, dataset: Dataset) -> pl.Expr:
    """The field of a column as text, joined if there are several.

    Args:
        name: The column.
        form: How its file is read.
        dataset: Whose columns.
    """
    places = [i for i, column in enumerate(form.columns) if column == name]
    fields = [said(pl.col("_fields").list.get(i, null_on_oob=True)) for i in places]
    if form.day and name == dataset.time:
        fields = [pl.lit(form.day), *fields]
    return fields[0] if len(fields) == 1 else pl.concat_str(fields, separator=" ")


def csv_dtype(dtype: pl.DataType | None, word: str, form: Form) -> pl.DataType:
    """As what the CSV parser is to read a column.

    Args:
        dtype: That of the contract, if it is kept.
        word: Its first field.
        form: How its file is read.
    """
    if isinstance(dtype, pl.Datetime) and word.isdigit() and not (form.time_format or form.day):
        return pl.Int64()
    return dtype if isinstance(dtype, pl.Int64 | pl.Float64) and form.decimal != "," else pl.String()


def of_cell(name: str, met: pl.DataType, form: Form, dataset: Dataset) -> pl.Expr:
    """Turn what the CSV parser gives into the contract's dtype; Args: as for `of_word`, and what it is read as."""
    cell = pl.col(f"_{name}")
    if isinstance(met, pl.String):
        word = pl.lit(f"{form.day} ") + said(cell) if form.day and name == dataset.time else said(cell)
        return of_word(word, name, form, dataset)
    time = isinstance(dataset.schema[name], pl.Datetime)
    return from_epoch(cell) if time else scaled(cell, form.scales.get(name, 1.0))


def of_word(word: pl.Expr, name: str, form: Form, dataset: Dataset) -> pl.Expr:
    """Turn text into the contract's dtype; null where that fails. Args: the text, and as for `word_of`."""
    dtype = dataset.schema[name]
    if isinstance(dtype, pl.Datetime):
        return from_words(word, form, _beside(form, dataset), own_only=name == dataset.time)
    if isinstance(dtype, pl.String):
        return dataset.spelling[name](word) if name in dataset.spelling else word
    number = from_word(word, form.decimal)
    if isinstance(dtype, pl.Int64):
        whole = pl.when(number == number.floor()).then(number.cast(pl.Int64, strict=False))
        return pl.coalesce(word.cast(pl.Int64, strict=False), whole)
    return scaled(number, form.scales.get(name, 1.0))


def _beside(form: Form, dataset: Dataset) -> list[str]:
    """The columns of the text that tell one series from another."""
    return [f"_{name}" for name in dataset.partition if name in form.columns]
