"""What the first lines of a file show: whether it is text at all, and which layout it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

import polars as pl

from lakehouse.dataset import PRICES, Dataset, Form, fold, plain_names
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    COMPACT_TIMES,
    HEAD_LINES,
    SEPARATORS,
    Cells,
    days_in,
    decimal_of,
    has_digit,
    is_data,
    is_day,
    is_header,
    refuse_non_text,
    scales_of,
    split_line,
    with_units,
)
from lakehouse.recognise.advice import as_declared, why_not
from lakehouse.recognise.markets import habits_of
from lakehouse.recognise.names import COINS, MONEY
from lakehouse.recognise.sources import Declared, how_to_declare

SOME_BARS = 40  # show the units
TELLING_LINES = 300  # tell the layout and the writing of times, by majority: any one of them may be a slip


def sniff(path: str, head: bytes, dataset: Dataset, declared: Declared) -> Form:
    """Tell the layout of a file by its first lines.

    Args:
        path: The path below raw/, for messages.
        head: The first bytes of the unpacked file.
        dataset: Whose layouts are looked for.
        declared: What sources.toml says of the file.

    Returns:
        The form as far as the lines tell it.

    Raises:
        FileRefused: It is something else; the message says what to do.
    """
    refuse_non_text(head)
    lines = [line.rstrip("\r") for line in head.decode("utf-8", "backslashreplace").split("\n")[:TELLING_LINES]]
    cells = {s: [split_line(line, s) for line in lines] for s in SEPARATORS if any(s in line for line in lines)}
    if declared.columns or declared.named:
        form: Form | None = as_declared(path, lines, cells, dataset, declared)
    else:
        form = _by_header(lines, cells, dataset) or _by_position(lines, cells, dataset)
    if form is None:
        raise FileRefused(why_not(path, lines, cells, dataset, declared))
    form = _with_ragged_end(form, cells.get(form.separator, ()))
    rows = [row for row in cells.get(form.separator, ())[form.banner :] if len(row) == len(form.columns)]
    clock, note = habits_of(path)
    by_hour = declared.date_in_name and declared.time_format
    time_format = f"%Y-%m-%d {declared.time_format}" if by_hour else declared.time_format
    form = replace(
        form,
        decimal=declared.decimal or decimal_of(_numbers(rows, form, dataset)),
        time_zone=declared.time_zone or clock or form.time_zone,
        time_format=time_format or _compact_format(form, rows, dataset),
        doubled_hour=declared.doubled_hour,
        label=declared.label or form.label,
        scales={**form.scales, **_scales(declared)},
        day=_day_of(path, declared) if declared.date_in_name else "",
        notes=(note,) if note else () if declared.time_zone else form.notes,
    )
    bars = [row for row in rows[:SOME_BARS] if is_data(row, form.columns, dataset)]
    form, fault, line = with_units(form, bars, dataset, said=declared.tells_volumes)
    if fault:
        raise FileRefused(f"{fault}; {how_to_declare(path, line, declared)}")
    return form


def _day_of(path: str, declared: Declared) -> str:
    days = days_in(path)
    if len(days) != 1:
        raise FileRefused(
            f"raw/sources.toml says of {declared.glob!r} that a date stands in the name, and in this name "
            f"{'none does' if not days else 'stand several'}; expected one such as 2024-01-31 or 20240131"
        )
    return days[0]


def _scales(declared: Declared) -> dict[str, float]:
    prices = dict.fromkeys(PRICES, declared.price_scale) if declared.price_scale else {}
    volumes = dict.fromkeys(("volume", "taker_buy_volume"), declared.volume_scale) if declared.volume_scale else {}
    return prices | volumes


def _with_ragged_end(form: Form, rows: Sequence[Sequence[str]]) -> Form:
    """Allow for a separator at the end of every line but the header, or of the header alone."""
    widths = Counter(len(row) for row in rows[form.banner :] if row)
    width = len(form.columns)
    if form.header and widths and (usual := widths.most_common(1)[0][0]) != width:
        if usual == width + 1 and all(row[-1] == "" for row in rows[form.banner :] if len(row) == usual):
            return replace(form, columns=(*form.columns, ""))
        if usual == width - 1 and not form.columns[-1] and not split_line(form.header, form.separator)[-1]:
            return replace(form, columns=form.columns[:-1])
    return form


def _numbers(rows: Sequence[Sequence[str]], form: Form, dataset: Dataset) -> list[str]:
    """The words where numbers with decimals are due, of some lines."""
    places = [i for i, n in enumerate(form.columns) if n and isinstance(dataset.schema[n], pl.Float64)]
    return [row[i] for row in rows[:SOME_BARS] for i in places]


def _by_header(lines: Sequence[str], cells: Cells, dataset: Dataset) -> Form | None:
    for number, line in enumerate(lines[:HEAD_LINES]):
        if line.isascii() and not any(map(str.isalpha, line)):
            continue  # numbers alone
        for separator, rows in cells.items():
            names = rows[number]
            columns = header_columns(names, dataset)
            if not columns:
                continue
            folded = plain_names(names)
            twice = [name for name, column in zip(folded, columns, strict=True) if column and folded.count(name) > 1]
            if twice:
                raise FileRefused(
                    f"its header names '{twice[0]}' more than once: {line[:200]!r}; drop what is not meant"
                )
            layout = next(h for h in dataset.headed if h.is_of(folded))
            # Exports that were joined have bars before a header; only what is no bar is a banner.
            time = columns.index(dataset.time)
            bars = (n for n in range(number) if len(rows[n]) == len(columns) and has_digit(rows[n][time]))
            banner = next(bars, number + 1)
            form = Form(layout.name, separator, columns, banner, line, layout.market, layout.symbol)
            ends = folded[time] in dataset.synonyms["close_time"]
            notes = [layout.note, _unused(names, columns, dataset)]
            return replace(
                form,
                label="end" if ends else "",
                scales=scales_of(names, rows, form, dataset),
                notes=tuple(filter(None, notes)),
            )
    return None


def _unused(names: Sequence[str], columns: Sequence[str], dataset: Dataset) -> str:
    """Say which names are nearly, but not quite, those of a column that the file does not have."""
    known = {word: column for column, words in dataset.synonyms.items() if column not in columns for word in words}
    near = [
        (name, known[match[0]])
        for name, column in zip(names, columns, strict=True)
        if not column and (match := get_close_matches(fold(name), [word for word in known if len(word) > 3], 1, 0.85))
    ]
    return "; ".join(f"its column {name!r} was not used; if it is {column}, call it so" for name, column in near)


def header_columns(names: Sequence[str], dataset: Dataset) -> tuple[str, ...] | None:
    """Tell which column each field of a header is.

    Args:
        names: The fields.
        dataset: Whose columns are looked for.

    Returns:
        Columns, "" for a field that is not kept; None if a required column is not there. Where only the end of a bar
        is told, it stands for its time.
    """
    columns = dataset.name_columns(names)
    if dataset.time not in columns:
        columns = tuple(dataset.time if name == "close_time" else name for name in columns)
    if not set(dataset.required) <= set(columns):
        return None
    folded = [fold(name) for name in names]
    # CryptoDataDownload writes the assets into the names of the volumes, the base asset's first.
    volumes = [i for i, name in enumerate(folded) if name.startswith("volume")]
    assets = {f"volume{name}" for name in f"{MONEY}|{COINS}".lower().split("|")}
    told = [folded[i] in assets for i in volumes]
    if "symbol" in columns and len(told) == 2 and (told[1] or (told[0] and folded[volumes[1]] == "volume")):
        found = {i: name for i, name in enumerate(columns) if name not in ("volume", "quote_volume")}
        found |= dict(zip(volumes, ("volume", "quote_volume"), strict=True))
        columns = tuple(found.get(i, "") for i in range(len(names)))
    return columns


def _by_position(lines: Sequence[str], cells: Cells, dataset: Dataset) -> Form | None:
    """Take the first layout that most lines fit: as many fields, and a number wherever one is due.

    It need not be the one that the most fit: any line of Kraken's is one of MetaTrader's too, and a slip in one
    must not outvote the others.
    """
    forms, fits = list[Form](), list[int]()
    for layout in dataset.positional:
        for separator in layout.separators:
            if separator in cells:
                zone = layout.time_zone
                note = (
                    f"its times are read as {zone}'s, the clock of {layout.name}; time_zone in sources.toml outdoes it"
                )
                form = Form(layout.name, separator, layout.fields, market=layout.market, time_zone=zone or "UTC")
                forms.append(replace(form, notes=(note,) if zone else (layout.note,) if layout.note else ()))
                fits.append(sum(is_data(row, layout.fields, dataset, layout.written) for row in cells[separator]))
    if not any(fits):
        return None
    form = next(form for form, fit in zip(forms, fits, strict=True) if fit > max(fits) / 2)
    rows = cells[form.separator]
    first = next(n for n, row in enumerate(rows) if is_data(row, form.columns, dataset))
    # With a header whose names are not known, the columns may stand in any order.
    return None if any(is_header(row, form.columns, dataset) for row in rows[:first]) else form


def _compact_format(form: Form, rows: Sequence[Sequence[str]], dataset: Dataset) -> str:
    """The format of times such as 202403011200, digits alone and yet no epoch; empty if most are none."""
    if form.columns.count(dataset.time) > 1:
        return ""
    place = form.columns.index(dataset.time)
    digits = [row[place] for row in rows if row[place].isdecimal()]
    days = Counter(len(word) for word in digits if is_day(word, COMPACT_TIMES.get(len(word), "")))
    ((length, count),) = days.most_common(1) or [(0, 0)]
    return COMPACT_TIMES[length] if count > len(digits) / 2 else ""
