"""Open a folder or a bucket: as an object store, one way to list and read both, or as a version of a Delta table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import obstore
import polars as pl
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from lakehouse.delta.spans import file_stats
from lakehouse.errors import LakeError, VersionError


def open_store(uri: str) -> ObjectStore:
    """Open a folder, or a URL such as `s3://bucket/prefix`, whose keys come from the environment."""
    try:
        return from_url(uri) if "://" in uri else LocalStore(uri)
    except (BaseError, ValueError) as error:
        raise LakeError(f"{uri} cannot be opened: {error}") from error


class OpenedTable(DeltaTable):
    """A Delta table whose paths Polars can open: deltalake writes a folder as a URL, `my%20lake` for `my lake`."""

    @property
    def table_uri(self) -> str:
        """The folder as it is called, or the URL."""
        uri = super().table_uri
        return uri if "://" in uri and not uri.startswith("file://") else unquote(uri)

    def file_uris(self, *args: Any, **options: Any) -> list[str]:
        """The paths or URLs of the table's Parquet files; see deltalake."""
        encoded, real = (uri.removeprefix("file://") for uri in (super().table_uri, self.table_uri))
        return [real + path.removeprefix(encoded) for path in super().file_uris(*args, **options)]


def open_version(name: str, uri: str, latest: DeltaTable, version: int) -> DeltaTable:
    """Open a version of a table; a VersionError if there is none, or vacuum has removed its files.

    Negative ones count from the end, -1 is the latest.
    """
    wanted = version if version >= 0 else latest.version() + 1 + version
    if not 0 <= wanted <= latest.version():
        raise VersionError(f"table '{name}' has versions 0 to {latest.version()}, not {version}")
    if wanted == latest.version():
        return latest
    try:
        old = OpenedTable(uri, version=wanted)
    except DeltaError as error:
        raise VersionError(f"table '{name}': version {wanted} is not in the log any more: {error}") from error
    # An old version opens after a vacuum too, and only its reader would fail, half-way.
    if gone := _missing_files(uri, old, latest):
        raise VersionError(f"table '{name}': vacuum has removed {gone} file(s) of version {wanted}")
    return old


def _missing_files(uri: str, old: DeltaTable, latest: DeltaTable) -> int:
    """Count the files of an old version that are not there any more; those of the latest are taken to be."""
    wanted = set(file_stats(old)["path"]) - set(file_stats(latest)["path"])
    if not wanted:
        return 0
    there = {str(found["path"]) for chunk in obstore.list(open_store(uri)) for found in chunk}
    return sum(unquote(path) not in there for path in wanted)


def widen(table: DeltaTable, schema: Mapping[str, pl.DataType]) -> DeltaTable:
    """Give a table of an older lake the columns of a schema that it lacks; they are null in its rows."""
    known = {field.name for field in table.schema().fields}
    if lacking := {name: dtype for name, dtype in schema.items() if name not in known}:
        table.alter.add_columns(Schema.from_arrow(pl.DataFrame(schema=lacking).to_arrow().schema).fields)
    return table


def read_columns(table: DeltaTable, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Read the columns of a schema; those that an opened version is too old to have are null."""
    rows = pl.scan_delta(table)
    known = rows.collect_schema()
    lacking = {name: pl.lit(None).cast(dtype) for name, dtype in schema.items() if name not in known}
    return rows.with_columns(**lacking).select(schema.keys())
