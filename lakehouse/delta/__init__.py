"""One Delta table over time: guarded commits, versions, diffs, restore, upkeep."""

from lakehouse.delta.commits import Span, commit, file_stats, guarded, read_spans
from lakehouse.delta.diff import diff_versions
from lakehouse.delta.history import agreements, standing
from lakehouse.delta.stores import open_store
from lakehouse.delta.table import Table, contract_schema

__all__ = [
    "Span",
    "Table",
    "agreements",
    "commit",
    "contract_schema",
    "diff_versions",
    "file_stats",
    "guarded",
    "open_store",
    "read_spans",
    "standing",
]
