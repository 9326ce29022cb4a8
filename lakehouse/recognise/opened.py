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
from functools import partial
from typing import IO

import polars as pl
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from lakehouse.dataset import Dataset, Form, fold
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    SEPARATORS,
    UNREADABLE,
    Block,
    FileChanged,
    RawFile,
    cut,
    first_line,
    hash_file,
    is_number,
    no_data,
    open_file_of,
    parse_block,
    pass_blank,
    read_file,
    refuse_doubled,
    refuse_mixed,
    refuse_rows,
    refuse_swapped,
    split_line,
    stat,
    tell_label,
    to_start,
    unpack,
)
from lakehouse.recognise.advice import refuse_foreign, why_none
from lakehouse.recognise.identity import recognise, tell_interval
from lakehouse.recognise.sniff import header_columns
from lakehouse.recognise.sources import Declared, how_to_declare

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
    how = partial(how_to_declare, file.path, declared=declared)
    with _clear_errors(file):
        sha256, stream = _hashed(store, file, block_bytes)
        text, inner = unpack(stream, file.path, block_bytes)
        pieces = cut(text, block_bytes)
        blank, first = pass_blank(pieces)
        if first and _is_prose(file.path, first):
            form, block = Form("", "", (), notes=("it holds no bars, and is not read",)), no_data(blank, dataset)
            pieces = iter(())
        elif first:
            form = recognise(file.path, inner, first[:65536], dataset, declared)
            form = replace(form, told={**told, "_file": file.path, "_sha256": sha256})
            block = follow_headers(_first_block(first, blank, form, dataset), form, dataset)
            refuse_foreign(file.path, block, form, dataset, declared)
            refuse_mixed(first, blank + 1, block, form, dataset, how)
            refuse_swapped(block.rows, form, dataset, how)
            form, block = _with_interval(form, block, dataset, declared, file.path)
            refuse_rows(block, form, dataset, how, said=declared.tells_volumes)
            if form.label == "end" and declared.label != "end":
                form = replace(form, notes=(*form.notes, "its bars carry the times at which they end"))
        else:
            form, block = Form("", "", ()), no_data(blank, dataset)

    def walk(form: Form) -> Iterator[Block]:
        yield block
        line, loaded, rejected = 1 + block.read + block.skipped, block.rows.height, block.rejected
        for piece in pieces:
            parsed = follow_headers(parse_block(piece, line, form, dataset), form, dataset)
            if form.numbered or form.label != "start":
                form, parsed = _with_interval(form, parsed, dataset, declared, file.path)
            refuse_mixed(piece, line, parsed, form, dataset, how)
            refuse_doubled(parsed, form, dataset, how)
            line, loaded = line + parsed.read + parsed.skipped, loaded + parsed.rows.height
            rejected = rejected if rejected.height else parsed.rejected
            yield parsed
        if stat(store, file.path) != file or not (
            _is_small(file, block_bytes) or hash_file(store, file.path) == sha256
        ):
            raise FileChanged(file.path)
        if rejected.height and not loaded:
            raise FileRefused(why_none(file.path, rejected, form, dataset, declared))

    times = block.rows[dataset.time]
    return Opened(file, sha256, form, len(times) > 1 and times[0] > times[-1], _clearly(walk(form), file))


def _is_prose(path: str, first: bytes) -> bool:
    """Whether a text file is one for people: none of its first lines has four numbers."""
    if ".txt" not in path[-8:].lower():
        return False
    head = first[:65536].decode("utf-8", "replace").split("\n")[:100]
    rows = (split_line(line, separator) for line in head for separator in SEPARATORS)
    return not any(sum(map(is_number, row)) > 3 for row in rows)


def _is_small(file: RawFile, block_bytes: int) -> bool:
    return file.size <= 2 * block_bytes


def _hashed(store: ObjectStore, file: RawFile, block_bytes: int) -> tuple[str, IO[bytes]]:
    """Hash a file, and open what was hashed; of a large file it is shown at its end whether that has stayed so."""
    if _is_small(file, block_bytes):
        content = read_file(store, file.path)
        return hashlib.sha256(content).hexdigest(), io.BytesIO(content)
    sha256 = hash_file(store, file.path)
    return sha256, open_file_of(store, file.path)


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
    if block.rejected.is_empty():
        return block
    same = list[int]()
    worded = block.rejected.filter(~pl.col("raw").str.contains(r'^[\s"]*[-+.]?\d'))  # a header begins with a name
    for number, raw in worded.select("_line", "raw").iter_rows():
        names = split_line(raw, form.separator)
        columns = header_columns(names, dataset)
        if [*map(fold, names)] == [*map(fold, split_line(form.header, form.separator))] or (
            columns and [name if name in form.columns else "" for name in columns] == list(form.columns)
        ):
            same.append(number)
        elif columns:
            raise FileRefused(
                f"line {number} is another header, {raw[:120]!r}, and names other columns than the lines above it, or "
                "the same in another order; cut the file in two before that line"
            )
    rejected = block.rejected.filter(~pl.col("_line").is_in(same)) if same else block.rejected
    return replace(block, rejected=rejected, read=block.read - len(same), skipped=block.skipped + len(same))


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
    """Tell the interval, if it is not told yet, and give the bars the times at which they begin."""
    rows = block.rows
    if form.numbered or not form.label or not (form.interval or "interval" in form.columns):
        interval = tell_interval(path, rows, form, declared, dataset)
        rows = rows if interval == form.interval else rows.with_columns(interval=pl.lit(interval))
        form = replace(form, interval=interval, numbered=form.numbered and rows.is_empty())
        how = partial(how_to_declare, path, declared=declared)
        form = replace(form, label=form.label or tell_label(rows[dataset.time], interval, form, how))
    if form.label == "end":
        rows = rows.with_columns(to_start(pl.col(dataset.time), form.interval, form.time_zone))
    return form, replace(block, rows=rows)
