"""A lake: a root that holds raw/ and the tables made from it. Paths and URLs are built here only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache, cached_property, partial
from pathlib import Path

import obstore
import polars as pl
from obstore.store import ObjectStore

from lakehouse.contracts import Contract, Gap, GoldBar, Mismatch, Quarantined, Revision, SilverCandle
from lakehouse.dataset import Dataset
from lakehouse.delta import (
    TAGS,
    Changes,
    Table,
    check_url,
    commit,
    guarded,
    open_store,
    read_tags,
    write_tag,
)
from lakehouse.errors import InputError, LakeError
from lakehouse.recognise import CANDLES

SERIES = ("market", "symbol", "interval")
URL = re.compile(r"\w\w+:/")  # not C:/


class Lake:
    """A root that holds `raw/`, `bronze/`, `silver/` and `gold/`.

    Args:
        root: A folder, or a URL such as `s3://bucket/prefix`, whose keys stand in the environment. Without one:
            `LAKEHOUSE_ROOT`, else the nearest folder upwards from here that holds `raw/`.
        dataset: What its bronze table is about.
        retention_days: How long every version of its tables stays readable, ten years if it is never said; it is kept
            in the tables, each when it is next written.
        raw: The folder or URL of the raw files, if they lie elsewhere than in the root. Without one, and for the lake
            that `LAKEHOUSE_ROOT` names: `LAKEHOUSE_RAW`.
        at: A tag: its tables are as they were then, and can only be read. See `Lake.tag`.

    Raises:
        LakeError: There is no such root, it holds no `raw/`, a URL holds keys, or a bucket cannot be used.
        InputError: The retention is no number of days, or there is no such tag.

    Example:
        >>> Lake("/data/lake").bronze            # doctest: +SKIP
        Table('bronze/candles', '/data/lake/bronze/candles')
    """

    def __init__(
        self,
        root: str | Path | None = None,
        dataset: Dataset = CANDLES,
        retention_days: int | None = None,
        raw: str | Path | None = None,
        at: str = "",
    ) -> None:
        self.dataset = dataset
        self.at = at
        self.retention_days = retention_days
        if retention_days is not None and retention_days < 1:
            raise InputError(
                f"retention_days is {retention_days}; give at least 1, or leave it out to keep what is set"
            )
        default = os.environ.get("LAKEHOUSE_ROOT", "")
        self.root = _resolve(str(root) if root else default)
        if "://" not in self.root and (odd := sorted(set(self.root) & set("#?%[]\\"))):
            raise LakeError(
                f"the path {self.root} holds {' '.join(odd)}, which deltalake cannot open; rename the folder"
            )
        # Not for every lake: a scratch copy must not read the raw files of the lake that it is to leave alone.
        if not raw and default and self.root == _spell(default):
            raw = os.environ.get("LAKEHOUSE_RAW")
        self.raw_uri = _resolve(str(raw)) if raw else self.uri("raw")
        if "://" not in self.raw_uri and not Path(self.raw_uri).is_dir():
            raise LakeError(f"no raw/ folder in {self.root}; make it and put CSV files there, or name another root")
        self._pinned: Mapping[str, int] | None = self.tagged(at) if at else None

    def __repr__(self) -> str:
        return f"Lake({self.root!r}, at={self.at!r})" if self.at else f"Lake({self.root!r})"

    def uri(self, *parts: str) -> str:
        """The path or URL of something in the lake."""
        return "/".join([self.root.rstrip("/"), *parts])

    @cached_property
    def raw(self) -> ObjectStore:
        """The store that lists and reads raw/. Ingest only reads from it."""
        return open_store(self.raw_uri)

    @property
    def bronze(self) -> Table:
        """The rows that raw/ states; see `contracts.Candle`."""
        told = self.dataset
        follow = partial(_follow_restore, self)
        return self._table(f"bronze/{told.name}", told.schema, told.key, told.partition, on_restore=follow)

    @property
    def quarantine(self) -> Table:
        """The lines that were rejected, with their reasons; see `contracts.Quarantined`."""
        return self._table("bronze/quarantine", _schema(Quarantined), ("_file", "_sha256", "_line"))

    @property
    def ledger(self) -> Table:
        """One row for each file revision that was handled; see `contracts.Revision`."""
        return self._table("bronze/ledger", _schema(Revision), ("path", "sha256", "stated_at", "bronze_version"))

    @property
    def conflicts(self) -> Table:
        """What files state for a bar and the bar does not show: each set of values once, and where it was stated.

        `_file_won` and `_line_won` tell where the bar's own values come from, and `why` why they stand. Of each series
        and month the first 1,000 such bars are kept; the ledger counts them all, as `overruled` and `updated`.
        """
        schema = {name: dtype for name, dtype in self.dataset.schema.items() if name != "_ingested_at"}
        schema |= {"_file_won": pl.String(), "_line_won": pl.Int64(), "why": pl.String()}
        return self._table("bronze/conflicts", schema, (*self.dataset.key, "_file", "_sha256", "_line"))

    @property
    def silver(self) -> Table:
        """Bronze's bars on a regular grid; see `contracts.SilverCandle`."""
        key = (*SERIES, "open_time")
        return self._table("silver/candles", _schema(SilverCandle), key, SERIES, self.bronze)

    @property
    def gaps(self) -> Table:
        """The slots of the grid that nobody stated; see `contracts.Gap`."""
        return self._layer("silver/gaps", Gap, (*SERIES, "first"), self.bronze)

    @property
    def mismatches(self) -> Table:
        """The bars that do not add up, field by field; see `contracts.Mismatch`."""
        return self._layer("silver/mismatches", Mismatch, (*SERIES, "field", "open_time"), self.silver)

    @property
    def gold(self) -> Table:
        """Days; see `contracts.GoldBar`."""
        return self._layer("gold/daily", GoldBar, ("market", "symbol", "open_time"), self.silver)

    @property
    def weekly(self) -> Table:
        """Weeks, from Monday on; see `contracts.GoldBar`."""
        return self._layer("gold/weekly", GoldBar, ("market", "symbol", "open_time"), self.gold)

    @property
    def monthly(self) -> Table:
        """Calendar months; see `contracts.GoldBar`."""
        return self._layer("gold/monthly", GoldBar, ("market", "symbol", "open_time"), self.gold)

    def _layer(self, name: str, contract: type[Contract], key: tuple[str, ...], made_from: Table) -> Table:
        # A file for each of a thousand symbols would cost more than the few rows that a night brings to most layers.
        return self._table(name, _schema(contract), key, made_from=made_from)

    def _table(
        self,
        name: str,
        schema: Mapping[str, pl.DataType],
        key: Sequence[str],
        partition: Sequence[str] = (),
        made_from: Table | None = None,
        on_restore: Callable[[Set[int]], object] = lambda live: None,
    ) -> Table:
        return Table(
            *(name, self.uri(*name.split("/")), schema, key, partition, made_from, on_restore, self.retention_days),
            pinned=None if self._pinned is None else self._pinned.get(name, -1),
            tagged=partial(_tagged, self.root, name),
        )

    def tag(self, name: str) -> dict[str, int]:
        """Give a name to what all tables are now: `Lake(at=name)` reads that, and `vacuum` keeps it.

        Args:
            name: Letters, digits, `.`, `_` and `-`, a letter first.

        Returns:
            The versions, by the name of the table.

        Raises:
            InputError: The name is none, or is taken.
        """
        # Last written, first looked at: if a run is writing, a layer lies behind its source, and never before it.
        bronze = (self.ledger, self.bronze, self.conflicts, self.quarantine)
        tables = (self.monthly, self.weekly, self.gold, self.mismatches, self.silver, self.gaps, *bronze)
        versions = {table.name: table.version() for table in tables if table.exists()}
        write_tag(open_store(self.root), name, versions)
        return versions

    def tags(self) -> pl.DataFrame:
        """List the tags.

        Returns:
            tag, tagged_at (Datetime, UTC), bronze, silver, gold (Int64: the versions of candles and days), sorted by
            time.
        """
        shown = {"bronze": self.bronze.name, "silver": self.silver.name, "gold": self.gold.name}
        found = read_tags(open_store(self.root)).items()
        rows = [(tag, at, *(held.get(name) for name in shown.values())) for tag, (at, held) in found]
        schema = {"tag": pl.String(), "tagged_at": pl.Datetime("us", "UTC"), **dict.fromkeys(shown, pl.Int64())}
        return pl.DataFrame(rows, schema=schema, orient="row").sort("tagged_at", "tag")

    def tagged(self, name: str) -> dict[str, int]:
        """The versions that a tag stands for, by the name of the table; an InputError if there is no such tag."""
        known = read_tags(open_store(self.root))
        if name not in known:
            raise InputError(f"no tag '{name}' in {self.root}; there are: {', '.join(known) or 'none'}")
        return known[name][1]

    def untag(self, name: str) -> None:
        """Take a tag away; the tables stay as they are. An InputError if there is no such tag."""
        self.tagged(name)
        obstore.delete(open_store(self.root), f"{TAGS}/{name}.json")


