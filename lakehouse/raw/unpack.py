"""From the bytes of a file to blocks of whole lines, whatever the packing."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Buffer, Iterator
from typing import IO, cast

import obstore

from lakehouse.errors import FileRefused

LINE_BYTES = 2**20
BOM = b"\xef\xbb\xbf"


class Seekable(io.RawIOBase):
    """A reader of obstore's as Python's own readers are: zipfile and others want real bytes of it."""

    def __init__(self, reader: obstore.ReadableFile) -> None:
        self._reader = reader

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; returns how many bytes there were."""
        view = memoryview(buffer).cast("B")
        found = bytes(self._reader.read(len(view)))
        view[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; returns it."""
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._reader.tell()


def unpack(stream: IO[bytes], path: str, block_bytes: int) -> tuple[IO[bytes], str]:
    """Unpack a file to its end before a line of it is handed out: half an archive must not load.

    Args:
        stream: The file's bytes; seekable.
        path: Its path, whose suffix tells the packing.
        block_bytes: Up to how much text is kept; what is longer is unpacked twice.

    Returns:
        The text, and the name that it has inside.

    Raises:
        FileRefused: It is a zip with no CSV file in it, or several.
    """
    name = path.rsplit("/", 1)[-1]
    if path.lower().endswith(".gz"):
        packed = cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    elif path.lower().endswith(".zip"):
        try:
            archive = zipfile.ZipFile(stream)
            member = _only_csv(archive.namelist())
            packed, name = archive.open(member), member.rsplit("/", 1)[-1]
        except ValueError as error:  # its front is cut off, or a name is not in the encoding that it claims
            raise zipfile.BadZipFile(str(error)) from error
    else:
        return stream, name
    start = packed.read(block_bytes)
    if len(start) < block_bytes:
        return io.BytesIO(start), name
    while packed.read(block_bytes):
        pass
    packed.seek(0)
    return packed, name


def _only_csv(names: list[str]) -> str:
    data = (n for n in names if not n.startswith("__MACOSX/") and not n.rsplit("/", 1)[-1].startswith("._"))
    members = [n for n in data if n.lower().endswith(".csv")]
    if len(members) != 1:
        met = ", ".join((members or names)[:5]) or "nothing"
        raise FileRefused(f"a zip with {len(members)} CSV files (it holds {met}), not one; unpack it into raw/")
    return members[0]


def cut(text: IO[bytes], block_bytes: int) -> Iterator[bytes]:
    """Cut a stream into blocks of whole lines.

    Args:
        text: The stream; a byte order mark at its start is dropped.
        block_bytes: About how long a block may be.

    Yields:
        Blocks; none is empty, and only the last may lack its final line feed.

    Raises:
        FileRefused: There is no line feed for a long way.
    """
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
