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

__all__ = [
    "CHAPTERS",
    "Value",
    "check_answer",
    "check_parameters",
    "find_notebook",
    "headless",
    "read_parameters",
    "read_results",
    "record",
    "run_notebook",
    "use_charts",
]
