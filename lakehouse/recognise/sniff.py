"""What the first lines of a file show: whether it is text at all, and which layout it has."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw import COMPACT_TIMES, split_line
from lakehouse.recognise.names import COINS, MONEY
from lakehouse.recognise.sources import how_to_declare

SEPARATORS = (",", ";", "\t", "|")
HEAD_LINES = 20  # banner lines and a header are looked for in these
TELLING_LINES = 300  # tell the layout and the writing of times, by majority: any one of them may be a slip
Cells = Mapping[str, Sequence[Sequence[str]]]  # the first lines' fields, by separator


def sniff(path: str, head: bytes, dataset: Dataset, columns: Sequence[str]) -> Form:
    """Tell the layout of a file by its first lines.

    Args:
        path: The path below raw/, for messages.
        head: The first bytes of the unpacked file.
        dataset: Whose layouts are looked for.
        columns: What sources.toml says that the fields are; empty if it says nothing.

    Returns:
        The form as far as the lines tell it.

    Raises:
        FileRefused: It is something else; the message says what to do.
    """
    _refuse_non_text(head)
    lines = [line.rstrip("\r") for line in head.decode("utf-8", "backslashreplace").split("\n")[:TELLING_LINES]]
    cells = {s: [split_line(line, s) for line in lines] for s in SEPARATORS if any(s in line for line in lines)}
    if columns:
        form: Form | None = _as_declared(lines, cells, dataset, columns)
    else:
        form = _by_header(lines, cells, dataset) or _by_position(lines, cells, dataset)
    if form is None:
        raise FileRefused(_why_not(path, lines, dataset))
    return replace(form, time_format=_compact_format(form, cells, dataset))


def _refuse_non_text(head: bytes) -> None:
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


def _as_declared(lines: Sequence[str], cells: Cells, dataset: Dataset, columns: Sequence[str]) -> Form:
    named = [name for name in columns if name]
    if not (set(dataset.required) <= set(named) <= set(dataset.synonyms) and len(set(named)) == len(named)):
        raise FileRefused(
            f"raw/sources.toml gives its columns as {', '.join(columns)}; expected {', '.join(dataset.required)}, each "
            f'once, others of {", ".join(dataset.synonyms)}, and "" for what is not wanted'
        )
    separator = max(cells, key=lambda s: sum(len(row) == len(columns) for row in cells[s]), default=",")
    headed = bool(cells) and not any(map(_has_digit, cells[separator][0]))
    return Form("declared", separator, tuple(columns), int(headed), lines[0] if headed else "", "default")


def _by_header(lines: Sequence[str], cells: Cells, dataset: Dataset) -> Form | None:
    for number, line in enumerate(lines[:HEAD_LINES]):
        if line.isascii() and not any(map(str.isalpha, line)):
            continue  # numbers alone
        for separator, rows in cells.items():
            folded = [fold(name) for name in rows[number]]
            columns = header_columns(folded, dataset)
            if not columns:
                continue
            twice = [name for name, column in zip(folded, columns, strict=True) if column and folded.count(name) > 1]
            if twice:
                raise FileRefused(
                    f"its header names '{twice[0]}' more than once: {line[:200]!r}; drop what is not meant"
                )
            layout = next(h for h in dataset.headed if h.is_of(folded))
            # Exports that were joined have bars before a header; only what is no bar is a banner.
            time = columns.index(dataset.time)
            bars = (n for n in range(number) if len(rows[n]) == len(columns) and _has_digit(rows[n][time]))
            banner = next(bars, number + 1)
            return Form(layout.name, separator, columns, banner, line, layout.market, layout.symbol)
    return None


def header_columns(folded: Sequence[str], dataset: Dataset) -> tuple[str, ...] | None:
    """Tell which column each field of a header is.

    Args:
        folded: Its names, as `fold` writes them.
        dataset: Whose columns are looked for.

    Returns:
        Columns, "" for a field that is not kept; None if a required column is not there.
    """
    places = {name: i for i, name in reversed(list(enumerate(folded)))}
    found: dict[int, str] = {}
    for column, words in dataset.synonyms.items():
        for word in words:
            at = [places.get(part, -1) for part in word.split("+")]
            if -1 not in at and at == sorted(at):
                found |= dict.fromkeys(at, column)
                break
    if not set(dataset.required) <= set(found.values()):
        return None
    # CryptoDataDownload writes the assets into the names of the volumes, the base asset's first.
    volumes = [i for i, name in enumerate(folded) if name.startswith("volume")]
    assets = {f"volume{name}" for name in f"{MONEY}|{COINS}".lower().split("|")}
    told = [folded[i] in assets for i in volumes]
    if "symbol" in found.values() and len(told) == 2 and (told[1] or (told[0] and folded[volumes[1]] == "volume")):
        found = {i: c for i, c in found.items() if c not in ("volume", "quote_volume")}
        found |= dict(zip(volumes, ("volume", "quote_volume"), strict=True))
    return tuple(found.get(i, "") for i in range(len(folded)))


def _by_position(lines: Sequence[str], cells: Cells, dataset: Dataset) -> Form | None:
    """Take the first layout that most lines fit: as many fields, and a number wherever one is due.

    It need not be the one that the most fit: any line of Kraken's is one of MetaTrader's too, and a slip in one
    must not outvote the others.
    """
    forms = [Form(p.name, s, p.fields, market=p.market) for p in dataset.positional for s in p.separators if s in cells]
    fits = [sum(_is_data(row, form.columns, dataset) for row in cells[form.separator]) for form in forms]
    if not any(fits):
        return None
    form = next(form for form, fit in zip(forms, fits, strict=True) if fit > max(fits) / 2)
    rows = cells[form.separator]
    first = next(n for n, row in enumerate(rows) if _is_data(row, form.columns, dataset))
    # With a header whose names are not known, the columns may stand in any order.
    return None if any(_is_header(row, form.columns, dataset) for row in rows[:first]) else form


def _is_header(row: Sequence[str], columns: Sequence[str], dataset: Dataset) -> bool:
    """Whether a line above the first bar names its fields: none is a number, or none like a time where one is due."""
    time = "".join(field for field, column in zip(row, columns, strict=False) if column == dataset.time)
    named = not any(map(_is_number, row)) or (bool(time) and not _has_digit(time))
    return len(row) == len(columns) and any(row) and named


def _is_data(row: Sequence[str], columns: Sequence[str], dataset: Dataset) -> bool:
    """Whether a line has as many fields as columns, and a number wherever one is due."""
    return len(row) == len(columns) and all(
        _has_digit(field) if column == dataset.time else _is_number(field or "0")
        for field, column in zip(row, columns, strict=True)
        if column and not isinstance(dataset.schema[column], pl.String)
    )


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _compact_format(form: Form, cells: Cells, dataset: Dataset) -> str:
    """The format of times such as 202403011200, digits alone and yet no epoch; empty if most are none."""
    if form.columns.count(dataset.time) > 1:
        return ""
    place = form.columns.index(dataset.time)
    words = (row[place] for row in cells.get(form.separator, ()) if len(row) == len(form.columns))
    digits = [word for word in words if word.isdecimal()]
    days = Counter(len(word) for word in digits if _is_day(word, COMPACT_TIMES.get(len(word), "")))
    ((length, count),) = days.most_common(1) or [(0, 0)]
    return COMPACT_TIMES[length] if count > len(digits) / 2 else ""


def _is_day(word: str, time_format: str) -> bool:
    try:
        return bool(time_format) and 1900 <= dt.datetime.strptime(word, time_format).year < 2100
    except ValueError:
        return False


def _why_not(path: str, lines: Sequence[str], dataset: Dataset) -> str:
    first = next((line for line in lines if line.strip()), "")
    for line in lines[:3]:
        folded = [fold(name) for name in split_line(line, max(SEPARATORS, key=line.count))]
        for refusal in dataset.refusals:
            met = all(any(re.search(p, name) for name in folded) for p in refusal.patterns)
            if met and not any(re.search(refusal.unless, name) for name in folded):
                return refusal.message
        if len(folded) in (3, 4) and all(name.isdigit() for name in folded):
            return (
                f"{len(folded)} numbers a line and no header: trades, not candles? (first line: {first[:120]!r}) "
                "Aggregate them to open, high, low, close, volume per interval first"
            )
    how = how_to_declare(path, 'columns = ["open_time", "open", "high", "low", "close", "volume"]')
    return f"no layout that is known; its first line is {first[:120]!r}. If it holds bars, {how}"