def _tagged(root: str, name: str) -> list[int]:
    return [held[name] for _, held in read_tags(open_store(root)).values() if name in held]


@cache  # a contract takes milliseconds to tell, and every look at a table asks
def _schema(contract: type[Contract]) -> Mapping[str, pl.DataType]:
    return dict(contract.create_empty().schema)


def _spell(root: str) -> str:
    """A URL as it is, or the whole path of a folder; whether it is there is not asked."""
    return root if URL.match(root) else Path(root).expanduser().resolve().as_posix()  # on Windows too: URIs need it


def _resolve(root: str) -> str:
    if root:
        place = _spell(root)
        if URL.match(place):
            check_url(place)
        elif not Path(place).is_dir():
            raise LakeError(f"no folder {place}; name an existing one that holds raw/")
        return place
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "raw").is_dir():
            return folder.as_posix()
    raise LakeError(
        f"no raw/ folder in {here} or above it; go into a lake, make one (mkdir raw), or name one with --root or "
        "LAKEHOUSE_ROOT"
    )


def _follow_restore(lake: Lake, live: Set[int]) -> None:
    """Mark each revision as loaded, rolled back or withdrawn, and let bronze/conflicts go back as well.

    A commit is made in any case: a writer that is about to enter a revision then meets it, and looks again.

    Args:
        lake: The lake.
        live: The versions of bronze whose commits it holds, see `history.live_versions`.
    """
    if lake.ledger.exists():
        guarded(lambda: _mark(lake.ledger, live))
    if lake.conflicts.exists():
        guarded(lambda: _restore_conflicts(lake.conflicts, max(live), lake.bronze.version()))


