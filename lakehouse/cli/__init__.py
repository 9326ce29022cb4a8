"""The command line: the same verbs as the functions."""

from lakehouse.cli import download as _download  # noqa: F401  registers its commands
from lakehouse.cli import notebooks as _notebooks  # noqa: F401  the same
from lakehouse.cli.commands import app, main

__all__ = ["app", "main"]
