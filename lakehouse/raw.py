"""The files below raw/: list them, open one whatever its packing, cut it into blocks of rows.

All access goes through an obstore store, so that a folder and a bucket are read alike. Nothing here
writes.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, cast

import obstore
import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.errors import FileRefused, LakeError
from lakehouse.layouts import INTERVAL_SECONDS, Dataset, Form
from lakehouse.parse import UNTOLD, Block, no_rejects, parse_block
from lakehouse.recognise import Declared, read_sources, recognise, spacing

SUFFIXES = (".csv", ".csv.gz", ".zip")
BLOCK_BYTES = 32 * 2**20  # of text: what is parsed at once


class FileChanged(Exception):
    """The file was written to while it was read; the next run takes it."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as a listing shows it: `path` below raw/, `size` in bytes, `modified_at` in UTC."""

    path: str
    size: int
    modified_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose form is known.

    Attributes:
        file: What was listed.
        sha256: Of the file's bytes.
        form: How it is read; market and interval are told, the symbol too unless each line states it.
        backwards: Whether its times run from newest to oldest, as its first block shows.
        blocks: Its rows and rejected lines, block by block; to be walked once.
    """

    file: RawFile
    sha256: str
    form: Form
    backwards: bool
    blocks: Iterator[Block]


def list_files(store: ObjectStore) -> list[RawFile]:
    """List what ingest would read, in the order of their paths.

    Args:
        store: raw/.

    Returns:
        Every file whose name ends in .csv, .csv.gz or .zip, at any depth.

    Raises:
        LakeError: It cannot be listed, for example because links in it run in a circle.
    """
    try:
        metas = [meta for chunk in obstore.list(store) for meta in chunk]
    except BaseError as error:
        raise LakeError(f"raw/ cannot be listed: {str(error).splitlines()[0]}") from error
    found = [RawFile(m["path"], m["size"], m["last_modified"]) for m in metas if m["path"].lower().endswith(SUFFIXES)]
    return sorted(found, key=lambda file: file.path)


def load_sources(store: ObjectStore) -> list[Declared]:
    """Read raw/sources.toml; no declarations if there is none."""
    try:
        return read_sources(bytes(obstore.get(store, "sources.toml").bytes()).decode())
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise LakeError(f"raw/sources.toml is not UTF-8 text: {error}") from error


def hash_file(store: ObjectStore, path: str) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    reader = obstore.open_reader(store, path, buffer_size=8 * 2**20)
    while chunk := reader.read(8 * 2**20):
        digest.update(chunk)
    return digest.hexdigest()


def open_file(
    store: ObjectStore,
    file: RawFile,
    dataset: Dataset,
    declared: Declared,
    told: Mapping[str, object],
    block_bytes: int = BLOCK_BYTES,
) -> Opened:
    """Open a file and tell what it is; the rows are read while its blocks are walked.

    Args:
        store: raw/.
        file: Which file.
        dataset: What rows are wanted.
        declared: What sources.toml says of it.
        told: Provenance of every row: `_modified_at` and `_ingested_at`.
        block_bytes: How much text to parse at once.

    Returns:
        The opened file. Walking its blocks may raise the same errors.

    Raises:
        FileRefused: It cannot be understood, unpacked or read.
        FileChanged: It is not the file that was listed any more.
    """
    with _clear_errors(file):
        small = file.size <= 2 * block_bytes
        if small:  # the bytes that are hashed are the bytes that are parsed
            content = bytes(obstore.get(store, file.path).bytes())
            sha256 = hashlib.sha256(content).hexdigest()
            stream: IO[bytes] = io.BytesIO(content)
        else:
            sha256 = hash_file(store, file.path)
            stream = cast("IO[bytes]", obstore.open_reader(store, file.path, buffer_size=8 * 2**20))
        text, inner = _unpack(stream, file.path)
        pieces = _cut(text, block_bytes)
        first = next(pieces, b"").removeprefix(b"\xef\xbb\xbf")
        if not first or first.isspace():
            form = Form("", "", ())
            return Opened(file, sha256, form, False, iter([_nothing(dataset, first.count(b"\n"))]))
        form = recognise(file.path, inner, first[:65536], dataset, declared)
        form = replace(form, told={**told, "_file": file.path, "_sha256": sha256})
        lines = first.split(b"\n", form.banner)
        head = lines[form.banner] if len(lines) > form.banner else b""
        block = parse_block(head, form.banner + 1, form, dataset) if head else _nothing(dataset, 0)
        times = block.rows[dataset.time]
        form = replace(form, interval=form.interval or spacing(times))
        block = replace(block, skipped=block.skipped + form.banner)

    def walk() -> Iterator[Block]:
        yield _with_interval(block, form, file.path)
        line = 1 + block.read + block.skipped
        while True:
            with _clear_errors(file):
                piece = next(pieces, None)
                if piece is None:
                    break
                parsed = parse_block(piece, line, form, dataset)
            line += parsed.read + parsed.skipped
            yield _with_interval(parsed, form, file.path)
        with _clear_errors(file):
            if stat(store, file.path) != file or not (small or hash_file(store, file.path) == sha256):
                raise FileChanged(file.path)

    return Opened(file, sha256, form, len(times) > 1 and times[0] > times[-1], walk())


@contextmanager
def _clear_errors(file: RawFile) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FileRefused(f"cannot be unpacked ({error}); is the download complete?") from error
    except FileNotFoundError as error:
        raise FileChanged(file.path) from error
    except (BaseError, OSError, RuntimeError) as error:  # RuntimeError: an encrypted zip
        raise FileRefused(f"cannot be read: {str(error).splitlines()[0]}") from error


def stat(store: ObjectStore, path: str) -> RawFile:
    """Look at one file without reading it."""
    meta = obstore.head(store, path)
    return RawFile(meta["path"], meta["size"], meta["last_modified"])


def _unpack(stream: IO[bytes], path: str) -> tuple[IO[bytes], str]:
    """The text inside, and the name it has there."""
    name = path.rsplit("/", 1)[-1]
    if path.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)), name
    if not path.lower().endswith(".zip"):
        return stream, name
    archive = zipfile.ZipFile(stream)
    members = [n for n in archive.namelist() if n.lower().endswith(".csv") and not n.startswith("__MACOSX/")]
    if len(members) != 1:
        met = ", ".join(members or archive.namelist()) or "nothing"
        raise FileRefused(f"a zip with {len(members)} CSV files (it holds {met}), not one; unpack it into raw/")
    return archive.open(members[0]), members[0].rsplit("/", 1)[-1]


def _cut(text: IO[bytes], block_bytes: int) -> Iterator[bytes]:
    """Cut a stream into blocks of whole lines; only the last may lack its final line feed."""
    held = bytes(text.read(block_bytes))
    while held:
        more = bytes(text.read(block_bytes))  # obstore gives a buffer of its own
        end = held.rfind(b"\n") + 1 if more else len(held)
        if end:
            yield held[:end]
        elif len(held) > block_bytes:
            raise FileRefused(f"a line of more than {block_bytes:,} bytes; this is no CSV")
        held = held[end:] + more


def _with_interval(block: Block, form: Form, path: str) -> Block:
    """Put the interval that the first block's rows have told into that block."""
    if block.rows.is_empty() or block.rows["interval"][0] != UNTOLD:
        return block
    if not form.interval:
        raise FileRefused(
            "neither the name nor the spacing of the bars tells the interval; rename the file (BTCUSDT_1h.csv) or "
            f'declare it in raw/sources.toml:\n    [[source]]\n    glob = "{path}"\n    interval = "1h"\n'
            f"    (one of {', '.join(INTERVAL_SECONDS)}, 1mo)"
        )
    return replace(block, rows=block.rows.with_columns(interval=pl.lit(form.interval)))


def _nothing(dataset: Dataset, lines: int) -> Block:
    rows = dataset.contract.create_empty().select(dataset.schema.keys())
    return Block(rows, no_rejects(), 0, lines, 0)
