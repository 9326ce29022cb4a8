"""One Delta table over time: guarded commits, versions, diffs, restore, upkeep."""

from lakehouse.delta.commits import Changes, commit
from lakehouse.delta.failures import guarded, writing
from lakehouse.delta.history import TAGS, agreements, diff_versions, live_versions, read_tags, write_tag
from lakehouse.delta.parquet import CUT, Span, file_stats, read_files, read_spans
from lakehouse.delta.stores import check_url, committed_at, open_store, sizes_on_disk
from lakehouse.delta.table import Table
from lakehouse.delta.upkeep import Care, lost_versions, plan_care

__all__ = [
    "CUT",
    "TAGS",
    "Care",
    "Changes",
    "Span",
    "Table",
    "agreements",
    "check_url",
    "commit",
    "committed_at",
    "diff_versions",
    "file_stats",
    "guarded",
    "live_versions",
    "lost_versions",
    "open_store",
    "plan_care",
    "read_files",
    "read_spans",
    "read_tags",
    "sizes_on_disk",
    "write_tag",
    "writing",
]
