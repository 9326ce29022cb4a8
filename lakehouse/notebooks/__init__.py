"""Run a notebook headless, keep what it found, and make a page of it."""

from lakehouse.notebooks.pages import use_charts
from lakehouse.notebooks.run import (
    CHAPTERS,
    Value,
    check_answer,
    check_parameters,
    find_notebook,
    headless,
    read_parameters,
    read_results,
    record,
    run_notebook,
)
from lakehouse.notebooks.tables import plain, show_table

__all__ = [
    "CHAPTERS",
    "Value",
    "check_answer",
    "check_parameters",
    "find_notebook",
    "headless",
    "plain",
    "read_parameters",
    "read_results",
    "record",
    "run_notebook",
    "show_table",
    "use_charts",
]
