"""From the bytes of a file to blocks of whole lines, whatever the packing."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import IO, cast
from weakref import finalize

import obstore
from isal import isal_zlib
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from lakehouse.errors import FileRefused
from lakehouse.raw.files import (
    CHECKPOINTS,
    PLAIN,
    UNREADABLE,
    FileChanged,
    RawFile,
    Seekable,
    at_once,
    fetch,
    first_line,
    hash_file,
    open_file_of,
    read_file,
    split_member,
    stat,
)

NAMES_BYTES = 2**16  # at the end of a zip: there its names stand
LINE_BYTES = 2**20
SPOOLED_BYTES = 64 * 2**20  # of a file that is downloaded: what is held in memory
BROKEN = cast(
    "tuple[type[Exception], ...]",
    (zipfile.BadZipFile, gzip.BadGzipFile, isal_zlib.error, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
)
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Text:
    """What a file holds, unpacked. Walking the pieces may raise what `open_text` raises."""

    sha256: str  # of the file's bytes
    name: str  # that the text has inside
    pieces: Iterator[bytes]  # of whole lines


def open_text(store: ObjectStore, file: RawFile, block_bytes: int) -> Text:
    """Open a file and unpack it.

    Args:
        store: raw/.
        file: Which file.
        block_bytes: How much of its text is wanted at once.

    Raises:
        FileRefused: It cannot be read, or not be unpacked.
        FileChanged: It is not the file that was listed any more; the end of the pieces tells.
    """
    small, fetched = file.size <= 2 * block_bytes, not isinstance(store, LocalStore)
    with _clear_errors(file):
        if fetched:
            sha256, stream = fetch_file(store, file)
        elif small:
            content = read_file(store, file.path)
            sha256, stream = hashlib.sha256(content).hexdigest(), cast("IO[bytes]", io.BytesIO(content))
        else:  # what was hashed is opened, and shown at its end to have stayed so
            sha256, stream = hash_file(store, file.path), open_file_of(store, file.path)
        text, name = unpack(stream, file.path, block_bytes)

    def walk() -> Iterator[bytes]:
        with _clear_errors(file), stream:
            yield from cut(text, block_bytes)
            if fetched:  # what came cannot have changed
                return
            if stat(store, file.path) != file or not (small or hash_file(store, file.path) == sha256):
                raise FileChanged(file.path)

    return Text(sha256, name, walk())


def fetch_file(store: ObjectStore, file: RawFile) -> tuple[str, IO[bytes]]:
    """Download a file of a bucket; what came cannot change any more while it is read. See `fetch`.

    Returns its sha256, and its bytes; on disk if they are many.
    """
    if split_member(file.path)[1]:
        return _ARCHIVES.open(store, file)
    held = cast("IO[bytes]", io.BytesIO() if file.size <= SPOOLED_BYTES else tempfile.TemporaryFile())  # noqa: SIM115
    sha256 = fetch(store, file, held)
    held.seek(0)
    return sha256, held


class _Archive:
    """An archive of several files that was downloaded, on disk as long as anybody has it."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._one, self._sha256 = Lock(), ""
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        finalize(self, self._folder.cleanup)  # who still reads it has opened it

    def open(self, file: RawFile) -> tuple[str, IO[bytes]]:
        """Its sha256, and its bytes for one reader."""
        path = Path(self._folder.name, "archive")
        with self._one:
            if not self._sha256:
                with path.open("wb") as held:
                    self._sha256 = fetch(self.store, file, held)
        return self._sha256, path.open("rb")


class _Archives:
    """The archives that were asked for last: their members are asked for one after the other, but side by side."""

    def __init__(self) -> None:
        self._one, self._held = Lock(), dict[tuple[int, RawFile], _Archive]()

    def open(self, store: ObjectStore, member: RawFile) -> tuple[str, IO[bytes]]:
        """The archive's sha256, and its bytes for one reader."""
        file = replace(member, path=split_member(member.path)[0])
        with self._one:
            archive = self._held.pop((id(store), file), None) or _Archive(store)
            self._held[id(store), file] = archive
            while len(self._held) > at_once(store):
                del self._held[next(iter(self._held))]
        return archive.open(file)


_ARCHIVES = _Archives()


@contextmanager
def _clear_errors(file: RawFile) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise FileRefused(f"cannot be unpacked ({error}); is the download complete?") from error
    except FileNotFoundError as error:
        raise FileChanged(file.path) from error
    except (BaseError, OSError, RuntimeError) as error:  # RuntimeError: an encrypted zip
        raise FileRefused(f"{UNREADABLE}{first_line(error)}") from error


def unpack(stream: IO[bytes], path: str, block_bytes: int) -> tuple[IO[bytes], str]:
    """Unpack a file to its end before a line of it is handed out: half an archive must not load.

    Args:
        stream: The file's bytes; seekable.
        path: Its path, whose suffix tells the packing.
        block_bytes: Up to how much text is kept; what is longer is unpacked twice.
    """
    packed, name = _unpacked(stream, path)
    if packed is stream:
        return stream, name
    start = packed.read(block_bytes)
    if len(start) < block_bytes:
        return io.BytesIO(start), name
    while packed.read(block_bytes):
        pass
    stream.seek(0)
    return _unpacked(stream, path)


