"""The command line: the same verbs as the functions."""

from lakehouse.cli import download, notebooks, run, standing, tables, time_travel  # noqa: F401  register their commands
from lakehouse.cli.commands import app, main

__all__ = ["app", "main"]
