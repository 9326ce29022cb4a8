"""What happened to a Delta table, told by its log."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
from deltalake import DeltaTable

from lakehouse.errors import VersionError

SCHEMA: dict[str, pl.DataType] = {
    "version": pl.Int64(),
    "at": pl.Datetime("us", "UTC"),
    "operation": pl.String(),
    **dict.fromkeys(("inserted", "updated", "deleted", "files"), pl.Int64()),
    "run": pl.String(),
}
AGREED = "lakehouse.agreed"
AGREEMENT = {"path": pl.String(), "sha256": pl.String(), "stated_at": pl.Datetime("us", "UTC")}
LOOK_BACK = 100  # commits that others may make while a writer is between candles and ledger


def read_versions(table: DeltaTable) -> pl.DataFrame:
    """List the versions of a table, the latest first; see `Table.versions`."""
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


def version_at(name: str, table: DeltaTable, as_of: dt.datetime) -> int:
    """Find the version that was current at a time, UTC unless it has a zone; a VersionError if there was none yet."""
    moment = as_of if as_of.tzinfo else as_of.replace(tzinfo=dt.UTC)
    versions = read_versions(table)
    # deltalake itself opens version 0 for a time before it, without a word.
    past = versions.filter(pl.col("at") <= moment)
    if past.is_empty():
        raise VersionError(
            f"table '{name}' begins at {versions['at'][-1]:%Y-%m-%d %H:%M:%S} UTC; nothing is there at {as_of}"
        )
    return int(past["version"].max())  # type: ignore[arg-type]


def agreements(table: DeltaTable) -> pl.DataFrame:
    """Find the raw files that have agreed with rows of the table, which show nothing of it.

    Returns:
        path, sha256 (String), stated_at (Datetime, UTC): what `commit` was given as the note `agreed`, in the latest
        `LOOK_BACK` commits, as far as no restore has undone them.
    """
    live = live_versions(table, table.version(), max(0, table.version() + 1 - LOOK_BACK))
    notes = [c[AGREED] for c in table.history(LOOK_BACK) if c["version"] in live and AGREED in c]
    rows = [(path, sha, dt.datetime.fromisoformat(at)) for note in notes for path, sha, at in json.loads(note)]
    return pl.DataFrame(rows, schema=AGREEMENT, orient="row")


def live_versions(table: DeltaTable, version: int, since: int = 0) -> set[int]:
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
    # Backwards, each restore a jump to what it brought back: what lies between is undone.
    while version >= since:
        found.add(version)
        version = restored.get(version, version - 1)
    return found
