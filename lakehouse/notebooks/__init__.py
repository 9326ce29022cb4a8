"""Run a notebook headless, keep what it found, and make a page of it."""

from lakehouse.notebooks.pages import use_charts
from lakehouse.notebooks.parameters import (
    CHAPTERS,
    Value,
    check_given,
    check_parameters,
    find_notebook,
    list_notebooks,
    read_grid,
    read_parameters,
)
from lakehouse.notebooks.run import check_answer, headless, read_results, record, run_notebook
from lakehouse.notebooks.series import choose_bars, choose_series, read_days
from lakehouse.notebooks.tables import plain, show_table

__all__ = [
    "CHAPTERS",
    "Value",
    "check_answer",
    "check_given",
    "check_parameters",
    "choose_bars",
    "choose_series",
    "find_notebook",
    "headless",
    "list_notebooks",
    "plain",
    "read_days",
    "read_grid",
    "read_parameters",
    "read_results",
    "record",
    "run_notebook",
    "show_table",
    "use_charts",
]
