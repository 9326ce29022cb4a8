"""Open a file: hash it, tell what it is, and hand out its rows block by block."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

import obstore
import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    READ_BYTES,
    UNREADABLE,
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
    split_line,
    stat,
    unpack,
)
from lakehouse.recognise.identity import recognise, refuse_foreign, tell_interval
from lakehouse.recognise.sniff import header_columns
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
        sha256, stream = _hashed(store, file, block_bytes)
        text, inner = unpack(stream, file.path, block_bytes)
        pieces = cut(text, block_bytes)
        blank, first = pass_blank(pieces)
        if first:
            form = recognise(file.path, inner, first[:65536], dataset, declared)
            form = replace(form, told={**told, "_file": file.path, "_sha256": sha256})
            block = follow_headers(_first_block(first, blank, form, dataset), form, dataset)
            refuse_foreign(file.path, block, form, dataset)
            form, block = _with_interval(form, block, dataset, declared, file.path)
        else:
            form, block = Form("", "", ()), no_data(blank, dataset)

    def walk(form: Form) -> Iterator[Block]:
        yield block
        line, loaded, rejected = 1 + block.read + block.skipped, block.rows.height, block.rejected
        for piece in pieces:
            parsed = follow_headers(parse_block(piece, line, form, dataset), form, dataset)
            if not form.interval:
                form, parsed = _with_interval(form, parsed, dataset, declared, file.path)
            line, loaded = line + parsed.read + parsed.skipped, loaded + parsed.rows.height
            rejected = rejected if rejected.height else parsed.rejected
            yield parsed
        if stat(store, file.path) != file or not (
            _is_small(file, block_bytes) or hash_file(store, file.path) == sha256
        ):
            raise FileChanged(file.path)
        if rejected.height and not loaded:
            raise FileRefused(_why_none(rejected))

    times = block.rows[dataset.time]
    return Opened(file, sha256, form, len(times) > 1 and times[0] > times[-1], _clearly(walk(form), file))


def _is_small(file: RawFile, block_bytes: int) -> bool:
    return file.size <= 2 * block_bytes


def _hashed(store: ObjectStore, file: RawFile, block_bytes: int) -> tuple[str, IO[bytes]]:
    """Hash a file, and open what was hashed; of a large file it is shown at its end whether that has stayed so."""
    if _is_small(file, block_bytes):
        content = read_file(store, file.path)
        return hashlib.sha256(content).hexdigest(), io.BytesIO(content)
    sha256 = hash_file(store, file.path)
    reader = obstore.open_reader(store, file.path, buffer_size=READ_BYTES)
    return sha256, io.BufferedReader(Seekable(reader), READ_BYTES)


def follow_headers(block: Block, form: Form, dataset: Dataset) -> Block:
    """Look for headers among the rejected lines, as files have them that were joined from several.

    Args:
        block: As it was parsed.
        form: How the file is read.
        dataset: Whose columns are looked for.

    Returns:
        The block, the headers that name the same columns counted as skipped.

    Raises:
        FileRefused: A header names other columns, or the same in another order: what follows it must not be read so.
    """
    same = list[int]()
    worded = block.rejected.filter(~pl.col("raw").str.contains(r'^[\s"]*[-+.]?\d'))  # a header begins with a name
    for number, raw in worded.select("_line", "raw").iter_rows():
        columns = header_columns([fold(name) for name in split_line(raw, form.separator)], dataset)
        if columns and [name if name in form.columns else "" for name in columns] == list(form.columns):
            same.append(number)
        elif columns:
            raise FileRefused(
                f"line {number} is another header, {raw[:120]!r}, and names other columns than the lines above it, or "
                "the same in another order; cut the file in two before that line"
            )
    rejected = block.rejected.filter(~pl.col("_line").is_in(same)) if same else block.rejected
    return replace(block, rejected=rejected, read=block.read - len(same), skipped=block.skipped + len(same))


def _why_none(rejected: pl.DataFrame) -> str:
    """Say of a file of which no line is a row what is wrong with most of them."""
    (reason, times), *_ = Counter(reason for reasons in rejected["reasons"] for reason in reasons).most_common(1)
    return (
        f"none of its lines is a bar: {reason} in {times}, such as {rejected['raw'][0][:120]!r}; mend it, or remove it"
    )


def _clearly(blocks: Iterator[Block], file: RawFile) -> Iterator[Block]:
    while True:
        with _clear_errors(file):
            block = next(blocks, None)
        if block is None:
            return
        yield block


@contextmanager
def _clear_errors(file: RawFile) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise FileRefused(f"cannot be unpacked ({error}); is the download complete?") from error
    except FileNotFoundError as error:
        raise FileChanged(file.path) from error
    except (BaseError, OSError, RuntimeError) as error:  # RuntimeError: an encrypted zip
        raise FileRefused(f"{UNREADABLE}{first_line(error)}") from error


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
