"""Open a file: hash it, tell what it is, and hand out its rows block by block."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

import obstore
import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    READ_BYTES,
    Block,
    FileChanged,
    RawFile,
    Seekable,
    cut,
    first_line,
    hash_file,
    no_data,
    parse_block,
    pass_blank,
    read_file,
    stat,
    unpack,
)
from lakehouse.recognise.identity import recognise, refuse_foreign, tell_interval
from lakehouse.recognise.sources import Declared

BLOCK_BYTES = 32 * 2**20  # of text: what is parsed at once


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
        raise FileRefused(f"cannot be read: {first_line(error)}") from error


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
