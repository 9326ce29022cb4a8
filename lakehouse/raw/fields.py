"""Lines cut into fields: which are bars, which is a header, and what is no text at all."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.raw.numbers import is_number

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


def written_like(text: str, form: Form) -> re.Pattern[str]:
    """What matches texts whose lines are all written as the first bar of this one: other numbers, and the same signs.

    Args:
        text: The first lines of a file.
        form: What its fields are. What stands above the bars is the same.
    """
    *above, line = text.split("\n", form.banner + 1)[: form.banner + 1]
    number = r"-?\d++(?:\.\d++)?+"
    fields = [
        number if re.fullmatch(number, field) else re.sub(r"\d", r"\\d", re.escape(field))
        for field in line.rstrip("\r").split(form.separator)
    ]
    bar = re.escape(form.separator).join(fields)
    banner = "".join(re.escape(each + "\n") for each in above)
    return re.compile(rf"{banner}(?:{bar}(?:\r?\n|\Z))++", re.ASCII)


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
