"""Before a row changes: does a newer statement of it stand where the table does not show it?

A row of bronze shows the statement that gave it its values. A newer one that only agreed has left no trace there. It
may stand in a file that is newer than a late arrival, or, in a file that runs backwards and is so large that it comes
in several batches, further up. So the files themselves are asked. The ledger tells which, and the table's log, as long
as a writer is between its candles and its ledger; mostly there are none.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl
from deltalake import DeltaTable
from obstore.exceptions import BaseError

from lakehouse.delta import agreements
from lakehouse.errors import FileRefused
from lakehouse.lake import Lake
from lakehouse.raw import FileChanged, stat
from lakehouse.recognise import declared_for, load_sources, open_file


def confirmed_by_newer(lake: Lake, rows: pl.DataFrame, base: DeltaTable) -> pl.DataFrame:
    """Find the rows that lose against a newer statement which the table does not show.

    Args:
        lake: The lake.
        rows: Statements that would change the table: its columns and `_line_order`, negative where a file runs
            backwards.
        base: The opened table.

    Returns:
        The keys of those that lose against a file that is in the ledger or in the table's log, or against an earlier
        line of their own file, as long as that file is in raw/; columns as the dataset's key.
    """
    key = list(lake.dataset.key)
    lost = [rows.select(key).clear()]
    for path, sha256, stated_at in _newer_files(lake, rows, base):
        same_time = (pl.col("_modified_at") == stated_at) & (pl.col("_file") < pl.lit(path))
        older = rows.filter((pl.col("_modified_at") < stated_at) | same_time).select(key)
        lost += [older.join(states, on=key, how="semi") for states in _read_states(lake, path, sha256, stated_at)]
    backwards = rows.filter(pl.col("_line_order") < 0)
    for path, sha256, stated_at in backwards.select("_file", "_sha256", "_modified_at").unique().iter_rows():
        own = backwards.filter(pl.col("_file") == path).select(*key, own_line="_line")
        for states in _read_states(lake, path, sha256, stated_at):
            lost.append(own.join(states, on=key).filter(pl.col("_line") < pl.col("own_line")).select(key))
    return pl.concat(lost).unique()


def _read_states(lake: Lake, path: str, sha256: str, stated_at: dt.datetime) -> Iterator[pl.DataFrame]:
    """The keys that a file states, with their lines; nothing if it is not the file any more that was meant."""
    provenance = {"_modified_at": stated_at, "_ingested_at": stated_at}
    try:
        declared = declared_for(path, load_sources(lake.raw))
        opened = open_file(lake.raw, stat(lake.raw, path), lake.dataset, declared, provenance)
        if opened.sha256 == sha256:
            yield from (block.rows.select(*lake.dataset.key, "_line") for block in opened.blocks)
    except (FileRefused, FileChanged, OSError, BaseError):
        return  # gone from raw/, or a later revision, which will have its own say


def _newer_files(lake: Lake, rows: pl.DataFrame, base: DeltaTable) -> Iterator[tuple[str, str, dt.datetime]]:
    time, revision = lake.dataset.time, ["path", "sha256", "stated_at"]
    newer = pl.col("stated_at") >= rows["_modified_at"].min()
    meets = pl.col("first_open_time") <= rows[time].max(), pl.col("last_open_time") >= rows[time].min()
    ledger = lake.ledger.scan() if lake.ledger.exists() else pl.LazyFrame(schema=lake.ledger.schema)
    entered = ledger.filter(newer).select(*revision, _meets=pl.all_horizontal(pl.col("status") == "loaded", *meets))
    known = entered.collect()
    unknown = agreements(base).filter(newer).join(known, on=revision, how="anti")
    files = pl.concat([known.filter("_meets").select(revision), unknown])
    yield from files.sort("stated_at").unique("path", keep="last").iter_rows()
