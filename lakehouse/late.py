"""A late, older file: has a newer one, loaded before it, stated the same keys?

A row of bronze shows the statement that gave it its values. A newer file that only agreed has left no trace there,
so an older file that arrives later must be held against the newer files themselves. The ledger tells which they
are; most of the time there are none, and nothing is read.
"""

from __future__ import annotations

import polars as pl

from lakehouse.errors import FileRefused
from lakehouse.lake import Lake
from lakehouse.raw import FileChanged, load_sources, open_file, stat
from lakehouse.recognise import declared_for


def restated(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    """Find the rows whose keys a newer file states that is in the ledger and still in raw/.

    Args:
        lake: The lake.
        rows: Statements that would change the table: its columns.

    Returns:
        The keys among `rows` that lose against such a file; columns as the dataset's key.
    """
    dataset = lake.dataset
    losers = rows.select(*dataset.key, "_modified_at", "_file")
    newer = _newer_files(lake, rows)
    found = [losers.select(dataset.key).clear()]
    sources = load_sources(lake.raw) if newer.height else []
    for path, sha256, stated_at in newer.select("path", "sha256", "stated_at").iter_rows():
        same_time = (pl.col("_modified_at") == stated_at) & (pl.col("_file") < pl.lit(path))
        mine = losers.filter((pl.col("_modified_at") < stated_at) | same_time)
        try:
            told = {"_modified_at": stated_at, "_ingested_at": stated_at}
            opened = open_file(lake.raw, stat(lake.raw, path), dataset, declared_for(path, sources), told)
            if opened.sha256 != sha256:
                continue  # a later revision, which will have its own say
            states = (block.rows.select(dataset.key) for block in opened.blocks)
            found += [mine.select(dataset.key).join(keys, on=dataset.key, how="semi") for keys in states]
        except (FileRefused, FileChanged, FileNotFoundError):
            continue  # gone from raw/: then only the table speaks for it
    return pl.concat(found).unique()


def _newer_files(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    if not lake.ledger.exists():
        return pl.DataFrame(schema=lake.ledger.schema)
    time = lake.dataset.time
    return (
        lake.ledger.scan()
        .filter(
            pl.col("status") == "loaded",
            pl.col("stated_at") >= rows["_modified_at"].min(),
            pl.col("first_open_time") <= rows[time].max(),
            pl.col("last_open_time") >= rows[time].min(),
        )
        .sort("stated_at")
        .unique("path", keep="last")
        .collect()
    )
