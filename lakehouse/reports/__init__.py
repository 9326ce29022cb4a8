"""What a report is about, and which are there already; without what it takes to make one."""

from lakehouse.reports.kept import RUNS, find_page, list_runs, remove_runs
from lakehouse.reports.series import choose_bars, choose_series, read_bars, read_days

__all__ = ["RUNS", "choose_bars", "choose_series", "find_page", "list_runs", "read_bars", "read_days", "remove_runs"]
