"""From lines to rows: each data line becomes a valid row, or a rejected line with its reasons.

A block is first read by Polars' CSV parser straight into typed columns. Only if that fails, drops a
line, or gives a row that breaks the contract, is the block read again line by line as text.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.contracts import reasons
from lakehouse.layouts import MISSING, TIME_FORMATS, Dataset, Form

UTC = pl.Datetime("us", "UTC")
UNTOLD = "?"  # stands in for an interval that is yet to be inferred from the rows


@dataclass(frozen=True, slots=True)
class Block:
    """What some lines of a file came to. read = rows + rejected; skipped lines are counted apart.

    Attributes:
        rows: The contract's columns in the table's order.
        rejected: `_line`, `raw`, `reasons`.
        read: Data lines.
        skipped: Header and blank lines.
        size: Bytes of text.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    read: int
    skipped: int
    size: int


def no_rejects() -> pl.DataFrame:
    """An empty frame of rejected lines."""
    return pl.DataFrame(schema={"_line": pl.Int64, "raw": pl.String, "reasons": pl.List(pl.String)})


def split_line(line: str, separator: str) -> list[str]:
    """Split one line as CSV does: quotes are honoured, blanks around the fields removed."""
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a stray carriage return
        return [field.strip() for field in line.split(separator)]


def normal_symbol(symbol: pl.Expr) -> pl.Expr:
    """Write symbols one way: `BTC/USDT` and `btc-usdt` are `BTCUSDT`."""
    return symbol.str.strip_chars().str.to_uppercase().str.replace_all(r"[/\-]", "")


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
    rows = _parse_typed(block, first_line, form, dataset)
    if rows is not None:
        return Block(rows, no_rejects(), rows.height, 0, len(block))
    text = block.decode("utf-8", "backslashreplace").removeprefix("\ufeff")
    return parse_lines(text.removesuffix("\n").split("\n"), form, dataset, first_line)


def parse_lines(lines: Sequence[str], form: Form, dataset: Dataset, first_line: int = 1) -> Block:
    """Parse lines one by one: slower than the CSV parser, but each bad line is named with its reasons.

    Args:
        lines: Whole lines, without their line feeds.
        form: How the file is to be read.
        dataset: What rows are wanted.
        first_line: The number of the first of them, counted from 1.

    Returns:
        Rows and rejected lines, in the order of the lines.
    """
    text = pl.DataFrame({"raw": pl.Series(lines, dtype=pl.String).str.strip_chars_end("\r")})
    text = text.with_row_index("_line", first_line).with_columns(pl.col("_line").cast(pl.Int64))
    stripped = pl.col("raw").str.strip_chars()
    data = text.filter((stripped != "") & (stripped != form.header.strip()))
    if any('"' in line for line in lines):
        fields = pl.Series([split_line(line, form.separator) for line in data["raw"]], dtype=pl.List(pl.String))
    else:
        fields = data["raw"].str.split(form.separator)
    kept = {name: i for i, name in enumerate(form.columns) if name}
    words = {
        f"text:{name}": pl.col("_fields").list.get(i, null_on_oob=True).str.strip_chars() for name, i in kept.items()
    }
    words = {name: pl.when(~word.str.to_lowercase().is_in(MISSING)).then(word) for name, word in words.items()}
    values = {name: _typed(pl.col(f"text:{name}"), name, dataset, form) for name in kept}
    cells = data.lazy().with_columns(_fields=fields).with_columns(**words).with_columns(**values)
    typed = _complete(cells, form, dataset).collect()
    passed, failed = dataset.contract.filter(typed.select(dataset.schema.keys()))

    width = pl.col("_fields").list.len()
    unread = [pl.col(f"text:{name}").is_not_null() & pl.col(name).is_null() for name in kept]
    slips = typed.select(
        "_line",
        "raw",
        _slips=pl.concat_list(
            pl.when(width != len(form.columns)).then(pl.format(f"{{}} fields, not {len(form.columns)}", width)),
            *[
                pl.when(slip).then(pl.lit(f"{name} is not a {_kind(dataset.schema[name])}"))
                for name, slip in zip(kept, unread, strict=True)
            ],
        ).list.drop_nulls(),
    )
    details = failed.details()
    rules = [name for name in details.columns if name not in dataset.schema]
    broken = details.select("_line", _broken=reasons(details, rules))
    # A value that could not be read is null, and so "missing" too: one reason is enough.
    echo = [f"{name} is missing" for name in kept]
    verdict = slips.join(broken, on="_line", how="left", maintain_order="left").with_columns(
        reasons=pl.when(pl.col("_slips").list.len() > 0)
        .then(pl.concat_list("_slips", pl.col("_broken").fill_null([]).list.set_difference(echo)))
        .otherwise(pl.col("_broken").fill_null([]))
    )
    rejected = verdict.filter(pl.col("reasons").list.len() > 0).select("_line", "raw", "reasons")
    rows = passed.join(rejected, on="_line", how="anti", maintain_order="left").select(dataset.schema.keys())
    return Block(rows, rejected, data.height, text.height - data.height, sum(map(len, lines)))


