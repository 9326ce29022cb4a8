"""A file's bytes → rows and rejected lines, once it is known how the file is to be read."""

from lakehouse.raw.fields import (
    HEAD_LINES,
    SEPARATORS,
    Cells,
    has_digit,
    is_data,
    is_day,
    is_header,
    refuse_non_text,
    split_line,
)
from lakehouse.raw.files import (
    UNREADABLE,
    FileChanged,
    RawFile,
    first_line,
    hash_file,
    list_all,
    list_files,
    list_members,
    read_file,
    split_member,
    stat,
)
from lakehouse.raw.guess import days_in, guess_columns, guess_formats, table_in
from lakehouse.raw.numbers import decimal_of, is_number
from lakehouse.raw.parse import Block, no_data, parse_block
from lakehouse.raw.times import COMPACT_TIMES, from_text, is_doubled, leaps, runs_on, to_start, told_label
from lakehouse.raw.units import OFF_UNITS, off_units, scales_of, with_units, without_volumes
from lakehouse.raw.unpack import open_text, pass_blank, unpack

__all__ = [
    "COMPACT_TIMES",
    "HEAD_LINES",
    "OFF_UNITS",
    "SEPARATORS",
    "UNREADABLE",
    "Block",
    "Cells",
    "FileChanged",
    "RawFile",
    "days_in",
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
    "list_all",
    "list_files",
    "list_members",
    "no_data",
    "off_units",
    "open_text",
    "parse_block",
    "pass_blank",
    "read_file",
    "refuse_non_text",
    "runs_on",
    "scales_of",
    "split_line",
    "split_member",
    "stat",
    "table_in",
    "to_start",
    "told_label",
    "unpack",
    "with_units",
    "without_volumes",
]
