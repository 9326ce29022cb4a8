"""The files below raw/: list them, open one whatever its packing, read it block by block.

All access goes through an obstore store, so that a folder and a bucket are read alike. Nothing here writes.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import obstore
import polars as pl
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from lakehouse.errors import FileRefused, LakeError
from lakehouse.layouts import Dataset, Form
from lakehouse.parse import Block, no_data, parse_block
from lakehouse.recognise import Declared, read_sources, recognise, refuse_foreign, tell_interval
from lakehouse.unpack import Seekable, cut, pass_blank, unpack

SUFFIXES = (".csv", ".csv.gz", ".zip")
BLOCK_BYTES = 32 * 2**20  # of text: what is parsed at once
READ_BYTES = 8 * 2**20  # of a large file: what is asked of the store at once


class FileChanged(Exception):
    """The file was written to while it was read; the next run takes it."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as a listing shows it.

    Attributes:
        path: Below raw/.
        size: In bytes.
        modified_at: UTC.
        problem: Why it cannot be read, if the listing shows that already.
    """

    path: str
    size: int
    modified_at: dt.datetime
    problem: str = ""


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
        LakeError: raw/ cannot be listed.
    """
    try:
        metas = [meta for chunk in obstore.list(store) for meta in chunk]
        found = [RawFile(m["path"], m["size"], m["last_modified"]) for m in metas if _is_wanted(m["path"])]
    except BaseError as error:
        if not isinstance(store, LocalStore) or store.prefix is None:
            raise LakeError(f"raw/ cannot be listed: {_first_line(error)}") from error
        found = list(_walk(store, store.prefix))
    return sorted(found, key=lambda file: file.path)


def _is_wanted(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _walk(store: LocalStore, root: Path) -> Iterator[RawFile]:
    """List a folder that the store lists not at all, for a link that runs in a circle or a name that is no text."""
    denied: list[OSError] = []
    for folder, _, names in root.walk(on_error=denied.append):
        for path in (folder / name for name in names):
            if path.is_dir():
                yield _unreadable(root, path, "a link to a folder; none is followed while one of them runs in a circle")
            elif _is_wanted(path.name):
                try:
                    yield stat(store, path.relative_to(root).as_posix())
                except (BaseError, OSError, ValueError) as error:  # a ValueError is about the name
                    yield _unreadable(root, path, _first_line(error))
    for denial in denied:
        yield _unreadable(root, Path(denial.filename), _first_line(denial))


def _unreadable(root: Path, path: Path, why: str) -> RawFile:
    name = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)
    modified_at = dt.datetime.fromtimestamp(path.lstat().st_mtime, dt.UTC)
    return RawFile(shown, 0, modified_at, f"cannot be read: {why}; mend or remove it")


def stat(store: ObjectStore, path: str) -> RawFile:
    """Look at one file without reading it."""
    meta = obstore.head(store, path)
    return RawFile(meta["path"], meta["size"], meta["last_modified"])


def hash_file(store: ObjectStore, path: str) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    reader = obstore.open_reader(store, path, buffer_size=READ_BYTES)
    while chunk := reader.read(READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def read_file(store: ObjectStore, path: str) -> bytes:
    """Read a file as a whole. In a folder Python does it: obstore would copy every byte twice."""
    if isinstance(store, LocalStore) and store.prefix is not None:
        return Path(store.prefix, path).read_bytes()
    return bytes(obstore.get(store, path).bytes())


def load_sources(store: ObjectStore) -> list[Declared]:
    """Read raw/sources.toml; no declarations if there is none."""
    try:
        return read_sources(read_file(store, "sources.toml").decode("utf-8-sig"))
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise LakeError(f"raw/sources.toml is not UTF-8 text: {error}") from error
    except (BaseError, OSError) as error:
        raise LakeError(f"raw/sources.toml cannot be read: {_first_line(error)}") from error


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
    if file.problem:
        raise FileRefused(file.problem)
    with _clear_errors(file):
        small = file.size <= 2 * block_bytes
        if small:  # the bytes that are hashed are the bytes that are parsed
            content = read_file(store, file.path)
            sha256 = hashlib.sha256(content).hexdigest()
            stream: IO[bytes] = io.BytesIO(content)
        else:
            sha256 = hash_file(store, file.path)
            reader = obstore.open_reader(store, file.path, buffer_size=READ_BYTES)
            stream = io.BufferedReader(Seekable(reader), READ_BYTES)
        text, inner = unpack(stream, file.path, block_bytes)
        pieces = cut(text, block_bytes)
        blank, first = pass_blank(pieces)
        if not first:
            form, block = Form("", "", ()), no_data(blank, dataset)
        else:
            form = recognise(file.path, inner, first[:65536], dataset, declared)
            form = replace(form, told={**told, "_file": file.path, "_sha256": sha256})
            block = _first_block(first, blank, form, dataset)
            refuse_foreign(file.path, block, form, dataset)
            form, block = _with_interval(form, block, dataset, declared, file.path)

    def walk(form: Form) -> Iterator[Block]:
        yield block
        line = 1 + block.read + block.skipped
        while True:
            with _clear_errors(file):
                piece = next(pieces, None)
                if piece is None:
                    break
                parsed = parse_block(piece, line, form, dataset)
                if not form.interval:
                    form, parsed = _with_interval(form, parsed, dataset, declared, file.path)
            line += parsed.read + parsed.skipped
            yield parsed
        with _clear_errors(file):
            if stat(store, file.path) != file or not (small or hash_file(store, file.path) == sha256):
                raise FileChanged(file.path)

    times = block.rows[dataset.time]
    return Opened(file, sha256, form, len(times) > 1 and times[0] > times[-1], walk(form))


@contextmanager
def _clear_errors(file: RawFile) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise FileRefused(f"cannot be unpacked ({error}); is the download complete?") from error
    except FileNotFoundError as error:
        raise FileChanged(file.path) from error
    except (BaseError, OSError, RuntimeError) as error:  # RuntimeError: an encrypted zip
        raise FileRefused(f"cannot be read: {_first_line(error)}") from error


def _first_block(first: bytes, blank: int, form: Form, dataset: Dataset) -> Block:
    """Parse what stands below the banner."""
    lines = first.split(b"\n", form.banner)
    data = lines[form.banner] if len(lines) > form.banner else b""
    block = parse_block(data, blank + form.banner + 1, form, dataset) if data else no_data(0, dataset)
    return replace(block, skipped=blank + form.banner + block.skipped)


def _with_interval(form: Form, block: Block, dataset: Dataset, declared: Declared, path: str) -> tuple[Form, Block]:
    interval = tell_interval(path, block.rows[dataset.time], form, declared)
    rows = block.rows if form.interval else block.rows.with_columns(interval=pl.lit(interval))
    return replace(form, interval=interval), replace(block, rows=rows)
