"""Open a file: tell what it is, and hand out its rows block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import polars as pl
from obstore.store import ObjectStore

from lakehouse.dataset import Dataset, Form
from lakehouse.errors import FileRefused
from lakehouse.raw import (
    SEPARATORS,
    Block,
    FileChanged,
    RawFile,
    Text,
    begins_early,
    is_number,
    no_data,
    open_text,
    parse_block,
    parse_together,
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
from lakehouse.recognise.sniff import Seen
from lakehouse.recognise.sources import Declared, Subject

SMALL = 64 * 2**10  # bytes of text: what is worth parsing together with others
BLOCK_BYTES = 32 * 2**20  # of text: what is parsed at once


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose form is known."""

    file: RawFile
    sha256: str  # of the file's bytes
    form: Form  # its market and interval are told, the symbol too unless each line states it
    backwards: bool  # its times run from newest to oldest, as its first block shows
    blocks: Iterator[Block]  # to be walked once


@dataclass(frozen=True, slots=True)
class Asked:
    """A file to open."""

    file: RawFile
    declared: Declared  # what sources.toml says of it
    told: Mapping[str, object]  # provenance of every row: `_modified_at` and `_ingested_at`


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file whose first lines tell its form, and have not been parsed yet."""

    asked: Asked
    subject: Subject
    text: Text
    blank: int  # lines before the first piece
    first: bytes
    form: Form

    @property
    def data(self) -> bytes:
        """What stands below the banner; nothing if it holds no bars."""
        if not self.form.columns or not self.form.banner:
            return self.first if self.form.columns else b""
        return b"".join(self.first.split(b"\n", self.form.banner)[self.form.banner :])


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
    return _opened(_begin(store, Asked(file, declared, told), dataset, block_bytes, None), None)


def open_files(
    store: ObjectStore, asked: Sequence[Asked], dataset: Dataset, block_bytes: int = BLOCK_BYTES
) -> list[Opened | FileRefused | FileChanged]:
    """Open several files, of which the small ones that are written alike are parsed as one text.

    Args:
        store: raw/.
        asked: Which files.
        dataset: What rows are wanted.
        block_bytes: How much text to parse at once.

    Returns:
        For each what `open_file` returns or raises.
    """
    found = list[_Begun | Opened | FileRefused | FileChanged]()
    seen = Seen() if len(asked) > 1 else None

    def begin(wanted: Asked, seen: Seen | None) -> _Begun | FileRefused | FileChanged:
        try:
            return _begin(store, wanted, dataset, block_bytes, seen)
        except (FileRefused, FileChanged) as error:
            return error

    for wanted in asked:
        begun = begin(wanted, seen)
        if seen and isinstance(begun, FileRefused) and wanted.file.path in seen.unproven:
            begun = begin(wanted, None)  # by itself it may have a fault that comes before
        found.append(begun)
    small = {n: one for n, one in enumerate(found) if isinstance(one, _Begun) and 0 < len(one.first) <= SMALL}
    parts = [(one.data, one.blank + one.form.banner + 1, one.form) for one in small.values()]
    blocks = dict(zip(small, parse_together(parts, dataset), strict=True)) if len(parts) > 1 else {}
    for n, one in enumerate(found):
        if isinstance(one, _Begun):
            block = blocks.get(n)
            try:
                if seen and one.subject.path in seen.unproven and (not block or block.off_units):
                    found[n] = _opened(_begin(store, one.asked, dataset, block_bytes, None), None)
                else:
                    found[n] = _opened(one, block)
            except (FileRefused, FileChanged) as error:
                found[n] = error
    return cast("list[Opened | FileRefused | FileChanged]", found)


def _begin(store: ObjectStore, asked: Asked, dataset: Dataset, block_bytes: int, seen: Seen | None) -> _Begun:
    if asked.file.problem:
        raise FileRefused(asked.file.problem)
    subject = Subject(asked.file.path, dataset, asked.declared)
    text = open_text(store, asked.file, block_bytes)
    blank, first = pass_blank(text.pieces)
    form = Form("", "", ())
    if _is_prose(subject.path, first):
        form = replace(form, notes=("it holds no bars, and is not read",))
    elif first:
        told = {**asked.told, "_file": subject.path, "_sha256": text.sha256}
        form = replace(recognise(subject, text.name, first[:65536], seen if len(first) <= SMALL else None), told=told)
    return _Begun(asked, subject, text, blank, first, form)


def _opened(begun: _Begun, clean: Block | None) -> Opened:
    """Go on from its first lines to its rows. `clean` is what these are, if they have been parsed already."""
    subject, first, form, text, dataset = begun.subject, begun.first, begun.form, begun.text, begun.subject.dataset
    block = no_data(begun.blank, dataset)
    if form.columns:
        above, data = begun.blank + form.banner, begun.data
        block = clean or (parse_block(data, above + 1, form, dataset) if data else no_data(0, dataset))
        block = follow_headers(subject, replace(block, skipped=above + block.skipped), form)
        refuse_foreign(subject, block, form)
        if not block.even:
            refuse_mixed(subject, block, form, first, begun.blank + 1)
        refuse_swapped(subject, block, form)
        form, block = _with_interval(subject, form, block)
        refuse_doubled(subject, block, form)
        if not block.even or "symbol" in form.columns:
            refuse_rows(subject, block, form)
        if form.label == "end" and subject.declared.label != "end":
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

    times = block.rows[dataset.time].cast(pl.Int64)  # without the zone, which takes its time
    backwards = block.even[1] < 0 if block.even else len(times) > 1 and times[0] > times[-1]
    return Opened(begun.asked.file, text.sha256, form, backwards, walk(form))


def _is_prose(path: str, first: bytes) -> bool:
    """Whether a text file is one for people: none of its first lines has four numbers."""
    if not first or ".txt" not in path[-8:].lower():
        return False
    head = first[:65536].decode("utf-8", "replace").split("\n")[:100]
    rows = (split_line(line, separator) for line in head for separator in SEPARATORS)
    return not any(sum(map(is_number, row)) > 3 for row in rows)


def _with_interval(subject: Subject, form: Form, block: Block) -> tuple[Form, Block]:
    """Tell the interval, if it is not told yet, and give the bars the times at which they begin."""
    rows, time = block.rows, subject.dataset.time
    if form.numbered or not form.label or not (form.interval or "interval" in form.columns):
        interval = tell_interval(subject, rows, form, block.even)
        if interval != form.interval or form.numbered:
            rows = rows if interval == form.interval else rows.with_columns(interval=pl.lit(interval))
            form = replace(form, interval=interval, numbered=form.numbered and rows.is_empty())
    if not form.label and rows.height:
        early = block.even and begins_early(block.even[0], form.interval, form.time_zone)
        form = replace(form, label="start" if early else told_label(rows[time], form.interval, form.time_zone))
        if form.label == "?":
            days = f"its bars of {form.interval} carry days such as {rows[time][0]:%A %Y-%m-%d}"
            how = subject.how('label = "end"    # or "start"')
            raise FileRefused(f"{days}: does it begin or end one? {how}")
    if form.label == "end":
        rows = rows.with_columns(to_start(pl.col(time), form.interval, form.time_zone))
    return form, block if rows is block.rows else replace(block, rows=rows, even=None)