def _restore_conflicts(table: Table, version: int, now: int) -> None:
    """Bring conflicts to what they were at a version of the candles. Each commit notes on which it was decided."""
    base, decided_on = table.open(), "lakehouse.bronze"
    notes = {c["version"]: int(c[decided_on]) for c in base.history() if decided_on in c}
    rows = table.read(base).collect()
    if (then := max((v for v, on in notes.items() if on < version), default=0)) == base.version():
        return
    old = table.read(table.at(then)).collect()
    come, gone = old.join(rows, on=table.key, how="anti"), rows.join(old, on=table.key, how="anti")
    told = [*table.key, "_file_won", "_line_won", "why"]
    updated = old.join(rows, on=table.key, how="semi").join(rows, on=told, how="anti")
    notes_now: dict[str, str | int] = {"bronze": now, "operation": "RESTORE"}
    commit(base, table.key, Changes(come, updated, gone), guards=[table.guard()], notes=notes_now)


def _mark(ledger: Table, live: Set[int]) -> None:
    base = ledger.open_or_create()  # an older ledger gets the columns that it lacks
    status = (
        pl.when(pl.col("withdrawn_version").is_in(live)).then(pl.lit("withdrawn"))
        .when(pl.col("bronze_version").is_in(live)).then(pl.lit("loaded"))
        .otherwise(pl.lit("rolled_back"))
    )  # fmt: skip
    rows = ledger.read(base).filter(pl.col("status").is_in(["loaded", "rolled_back", "withdrawn"]))
    marked = rows.filter(pl.col("status") != status).with_columns(status=status).collect()
    changes = Changes(marked.clear(), marked)
    commit(base, ledger.key, changes, guards=[ledger.guard()], notes={"operation": "ROLL BACK"}, even_empty=True)
