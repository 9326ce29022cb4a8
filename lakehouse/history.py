"""What happened to a Delta table, told by its log."""

from __future__ import annotations

import datetime as dt

import polars as pl
from deltalake import DeltaTable

SCHEMA: dict[str, pl.DataType] = {
    "version": pl.Int64(),
    "at": pl.Datetime("us", "UTC"),
    "operation": pl.String(),
    **dict.fromkeys(("inserted", "updated", "deleted", "files"), pl.Int64()),
    "run": pl.String(),
}


def read_versions(table: DeltaTable) -> pl.DataFrame:
    """List the versions of a table, the latest first.

    Args:
        table: The opened table.

    Returns:
        See `Table.versions`.
    """
    rows = [
        {
            "version": commit["version"],
            "at": dt.datetime.fromtimestamp(commit["timestamp"] / 1000, dt.UTC),
            "operation": commit.get("lakehouse.operation", commit["operation"]),
            **{name: int(commit.get(f"lakehouse.{name}", 0)) for name in ("inserted", "updated", "deleted", "files")},
            "run": commit.get("lakehouse.run"),
        }
        for commit in table.history()
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def standing(table: DeltaTable, version: int, since: int = 0) -> set[int]:
    """Find the commits that a version still holds: those that no restore has undone.

    Args:
        table: The opened table, of that version or a later one.
        version: The version.
        since: How far back to look.

    Returns:
        Versions from `since` to `version`.
    """
    commits = table.history(table.version() - since + 1)
    restored = {c["version"]: int(c["operationParameters"]["version"]) for c in commits if c["operation"] == "RESTORE"}
    found = set()
    while version >= since:
        found.add(version)
        version = restored.get(version, version - 1)
    return found
