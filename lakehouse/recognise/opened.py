"""Open a file: tell what it is, and hand out its rows block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl
from obstore.store import ObjectStore

from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    SEPARATORS,
    Block,
    RawFile,
    is_number,
    no_data,
    open_text,
    parse_block,
    pass_blank,
    split_line,
    to_start,
    told_label,
)
from lakehouse.recognise.advice import why_none
from lakehouse.recognise.doubts import (
    follow_headers,
    refuse_doubled,
    refuse_foreign,
    refuse_mixed,
    refuse_rows,
    refuse_swapped,
)
from lakehouse.recognise.identity import recognise, tell_interval
from lakehouse.recognise.sources import Declared, Subject

BLOCK_BYTES = 32 * 2**20  # of text: what is parsed at once


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose form is known."""

    file: RawFile
    sha256: str  # of the file's bytes
    form: Form  # its market and interval are told, the symbol too unless each line states it
    backwards: bool  # its times run from newest to oldest, as its first block shows
    blocks: Iterator[Block]  # to be walked once


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
    subject = Subject(file.path, dataset, declared)
    text = open_text(store, file, block_bytes)
    blank, first = pass_blank(text.pieces)
    form, block = Form("", "", ()), no_data(blank, dataset)
    if _is_prose(file.path, first):
        form = replace(form, notes=("it holds no bars, and is not read",))
    elif first:
        form = recognise(subject, text.name, first[:65536])
        form = replace(form, told={**told, "_file": file.path, "_sha256": text.sha256})
        block = follow_headers(subject, _first_block(first, blank, form, dataset), form)
        refuse_foreign(subject, block, form)
        refuse_mixed(subject, block, form, first, blank + 1)
        refuse_swapped(subject, block, form)
        form, block = _with_interval(subject, form, block)
        refuse_doubled(subject, block, form)
        refuse_rows(subject, block, form)
        if form.label == "end" and declared.label != "end":
            form = replace(form, notes=(*form.notes, "its bars carry the times at which they end"))

    def walk(form: Form) -> Iterator[Block]:
        yield block
        line, loaded, rejected = 1 + block.read + block.skipped, block.rows.height, block.rejected
        for piece in text.pieces:
            if not form.columns:  # prose
                continue
            parsed = follow_headers(subject, parse_block(piece, line, form, dataset), form)
            if form.numbered or form.label != "start":
                form, parsed = _with_interval(subject, form, parsed)
            refuse_mixed(subject, parsed, form, piece, line)
            refuse_doubled(subject, parsed, form)
            line, loaded = line + parsed.read + parsed.skipped, loaded + parsed.rows.height
            rejected = rejected if rejected.height else parsed.rejected
            yield parsed
        if rejected.height and not loaded:
            raise FileRefused(why_none(subject, rejected, form))

    times = block.rows[dataset.time]
    return Opened(file, text.sha256, form, len(times) > 1 and times[0] > times[-1], walk(form))


def _is_prose(path: str, first: bytes) -> bool:
    """Whether a text file is one for people: none of its first lines has four numbers."""
    if not first or ".txt" not in path[-8:].lower():
        return False
    head = first[:65536].decode("utf-8", "replace").split("\n")[:100]
    rows = (split_line(line, separator) for line in head for separator in SEPARATORS)
    return not any(sum(map(is_number, row)) > 3 for row in rows)


def _first_block(first: bytes, blank: int, form: Form, dataset: Dataset) -> Block:
    """Parse what stands below the banner."""
    lines = first.split(b"\n", form.banner)
    data = lines[form.banner] if len(lines) > form.banner else b""
    block = parse_block(data, blank + form.banner + 1, form, dataset) if data else no_data(0, dataset)
    return replace(block, skipped=blank + form.banner + block.skipped)


def _with_interval(subject: Subject, form: Form, block: Block) -> tuple[Form, Block]:
    """Tell the interval, if it is not told yet, and give the bars the times at which they begin."""
    rows, time = block.rows, subject.dataset.time
    if form.numbered or not form.label or not (form.interval or "interval" in form.columns):
        interval = tell_interval(subject, rows, form)
        rows = rows if interval == form.interval else rows.with_columns(interval=pl.lit(interval))
        form = replace(form, interval=interval, numbered=form.numbered and rows.is_empty())
    if not form.label and rows.height:
        form = replace(form, label=told_label(rows[time], form.interval, form.time_zone))
        if form.label == "?":
            days = f"its bars of {form.interval} carry days such as {rows[time][0]:%A %Y-%m-%d}"
            how = subject.how('label = "end"    # or "start"')
            raise FileRefused(f"{days}: does it begin or end one? {how}")
    if form.label == "end":
        rows = rows.with_columns(to_start(pl.col(time), form.interval, form.time_zone))
    return form, replace(block, rows=rows)
