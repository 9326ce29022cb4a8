"""Open a folder or a bucket as an object store: one way to list and read both."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from lakehouse.errors import LakeError


def open_store(uri: str) -> ObjectStore:
    """Open what lies below a path or a URL.

    Args:
        uri: A folder, or a URL such as `s3://bucket/prefix`; its keys come from the environment.

    Raises:
        LakeError: It cannot be opened.
    """
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
