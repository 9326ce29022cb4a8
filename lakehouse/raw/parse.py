"""From lines to rows: each data line becomes a valid row, or a rejected line with its reasons.

A block is first read by Polars' CSV parser straight into typed columns. Only where that fails, drops a
line, or gives a row that breaks the contract, is it read again line by line as text.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate

import polars as pl

from lakehouse.dataset import Dataset, Form
from lakehouse.raw.fields import csv_dtype, of_cell, of_word, split_line, word_of
from lakehouse.raw.times import EPOCH, MICROSECOND, Even, constant, evenly, has_doubled_hours, is_lonely, reaches_far
from lakehouse.raw.units import are_off

PIECE_BYTES = 2**20  # how much around a bad line is read line by line
UNTOLD = "?"  # stands in for an interval that is yet to be inferred from the rows


@dataclass(frozen=True, slots=True)
class Block:
    """What some lines of a file came to. read = rows + rejected; skipped lines are counted apart."""

    rows: pl.DataFrame  # the contract's columns in the table's order
    rejected: pl.DataFrame  # _line, raw, reasons
    read: int  # data lines
    skipped: int  # header and blank lines
    size: int  # bytes of text
    even: Even | None = None  # of a small file whose times are so
    off_units: bool = False  # of a small file: `units.are_off` says so

    def ends(self, time: str) -> tuple[dt.datetime, dt.datetime]:
        """The first and the last of its times; there are some."""
        if self.even:
            first, step, bars = self.even
            low, high = sorted((first, first + step * (bars - 1)))
        else:
            moments = self.rows[time].cast(pl.Int64)  # without the zone, which takes its time
            low, high = moments.min(), moments.max()  # type: ignore[assignment]
        return EPOCH + low * MICROSECOND, EPOCH + high * MICROSECOND


Part = tuple[bytes, int, Form]  # lines, the number of the first of them, how they are to be read
NO_REJECTS = pl.DataFrame(schema={"_line": pl.Int64, "raw": pl.String, "reasons": pl.List(pl.String)})


@lru_cache  # every file begins with one, and its columns are made one by one
def no_data(lines: int, dataset: Dataset) -> Block:
    """A block of so many lines that state nothing."""
    return Block(pl.DataFrame(schema=dataset.schema), NO_REJECTS, 0, lines, 0)


def parse_block(block: bytes, first_line: int, form: Form, dataset: Dataset) -> Block:
    """Parse whole lines of a file.

    Args:
        block: The lines, from the first data line or later on; the last may lack its line feed.
        first_line: The number of the first of them, counted from 1.
        form: How the file is to be read.
        dataset: What rows are wanted.

    Returns:
        Rows and rejected lines, in the order of the lines.
    """
    clean = parse_clean(block, first_line, form, dataset)
    if clean:
        return clean
    if len(block) <= PIECE_BYTES or has_doubled_hours(form):  # whose order must not be cut
        return parse_lines(block, first_line, form, dataset)
    parts, line, start = list[Block](), first_line, 0
    while start < len(block):
        end = block.find(b"\n", start + PIECE_BYTES) + 1 or len(block)
        piece, start = block[start:end], end
        parts.append(parse_clean(piece, line, form, dataset) or parse_lines(piece, line, form, dataset))
        line += parts[-1].read + parts[-1].skipped
    rows, rejected = pl.concat(part.rows for part in parts), pl.concat(part.rejected for part in parts)
    return Block(rows, rejected, rows.height + rejected.height, sum(part.skipped for part in parts), len(block))


def parse_clean(block: bytes, first_line: int, form: Form, dataset: Dataset) -> Block | None:
    """Parse lines as `parse_block` does, by the CSV parser alone; None unless every line is surely a valid row."""
    return parse_together([(block, first_line, form)], dataset)[0]


def parse_together(parts: Sequence[Part], dataset: Dataset) -> list[Block | None]:
    """Parse lines of several files; what is read alike goes through the CSV parser as one text, a query for all.

    The parser is fast, but cannot say what is wrong with a line.

    Args:
        parts: As for `parse_block`, each all that is to be read of a file; or a single one.
        dataset: What rows are wanted.

    Returns:
        For each part what `parse_clean` makes of it.
    """
    alike = defaultdict[tuple[Form, tuple[pl.DataType, ...], int], list[int]](list)
    for number, (block, _, form) in enumerate(parts):
        if (met := _met(block, form, dataset)) and _keeps_rules(dataset, _words(form)):
            alone = number if has_doubled_hours(form) else -1  # the lines around tell which of two equal times is first
            alike[_plain(form), met, alone].append(number)
    found: list[Block | None] = [None] * len(parts)
    waiting = [*alike.items()]
    while waiting:
        key, numbers = waiting.pop()
        if blocks := _parse_alike([parts[number] for number in numbers], *key[:2], dataset, len(parts) > 1):
            for number, parsed in zip(numbers, blocks, strict=True):
                found[number] = parsed
        elif half := len(numbers) // 2:  # which of them is it?
            waiting += [(key, numbers[:half]), (key, numbers[half:])]
    return found


@lru_cache(4096)
def _plain(form: Form) -> Form:
    """What of a form says how lines are read."""
    return replace(form, banner=0, header="", market="", symbol="", interval="", notes=(), told={})


def _parse_alike(
    parts: Sequence[Part], plain: Form, met: tuple[pl.DataType, ...], dataset: Dataset, small: bool
) -> list[Block | None] | None:
    """Parse what is read alike; None unless every line is surely a valid row. `small` files are looked at besides."""
    # Without a line feed at the end, a surplus empty field goes unnoticed.
    texts = [block if block.endswith(b"\n") else block + b"\n" for block, _, _ in parts]
    cells, values, good = _ways_to_read(plain, met, dataset)
    scan = partial(pl.scan_csv, b"".join(texts), has_header=False, quote_char=None)
    try:
        lines = scan(separator="\x01", schema={"line": pl.String}).select(pl.len()).collect().item()
        # All columns: where some are projected away, the parser passes over the rest of a line, and a surplus field.
        rows = scan(separator=plain.separator, schema=cells).collect()
        heights = [lines] if len(texts) == 1 else [text.count(b"\n") for text in texts]
        if rows.height != lines or sum(heights) != lines:
            return None
        rows = rows.with_columns(**values, **_told(parts, heights, dataset))
        if not rows.select(good).item():
            return None
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    rows = rows[[*dataset.schema]]
    far, lonely = reaches_far(rows[dataset.time]), is_lonely(dataset.time).any()
    even: Sequence[Even | None] = [None] * len(parts)
    off = [False] * len(parts)
    if small:
        moments, ends = rows[dataset.time].cast(pl.Int64).to_list(), accumulate(heights)
        even = [evenly(moments[end - height : end]) for height, end in zip(heights, ends, strict=True)]
        if {"volume", "quote_volume"} <= {*plain.columns}:
            off = are_off(rows, pl.Series(range(len(parts))).repeat_by(pl.Series(heights)).explode())
    found = list[Block | None]()
    for n, ((block, _, _), height, end) in enumerate(zip(parts, heights, accumulate(heights), strict=True)):
        one = rows.slice(end - height, height)
        odd = far and reaches_far(one[dataset.time]) and one.select(lonely).item()
        found.append(None if odd else Block(one, NO_REJECTS, height, 0, len(block), even[n], off[n]))
    return found


def _met(block: bytes, form: Form, dataset: Dataset) -> tuple[pl.DataType, ...] | None:
    """As what the CSV parser is to read each field, as the first line shows; None if it is not to read these lines."""
    if b'"' in block:  # it may hide separators and line breaks
        return None
    words = split_line(block[:10_000].split(b"\n", 1)[0].decode("utf-8", "replace"), form.separator)
    names = [name or f"unused_{i}" for i, name in enumerate(form.columns)]
    if not len(words) == len(names) == len(set(names)):
        return None
    return tuple(csv_dtype(dataset.schema.get(n), word, form) for n, word in zip(names, words, strict=True))


@lru_cache  # of a thousand small files each would cost as much to plan as to read
def _ways_to_read(
    form: Form, met: tuple[pl.DataType, ...], dataset: Dataset
) -> tuple[dict[str, pl.DataType], dict[str, pl.Expr], pl.Expr]:
    """As what the CSV parser is to read each field, the columns made of them, and whether a row is surely valid."""
    names = [name or f"unused_{i}" for i, name in enumerate(form.columns)]
    kept = [(name, dtype) for name, dtype in zip(names, met, strict=True) if name in dataset.schema]
    values = {name: of_cell(name, dtype, form, dataset) for name, dtype in kept}
    # The last field is null where fields are missing; a value that could not be read is null where its field is not.
    read = [
        pl.col(f"_{name}").is_null() == pl.col(name).is_null() for name, dtype in kept if dtype != dataset.schema[name]
    ]
    of_words = {name for name, _ in _words(form)}
    rules = [rule for rule in dataset.rules.values() if not {*rule.meta.root_names()} <= of_words]
    good = pl.all_horizontal(pl.col(f"_{names[-1]}").is_not_null(), *read, *rules).all()
    return {f"_{name}": dtype for name, dtype in zip(names, met, strict=True)}, values, good


def parse_lines(block: bytes, first_line: int, form: Form, dataset: Dataset) -> Block:
    """Parse lines one by one as text: slower than the CSV parser, but each bad line is named with its reasons.

    Args: as for `parse_block`.
    """
    text = block.decode("utf-8", "backslashreplace")
    lines = pl.DataFrame({"raw": text.removesuffix("\n").split("\n")}).select(
        _line_numbers(first_line).alias("_line"), pl.col("raw").str.strip_chars_end("\r")
    )
    bare = pl.col("raw").str.strip_prefix("\ufeff")
    data = lines.filter(~bare.str.strip_chars().is_in(["", form.header.strip()]))
    if '"' in text:
        split = [split_line(line.removeprefix("\ufeff"), form.separator) for line in data["raw"]]
        data = data.with_columns(_fields=pl.Series(split, dtype=pl.List(pl.String)))
    else:
        data = data.with_columns(_fields=bare.str.split(form.separator))

    kept = list(dict.fromkeys(filter(None, form.columns)))
    words = {f"_{name}": word_of(name, form, dataset) for name in kept}
    values = {name: of_word(pl.col(f"_{name}"), name, form, dataset) for name in kept}
    unread = {name: pl.col(f"_{name}").is_not_null() & pl.col(name).is_null() for name in kept}
    width = pl.col("_fields").list.len()
    slipped = pl.any_horizontal(width != len(form.columns), *unread.values())
    holds = pl.all_horizontal(dataset.rules.values()).fill_null(True)
    lonely = is_lonely(dataset.time)
    rows = (
        data.lazy()
        .with_columns(**words)
        .with_columns(**values)
        .with_columns(**_constants(form, dataset), _lonely=lonely)
    )
    judged = rows.with_columns(_good=holds & ~slipped & ~pl.col("_lonely")).collect()

    met = [(width != len(form.columns), pl.format(f"{{}} fields, not {len(form.columns)}", width))]
    time = "time" if form.time_zone == "UTC" else f"time that {form.time_zone} has once"  # clocks are put back
    kinds = {pl.Datetime: time, pl.Int64: "whole number", pl.Float64: "number"}
    for name, is_so in unread.items():
        met.append((is_so, pl.lit(f"{name} is not a {kinds.get(type(dataset.schema[name]), 'text')}")))
    for reason, rule in dataset.rules.items():
        # A value that could not be read is null, and so "missing" too: one reason is enough.
        met.append((~rule & ~slipped if reason.endswith(" is missing") else ~rule, pl.lit(reason)))
    met.append((pl.col("_lonely") & holds, pl.lit(f"{dataset.time} is years away from the lines around it")))
    reasons = pl.concat_list(pl.when(is_so).then(reason) for is_so, reason in met).list.drop_nulls()
    bad = judged.filter(~pl.col("_good")).select("_line", "raw", reasons=reasons)
    good = judged.filter("_good").select(dataset.schema.keys())
    return Block(good, bad, data.height, lines.height - data.height, len(block))


@lru_cache
def _keeps_rules(dataset: Dataset, words: tuple[tuple[str, str], ...]) -> bool:
    """Whether what is the same in every row of a file keeps the contract: that is asked of one row."""
    rules = (rule for rule in dataset.rules.values() if {*rule.meta.root_names()} <= dict(words).keys())
    return bool(pl.DataFrame([dict(words)]).select(pl.all_horizontal(True, *rules)).item())


def _words(form: Form) -> tuple[tuple[str, str], ...]:
    """What the lines do not state of the series that a file is of."""
    told = {"market": form.market, "symbol": form.symbol, "interval": form.interval or UNTOLD}
    return tuple((name, word) for name, word in told.items() if name not in form.columns)


def _constants(form: Form, dataset: Dataset) -> dict[str, pl.Expr]:
    """The columns that the lines do not state."""
    told = {**dict(_words(form)), **form.told}
    missing = {name: dtype for name, dtype in dataset.schema.items() if name not in (*form.columns, "_line")}
    return {name: constant(told.get(name), dtype) for name, dtype in missing.items()}


def _told(parts: Sequence[Part], heights: Sequence[int], dataset: Dataset) -> Mapping[str, pl.Expr | pl.Series]:
    """The columns that the lines do not state, and the numbers of the lines."""
    (_, first, form), *others = parts
    if not others:
        return {**_constants(form, dataset), "_line": _line_numbers(first)}
    told = [{**dict(_words(form)), **form.told} for _, _, form in parts]
    missing = {name: dtype for name, dtype in dataset.schema.items() if name not in (*form.columns, "_line")}
    files = pl.DataFrame({name: [one.get(name) for one in told] for name in missing}, schema=missing)
    begin = pl.Series([first for _, first, _ in parts], dtype=pl.Int64)
    files = files.with_columns(_line=pl.int_ranges(begin, begin + pl.Series(heights)))
    return files.explode("_line").to_dict()


def _line_numbers(first: int) -> pl.Expr:
    return pl.int_range(first, first + pl.len(), dtype=pl.Int64)
