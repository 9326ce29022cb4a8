"""Statements → candles: which files are new, which statement wins, and what became of every line."""

from lakehouse.bronze.account import MAX_CONFLICTS, IngestFailed, IngestReport, new_run_id, report_of
from lakehouse.bronze.batch import Batch, read_batches
from lakehouse.bronze.conflicts import contradicted
from lakehouse.bronze.ingest import ingest, prepare, write_batch
from lakehouse.bronze.plan import Plan, plan, remember
from lakehouse.bronze.seen import read_otherwise
from lakehouse.bronze.standing import withdraw

__all__ = [
    "MAX_CONFLICTS",
    "Batch",
    "IngestFailed",
    "IngestReport",
    "Plan",
    "contradicted",
    "ingest",
    "new_run_id",
    "plan",
    "prepare",
    "read_batches",
    "read_otherwise",
    "remember",
    "report_of",
    "withdraw",
    "write_batch",
]
