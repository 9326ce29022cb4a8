from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from lakehouse.errors import FileRefused
from lakehouse.raw.unpack import BROKEN, cut, data_in, pass_blank, unpack

TEXT = b"".join(b"line %d\n" % number for number in range(1000))


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return packed.getvalue()


@pytest.mark.parametrize("block_bytes", [100, 10**6])
@pytest.mark.parametrize(
    ("path", "content", "inner"),
    [
        ("a/plain.csv", TEXT, "plain.csv"),
        ("a/packed.csv.gz", gzip.compress(TEXT), "packed.csv.gz"),
        ("a/TWICE.CSV.GZ", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:]), "TWICE.CSV.GZ"),
        ("a/packed.zip", zipped("folder/inner.csv", "__MACOSX/inner.csv", "README.txt"), "inner.csv"),
    ],
)
def test_the_text_is_the_same_whatever_the_packing(path: str, content: bytes, inner: str, block_bytes: int) -> None:
    text, name = unpack(io.BytesIO(content), path, block_bytes)
    assert (text.read(), name) == (TEXT, inner)


@pytest.mark.parametrize("block_bytes", [100, 10**6])
@pytest.mark.parametrize("path", ["a.csv.gz", "a.zip"])
def test_a_broken_archive_gives_no_text_at_all(path: str, block_bytes: int) -> None:
    content = bytearray(gzip.compress(TEXT) if path.endswith(".gz") else zipped("a.csv"))
    content[len(content) // 2] ^= 255
    with pytest.raises(BROKEN):
        unpack(io.BytesIO(bytes(content)), path, block_bytes)


@pytest.mark.parametrize("block_bytes", [100, 10**6])
def test_a_gzip_that_is_cut_off_gives_no_text_at_all(block_bytes: int) -> None:
    with pytest.raises(EOFError, match="ended before the end-of-stream marker"):
        unpack(io.BytesIO(gzip.compress(TEXT)[:-20]), "a.csv.gz", block_bytes)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"0 CSV files \(it holds nothing\)"),
        (["a.pdf"], r"0 CSV files \(it holds a\.pdf\)"),
        (["a.csv", "b.csv"], r"2 CSV files \(it holds a\.csv, b\.csv\), not one; unpack it into raw/"),
        ([f"{n}.csv" for n in range(9)], r"9 CSV files \(it holds 0\.csv, 1\.csv, 2\.csv, 3\.csv, 4\.csv\)"),
    ],
)
def test_a_zip_holds_one_csv_file(names: list[str], message: str) -> None:
    with pytest.raises(FileRefused, match=message):
        unpack(io.BytesIO(zipped(*names)), "a.zip", 100)


def test_what_jupyterlab_has_copied_is_no_second_file_of_a_zip() -> None:
    assert data_in(["p/a.csv", "p/.ipynb_checkpoints/a-checkpoint.csv"]) == ["p/a.csv"]


@pytest.mark.parametrize("block_bytes", [1, 7, 8, 9, 100, 10**6])
@pytest.mark.parametrize("text", [TEXT, TEXT[:-1], b"", b"x", b"\n", b"\n\n\nx\n", b"long " * 50])
def test_blocks_are_whole_lines_and_lose_nothing(text: bytes, block_bytes: int) -> None:
    blocks = list(cut(io.BytesIO(text), block_bytes))
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert b"" not in blocks


def test_a_last_line_without_line_feed_belongs_to_the_block_before() -> None:
    assert list(cut(io.BytesIO(b"a\nb\nc"), 100)) == [b"a\nb\nc"]


def test_a_byte_order_mark_is_dropped_at_the_start_only() -> None:
    assert list(cut(io.BytesIO(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"), 100)) == [b"a\n\xef\xbb\xbfb\n"]
    assert list(cut(io.BytesIO(b"\xef\xbb\xbf"), 100)) == []


def test_text_without_line_feeds_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(FileRefused, match=r"a line of more than 1,048,576 bytes; this is no CSV"):
        list(cut(io.BytesIO(b"x" * 3 * 2**20), 2**16))


def test_blank_blocks_are_passed_over_and_counted() -> None:
    assert pass_blank(iter([b"\n\n", b" \r\n", b"a\n", b"b\n"])) == (3, b"a\n")
    assert pass_blank(iter([b"\n", b"  "])) == (2, b"")
    assert pass_blank(iter([])) == (0, b"")
