"""Run a notebook headless, keep what it found, and make a page of it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse.notebooks.cells import check_answer, plain, read_results, record, show_table
    from lakehouse.notebooks.index import write_index
    from lakehouse.notebooks.kernel import leave_ahead, start_ahead
    from lakehouse.notebooks.pages import use_charts
    from lakehouse.notebooks.parameters import (
        CHAPTERS,
        Value,
        check_given,
        check_parameters,
        find_notebook,
        list_notebooks,
        name_lake,
        read_grid,
        read_parameters,
    )
    from lakehouse.notebooks.pickers import Picker
    from lakehouse.notebooks.run import run_notebook

__all__ = [
    "CHAPTERS",
    "Picker",
    "Value",
    "check_answer",
    "check_given",
    "check_parameters",
    "find_notebook",
    "leave_ahead",
    "list_notebooks",
    "name_lake",
    "plain",
    "read_grid",
    "read_parameters",
    "read_results",
    "record",
    "run_notebook",
    "show_table",
    "start_ahead",
    "use_charts",
    "write_index",
]
_FILES = {
    **dict.fromkeys(("check_answer", "plain", "read_results", "record", "show_table"), "cells"),
    **dict.fromkeys(("leave_ahead", "start_ahead"), "kernel"),
    **{"Picker": "pickers", "run_notebook": "run", "use_charts": "pages", "write_index": "index"},
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is: a kernel is to be started before anything else is imported."""
    if name not in __all__:
        raise AttributeError(f"module 'lakehouse.notebooks' has no attribute '{name}'")
    return getattr(import_module(f"lakehouse.notebooks.{_FILES.get(name, 'parameters')}"), name)
