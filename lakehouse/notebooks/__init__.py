"""Run a notebook headless, keep what it found, and make a page of it."""

from lakehouse.notebooks.index import write_index
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
from lakehouse.notebooks.run import check_answer, read_results, record, run_notebook
from lakehouse.notebooks.tables import plain, show_table

__all__ = [
    "CHAPTERS",
    "Picker",
    "Value",
    "check_answer",
    "check_given",
    "check_parameters",
    "find_notebook",
    "list_notebooks",
    "name_lake",
    "plain",
    "read_grid",
    "read_parameters",
    "read_results",
    "record",
    "run_notebook",
    "show_table",
    "use_charts",
    "write_index",
]
