"""What the first lines of a file show: whether it is text at all, and which layout it has."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from lakehouse.dataset import PRICES, Dataset, Form, Positional, fold, plain_names
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    COMPACT_TIMES,
    HEAD_LINES,
    SEPARATORS,
    SOME_BARS,
    Cells,
    days_in,
    decimal_of,
    has_digit,
    is_data,
    is_day,
    is_header,
    number_places,
    of_columns,
    refuse_non_text,
    scales_of,
    split_line,
    tells_the_same,
    with_units,
    written_like,
)
from lakehouse.recognise.advice import columns_line, why_not
from lakehouse.recognise.names import COINS, MONEY, tree_of
from lakehouse.recognise.sources import Declared, Subject

TELLING_LINES = 300  # tell the layout and the writing of times, by majority: any one of them may be a slip


class Seen:
    """What has been told of other files, for those that are written alike.

    `known` has by what is declared how a file is written, and its fields; and the whole form, if of others the first
    bar shows that theirs is the same, but for the units of volumes: `unproven` are the paths of which these are open.
    """

    def __init__(self) -> None:
        self.known = defaultdict[Declared, list[tuple[re.Pattern[str], Form, Form | None]]](list)
        self.unproven = set[str]()


def sniff(subject: Subject, head: bytes, seen: Seen | None = None) -> Form:
    """Tell the layout of a file by its first bytes, as far as its lines tell it.

    Args:
        subject: The file.
        head: Its first bytes.
        seen: What has been told of other files; one that is written like one of them has the same fields. None for a
            file by itself, from which nobody is to learn.

    Raises:
        FileRefused: It is something else; the message says what to do.
    """
    dataset, declared, text = subject.dataset, subject.declared, head.decode("utf-8", "backslashreplace")
    known, tree, alike = seen.known[declared] if seen else [], tree_of(subject.path), None
    written = next((one for one in known if one[0].fullmatch(text)), None)
    whole = written[2] if written else None
    if seen and written and whole and tells_the_same(whole, text, dataset):
        seen.unproven.add(subject.path)
        zone, notes = _zone_and_notes(written[1], declared, tree)
        return whole if (zone, notes) == (whole.time_zone, whole.notes) else replace(whole, time_zone=zone, notes=notes)
    lines = [line.rstrip("\r") for line in text.split("\n")[:TELLING_LINES]]
    if written:
        fields = written[1]
        rows = [row for line in lines[fields.banner :] if (row := split_line(line, fields.separator))]
        bars = rows[:SOME_BARS]
    else:
        refuse_non_text(head)
        cells = {s: [split_line(line, s) for line in lines] for s in SEPARATORS if any(s in line for line in lines)}
        fields = _fields_of(subject, lines, cells)
        rows = [row for row in cells.get(fields.separator, ())[fields.banner :] if len(row) == len(fields.columns)]
        bars = [row for row in rows[:SOME_BARS] if is_data(row, fields.columns, dataset)]
        alike = written_like(text, fields, dataset.time) if seen and bars else None
    by_hour = declared.date_in_name and declared.time_format
    time_format = f"%Y-%m-%d {declared.time_format}" if by_hour else declared.time_format
    (zone, notes), numbers = _zone_and_notes(fields, declared, tree), number_places(fields, dataset)
    form = replace(
        fields,
        decimal=declared.decimal or decimal_of(row[i] for row in rows[:SOME_BARS] for i in numbers),
        time_zone=zone,
        time_format=time_format or _compact_format(fields, rows, dataset),
        doubled_hour=declared.doubled_hour,
        label=declared.label or fields.label,
        scales=(scales_of(fields, rows, dataset) if fields.header else {}) | declared.scales,
        day=_day_of(subject) if declared.date_in_name else "",
        notes=notes,
    )
    found, fault, line = with_units(form, bars, dataset, said=declared.tells_volumes)
    if seen and alike and alike.fullmatch(text):
        simple = not fault and found is form and not (form.scales or form.day) and tells_the_same(form, text, dataset)
        seen.known[declared].append((alike, fields, form if simple and of_columns(form, dataset) else None))
    if fault:
        raise FileRefused(f"{fault}; {subject.how(line)}")
    return found


def _zone_and_notes(form: Form, declared: Declared, tree: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    zone = declared.time_zone or tree.get("time_zone", "") or form.time_zone
    return zone, (tree["note"],) if tree.get("note") else () if declared.time_zone else form.notes


def _fields_of(subject: Subject, lines: Sequence[str], cells: Cells) -> Form:
    """Tell what the fields are, as sources.toml, a header or the lines themselves tell it."""
    if subject.declared.columns or subject.declared.named:
        form: Form | None = _as_declared(subject, lines, cells)
    else:
        form = _by_header(lines, cells, subject.dataset) or _by_position(cells, subject.dataset)
    if form is None:
        raise FileRefused(why_not(subject, lines, cells))
    return _with_ragged_end(form, cells.get(form.separator, ()))


def _day_of(subject: Subject) -> str:
    if len(days := days_in(subject.path)) != 1:
        raise FileRefused(
            f"raw/sources.toml says of {subject.declared.glob!r} that a date stands in the name, and in this name "
            f"{'none does' if not days else 'stand several'}; expected one such as 2024-01-31 or 20240131"
        )
    return days[0]


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


def _compact_format(form: Form, rows: Sequence[Sequence[str]], dataset: Dataset) -> str:
    """The format of times such as 202403011200, digits alone and yet no epoch; empty if most are none."""
    if form.columns.count(dataset.time) > 1:
        return ""
    place = form.columns.index(dataset.time)
    digits = [row[place] for row in rows if row[place].isdecimal()]
    days = Counter(len(word) for word in digits if is_day(word, COMPACT_TIMES.get(len(word), "")))
    ((length, count),) = days.most_common(1) or [(0, 0)]
    return COMPACT_TIMES[length] if count > len(digits) / 2 else ""


def header_columns(names: Sequence[str], dataset: Dataset) -> tuple[str, ...] | None:
    """Tell which column each field of a header is: "" for one that is not kept; None if a required one is not there.

    Where only the end of a bar is told, it stands for its time.
    """
    columns = dataset.name_columns(names)
    if dataset.time not in columns:
        columns = tuple(dataset.time if name == "close_time" else name for name in columns)
    if not set(dataset.required) <= set(columns):
        return None
    folded = [fold(name) for name in names]
    # CryptoDataDownload writes the assets into the names of the volumes, the base asset's first.
    volumes = [i for i, name in enumerate(folded) if name.startswith("volume")]
    assets = {f"volume{name.lower()}" for name in (*MONEY, *COINS)}
    told = [folded[i] in assets for i in volumes]
    if "symbol" in columns and len(told) == 2 and (told[1] or (told[0] and folded[volumes[1]] == "volume")):
        found = {i: name for i, name in enumerate(columns) if name not in ("volume", "quote_volume")}
        found |= dict(zip(volumes, ("volume", "quote_volume"), strict=True))
        columns = tuple(found.get(i, "") for i in range(len(names)))
    return columns


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
            form = Form(
                *(layout.name, separator, columns, next(bars, number + 1), line, layout.market, layout.symbol),
                label="end" if folded[time] in dataset.synonyms["close_time"] else "",
            )
            return replace(form, notes=tuple(filter(None, (layout.note, _unused(names, columns, dataset)))))
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


def _by_position(cells: Cells, dataset: Dataset) -> Form | None:
    """Take the first layout that most lines fit: as many fields, and a number wherever one is due.

    It need not be the one that the most fit: any line of Kraken's is one of MetaTrader's too, and a slip in one
    must not outvote the others.
    """
    fits = dict[tuple[Positional, str], int]()
    for one in ((layout, s) for layout in dataset.positional for s in layout.separators if s in cells):
        layout, rows = one[0], cells[one[1]]
        fits[one] = sum(is_data(row, layout.fields, dataset, layout.written) for row in rows)
        if fits[one] > len(rows) / 2 and sum(fits.values()) == fits[one]:
            break  # whatever fits besides, this is the first that most lines fit
    if not any(fits.values()):
        return None
    layout, separator = next(one for one, fit in fits.items() if fit > max(fits.values()) / 2)
    rows = cells[separator]
    first = next(n for n, row in enumerate(rows) if is_data(row, layout.fields, dataset))
    if any(is_header(row, layout.fields, dataset) for row in rows[:first]):
        return None  # with a header whose names are not known, the columns may stand in any order
    form = Form(layout.name, separator, layout.fields, market=layout.market, time_zone=layout.time_zone or "UTC")
    return replace(form, notes=(layout.note,) if layout.note else ())


def _as_declared(subject: Subject, lines: Sequence[str], cells: Cells) -> Form:
    """Read a file as sources.toml says that its columns are, which may not fit the contract, or not the file."""
    dataset, declared = subject.dataset, subject.declared
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
        return _by_names(subject, lines, cells)
    width = len(declared.columns)
    separator = max(cells, key=lambda s: sum(len(row) == width for row in cells[s]), default=",")
    rows = cells.get(separator, [])
    widths = Counter(len(row) for row in rows if len(row) > 1)
    usual = widths.most_common(1)[0][0] if widths else 1
    if usual not in (width, width + all(row[-1] == "" for row in rows if len(row) == usual)):
        shown = next(line for line, row in zip(lines, rows, strict=True) if len(row) == usual)
        raise FileRefused(
            f"raw/sources.toml names {width} columns, and its lines have {usual} fields, such as {shown[:120]!r}; "
            + subject.how(columns_line(subject, cells))
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
                + subject.how(columns_line(subject, cells))
            )
    return replace(form, banner=heads[0] + 1, header=lines[heads[0]])


def _by_names(subject: Subject, lines: Sequence[str], cells: Cells) -> Form:
    dataset, wanted = subject.dataset, dict(subject.declared.named)
    names = {fold(name) for words in wanted.values() for name in words} - {""}
    for number, line in enumerate(lines[:HEAD_LINES]):
        for separator, rows in cells.items():
            columns = dataset.name_columns(rows[number], wanted)
            if not names <= {*map(fold, rows[number])} or not (names or set(dataset.required) <= {*columns}):
                continue
            if missing := [name for name in dataset.required if name not in columns]:
                raise FileRefused(
                    f"with the columns of raw/sources.toml its header {line[:200]!r} does not tell {missing[0]}; "
                    f'give its name too: {missing[0]} = "…"'
                )
            return Form("declared", separator, columns, number + 1, line, "default")
    met = next((line for line in lines if line.strip()), "")
    raise FileRefused(
        f"raw/sources.toml names the columns {', '.join(name for words in wanted.values() for name in words)}, and "
        f"none of its first {HEAD_LINES} lines has these names; its first line is {met[:200]!r}"
    )
