"""One Delta table over time: scan a version, list versions and files, compare, go back, keep it tidy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lakehouse.delta.commits import commit_properties
from lakehouse.delta.failures import guarded, refuse_file, writing
from lakehouse.delta.history import ROUNDING, diff_versions, live_versions, read_versions, version_at
from lakehouse.delta.parquet import file_stats
from lakehouse.delta.stores import OpenedTable, open_version, read_columns, widen
from lakehouse.delta.upkeep import compact, configuration, remove_unused, tidy
from lakehouse.errors import InputError, VersionError


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A Delta table of a lake.

    A version that it does not have, or of which vacuum has removed files, is a VersionError. What writes raises a
    ConflictError if other writers won at every attempt, and a LakeError if the table cannot be written.

    Attributes:
        name: For messages, for example `bronze/candles`.
        uri: Where it lies, a path or a URL.
        schema: Its columns and dtypes.
        key: The columns that name a row.
        partition: The columns that it is partitioned by when it is made; a table of an older lake stays as it is.
        made_from: The table of which this one is a layer.
        on_restore: Told before and after a restore which versions' commits the table holds then.
        retention_days: How long every version stays readable; None leaves that as the table has it.
        pinned: The one version that is the latest for this reader, -1 if there was no table then; it can only be read.
        tagged: Tells the versions that stay readable whatever is removed.
    """

    name: str
    uri: str
    schema: Mapping[str, pl.DataType]
    key: Sequence[str]
    partition: Sequence[str] = ()
    made_from: Table | None = None
    on_restore: Callable[[Set[int]], object] = lambda live: None
    retention_days: int | None = None
    pinned: int | None = None
    tagged: Callable[[], Sequence[int]] = tuple

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.uri!r})"

    def exists(self) -> bool:
        """Whether anything was ever written to it; a LakeError if a file stands where its folder must be."""
        refuse_file(self.uri)
        return self.pinned != -1 and DeltaTable.is_deltatable(self.uri)

    def open(self) -> DeltaTable:
        """Open the latest version as deltalake's own object.

        Raises:
            VersionError: There is no table yet.
            LakeError: A file stands where its folder must be.
        """
        if opened := self.find():
            return opened
        then = "did not exist yet when the tag was made"
        told = then if self.pinned == -1 else "does not exist yet; `lakehouse run` makes it when it is needed"
        raise VersionError(f"table '{self.name}' {told}")

    def find(self) -> DeltaTable | None:
        """Open the latest version; None if there is no table yet. To ask first would cost a bucket another request."""
        refuse_file(self.uri)
        if self.pinned == -1:
            return None
        try:
            latest = OpenedTable(self.uri)
        except TableNotFoundError:
            return None
        return latest if self.pinned is None else open_version(self.name, self.uri, latest, self.pinned)

    def open_or_create(self) -> DeltaTable:
        """Open the latest version to write to it; an empty table is made if there is none."""
        self._refuse_if_pinned()
        try:
            return widen(self.open(), self.schema)
        except VersionError:
            empty = pl.DataFrame(schema=self.schema).to_arrow()
            return OpenedTable.create(
                self.uri,
                empty.schema,
                mode="ignore",  # another writer may be first
                partition_by=list(self.partition),
                configuration=dict(configuration(self.retention_days)),
            )

    def read(self, opened: DeltaTable) -> pl.LazyFrame:
        """Read an opened version of this table; columns that it lacks, being older than they are, are null."""
        return read_columns(opened, self.schema)

    def version(self) -> int:
        """The latest version; -1 if there is no table yet."""
        return opened.version() if (opened := self.find()) else -1

    def scan(self, version: int | None = None, as_of: dt.datetime | None = None) -> pl.LazyFrame:
        """Read the table lazily.

        Args:
            version: A version; -1 is the latest, negative ones count from the end.
            as_of: A time; the version that was current then.

        Returns:
            The table's columns, in the contract's order; rows in no order.
        """
        if version is not None and as_of is not None:
            raise VersionError(f"table '{self.name}': give a version or a time, not both")
        wanted = (
            version_at(self.name, self.versions(), as_of) if as_of is not None else -1 if version is None else version
        )
        return self.read(self.at(wanted))

    def diff(self, before: int, after: int, *, tolerance: float = ROUNDING) -> pl.DataFrame:
        """List what changed between two versions.

        Args:
            before: The one version; negative ones count from the end, -1 is the latest.
            after: The other.
            tolerance: The part of their size by which two numbers may differ and be the same; 0 tells every last digit.

        Returns:
            The key, `change` (inserted, updated or deleted), and `<column>_before` and `<column>_after` of every
            other column, the file and line that stated each among them; sorted by key. A row whose provenance alone
            differs has not changed.

        Example:
            >>> Lake().bronze.diff(-2, -1).filter(change="updated")            # doctest: +SKIP
        """
        old, new = self.at(before), self.at(after)
        changes = diff_versions(old, new, self.schema, self.key, _partition(new), tolerance=tolerance)
        try:
            return changes.collect()
        except FileNotFoundError as error:
            told = f"table '{self.name}': a file of version {before} or {after} is gone: {error}"
            raise VersionError(told) from error

    def at(self, version: int) -> DeltaTable:
        """Open a version as deltalake's own object.

        Args:
            version: Negative ones count from the end, -1 is the latest.

        Returns:
            The opened table.

        Raises:
            VersionError: There is no table yet, or no such version, or vacuum has removed its files.
        """
        return open_version(self.name, self.uri, self.open(), version)

    def consumes(self, source: DeltaTable) -> str:
        """The application id under which a layer keeps, in its own commits, the version of its source it consumed."""
        return f"{self.name} ← {source.metadata().id}"

    def guard(self, *partition: str) -> str:
        """The application id that a commit to a partition, or to a table without partitions, carries."""
        return "/".join([self.name.split("/")[0], *partition]) if partition else self.name

    def versions(self) -> pl.DataFrame:
        """What happened to the table, the latest first.

        Returns:
            version (Int64), at (Datetime, UTC), operation, inserted, updated, deleted (Int64, rows),
            files (Int64, raw files that the commit took rows from), run (which run wrote it).
        """
        past = read_versions(replace(self, pinned=None).open())  # deltalake numbers an old version's wrongly (1.6.6)
        return past if self.pinned is None else past.filter(pl.col("version") <= self.pinned)

    def files(self) -> pl.DataFrame:
        """The Parquet files of the latest version.

        Returns:
            path, size_bytes (Int64), num_records (Int64), partition columns, and min/max of each column
            (`min.open_time`, …), from the Delta log alone.
        """
        opened = self.open()
        return file_stats(opened, _partition(opened))

    def restore(self, version: int) -> int:
        """Go back: make an earlier version the latest again. That is a new version, nothing is lost.

        Of bronze: the ledger marks what this undoes as `rolled_back`, and ingest does not bring it back until the
        file changes, or is asked for with `ingest(lake, again=…)`.

        Args:
            version: Which; negative ones count from the end.

        Returns:
            The new version; the latest itself if that was asked for.
        """
        self._refuse_if_pinned()
        wanted = version if version >= 0 else self.at(version).version()  # counted from the end as it is now
        with writing(self.uri):
            return guarded(lambda: self._restore(wanted))

    def _restore(self, version: int) -> int:
        base = self.open()
        target, partition = open_version(self.name, self.uri, base, version), _partition(base)
        if version == base.version():
            return version
        changes = diff_versions(base, target, self.schema, self.key, partition).group_by("change").len().collect()
        notes = {**dict(changes.iter_rows()), "operation": f"RESTORE TO {version}"}
        live = live_versions(base, version)
        self.on_restore(live)
        parts = pl.concat([file_stats(base, partition), file_stats(target, partition)], how="diagonal_relaxed")
        guards = [self.guard(*map(str, part)) for part in parts.select(partition).unique().iter_rows()]
        consumed = {self.consumes(self.made_from.open()): -1} if self.made_from else {}  # a restore leaves it as it was
        properties = commit_properties(base, guards or [self.guard()], notes, consumed)
        base.restore(version, commit_properties=properties)
        self.on_restore(live | {base.version()})
        return base.version()

    def optimize(self) -> int:
        """Join small files where it pays, rows sorted by key, so that reading is fast again; no row changes.

        Returns:
            How many files fewer there are; without anything to join there is no new version.
        """
        self._refuse_if_pinned()
        with writing(self.uri):
            return guarded(lambda: compact(opened := self.open(), self.key, _partition(opened), self.retention_days))

    def tidy(self, committed: DeltaTable, touched: pl.DataFrame) -> None:
        """Look after the table by the writer that has just committed; see `upkeep.tidy`.

        Args:
            committed: The version that was written.
            touched: Rows whose partition columns tell where.
        """
        partition, days = _partition(committed), self.retention_days
        tidy(committed, self.key, partition, touched.select(partition), days, self.tagged)

    def vacuum(self, keep_versions: Sequence[int] = (), *, hours: int | None = 0, dry_run: bool = False) -> list[str]:
        """Remove the files that neither the latest version needs nor a tag. Other versions cannot be read then.

        Args:
            keep_versions: Older versions that are to stay readable; negative ones count from the end.
            hours: For how long they must have been out of use; None for as long as retention says.
            dry_run: Only tell what would be removed.

        Returns:
            The files, relative to the table.
        """
        self._refuse_if_pinned()
        kept = [*(self.at(version).version() for version in keep_versions), *self.tagged()]
        with writing(self.uri):
            return guarded(lambda: remove_unused(self.open(), kept, hours=hours, dry_run=dry_run))

    def _refuse_if_pinned(self) -> None:
        if self.pinned is not None:
            raise InputError(
                f"table '{self.name}' is read as a tag has it, and cannot be changed so; open the lake itself"
            )


def _partition(opened: DeltaTable) -> list[str]:
    return opened.metadata().partition_columns
