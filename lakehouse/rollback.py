"""What a restore of bronze means for the ledger: the revisions that it undid are `rolled_back`, and not taken again.

A rolled-back file comes back when it changes, or when it is asked for (`ingest(lake, again=…)`).
"""

from __future__ import annotations

from collections.abc import Set

import polars as pl

from lakehouse.commits import Span, commit, guarded
from lakehouse.table import Table


def mark_rolled_back(ledger: Table, stands: Set[int]) -> None:
    """Mark each revision as loaded or rolled back.

    A commit is made in any case: a writer that is about to enter a revision then meets it, and looks again.

    Args:
        ledger: The ledger.
        stands: The versions of bronze whose commits it holds, see `history.standing`.
    """
    if ledger.exists():
        guarded(lambda: _mark(ledger, stands))


def _mark(ledger: Table, stands: Set[int]) -> None:
    base = ledger.open()
    status = pl.when(pl.col("bronze_version").is_in(stands)).then(pl.lit("loaded")).otherwise(pl.lit("rolled_back"))
    rows = pl.scan_delta(base).filter(pl.col("status").is_in(["loaded", "rolled_back"])).select(ledger.schema.keys())
    told = rows.filter(pl.col("status") != status).with_columns(status=status).collect()
    spans = [Span({}, "stated_at", told["stated_at"].min(), told["stated_at"].max())] if told.height else []
    notes = {"operation": "ROLL BACK"}
    commit(base, ledger.key, told.clear(), told, spans, [ledger.guard()], notes, even_empty=True)
