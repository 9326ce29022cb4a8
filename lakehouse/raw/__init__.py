"""A file's bytes → rows and rejected lines, once it is known how the file is to be read."""

from lakehouse.raw.doubts import refuse_doubled, refuse_rows, refuse_swapped, tell_label, time_words
from lakehouse.raw.fields import (
    HEAD_LINES,
    SEPARATORS,
    Cells,
    days_in,
    guess_columns,
    guess_formats,
    has_digit,
    is_data,
    is_day,
    is_header,
    refuse_non_text,
    split_line,
)
from lakehouse.raw.files import (
    FileChanged,
    RawFile,
    first_line,
    hash_file,
    list_all,
    list_files,
    list_members,
    open_file_of,
    read_file,
    split_member,
    stat,
)
from lakehouse.raw.numbers import decimal_of, is_number
from lakehouse.raw.parse import Block, no_data, parse_block
from lakehouse.raw.times import COMPACT_TIMES, from_text, to_start
from lakehouse.raw.units import scales_of, with_units
from lakehouse.raw.unpack import cut, pass_blank, unpack

__all__ = [
    "COMPACT_TIMES",
    "HEAD_LINES",
    "SEPARATORS",
    "Block",
    "Cells",
    "FileChanged",
    "RawFile",
    "cut",
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
    "is_header",
    "is_number",
    "list_all",
    "list_files",
    "list_members",
    "no_data",
    "open_file_of",
    "parse_block",
    "pass_blank",
    "read_file",
    "refuse_doubled",
    "refuse_non_text",
    "refuse_rows",
    "refuse_swapped",
    "scales_of",
    "split_line",
    "split_member",
    "stat",
    "tell_label",
    "time_words",
    "to_start",
    "unpack",
    "with_units",
]
