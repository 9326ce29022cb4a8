"""Archives on this machine, made from synthetic klines: same trees, same listing, and the same faults on demand.

For the tests, and for whoever wants to try a download without network.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import sys
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from lakehouse.download.archive import Entry
from lakehouse.download.wishes import BINANCE, Wish, make_wishes, read_day
from lakehouse.errors import InputError
from lakehouse.sample import INTERVALS, write_sample

PUBLISHED = dt.datetime(2025, 3, 3, 8, tzinfo=dt.UTC)
HOLD = 60.0  # seconds that a stalled transfer stands still
FUTURES_HEADER = b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
FUTURES_HEADER += b"taker_buy_quote_volume,ignore\n"
FAULTS = {
    "404": "the file is listed and not there",
    "429": "too many requests, with Retry-After",
    "503": "slow down, with Retry-After",
    "cut": "the connection ends in the middle",
    "short": "half of the bytes, and a header that says so",
    "flip": "all the bytes, one of them wrong",
    "stall": "half of the bytes, then silence",
    "gzip": "sent with Content-Encoding: gzip",
}
"""What can happen to a request, see `StandIn.fail`."""


class StandIn:
    """A server on 127.0.0.1 that lists and serves files as the public archives do.

    Args:
        port: 0 for any that is free.
        page: Keys and folders in one page of a listing.
    """

    def __init__(self, port: int = 0, page: int = 1000) -> None:
        self.files: dict[str, bytes] = {}
        self.entries: dict[str, Entry] = {}
        self.page = page
        self.asked: list[str] = []
        self._faults: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"standin": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def publish(
        self, key: str, content: bytes, at: dt.datetime = PUBLISHED, *, checksum: str | None = "good", parts: int = 0
    ) -> None:
        """Put a file there, or another content in its place.

        Args:
            key: Its path.
            content: Its bytes.
            at: When.
            checksum: good, newline (ends with one), stale (of other bytes), or None for no CHECKSUM file, as Bybit.
            parts: In how many parts it was uploaded; the ETag is then the MD5 of their MD5s and their number.
        """
        self._put(key, content, at, parts)
        self.files.pop(key + BINANCE.checksum, None)
        self.entries.pop(key + BINANCE.checksum, None)
        if checksum:
            told = hashlib.sha256(content + b"?" * (checksum == "stale")).hexdigest()
            line = f"{told}  {key.rpartition('/')[2]}" + "\n" * (checksum == "newline")
            self._put(key + BINANCE.checksum, line.encode(), at)

    def _put(self, key: str, content: bytes, at: dt.datetime, parts: int = 0) -> None:
        self.files[key] = content
        step = -(-len(content) // max(parts, 1)) or 1
        sums = [_md5(content[start : start + step]) for start in range(0, len(content), step)] or [_md5(b"")]
        etag = f"{_md5(b''.join(sums)).hex()}-{len(sums)}" if parts else sums[0].hex()
        self.entries[key] = Entry(key, len(content), etag, at)

    def publish_sample(
        self,
        symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT"),
        intervals: Sequence[str] = ("1h",),
        first: str = "2024-11",
        last: str = "2025-02",
        market: str = "",
        kind: str = "klines",
        source: str = BINANCE.name,
    ) -> None:
        """Publish synthetic klines: all months but the last as monthly files, of Binance the last two as daily ones.

        Args:
            symbols: See `lakehouse.sample.write_sample`.
            intervals: See there.
            first: First month.
            last: Last month, which is not complete yet: its last day is missing.
            market: See `download`.
            kind: See `download`.
            source: See `download`.
        """
        wishes = make_wishes(symbols, intervals, market=market, kind=kind, source=source)
        with tempfile.TemporaryDirectory() as folder:
            for wish in wishes:
                paths = write_sample(folder, symbols=[wish.symbol], intervals=[wish.interval], first=first, last=last)
                months = {path.stem[-7:]: path.read_bytes().splitlines(keepends=True) for path in paths}
                (self._publish_binance if wish.source is BINANCE else self._publish_bybit)(wish, months)

    def _publish_binance(self, wish: Wish, months: dict[str, list[bytes]]) -> None:
        for age, (month, lines) in enumerate(reversed(months.items())):
            head, rows = (b"", lines) if wish.market == "spot" else (FUTURES_HEADER, _as_futures(lines, wish.kind))
            if age:
                self._publish_zip(wish.key("monthly", first=month), head + b"".join(rows))
            if age < 2:
                bars = 86_400 // INTERVALS[wish.interval]
                for day in range(len(rows) // bars - (age == 0)):
                    part = head + b"".join(rows[day * bars : (day + 1) * bars])
                    self._publish_zip(wish.key("daily", first=f"{month}-{day + 1:02d}"), part)

    def _publish_zip(self, key: str, content: bytes) -> None:
        self.publish(key, zipped(key.rpartition("/")[2].replace(".zip", ".csv"), content))

    def _publish_bybit(self, wish: Wish, months: dict[str, list[bytes]]) -> None:
        """A file is a month of UTC+3 and the first bar of the next one; beside it lies a page for browsers."""
        lines = [line.decode().split(",") for rows in months.values() for line in rows]
        times = [dt.datetime.fromtimestamp(int(f[0][:10]), dt.UTC) + wish.source.ahead for f in lines]
        for month in [*months][:-1]:
            first, last = read_day(month, dt.date.min), read_day(month, dt.date.min, end=True)
            begin, end = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (first, last + dt.timedelta(days=1)))
            bars = "".join(
                f"{time:%Y.%m.%d %H:%M},{','.join(fields[1:6])}\n"
                for time, fields in zip(times, lines, strict=True)
                if begin <= time <= end
            )
            key = wish.key("monthly", year=month[:4], first=str(first), last=str(last))
            self.publish(key, gzip.compress(bars.encode(), mtime=0), checksum=None)
            self.publish(f"{key.rpartition('/')[0]}/index.html", b"<h1>Directory listing</h1>", checksum=None)

    def fail(self, pattern: str, fault: str, times: int = 1) -> None:
        """Let something happen to the next requests.

        Args:
            pattern: Of keys, or `?` and a pattern of prefixes for requests that list; `*` stands for any letters.
            fault: One of FAULTS.
            times: To how many requests.
        """
        if fault not in FAULTS:
            raise InputError(f"fault {fault!r} is not known; the known ones are {', '.join(FAULTS)}")
        self._faults.append((pattern, fault, times))

    def next_fault(self, asked: str) -> str:
        """What is to happen to a request."""
        with self._lock:
            self.asked.append(asked)
            for at, (pattern, fault, times) in enumerate(self._faults):
                if times and fnmatch(asked, pattern):
                    self._faults[at] = pattern, fault, times - 1
                    return fault
        return ""

    def listing(self, prefix: str, marker: str, delimiter: str) -> str:
        """A page of the list, as S3 writes it."""
        names = dict[str, str]()  # a key, or the folder that holds it → its XML
        for key in sorted(key for key in self.entries if key.startswith(prefix)):
            rest = key.removeprefix(prefix)
            name = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else key
            if name > marker and name not in names:
                folder = f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
                names[name] = _entry_xml(self.entries[key]) if name == key else folder
        shown, more = list(names)[: self.page], len(names) > self.page
        following = f"<NextMarker>{escape(shown[-1])}</NextMarker>" if more and delimiter else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>"
            f"{following}<MaxKeys>{self.page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{''.join(names[name] for name in shown)}</ListBucketResult>"
        )


def zipped(name: str, content: bytes) -> bytes:
    """A zip of one file; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _as_futures(lines: Sequence[bytes], kind: str) -> list[bytes]:
    """Lines of spot as the archive's futures have them: milliseconds always, and indices have no amounts."""
    found, base = list[bytes](), float(lines[0].split(b",")[1])
    for fields in (line.decode().strip().split(",") for line in lines):
        fields[0], fields[6] = fields[0][:13], fields[6][:13]
        if kind == "premium":  # how far the price is from the index, on both sides of 0
            fields[1:5] = [f"{float(price) / base - 1:.8f}" for price in fields[1:5]]
        if kind != "klines":
            fields[5] = fields[7] = fields[9] = fields[10] = "0"
        found.append((",".join(fields) + "\n").encode())
    return found


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _entry_xml(entry: Entry) -> str:
    return (
        f"<Contents><Key>{escape(entry.key)}</Key><LastModified>{entry.modified_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<ETag>&quot;{entry.etag}&quot;</ETag><Size>{entry.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # who asks may be killed at any time
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    standin: StandIn
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        key, asked = unquote(url.path).strip("/"), parse_qs(url.query)
        prefix, marker, delimiter = (asked.get(name, [""])[0] for name in ("prefix", "marker", "delimiter"))
        fault = self.standin.next_fault(key or f"?{prefix}")
        body = self.standin.files.get(key) if key else self.standin.listing(prefix, marker, delimiter).encode()
        if fault in ("429", "503"):
            self._send(int(fault), b"", {"Retry-After": "1"})
        elif body is None or fault == "404":
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif fault in ("cut", "stall"):
            self._send(200, body[: len(body) // 2], {"Content-Length": str(len(body))})
            self.close_connection = True
            self.wfile.flush()
            self.standin.closing.wait(HOLD if fault == "stall" else 0)
        elif fault == "gzip":
            self._send(200, gzip.compress(body), {"Content-Encoding": "gzip"})
        else:
            middle = len(body) // 2
            changed = {"short": body[:middle], "flip": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]}
            self._send(200, changed.get(fault, body))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
