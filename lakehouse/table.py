"""One Delta table over time: scan a version, list its versions and files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import dataframely as dy
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.commits import file_stats
from lakehouse.diff import diff_versions
from lakehouse.errors import VersionError

CONFIGURATION: Mapping[str, str | None] = {
    "delta.enableChangeDataFeed": "true",
    "delta.logRetentionDuration": "interval 3650 days",  # this is a workbook about time travel
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}


class Table:
    """A Delta table of a lake.

    Args:
        name: For messages, for example `bronze/candles`.
        uri: Where it lies, a path or a URL.
        schema: Its columns and dtypes.
        key: The columns that name a row.
        partition: The columns that it is partitioned by.
        storage_options: What deltalake needs beside the environment to open the URL.
    """

    def __init__(
        self,
        name: str,
        uri: str,
        schema: Mapping[str, pl.DataType],
        key: Sequence[str],
        partition: Sequence[str] = (),
        storage_options: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.uri = uri
        self.schema = dict(schema)
        self.key = tuple(key)
        self.partition = tuple(partition)
        self._options = storage_options

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.uri!r})"

    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return DeltaTable.is_deltatable(self.uri, self._options)

    def open(self) -> DeltaTable:
        """Open the latest version as deltalake's own object.

        Raises:
            VersionError: There is no table yet.
        """
        try:
            return DeltaTable(self.uri, storage_options=self._options)
        except TableNotFoundError as error:
            raise VersionError(f"table '{self.name}' does not exist yet; run `lakehouse ingest` first") from error

    def open_or_create(self) -> DeltaTable:
        """Open the latest version; an empty table is made if there is none."""
        try:
            return self.open()
        except VersionError:
            empty = pl.DataFrame(schema=self.schema).to_arrow()
            return DeltaTable.create(
                self.uri,
                empty.schema,
                mode="ignore",  # another writer may be first
                partition_by=list(self.partition),
                configuration=CONFIGURATION,
                storage_options=self._options,
            )

    def version(self) -> int:
        """The latest version; -1 if there is no table yet."""
        return self.open().version() if self.exists() else -1

    def scan(self, version: int | None = None, as_of: dt.datetime | None = None) -> pl.LazyFrame:
        """Read the table lazily.

        Args:
            version: A version; -1 is the latest, negative ones count from the end.
            as_of: A time; the version that was current then.

        Returns:
            The table's columns, in the contract's order; rows in no order.

        Raises:
            VersionError: The table has no such version.
        """
        if version is not None and as_of is not None:
            raise VersionError(f"table '{self.name}': give a version or a time, not both")
        wanted = self._version_at(as_of) if as_of is not None else -1 if version is None else version
        return pl.scan_delta(self.at(wanted)).select(self.schema.keys())

    def diff(self, before: int, after: int) -> pl.DataFrame:
        """List what changed between two versions.

        Args:
            before: The one version; negative ones count from the end, -1 is the latest.
            after: The other.

        Returns:
            The key, `change` (inserted, updated or deleted), and `<column>_before` and `<column>_after` of every
            other column, the file and line that stated each among them; sorted by key. A row whose provenance alone
            differs has not changed.

        Raises:
            VersionError: The table has no such version, or vacuum has removed its files.

        Example:
            >>> Lake().bronze.diff(-2, -1).filter(change="updated")            # doctest: +SKIP
        """
        try:
            return diff_versions(self.at(before), self.at(after), self.schema, self.key, self.partition)
        except FileNotFoundError as error:
            raise VersionError(
                f"table '{self.name}': files of version {before} or {after} are gone, vacuum has removed them"
            ) from error

    def at(self, version: int) -> DeltaTable:
        """Open a version as deltalake's own object.

        Args:
            version: Negative ones count from the end, -1 is the latest.

        Returns:
            The opened table.

        Raises:
            VersionError: There is no table yet, or no such version.
        """
        table = self.open()
        wanted = version if version >= 0 else table.version() + 1 + version
        if not 0 <= wanted <= table.version():
            raise VersionError(f"table '{self.name}' has versions 0 to {table.version()}, not {version}")
        if wanted == table.version():
            return table
        try:
            return DeltaTable(self.uri, version=wanted, storage_options=self._options)
        except DeltaError as error:
            raise VersionError(f"table '{self.name}': version {wanted} is not in the log any more: {error}") from error

    def _version_at(self, as_of: dt.datetime) -> int:
        moment = as_of if as_of.tzinfo else as_of.replace(tzinfo=dt.UTC)
        past = self.versions().filter(pl.col("at") <= moment)
        if past.is_empty():
            first = self.versions()["at"][-1]
            raise VersionError(
                f"table '{self.name}' begins at {first:%Y-%m-%d %H:%M:%S} UTC; nothing is there at {as_of}"
            )
        return int(past["version"].max())  # type: ignore[arg-type]

    def versions(self) -> pl.DataFrame:
        """What happened to the table, the latest first.

        Returns:
            version (Int64), at (Datetime, UTC), operation, inserted, updated, deleted (Int64, rows),
            files (Int64, raw files that the commit took rows from), run (which run wrote it).
        """
        schema: dict[str, pl.DataType | type[pl.DataType]] = {
            **{"version": pl.Int64, "at": pl.Datetime("us", "UTC"), "operation": pl.String},
            **dict.fromkeys(("inserted", "updated", "deleted", "files"), pl.Int64),
            "run": pl.String,
        }
        rows = [
            {
                "version": commit["version"],
                "at": dt.datetime.fromtimestamp(commit["timestamp"] / 1000, dt.UTC),
                "operation": commit.get("lakehouse.operation", commit["operation"]),
                **{
                    name: int(commit.get(f"lakehouse.{name}", 0))
                    for name in ("inserted", "updated", "deleted", "files")
                },
                "run": commit.get("lakehouse.run"),
            }
            for commit in self.open().history()
        ]
        return pl.DataFrame(rows, schema=schema)

    def files(self) -> pl.DataFrame:
        """The Parquet files of the latest version.

        Returns:
            path, size_bytes (Int64), num_records (Int64), partition columns, and min/max of each column
            (`min.open_time`, …), from the Delta log alone.
        """
        return file_stats(self.open(), self.partition)


def contract_schema(contract: type[dy.Schema]) -> dict[str, pl.DataType]:
    """The columns and dtypes of a contract."""
    return dict(contract.create_empty().schema)
