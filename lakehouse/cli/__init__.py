"""The command line: the same verbs as the functions."""

from lakehouse.cli.commands import app, main

__all__ = ["app", "main"]
