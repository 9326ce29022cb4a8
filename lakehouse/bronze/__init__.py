"""Statements → candles: which files are new, which statement wins, and what became of every line."""

from lakehouse.bronze.account import IngestFailed, IngestReport, report_of
from lakehouse.bronze.batch import Batch, read_batches
from lakehouse.bronze.ingest import ingest, new_run_id, write_batch
from lakehouse.bronze.plan import Plan, plan, remember

__all__ = [
    "Batch",
    "IngestFailed",
    "IngestReport",
    "Plan",
    "ingest",
    "new_run_id",
    "plan",
    "read_batches",
    "remember",
    "report_of",
    "write_batch",
]
