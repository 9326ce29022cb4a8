"""The command line: the same verbs as the functions."""

from lakehouse.cli import nightly, notebooks, run, standing, tables, time_travel  # noqa: F401  register their commands
from lakehouse.cli.commands import app, main

__all__ = ["app", "main"]
