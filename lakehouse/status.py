"""Where a lake stands: its tables, its series, its last runs, what waits, what was rejected."""

from __future__ import annotations

import datetime as dt
import os
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from lakehouse.bronze import MAX_CONFLICTS, contradicted, plan, read_otherwise
from lakehouse.contracts import COUNTS
from lakehouse.delta import Span, Table, committed_at, file_stats, read_spans
from lakehouse.errors import InputError
from lakehouse.lake import Lake
from lakehouse.layers import read_mismatches


@dataclass(frozen=True, slots=True)
class Status:
    """Where a lake stands.

    Attributes:
        tables: table, version, rows, files, bytes (Int64), changed_at (Datetime, UTC).
        layers: table, made_from, consumed, latest (Int64): which version of its source a layer has consumed, of how
            many; consumed is null if everything is to be computed.
        series: See `read_series`.
        runs: run_id, at (Datetime, UTC), files, the counts of law 1 (Int64), failed; the latest first, five at most.
        failed: path, error: files whose last handling failed and that are still there.
        rolled_back: path, ingested_at (Datetime, UTC): files that a restore of bronze has undone.
        withdrawn: path, ingested_at (Datetime, UTC): files of which all that they stated was taken back.
        otherwise: path, otherwise: files that this program would read otherwise than the one that took them did.
        contradicting: path, contradicts (the part of the bars shared with another path that differ), note.
        waiting: path, size (Int64), modified_at (Datetime, UTC): what the next run would read.
        mismatches: See `read_mismatches`: the series of which bars do not add up.
        reasons: reason, lines (Int64): the quarantine by reason, the commonest first.
        unread: path: what is no kind of file that ingest reads.
        unlooked: How many files an older program took of which it is not known yet whether this one reads them alike.
    """

    tables: pl.DataFrame
    layers: pl.DataFrame
    series: pl.DataFrame
    runs: pl.DataFrame
    failed: pl.DataFrame
    rolled_back: pl.DataFrame
    withdrawn: pl.DataFrame
    otherwise: pl.DataFrame
    contradicting: pl.DataFrame
    waiting: pl.DataFrame
    mismatches: pl.DataFrame
    reasons: pl.DataFrame
    unread: pl.DataFrame
    unlooked: int


LOOKS = 100  # files of an older program that are opened at a time, to tell how this one would read them
LAYERS = ("silver/candles", "silver/mismatches", "gold/daily", "gold/weekly", "gold/monthly")


