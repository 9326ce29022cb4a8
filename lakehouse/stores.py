"""Open a folder or a bucket as an object store: one way to list and read both."""

from __future__ import annotations

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