def _unpacked(stream: IO[bytes], path: str) -> tuple[IO[bytes], str]:
    archive, member = split_member(path)
    name = path.rsplit("/", 1)[-1]
    if archive.lower().endswith(".zip"):
        try:
            held = zipfile.ZipFile(stream)
            member = member or _only_one(held.namelist())
            return _inflated(held, member), member.rsplit("/", 1)[-1]
        except (ValueError, KeyError) as error:  # its front is cut off, a name is in another encoding, or gone
            raise zipfile.BadZipFile(str(error)) from error
    match name.lower().rsplit(".", 1)[-1]:
        case "gz":
            from isal import igzip  # noqa: PLC0415  it brings argparse

            return cast("IO[bytes]", igzip.IGzipFile(fileobj=stream, mode="rb")), name  # type: ignore[no-untyped-call]
        case "bz2":
            return cast("IO[bytes]", bz2.BZ2File(stream)), name
        case "xz":
            return cast("IO[bytes]", lzma.LZMAFile(stream)), name
        case "zst":
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  it takes its time, and few files need it

            kept = SimpleNamespace(read=stream.read, closed=False, close=lambda: None)  # pyarrow closes what it reads
            return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(kept, "r"), "zstd")), name
    return stream, name


def _inflated(held: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a member, to be inflated by ISA-L in a third of zlib's time; `zipfile` goes on checking length and checksum.

    It has no other door for that; were the attribute called otherwise one day, it would inflate as it always did.
    """
    opened = held.open(name)
    if held.getinfo(name).compress_type == zipfile.ZIP_DEFLATED:
        opened._decompressor = isal_zlib.decompressobj(-15)  # type: ignore[attr-defined]
    return opened


def list_members(store: ObjectStore, file: RawFile) -> list[RawFile]:
    """The files in an archive of several, each under the path of its own; else the file itself.

    Args:
        store: raw/.
        file: As it was listed. The members have its size and time: whether it has changed is asked of the archive.
    """
    if file.problem or not file.path.lower().endswith(".zip"):
        return [file]
    try:
        members = Counter(data_in(_names_in(store, file)))
    except (BaseError, OSError, ValueError, zipfile.BadZipFile, NotImplementedError):  # reading it will say why
        return [file]
    if members.total() < 2:
        return [file]
    # A name leads to the last member that has it: the lines of the others would be lost.
    several = "the archive has {} files of this name; give each a name of its own"
    return [
        replace(file, path=f"{file.path}/{name}", problem=several.format(count) if count > 1 else "")
        for name, count in sorted(members.items())
    ]


def _names_in(store: ObjectStore, archive: RawFile) -> list[str]:
    """The names in a zip. A reader asks a bucket several times; mostly one request for the end brings them all."""
    if not isinstance(store, LocalStore):
        end = obstore.get_range(store, archive.path, start=max(0, archive.size - NAMES_BYTES), end=archive.size)
        with suppress(zipfile.BadZipFile):
            return zipfile.ZipFile(io.BytesIO(end)).namelist()
    reader = Seekable(obstore.open_reader(store, archive.path, buffer_size=NAMES_BYTES))
    return zipfile.ZipFile(io.BufferedReader(reader, NAMES_BYTES)).namelist()


def data_in(names: Sequence[str]) -> list[str]:
    """Which members of an archive hold data: its CSV files, or else its text files."""
    data = [n for n in names if not n.startswith("__MACOSX/") and not n.rsplit("/", 1)[-1].startswith(".")]
    data = [n for n in data if CHECKPOINTS not in n.split("/")]
    kinds = ([n for n in data if n.lower().endswith(kind)] for kind in PLAIN)
    return next((members for members in kinds if members), [])


def _only_one(names: list[str]) -> str:
    members = data_in(names)
    if len(members) != 1:
        met = ", ".join(names[:5]) or "nothing"
        advice = "unpack it into raw/" if members else "export its data as CSV"
        raise FileRefused(f"a zip with {len(members)} CSV files (it holds {met}), not one; {advice}")
    return members[0]


def cut(text: IO[bytes], block_bytes: int) -> Iterator[bytes]:
    """Cut a stream, without the mark at its start, into blocks of whole lines; only the last may lack its line feed."""
    held = text.read(block_bytes).removeprefix(BOM)
    while held:
        more = text.read(block_bytes)
        end = held.rfind(b"\n") + 1 if more else len(held)
        if end:
            yield held[:end]
        elif len(held) > LINE_BYTES:
            raise FileRefused(f"a line of more than {LINE_BYTES:,} bytes; this is no CSV")
        held = held[end:] + more


def pass_blank(pieces: Iterator[bytes]) -> tuple[int, bytes]:
    """Pass over blank blocks; returns how many lines they had, and the first block that is not blank."""
    lines = 0
    for piece in pieces:
        if not piece.isspace():
            return lines, piece
        lines += piece.count(b"\n") + (not piece.endswith(b"\n"))
    return lines, b""
