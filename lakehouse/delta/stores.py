"""Open a folder or a bucket: as an object store, one way to list and read both, or as a version of a Delta table."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
import polars as pl
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from lakehouse.delta.parquet import file_stats
from lakehouse.errors import LakeError, VersionError

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
ANSWER_SECONDS = 4  # a service that has not answered by then, twice, is not there
KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AZURE_… or GOOGLE_… for the others) to keys that may use it"
ADVICE = {  # the service's own codes
    "NoSuchBucket": "make the bucket, or name another",
    "ContainerNotFound": "make the container, or name another",
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "AuthenticationFailed"), KEYS),
}


def open_store(uri: str) -> ObjectStore:
    """Open a folder, or a URL such as `s3://bucket/prefix`, whose keys come from the environment."""
    try:
        return from_url(uri) if "://" in uri else LocalStore(uri)
    except (BaseError, ValueError) as error:
        raise LakeError(f"{uri} cannot be opened: {str(error).partition('\n')[0]}") from error


def check_url(url: str) -> None:
    """Make sure that a URL can be shown to anybody, and that what it names answers within seconds.

    Args:
        url: The URL of a bucket or of a folder in one.

    Raises:
        LakeError: It is of no kind that we read, or holds keys; or nothing answers, or the service turns us away. No
            key is repeated.
    """
    named = urlsplit(url)
    container = named.scheme in {"abfs", "abfss"} and named.netloc.count("@") == 1 and ":" not in named.netloc
    if (not container and set(named.netloc) & set("@:")) or named.query or named.fragment or "?" in url:
        raise LakeError(
            "the URL of a lake must not hold keys, a port or options, since it is shown and kept wherever the lake is: "
            f"write {named.scheme}://bucket/prefix, and give the rest in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AZURE_STORAGE_SAS_KEY, …)"
        )
    if named.scheme not in SCHEMES or not named.netloc or not url.startswith(f"{named.scheme}://"):
        raise LakeError(
            f"{url} names no bucket; a folder is expected, or a URL such as s3://bucket/prefix, gs:// or az://"
        )
    _probe(url, os.environ.get("AWS_ENDPOINT_URL", ""))


@cache  # a lake is opened many times in a run; elsewhere the same name is another bucket
def _probe(url: str, endpoint: str) -> None:
    """Ask once with short limits. Neither deltalake nor Polars has any: before a silent server they wait minutes."""
    http = any(name.endswith("ALLOW_HTTP") and value.lower() in {"1", "true"} for name, value in os.environ.items())
    wait = dt.timedelta(seconds=ANSWER_SECONDS)
    pause = {"init_backoff": dt.timedelta(seconds=0.1), "max_backoff": dt.timedelta(seconds=1), "base": 2}
    options: dict[str, Any] = {
        "retry_config": {"max_retries": 1, "retry_timeout": wait, "backoff": pause},
        "client_options": {"timeout": wait, "connect_timeout": wait, "allow_http": http},
    }
    try:
        obstore.list_with_delimiter(from_url(url, **options))
    except (BaseError, ValueError) as error:
        told = str(error)
        if code := re.search(r"<Code>(\w+)</Code>", told):
            said = f"{code[1]}; {ADVICE.get(code[1], KEYS)}"
        elif status := re.search(r"status code: (\d+ [\w ]+)", told):
            said = f"the service answers {status[1]}; {KEYS}"
        elif asked := re.search(r"(https?://[^/\s]+)", told):
            said = f"nothing answers at {asked[1]}; look whether the service runs, or set AWS_ENDPOINT_URL to another"
        else:
            said = told.partition("\n")[0]
        raise LakeError(f"{url} cannot be opened: {said}") from None


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


def committed_at(table: DeltaTable) -> dt.datetime | None:
    """When an opened version was committed. deltalake's history asks twice, and lets no other thread run meanwhile."""
    log = obstore.get(open_store(table.table_uri), f"_delta_log/{table.version():020}.json").bytes()
    told = [json.loads(line).get("commitInfo", {}).get("timestamp") for line in bytes(log).splitlines()]
    return next((dt.datetime.fromtimestamp(at / 1000, dt.UTC) for at in told if at), None)


def _missing_files(uri: str, old: DeltaTable, latest: DeltaTable) -> int:
    """Count the files of an old version that are not there any more; those of the latest are taken to be."""
    wanted = set(file_stats(old)["path"]) - set(file_stats(latest)["path"])
    if not wanted:
        return 0
    there = sizes_on_disk(uri)
    return sum(unquote(path) not in there for path in wanted)


def sizes_on_disk(uri: str) -> dict[str, int]:
    """All files below a table, whether a version needs them or not: path relative to it → bytes."""
    return {str(found["path"]): int(found["size"]) for chunk in obstore.list(open_store(uri)) for found in chunk}


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
