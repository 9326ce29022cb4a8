"""What happened to a Delta table, told by its log, and what changed; and the names that people give to versions."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import obstore
import polars as pl
from deltalake import DeltaTable
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from lakehouse.delta.parquet import file_stats, read_files
from lakehouse.delta.stores import open_store
from lakehouse.errors import InputError, VersionError

SCHEMA: dict[str, pl.DataType] = {
    "version": pl.Int64(),
    "at": pl.Datetime("us", "UTC"),
    "operation": pl.String(),
    **dict.fromkeys(("inserted", "updated", "deleted", "files"), pl.Int64()),
    "run": pl.String(),
}
AGREED = "lakehouse.agreed"
AGREEMENT = {"path": pl.String(), "sha256": pl.String(), "stated_at": pl.Datetime("us", "UTC")}
TAGS = "tags"  # a folder of the lake, a file a tag
COMMIT = re.compile(r"_delta_log/(\d{20})\.json")
TAG = re.compile(r"[A-Za-z][\w.-]*")  # a day and `7d` begin with a digit: a name is told from these
ROUNDING = 1e-15  # relative: a double is sure to hold 15 digits
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


def version_at(name: str, versions: pl.DataFrame, as_of: dt.datetime) -> int:
    """Find the version that was current at a time, UTC unless it has a zone; a VersionError if there was none yet."""
    moment = as_of if as_of.tzinfo else as_of.replace(tzinfo=dt.UTC)
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


def readable_versions(table: DeltaTable, there: Container[str]) -> list[int]:
    """Find the versions of which every file is there, up to the opened one.

    Each commit is read once: to open every version would cost ten times as much.

    Args:
        table: The opened table.
        there: The files that are, relative to it.
    """
    store = open_store(table.table_uri)
    paths = [str(found["path"]) for chunk in obstore.list(store, prefix="_delta_log") for found in chunk]
    commits = {int(name[1]): path for path in paths if (name := COMMIT.fullmatch(path))}
    versions = sorted(version for version in commits if version <= table.version())
    born, gone = dict[str, int](), set[int]()
    with ThreadPoolExecutor(8, "log") as pool:
        texts = pool.map(lambda version: bytes(obstore.get(store, commits[version]).bytes()), versions)
        for version, text in zip(versions, texts, strict=True):
            for action in map(json.loads, text.splitlines()):
                if "remove" in action and (path := unquote(action["remove"]["path"])) not in there:
                    gone.update(range(born.pop(path, 0), version))
                elif "add" in action and (path := unquote(action["add"]["path"])) not in there:
                    born[path] = version
    latest = (unquote(path) for path in table.get_add_actions()["path"].to_pylist())  # also from before the log's begin
    for path in (path for path in latest if path not in there):
        gone.update(range(born.get(path, 0), table.version() + 1))
    return [version for version in versions if version not in gone]


def write_tag(store: ObjectStore, name: str, versions: Mapping[str, int]) -> None:
    """Keep versions of tables under a name.

    Args:
        store: Of the lake.
        name: Begins with a letter.
        versions: By the name of the table.

    Raises:
        InputError: The name is none, or is taken.
    """
    if not TAG.fullmatch(name):
        raise InputError(f"'{name}' cannot be the name of a tag; letters, digits, '.', '_' and '-', a letter first")
    text = json.dumps({"at": dt.datetime.now(dt.UTC).isoformat(), "versions": versions})
    try:
        obstore.put(store, f"{TAGS}/{name}.json", text.encode(), mode="create")  # who was first keeps the name
    except AlreadyExistsError as error:
        raise InputError(f"there is a tag '{name}' already; take another name, or remove it first") from error


def read_tags(store: ObjectStore) -> dict[str, tuple[dt.datetime, dict[str, int]]]:
    """Read the tags of a lake: name → when it was made, and the versions by the name of the table.

    Args:
        store: Of the lake.
    """
    paths = sorted(str(found["path"]) for chunk in obstore.list(store, prefix=TAGS) for found in chunk)
    found = {}
    for path in (path for path in paths if path.endswith(".json")):
        told = json.loads(bytes(obstore.get(store, path).bytes()))
        found[path.rpartition("/")[2].removesuffix(".json")] = (dt.datetime.fromisoformat(told["at"]), told["versions"])
    return found


def diff_versions(
    before: DeltaTable,
    after: DeltaTable,
    schema: Mapping[str, pl.DataType],
    key: Sequence[str],
    partition: Sequence[str] = (),
    *,
    tolerance: float = 0.0,
    provenance: bool = False,
    but: Iterable[str] = (),
) -> pl.LazyFrame:
    """Compare two opened versions of a table by key.

    Delta rewrites whole files, so whatever differs lies in files that only one version lists; the others are never
    opened, and the cost is that of the files that were touched, not of the table.

    Args:
        before: The one version.
        after: The other; it may be the older.
        schema: The table's columns and dtypes.
        key: The columns that name a row.
        partition: The columns that the table is partitioned by.
        tolerance: By how much of their size two numbers may differ and still count as the same.
        provenance: Whether a row has changed if it is stated in another place, with equal values.
        but: Files that only the one after has, and that are not to be read.

    Returns:
        The key, `change` (inserted, updated or deleted), and `<column>_before` and `<column>_after` of every other
        column; sorted by key.
    """
    # Not the change feed, which vacuum breaks, and in which a restore is whole files deleted and inserted.
    old, new = file_stats(before, partition), file_stats(after, partition)
    gone = read_files(before, old.join(new, on="path", how="anti"), schema, partition)
    come = read_files(
        after, new.join(old, on="path", how="anti").filter(~pl.col("path").is_in([*but])), schema, partition
    )
    others = [name for name in schema if name not in key]
    values = [name for name in others if provenance or not name.startswith("_")]
    # A row that was merely rewritten with its file is on both sides, and drops out below.
    sides = [
        frame.select(*key, pl.col(others).name.suffix(f"_{side}"), pl.lit(True).alias(side))
        for frame, side in ((gone, "before"), (come, "after"))
    ]
    both = sides[0].join(sides[1], on=key, how="full", coalesce=True)
    was, is_now = pl.col("before").is_not_null(), pl.col("after").is_not_null()
    differs = pl.any_horizontal(_differs(name, schema[name], tolerance) for name in values)
    change = (
        pl.when(~was).then(pl.lit("inserted"))
        .when(~is_now).then(pl.lit("deleted"))
        .when(differs).then(pl.lit("updated"))
    )  # fmt: skip
    pairs = [f"{name}_{side}" for name in others for side in ("before", "after")]
    changed = both.with_columns(change=change).filter(pl.col("change").is_not_null())
    return changed.select(*key, "change", *pairs).sort(key)


def _differs(name: str, dtype: pl.DataType, tolerance: float) -> pl.Expr:
    old, new = pl.col(f"{name}_before"), pl.col(f"{name}_after")
    if not (tolerance and dtype.is_float()):
        return old.ne_missing(new)
    # Another program that reads and writes the table may round a double's last digit.
    near = (old - new).abs() <= tolerance * pl.max_horizontal(old.abs(), new.abs())
    return old.ne_missing(new) & ~near.fill_null(value=False)
