"""A file's bytes → rows and rejected lines, once it is known how the file is to be read."""

from lakehouse.raw.files import (
    READ_BYTES,
    UNREADABLE,
    FileChanged,
    RawFile,
    first_line,
    hash_file,
    list_files,
    read_file,
    stat,
)
from lakehouse.raw.parse import Block, no_data, parse_block, split_line
from lakehouse.raw.times import COMPACT_TIMES, from_text
from lakehouse.raw.unpack import Seekable, cut, pass_blank, unpack

__all__ = [
    "COMPACT_TIMES",
    "READ_BYTES",
    "UNREADABLE",
    "Block",
    "FileChanged",
    "RawFile",
    "Seekable",
    "cut",
    "first_line",
    "from_text",
    "hash_file",
    "list_files",
    "no_data",
    "parse_block",
    "pass_blank",
    "read_file",
    "split_line",
    "stat",
    "unpack",
]