def read_status(lake: Lake) -> Status:
    """Look at a lake; no table is written.

    Args:
        lake: The lake; at a tag nothing of raw/ is told, which is as it is now.

    Returns:
        Where it stands.
    """
    layers = (lake.silver, lake.gaps, lake.mismatches, lake.gold, lake.weekly, lake.monthly)
    bronze = (lake.bronze, lake.quarantine, lake.ledger, lake.conflicts)
    with ThreadPoolExecutor(len(bronze + layers) + 1) as pool:  # each waits for a bucket some time
        planning = pool.submit(plan, lake)
        found = zip(bronze + layers, pool.map(Table.find, bronze + layers), strict=True)
        opened = {table.name: held for table, held in found if held is not None}
        changed_at = dict(zip(opened, pool.map(committed_at, opened.values()), strict=True))
        consumed = pl.concat(pool.map(partial(_read_layer, opened), (layers[0], *layers[2:])))
        todo = planning.result()
    pending = [] if lake.at else [p.file for p in todo.pending]  # raw/ has no tags: what waits now did not wait then
    handled = _read(lake.ledger, opened)
    order = ["stated_at", pl.col("status") != "rolled_back", "ingested_at"]
    latest = handled.sort(order).unique("path", keep="last", maintain_order=True)
    there = pl.lit(value=True) if lake.at else pl.col("path").is_in([f.path for f in pending])
    failed = latest.filter(there, status="failed")
    waiting = pl.DataFrame(
        [(file.path, file.size, file.modified_at) for file in pending if file.path not in failed["path"]],
        schema={"path": pl.String, "size": pl.Int64, "modified_at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    undone = latest.filter(pl.col("status") == "rolled_back", ~pl.col("path").is_in([f.path for f in pending]))
    stand = latest.filter(
        pl.col("status").is_in(["loaded", "empty"]) & ~pl.col("path").is_in([f.path for f in pending])
    )
    otherwise, unlooked = ({}, 0) if lake.at else read_otherwise(lake, stand, todo.sources, LOOKS)
    runs = (
        handled.group_by("run_id")
        .agg(
            pl.col("ingested_at").min().alias("at"),
            pl.len().cast(pl.Int64).alias("files"),
            pl.col(*COUNTS).sum(),
            (pl.col("status") == "failed").sum().cast(pl.Int64).alias("failed"),
        )
        .sort("at", descending=True)
        .head(5)
    )
    reasons = (
        _read(lake.quarantine, opened)
        .explode("reasons")
        .group_by(reason="reasons")
        .agg(pl.len().cast(pl.Int64).alias("lines"))
        .sort("lines", "reason", descending=[True, False])
    )
    shown = [*bronze[:3], *(table for table in (lake.conflicts, *layers) if table.name in opened)]
    tables = [_read_table(table.name, opened.get(table.name), changed_at.get(table.name)) for table in shown]
    rolled_back = undone.select("path", "ingested_at")
    withdrawn = latest.filter(status="withdrawn").select("path", "ingested_at")
    contradicting = latest.filter(pl.col("contradicts") > MAX_CONFLICTS, status="loaded")
    # What was noted then is over where the other file was taken back since, is called otherwise, or has another rank.
    stands = dict(latest.filter(status="loaded").select("path", "market").iter_rows())
    pairs = [(path, contradicted(note)) for path, note in contradicting.select("path", "note").iter_rows()]
    over = [p for p, other in pairs if stands.get(other) != stands[p] or todo.rank(other) != todo.rank(p)]
    contradicting = contradicting.filter(~pl.col("path").is_in(over)).select("path", "contradicts", "note")
    errors = failed.select("path", "error")
    series = _read_series(lake, opened.get(lake.bronze.name))
    unread = pl.DataFrame({"path": [] if lake.at else todo.unread}, schema={"path": pl.String})
    told = (
        rolled_back,
        withdrawn,
        pl.DataFrame([*otherwise.items()], schema={"path": pl.String, "otherwise": pl.String}, orient="row"),
        contradicting,
        waiting,
        read_mismatches(lake, opened.get(lake.mismatches.name)),
        reasons,
        unread,
    )
    return Status(pl.concat(tables), consumed, series, runs, errors, *told, unlooked)


def read_series(lake: Lake, *, closes: bool = True) -> pl.DataFrame:
    """List what bronze holds, from the Delta log and the newest bars alone.

    Args:
        lake: The lake.
        closes: Whether to tell the last closes, for which alone files are opened.

    Returns:
        The partition columns, rows (Int64), first, last (Datetime, UTC) and last_close, sorted by partition.
    """
    return _read_series(lake, lake.bronze.find(), closes=closes)


def _read_series(lake: Lake, bronze: DeltaTable | None, *, closes: bool = True) -> pl.DataFrame:
    dataset = lake.dataset
    partition, time = list(dataset.partition), dataset.time
    empty = {**dict.fromkeys(partition, pl.String), "rows": pl.Int64}
    moments = {"first": pl.Datetime("us", "UTC"), "last": pl.Datetime("us", "UTC")}
    files = file_stats(bronze, partition) if bronze else pl.DataFrame()
    if not bronze or files.is_empty():
        return pl.DataFrame(schema={**empty, **moments, **({"last_close": pl.Float64} if closes else {})})
    series = (
        files.group_by(partition)
        .agg(
            pl.col("num_records").sum().alias("rows"),
            pl.col(f"min.{time}").min().alias("first"),
            pl.col(f"max.{time}").max().alias("last"),
        )
        .sort(partition)
    )
    if not closes:
        return series
    where = [
        Span({name: row[name] for name in partition}, time, row["last"], row["last"])
        for row in series.iter_rows(named=True)
    ]
    newest = read_spans(bronze, where).select(*partition, last_close="close").collect()
    return series.join(newest, on=partition, how="left", maintain_order="left")


def _read(table: Table, opened: Mapping[str, DeltaTable]) -> pl.DataFrame:
    if table.name not in opened:
        return pl.DataFrame(schema=table.schema)
    return table.read(opened[table.name]).collect()


def _read_layer(opened: Mapping[str, DeltaTable], table: Table) -> pl.DataFrame:
    schema = {"table": pl.String, "made_from": pl.String, "consumed": pl.Int64, "latest": pl.Int64}
    if not table.made_from or not {table.name, table.made_from.name} <= opened.keys():
        return pl.DataFrame(schema=schema)
    source = opened[table.made_from.name]
    consumed = opened[table.name].transaction_version(table.consumes(source))
    known = consumed if consumed is not None and consumed >= 0 else None
    return pl.DataFrame([(table.name, table.made_from.name, known, source.version())], schema=schema, orient="row")


def _read_table(name: str, version: DeltaTable | None, changed_at: dt.datetime | None) -> pl.DataFrame:
    schema = {"table": pl.String, **dict.fromkeys(("version", "rows", "files", "bytes"), pl.Int64)}
    row: dict[str, object] = {"table": name}
    if version:
        files = file_stats(version)
        row |= {
            "version": version.version(),
            "rows": files["num_records"].sum(),
            "files": files.height,
            "bytes": files["size_bytes"].sum(),
            "changed_at": changed_at,
        }
    return pl.DataFrame([row], schema={**schema, "changed_at": pl.Datetime("us", "UTC")})


def names_an_api() -> bool:
    """Whether the environment or the active profile names an API that Prefect shall report each run to."""
    if (url := os.environ.get("PREFECT_API_URL")) is not None:
        return bool(url)
    try:
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
        told = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or told.get("active")
        return "PREFECT_API_URL" in told.get("profiles", {}).get(active, {})
    except (OSError, ValueError, RuntimeError):  # none, none that can be read, or nobody's home
        return False


def is_current(lake: Lake) -> bool:
    """Whether a run would find nothing to do: no file waits or has failed, and each layer has consumed its source.

    Args:
        lake: The lake.
    """
    stands = read_status(lake)
    if stands.waiting.height or stands.failed.height:
        return False
    behind = stands.layers.filter(pl.col("consumed").ne_missing(pl.col("latest")))
    return behind.is_empty() and (stands.layers.height == len(LAYERS) or not lake.bronze.exists())


def versions_since(table: Table, since: str = "") -> tuple[int, int]:
    """Find the two versions between which lies what changed since a time, or in the last run that changed anything.

    Args:
        table: The table.
        since: A day or time (UTC unless it has a zone), or how long ago: `24h`, `7d`. Empty for the last run.

    Returns:
        The version before, and the latest.

    Raises:
        VersionError: There is no table yet.
        InputError: `since` is no such word.
    """
    versions = table.versions()
    latest = int(versions["version"][0])
    if since:
        moment = _read_moment(since)
        past = versions.filter(pl.col("at") <= moment)["version"]
        return (int(past[0]) if past.len() else int(versions["version"][-1])), latest
    rows = pl.sum_horizontal("inserted", "updated", "deleted") > 0
    newest = versions.filter(rows).head(1)
    if newest.is_empty():
        return latest, latest
    # A commit without a run (a restore) is told alone; one batch of a run is only a part of the news.
    same = versions.filter(rows, pl.col("run") == newest["run"][0]) if newest["run"][0] else newest
    return max(0, int(same["version"].min()) - 1), int(newest["version"][0])  # type: ignore[arg-type]


def _read_moment(word: str) -> dt.datetime:
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if word[:-1].isdigit() and word[-1:] in units:
        return dt.datetime.now(dt.UTC) - dt.timedelta(**{units[word[-1]]: int(word[:-1])})
    try:
        moment = dt.datetime.fromisoformat(word)
    except ValueError as error:
        raise InputError(f"since '{word}' is no time; write 2024-12-31, 2024-12-31T18:00, 24h or 7d") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
