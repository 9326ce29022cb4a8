"""One guarded commit to a Delta table: an append, or a MERGE that opens only the files it must."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from types import MappingProxyType
from typing import Any

import polars as pl
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.errors import ConflictError

ATTEMPTS = 12  # against other writers; the pauses between them add up to about a minute
FILE_BYTES = 8 * 2**20  # small sorted files: correcting five rows rewrites one of these, some 150,000 bars
# Prices hardly repeat, so a dictionary of them only costs; strings repeat for thousands of rows, and numbers that
# rise evenly pack into next to nothing.
WRITER = WriterProperties(
    compression="SNAPPY",
    default_column_properties=ColumnProperties(dictionary_enabled=False),
    column_properties={
        **{
            name: ColumnProperties(dictionary_enabled=True)
            for name in ("_file", "_sha256", "_modified_at", "_ingested_at", "run_id", "layout", "status", "path")
        },
        **{
            name: ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
            for name in ("open_time", "close_time", "_line", "trades")
        },
    },
)


@dataclass(frozen=True, slots=True)
class Span:
    """Some partition, and a closed range of one column in it: what a read or a MERGE may touch."""

    partition: Mapping[str, str]
    column: str
    low: Any
    high: Any

    def expr(self) -> pl.Expr:
        """The span as a Polars predicate."""
        equal = [pl.col(name) == pl.lit(value) for name, value in self.partition.items()]
        return reduce(
            and_, [*equal, pl.col(self.column) >= pl.lit(_floor(self.low)), pl.col(self.column) <= pl.lit(self.high)]
        )

    def sql(self, alias: str) -> str:
        """The span as a SQL predicate of literals, which is what lets a MERGE skip files."""
        equal = [f"{alias}.{name} = {sql_literal(value)}" for name, value in self.partition.items()]
        low, high = sql_literal(_floor(self.low)), sql_literal(self.high)
        return " AND ".join([*equal, f"{alias}.{self.column} >= {low}", f"{alias}.{self.column} <= {high}"])


def _floor[T](low: T) -> T:
    """Round a time down to the millisecond: the log's maxima are cut there, and would hide a later row of its file."""
    return low.replace(microsecond=low.microsecond // 1000 * 1000) if isinstance(low, dt.datetime) else low


def sql_literal(value: str | dt.datetime) -> str:
    """Quote a string or a UTC time for SQL."""
    text = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, dt.datetime) else value
    return "'" + text.replace("'", "''") + "'"


def commit(
    base: DeltaTable,
    key: Sequence[str],
    inserted: pl.DataFrame,
    updated: pl.DataFrame,
    spans: Iterable[Span],
    guards: Iterable[str],
    notes: Mapping[str, str | int],
    *,
    deleted: pl.DataFrame | None = None,
    consumed: Mapping[str, int] | None = None,
    even_empty: bool = False,
) -> int:
    """Write new, changed and deleted rows in one commit: an append if all are new, else a bounded MERGE.

    The guard: delta-rs lets blind appends pass each other, but two commits that were in flight at once
    with one application id conflict. So each commit carries an id for every partition it touches.

    Args:
        base: The opened version on which it was decided what is new and what is changed.
        key: The columns that name a row.
        inserted: Rows whose keys the table lacks.
        updated: Rows whose keys the table has, with other values.
        spans: Where the updated and deleted rows lie.
        guards: Ids of what must not have been written since `base`.
        notes: Goes into the commit's metadata, shown by `Table.versions`.
        deleted: Rows that are to go, in the table's columns; only their keys matter.
        consumed: Application ids of what these rows were made from → its version, kept with them.
        even_empty: Commit the guards though there is no row to write.

    Returns:
        The table's version afterwards.

    Raises:
        CommitFailedError: Another writer was there in between; decide anew on the latest version.
    """
    gone = inserted.clear() if deleted is None else deleted
    if inserted.is_empty() and updated.is_empty() and gone.is_empty() and not even_empty:
        return base.version()
    told = {"inserted": inserted.height, "updated": updated.height, "deleted": gone.height, **notes}
    properties = commit_properties(base, guards, told, consumed or {})
    if updated.is_empty() and gone.is_empty():
        write_deltalake(
            base,
            inserted,
            mode="append",
            target_file_size=FILE_BYTES,
            writer_properties=WRITER,
            commit_properties=properties,
        )
        return base.version()
    bounds = " OR ".join(f"({span.sql('t')})" for span in spans) or "true"
    same = " AND ".join(f"t.{name} = s.{name}" for name in key)
    kept, gone = (
        rows.with_columns(_gone=pl.lit(is_gone))
        for rows, is_gone in ((pl.concat([inserted, updated]), False), (gone, True))
    )
    merge = base.merge(
        pl.concat([kept, gone.select(kept.columns)]),
        f"({bounds}) AND {same}",
        source_alias="s",
        target_alias="t",
        streamed_exec=False,
        writer_properties=WRITER,
        commit_properties=properties,
    )
    decided_on = base.version()
    try:
        values = {name: f"s.{name}" for name in inserted.columns}
        changes = merge.when_matched_delete("s._gone").when_matched_update(values, "NOT s._gone")
        changes.when_not_matched_insert(values, "NOT s._gone").execute()
    except CommitFailedError:
        raise
    except DeltaError as error:  # meeting another commit it may also fail to read its own predicate back
        base.update_incremental()
        if base.version() > decided_on:
            raise CommitFailedError(f"another writer came first ({error})") from error
        raise
    return base.version()


def commit_properties(
    base: DeltaTable,
    guards: Iterable[str],
    notes: Mapping[str, str | int],
    consumed: Mapping[str, int] = MappingProxyType({}),
) -> CommitProperties:
    """What a commit carries beside its rows.

    Args:
        base: The opened version on which it was decided.
        guards: Ids of what must not have been written since.
        notes: For `Table.versions`.
        consumed: Ids of what the rows were made from → its version.
    """
    versions = {**dict.fromkeys(guards, base.version() + 1), **consumed}
    return CommitProperties(
        custom_metadata={f"lakehouse.{name}": str(value) for name, value in notes.items()},
        app_transactions=[Transaction(name, version) for name, version in versions.items()],
    )


def guarded[T](write: Callable[[], T]) -> T:
    """Decide and write; if another writer came between the two, decide anew.

    Args:
        write: Opens the table, decides, and commits with guards.

    Returns:
        What it returns.

    Raises:
        ConflictError: Other writers won at every attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except CommitFailedError as error:
            if attempt == ATTEMPTS - 1:
                raise ConflictError(
                    f"other writers came first {ATTEMPTS} times in a row ({error}); nothing is half-done, run again"
                ) from error
            time.sleep(random.uniform(0.02, 0.05 * 2 ** min(attempt, 7)))
    raise AssertionError("unreachable")


def file_stats(table: DeltaTable, partition: Sequence[str] = ()) -> pl.DataFrame:
    """The files of an opened version with their statistics, from the log alone."""
    stats = pl.DataFrame(table.get_add_actions(flatten=True))
    return stats.rename({f"partition.{name}": name for name in partition if f"partition.{name}" in stats.columns})


def read_spans(table: DeltaTable, spans: Sequence[Span]) -> pl.LazyFrame:
    """Read only what lies in the spans of an opened version; files elsewhere are not opened."""
    return pl.scan_delta(table).filter(reduce(or_, [span.expr() for span in spans]))