def _parse_typed(block: bytes, first_line: int, form: Form, dataset: Dataset) -> pl.DataFrame | None:
    """Read with the CSV parser; None if any line would need a second look."""
    start = block[:10_000].split(b"\n", 1)[0].decode("utf-8", "replace").removeprefix("\ufeff")
    first = dict(zip(form.columns, split_line(start.rstrip("\r"), form.separator), strict=False))
    dtypes = {name: _csv_dtype(dataset.schema[name], first.get(name, "")) for name in form.columns if name}
    names = [name or f"_unused_{i}" for i, name in enumerate(form.columns)]
    csv_schema = {name: dtypes.get(name, pl.String()) for name in names}
    last = names[-1]
    frame = pl.scan_csv(block, has_header=False, separator=form.separator, schema=csv_schema)
    values = {name: _typed(pl.col(name), name, dataset, form, dtypes[name], first.get(name, "")) for name in dtypes}
    # The last field is null where fields are missing; a swallowed line break shows in the count of lines.
    frame = frame.select(pl.col(last).is_not_null().alias("_whole"), **values)
    frame = frame.with_columns(_line=pl.int_range(first_line, pl.len() + first_line, dtype=pl.Int64))
    try:
        rows = _complete(frame, form, dataset).collect()
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if rows.height != _count_lines(block) or not rows["_whole"].all():
        return None
    rows = rows.select(dataset.schema.keys())
    return rows if rows.select(dataset.valid).item() else None


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _complete(frame: pl.LazyFrame, form: Form, dataset: Dataset) -> pl.LazyFrame:
    """Add the columns that the lines do not state."""
    told = {"market": form.market, "symbol": form.symbol, "interval": form.interval or UNTOLD, **form.told}
    known = frame.collect_schema().names()
    missing = {name: dtype for name, dtype in dataset.schema.items() if name not in known}
    return frame.with_columns(pl.lit(told.get(name)).cast(dtype).alias(name) for name, dtype in missing.items())


def _csv_dtype(dtype: pl.DataType, first: str) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return pl.Int64() if first.isdigit() else pl.String()
    return dtype


def _kind(dtype: pl.DataType) -> str:
    return {pl.Datetime: "time", pl.Int64: "whole number", pl.Float64: "number"}.get(type(dtype), "text")


def _typed(
    word: pl.Expr, name: str, dataset: Dataset, form: Form, met: pl.DataType | None = None, first: str = ""
) -> pl.Expr:
    """Turn a parsed column (of dtype `met`, else text) into the contract's dtype; null where that fails."""
    dtype = dataset.schema[name]
    if isinstance(dtype, pl.Datetime):
        return from_epoch(word) if isinstance(met, pl.Int64) else _time_of_text(word, form, first)
    if isinstance(dtype, pl.String):
        return normal_symbol(word) if name == "symbol" else word
    if met is not None:
        return word
    number = word.cast(pl.Float64, strict=False)
    if isinstance(dtype, pl.Int64):
        return pl.when(number == number.floor()).then(number.cast(pl.Int64, strict=False))
    return number


def from_epoch(value: pl.Expr) -> pl.Expr:
    """Read epoch numbers, the unit told per value by its magnitude: seconds, ms, µs or ns.

    Seconds reach to 10¹¹ (the year 5138), milliseconds from there to 10¹⁴, microseconds to 10¹⁷.
    Numbers below 10⁸ (March 1973 in seconds) are no times: `20190101` is a date, `5` is neither.
    """
    size = value.abs()
    micros = (
        pl.when(size < 10**11).then(value * 10**6).when(size < 10**14).then(value * 1000)
        .when(size < 10**17).then(value).otherwise(value // 1000)
    )  # fmt: skip
    return pl.when(size >= 10**8).then(micros.cast(pl.Int64, strict=False)).cast(UTC)


def _time_of_text(word: pl.Expr, form: Form, first: str) -> pl.Expr:
    formats: tuple[str, ...] = (form.time_format,) if form.time_format else TIME_FORMATS
    if first:  # the CSV parser's path: the one format of the first line, or the second reading
        formats = tuple(f for f in formats if fits_format(first, f))[:1]
    read = [_in_zone(word, f, form.time_zone) for f in formats]
    if first:
        return read[0] if read else pl.lit(None, UTC)
    whole, decimal = word.cast(pl.Int64, strict=False), word.cast(pl.Float64, strict=False)
    return pl.coalesce(from_epoch(whole), from_epoch(decimal), *read)


def _in_zone(word: pl.Expr, time_format: str, zone: str) -> pl.Expr:
    if "%M" not in time_format and "%I" in time_format:  # Polars wants minutes beside hours
        word, time_format = word + " 00", time_format + " %M"
    time = word.str.to_datetime(time_format, time_unit="us", strict=False, ambiguous="null", exact=True)
    if "%z" in time_format or "%:z" in time_format:
        return time.dt.convert_time_zone("UTC")
    return time.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def fits_format(word: str, time_format: str) -> bool:
    """Whether a text is a time in a format; a format that is none raises a PolarsError."""
    return pl.select(_in_zone(pl.lit(word), time_format, "UTC")).item() is not None
