"""A file's bytes → rows and rejected lines, once it is known how the file is to be read."""

from lakehouse.raw.fields import (
    HEAD_LINES,
    SEPARATORS,
    Cells,
    guess_columns,
    guess_formats,
    has_digit,
    is_data,
    is_day,
    is_header,
    refuse_non_text,
    split_line,
)
from lakehouse.raw.files import READ_BYTES, FileChanged, RawFile, first_line, hash_file, list_files, read_file, stat
from lakehouse.raw.numbers import decimal_of, is_number
from lakehouse.raw.parse import Block, no_data, parse_block
from lakehouse.raw.times import COMPACT_TIMES, from_text, is_doubled, leaps, to_start, told_label
from lakehouse.raw.units import off_units, with_units
from lakehouse.raw.unpack import Seekable, cut, pass_blank, unpack

__all__ = [
    "COMPACT_TIMES",
    "HEAD_LINES",
    "READ_BYTES",
    "SEPARATORS",
    "Block",
    "Cells",
    "FileChanged",
    "RawFile",
    "Seekable",
    "cut",
    "decimal_of",
    "first_line",
    "from_text",
    "guess_columns",
    "guess_formats",
    "has_digit",
    "hash_file",
    "is_data",
    "is_day",
    "is_doubled",
    "is_header",
    "is_number",
    "leaps",
    "list_files",
    "no_data",
    "off_units",
    "parse_block",
    "pass_blank",
    "read_file",
    "refuse_non_text",
    "split_line",
    "stat",
    "to_start",
    "told_label",
    "unpack",
    "with_units",
]
