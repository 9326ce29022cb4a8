"""Which lake and which of its tables a command is about; it is said in the first line."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from lakehouse.delta import Table
from lakehouse.errors import InputError
from lakehouse.lake import Lake

TABLES = (
    *("bronze", "quarantine", "ledger", "conflicts"),
    *("silver", "gaps", "mismatches", "gold", "weekly", "monthly"),
)
TableName = Annotated[str, Parameter(name="--table", help="bronze, silver, gold, weekly, monthly, quarantine, ledger.")]


def open_lake(root: str, *, quiet: bool = False) -> Lake:
    """Open the lake that is meant, and say which it is.

    Args:
        root: As it was given; empty for the nearest.
        quiet: Whether something else than a person reads what is printed.
    """
    lake = Lake(root or None)
    if not quiet:
        elsewhere = "" if lake.raw_uri == lake.uri("raw") else f", raw files in {lake.raw_uri}"
        Console(emoji=False).print(f"Lake:   {escape(lake.root + elsewhere)}", soft_wrap=True)
    return lake


def named_table(lake: Lake, name: str) -> Table:
    """Find a table of a lake by the name that Python has for it.

    Raises:
        InputError: There is none.
    """
    there = [known for known in TABLES if hasattr(lake, known)]
    if name not in there:
        raise InputError(f"--table is {name}; expected one of {', '.join(there)}")
    table: Table = getattr(lake, name)
    return table


def agreed(question: str) -> bool:
    """Ask before something is done that somebody may regret.

    Raises:
        InputError: Nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise InputError("nobody is there to be asked; say --yes")
    if input(f"{question} [y/N] ").strip().lower() in ("y", "yes"):
        return True
    print("Left as it is.")
    return False
