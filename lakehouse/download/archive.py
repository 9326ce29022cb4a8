"""The archive over HTTP: what it lists, how its bytes are asked for. Time-outs, pauses and retries live here only."""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote
from xml.etree import ElementTree

import httpx

from lakehouse.download.wishes import BINANCE, Source
from lakehouse.errors import LakehouseError

BUSY = {429, 500, 502, 503, 504}  # it may go better later
ATTEMPTS = 6
BACK_OFF = 0.5  # seconds before the second attempt; twice as many before each further one
LONGEST_PAUSE = 300.0  # whoever asks for more than this is asked again another day
CONNECT, READ = 5.0, 30.0  # seconds until a silent host, and a stalled transfer, are given up
PIECE = 64 * 2**10


class ArchiveError(LakehouseError):
    """The archive cannot be reached, or what it answers is no listing. What is in raw/ stands."""


class TransferBroken(Exception):
    """What came is not what was listed; it is asked for again."""


class Stopped(Exception):
    """The main thread has given up; a worker ends at the next piece."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the archive lists it.

    Attributes:
        key: Its path in the archive, which is its path below raw/ too.
        size: In bytes.
        etag: The MD5 of its bytes in hexadecimal digits; with a `-` in it the MD5 of something else.
        modified_at: When it was published, UTC.
    """

    key: str
    size: int
    etag: str
    modified_at: dt.datetime


class Archive:
    """A bucket that anyone may list and read.

    Args:
        url: Where it is. Default: `LAKEHOUSE_ARCHIVE_URL`, else where its source is.
        source: Which archive it is.
    """

    def __init__(self, url: str = "", source: Source = BINANCE) -> None:
        url = (url or os.environ.get("LAKEHOUSE_ARCHIVE_URL", "")).rstrip("/")
        self.url, self.listing = url or source.files, url or source.listing or source.files
        self.stop = threading.Event()
        self._reached = False
        self._resume_at = 0.0  # for all threads: who is told to wait speaks for the others too
        timeout, limits = httpx.Timeout(READ, connect=CONNECT), httpx.Limits(max_connections=None)
        self._client = httpx.Client(timeout=timeout, limits=limits, follow_redirects=True)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._client.close()

    def entries(self, prefix: str, after: str = "") -> list[Entry]:
        """The files in a folder and in those below it, in the order of their keys.

        Args:
            prefix: The folder, with a slash at its end, or the beginning of a key.
            after: Leave out keys up to this one; pages before it are not asked for.

        Raises:
            ArchiveError: The archive cannot be reached, or does not list.
        """
        return [_entry(node) for page in self._pages(prefix, "", after) for node in page.findall("{*}Contents")]

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly in a folder."""
        nodes = (node for page in self._pages(prefix, "/") for node in page.findall("{*}CommonPrefixes/{*}Prefix"))
        return [(node.text or "").removeprefix(prefix).rstrip("/") for node in nodes]

    def _pages(self, prefix: str, delimiter: str, marker: str = "") -> Iterator[ElementTree.Element]:
        while True:
            asked = {"prefix": prefix, "delimiter": delimiter, "marker": marker}
            try:
                page = self.persist(lambda asked=asked: self._page(asked))  # type: ignore[misc]
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            yield page
            if page.findtext("{*}IsTruncated") != "true":
                return
            before, keys = marker, [node.text or "" for node in page.findall("{*}Contents/{*}Key")]
            marker = page.findtext("{*}NextMarker") or (keys[-1] if keys else "")
            if marker <= before:
                raise ArchiveError(f"{self.listing} says that its list of {prefix} goes on, but not from where")

    def _page(self, asked: dict[str, str]) -> ElementTree.Element:
        response = self._client.get(f"{self.listing}/", params=asked)
        response.raise_for_status()
        self._reached = True
        try:
            page = ElementTree.fromstring(response.content)
        except ElementTree.ParseError:
            page = ElementTree.Element("")
        if not page.tag.endswith("ListBucketResult"):
            start = response.text[:80].replace("\n", " ")
            raise ArchiveError(
                f"{self.listing} answers {start!r}, which is no listing of a bucket. Is a login page of the network, "
                "or a proxy, in between? Or name another archive: --archive, LAKEHOUSE_ARCHIVE_URL"
            )
        return page

    def _unreachable(self, error: httpx.HTTPError) -> ArchiveError:
        why = str(error).split("\n", 1)[0] or type(error).__name__
        return ArchiveError(
            f"the archive {self.listing} cannot be reached: {why}. What is in raw/ stands. "
            "Is there a network? Without one, `lakehouse archive` serves a synthetic one on this machine"
        )

    @contextmanager
    def read(self, key: str) -> Iterator[Iterator[bytes]]:
        """Open a file, and give its bytes piece by piece."""
        with self._client.stream("GET", f"{self.url}/{quote(key)}") as response:
            response.raise_for_status()
            yield self._watched(response.iter_bytes(PIECE))

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self.stop.is_set():
                raise Stopped
            yield piece

    def persist[T](self, work: Callable[[], T]) -> T:
        """Do what asks the archive, and do it again where it may go better, after pauses that grow.

        Args:
            work: Raises httpx's errors or TransferBroken.

        Returns:
            What `work` returns.

        Raises:
            ArchiveError: There is no connection, or the archive asks for a very long pause.
            httpx.HTTPError: Of the last attempt.
            TransferBroken: Of the last attempt.
        """
        for attempt in range(ATTEMPTS):
            if self.stop.wait(max(0.0, self._resume_at - time.monotonic())):
                raise Stopped
            try:
                return work()
            except (httpx.HTTPError, TransferBroken) as error:
                last = attempt + 1 == ATTEMPTS
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and (last or not self._reached):
                    raise self._unreachable(error) from error  # of no use to anyone else either: do not try the others
                if last or (isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in BUSY):
                    raise
                self._pause(error, BACK_OFF * 2**attempt * random.uniform(0.8, 1.2))
        raise AssertionError  # never reached: the last attempt returns or raises

    def _pause(self, error: Exception, seconds: float) -> None:
        asked = _retry_after(error.response) if isinstance(error, httpx.HTTPStatusError) else 0.0
        if asked > LONGEST_PAUSE:
            raise ArchiveError(f"the archive {self.url} asks for a pause of {asked:.0f} s; run again after that")
        if isinstance(error, httpx.HTTPStatusError):
            self._resume_at = max(self._resume_at, time.monotonic() + max(asked, seconds))
        elif self.stop.wait(seconds):
            raise Stopped


def _entry(node: ElementTree.Element) -> Entry:
    told = {name: node.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag", "LastModified")}
    modified_at = dt.datetime.fromisoformat(told["LastModified"]).astimezone(dt.UTC)
    return Entry(told["Key"], int(told["Size"]), told["ETag"].strip('"'), modified_at)


def _retry_after(response: httpx.Response) -> float:
    """Seconds, told as such or as a time of day."""
    told = response.headers.get("Retry-After", "")
    if told.isdigit():
        return float(told)
    try:
        return (parsedate_to_datetime(told) - dt.datetime.now(dt.UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
