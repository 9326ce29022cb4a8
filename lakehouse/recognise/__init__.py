"""What is this file about? Its layout, market, symbol and interval, told by its lines, its name, or sources.toml."""

from lakehouse.recognise.identity import find_strangers
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.names import read_name
from lakehouse.recognise.opened import BLOCK_BYTES, SMALL, Asked, Opened, open_file, open_files
from lakehouse.recognise.sources import Declared, declared_for, how_redeclared, load_sources

__all__ = [
    "BLOCK_BYTES",
    "CANDLES",
    "SMALL",
    "Asked",
    "Declared",
    "Opened",
    "declared_for",
    "find_strangers",
    "how_redeclared",
    "load_sources",
    "open_file",
    "open_files",
    "read_name",
]
