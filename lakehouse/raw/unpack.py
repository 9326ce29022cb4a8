"""From the bytes of a file to blocks of whole lines, whatever the packing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO, cast

from lakehouse.errors import FileRefused
from lakehouse.raw.files import data_in, split_member

LINE_BYTES = 2**20
BOM = b"\xef\xbb\xbf"


def unpack(stream: IO[bytes], path: str, block_bytes: int) -> tuple[IO[bytes], str]:
    """Unpack a file to its end before a line of it is handed out: half an archive must not load.

    Args:
        stream: The file's bytes; seekable.
        path: Its path, whose suffix tells the packing.
        block_bytes: Up to how much text is kept; what is longer is unpacked twice.

    Returns:
        The text, and the name that it has inside.

    Raises:
        FileRefused: It is a zip without a file of data.
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
            return held.open(member), member.rsplit("/", 1)[-1]
        except (ValueError, KeyError) as error:  # its front is cut off, a name is in another encoding, or gone
            raise zipfile.BadZipFile(str(error)) from error
    match name.lower().rsplit(".", 1)[-1]:
        case "gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)), name
        case "bz2":
            return cast("IO[bytes]", bz2.BZ2File(stream)), name
        case "xz":
            return cast("IO[bytes]", lzma.LZMAFile(stream)), name
        case "zst":
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  it takes its time, and few files need it

            kept = SimpleNamespace(read=stream.read, closed=False, close=lambda: None)  # pyarrow closes what it reads
            return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(kept, "r"), "zstd")), name
    return stream, name


def _only_one(names: list[str]) -> str:
    members = data_in(names)
    if len(members) != 1:
        met = ", ".join(names[:5]) or "nothing"
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
