from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from klines import HEADER, START, bar, hours, place
from obstore.store import LocalStore
from systems import any_name, links, permissions, raw_bytes

from lakehouse import Lake, ingest
from lakehouse.errors import FileRefused, LakeError
from lakehouse.raw.files import FileChanged, RawFile, hash_file, list_all, list_files, stat
from lakehouse.raw.parse import Block
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.opened import Opened, open_file
from lakehouse.recognise.sources import Declared, load_sources
from lakehouse.status import read_status

SMALL = 200  # bytes a block: a file of ten bars comes in several, and is not held in memory


def store_of(root: Path) -> LocalStore:
    return LocalStore(root / "raw")


def opened(root: Path, path: str, block_bytes: int = SMALL, declared: Declared | None = None) -> Opened:
    store = store_of(root)
    return open_file(store, stat(store, path), CANDLES, declared or Declared(), {}, block_bytes)


def lines_of(blocks: list[Block]) -> list[int]:
    return [line for block in blocks for line in block.rows["_line"]]


def write(root: Path, name: str, content: bytes) -> Path:
    path = place(root, name, [], header=False)
    path.write_bytes(content)
    return path


def text(*lines: str) -> bytes:
    return "\n".join([HEADER, *lines, ""]).encode()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AAAUSDT_1h.csv", content)
    return packed.getvalue()


# ---------------------------------------------------------------- listing


def test_files_are_listed_at_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.csv", "a/z.CSV.GZ", "a/b/c.zip", "a/notes.txt", "sources.toml", "a/d.csv/e.csv", ".hidden.csv"):
        place(tmp_path, name, [], header=False)
    for name in ("a.json", "x/b.csv.bak", ".DS_Store", "c.zip.CHECKSUM", "t.tsv.zst"):
        place(tmp_path, name, [], header=False)
    for name in ("b-checkpoint.csv", "README-checkpoint.md"):  # JupyterLab's copies of what was dropped in it
        place(tmp_path, f"a/.ipynb_checkpoints/{name}", [], header=False)
    files, unread = list_all(store_of(tmp_path))
    read = [".hidden.csv", "a/b/c.zip", "a/d.csv/e.csv", "a/notes.txt", "a/z.CSV.GZ", "b.csv", "t.tsv.zst"]
    assert [file.path for file in files] == read
    assert unread == ["a.json", "x/b.csv.bak"]
    assert files[0] == RawFile(".hidden.csv", 1, START) == stat(store_of(tmp_path), ".hidden.csv")


@pytest.mark.parametrize(
    "name",
    [
        *("a b.csv", "ü日本.csv", "h#sh.csv", "p%20c.csv"),
        *(pytest.param(name, marks=any_name) for name in ("q'\"?*[x].csv", "back\\slash.csv", "~|^.csv")),
    ],
)
def test_odd_names_are_listed_and_opened_as_they_are(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, text(bar(0)))
    (file,) = list_files(store_of(tmp_path))
    assert file.path == name
    assert hash_file(store_of(tmp_path), name) == hashlib.sha256(text(bar(0))).hexdigest()
    assert lines_of(list(opened(tmp_path, name, declared=Declared(symbol="AAA", interval="1h")).blocks)) == [2]


def break_by_loop(raw: Path) -> None:
    (raw / "loop.csv").symlink_to("loop.csv")


def break_by_folder(raw: Path) -> None:
    (raw / "again").symlink_to(".")


def break_by_line_feed(raw: Path) -> None:
    (raw / "a\nb.csv").write_text("x", encoding="utf-8")


def break_by_bytes(raw: Path) -> None:
    Path(os.fsdecode(bytes(raw / "bad") + b"\xff.csv")).write_text("x", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "path", "message"),
    [
        pytest.param(
            break_by_loop,
            "loop.csv",
            "cannot be read: .*Too many levels of symbolic links.*; mend or remove it",
            marks=links,
        ),
        pytest.param(
            break_by_folder,
            "again",
            "cannot be read: a link to a folder; none is followed while one of them runs in a",
            marks=links,
        ),
        pytest.param(break_by_line_feed, "a\\nb.csv", "cannot be read: .*arsing .*; mend or remove it", marks=any_name),
        pytest.param(
            break_by_bytes,
            "bad\\xff.csv",
            "cannot be read: .*surrogates not allowed; mend or remove it",
            marks=raw_bytes,
        ),
    ],
)
def test_what_cannot_be_listed_is_named_and_the_others_load(
    spoil: Callable[[Path], None], path: str, message: str, tmp_path: Path
) -> None:
    place(tmp_path, "x/AAAUSDT_1h.csv", hours(0, 4))
    spoil(tmp_path / "raw")
    found = {file.path: file.problem for file in list_files(store_of(tmp_path))}
    assert found["x/AAAUSDT_1h.csv"] == ""
    report = ingest(Lake(tmp_path))
    assert (report.inserted, report.failed["path"].to_list()) == (5, [path])
    with pytest.raises(FileRefused, match="(?s)" + message):
        raise FileRefused(report.failed["error"][0])


@links
@pytest.mark.parametrize("other", ["", "loop.csv"])  # a link in a circle makes the store list nothing at all
def test_links_are_followed_and_those_that_lead_nowhere_told(other: str, tmp_path: Path) -> None:
    place(tmp_path / "elsewhere", "BBBUSDT_1h.csv", hours(0, 4))
    raw = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parent
    (raw / "CCCUSDT_1h.csv").symlink_to(tmp_path / "elsewhere" / "raw" / "BBBUSDT_1h.csv")
    (raw / "sub").mkdir()
    (raw / "sub" / "dangling.csv").symlink_to("nowhere.csv")
    (raw / "archive").symlink_to(tmp_path / "not mounted")
    (raw / ".#AAAUSDT_1h.csv").symlink_to("someone@host.17:1")
    for name in filter(None, [other]):
        (raw / name).symlink_to(name)
    told = {file.path: file.problem for file in list_files(store_of(tmp_path)) if file.path != other}
    assert (
        told.pop("archive")
        == f"cannot be read: a link to {tmp_path}/not mounted, which is not there; mend or remove it"
    )
    assert told.pop("sub/dangling.csv").startswith(f"cannot be read: a link to {raw}/sub/nowhere.csv, which is not")
    assert told == {"AAAUSDT_1h.csv": "", "CCCUSDT_1h.csv": ""}


@links
def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    place(tmp_path / "elsewhere", "BBBUSDT_1h.csv", hours(0, 4))
    raw = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parent
    (raw / "folder").symlink_to(tmp_path / "elsewhere" / "raw")
    assert [(file.path, file.problem) for file in list_files(store_of(tmp_path))] == [
        ("AAAUSDT_1h.csv", ""),
        ("folder/BBBUSDT_1h.csv", ""),
    ]


@links
@pytest.mark.parametrize("other", ["", "loop.csv"])
def test_a_link_out_of_raw_to_what_is_no_data_is_not_read(other: str, tmp_path: Path) -> None:
    raw = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4)).parent
    (secret := tmp_path / "id_rsa").write_text("PRIVATE\n" * 9, encoding="utf-8")
    (raw / "x.csv").symlink_to(secret)
    for name in filter(None, [other]):
        (raw / name).symlink_to(name)
    for _ in range(2):
        (failed,) = ingest(Lake(tmp_path)).failed.filter(path="x.csv").iter_rows(named=True)
        told = f"a link out of raw/ to {secret}, whose name is not that of a CSV file; mend or remove it"
        assert (failed["error"], failed["sha256"]) == (f"cannot be read: {told}", "")  # it was not even hashed


@links
def test_sources_toml_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert load_sources(store_of(place(tmp_path, "a.csv", []).parents[1])) == []
    path = write(tmp_path, "sources.toml", b"\xff")
    with pytest.raises(LakeError, match=r"raw/sources\.toml is not UTF-8 text"):
        load_sources(store_of(tmp_path))
    path.unlink()
    path.symlink_to("sources.toml")
    with pytest.raises(LakeError, match=r"raw/sources\.toml cannot be read: .*symbolic links"):
        load_sources(store_of(tmp_path))


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("block_bytes", [SMALL, 10**6])
@pytest.mark.parametrize(
    ("name", "pack"), [("AAAUSDT_1h.csv", bytes), ("AAAUSDT_1h.csv.gz", gzip.compress), ("a.zip", zipped)]
)
def test_a_file_is_the_same_in_one_block_or_many(
    name: str, pack: Callable[[bytes], bytes], block_bytes: int, tmp_path: Path
) -> None:
    content = b"\n\n" + text(*hours(0, 9), "garbage", "", bar(10)) + bar(11).encode()
    path = write(tmp_path, name, pack(content))
    file = opened(tmp_path, name, block_bytes)
    blocks = list(file.blocks)
    assert (len(blocks) > 1) == (block_bytes == SMALL)
    assert lines_of(blocks) == [*range(4, 14), 16, 17]
    assert [line for block in blocks for line in block.rejected["_line"]] == [14]
    assert sum(block.read for block in blocks) == 13
    assert sum(block.skipped for block in blocks) == 4  # two blank lines, the header, a blank line
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file.form.symbol, file.form.interval, file.backwards) == ("AAAUSDT", "1h", False)


def test_a_file_that_begins_with_blocks_of_blank_lines_is_read_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, "AAAUSDT_1h.csv", b"\n" * 1000 + text(bar(0)))
    blocks = list(opened(tmp_path, "AAAUSDT_1h.csv").blocks)
    assert lines_of(blocks) == [1002]
    assert sum(block.skipped for block in blocks) == 1001


@pytest.mark.parametrize(("content", "skipped"), [(b"", 0), (b"\n\n \n", 3), (b"\xef\xbb\xbf", 0), (b"\r\n\t", 2)])
def test_a_file_that_says_nothing_is_empty(content: bytes, skipped: int, tmp_path: Path) -> None:
    write(tmp_path, "AAAUSDT_1h.csv", content)
    (block,) = opened(tmp_path, "AAAUSDT_1h.csv").blocks
    assert (block.read, block.skipped, block.rows.schema) == (0, skipped, CANDLES.schema)


def test_the_interval_is_told_by_the_first_block_that_has_bars(tmp_path: Path) -> None:
    write(tmp_path, "AAAUSDT.csv", text(*[bar(hour, volume=-1) for hour in range(50)], *hours(50, 99)))
    blocks = list(opened(tmp_path, "AAAUSDT.csv", 1000).blocks)
    assert blocks[0].rows.is_empty()
    assert {interval for block in blocks for interval in block.rows["interval"]} == {"1h"}


def test_times_that_run_from_newest_to_oldest_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, "AAAUSDT_1h.csv", text(*reversed(hours(0, 9))))
    assert opened(tmp_path, "AAAUSDT_1h.csv").backwards


@pytest.mark.parametrize("block_bytes", [SMALL, 10**6])
@pytest.mark.parametrize("name", ["AAAUSDT_1h.csv.gz", "AAAUSDT_1h.zip"])
def test_a_broken_archive_hands_out_no_block(name: str, block_bytes: int, tmp_path: Path) -> None:
    content = text(*[bar(hour, close=5 + hour % 7) for hour in range(500)])
    whole = gzip.compress(content) if name.endswith("gz") else zipped(content)
    flipped = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for broken in (whole[:-30], flipped, whole[: len(whole) // 2], whole[:5]):
        write(tmp_path, name, broken)
        with pytest.raises(FileRefused, match=r"cannot be unpacked \(.*\); is the download complete\?"):
            opened(tmp_path, name, block_bytes)


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    locked = bytearray(zipped(text(bar(0))))
    locked[6] |= 1  # the flag in the member's header
    locked[locked.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    write(tmp_path, "a.zip", bytes(locked))
    with pytest.raises(FileRefused, match=r"cannot be read: File 'AAAUSDT_1h\.csv' is encrypted, password required"):
        opened(tmp_path, "a.zip")


def archive(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as held:
        for name, content in members:
            held.writestr(name, content)
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_asked_about_and_none_is_taken_for_the_other(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    text = ["".join(f"{line}\n" for line in (HEADER, *hours(0, last))).encode() for last in (1, 2, 3)]
    packed = tmp_path / "raw" / "some.zip"
    packed.write_bytes(archive(("AAA_1h.csv", text[2]), ("AAA_1h.csv", text[0]), ("BBB_1h.csv", text[1])))
    lake = Lake(tmp_path)
    report = ingest(lake)
    assert report.failed.select("path", "error").rows() == [
        ("some.zip/AAA_1h.csv", "the archive has 2 files of this name; give each a name of its own")
    ]
    assert (report.read, report.inserted) == (3, 3)  # of BBB
    packed.write_bytes(archive(("AAA_1h.csv", text[2]), ("AAA_1h_part2.csv", text[0]), ("BBB_1h.csv", text[1])))
    assert ingest(lake).failed.is_empty()
    assert lake.bronze.scan().collect()["symbol"].value_counts(sort=True).rows() == [("AAA", 4), ("BBB", 3)]


def test_an_archive_of_several_files_is_read_member_by_member(tmp_path: Path) -> None:
    good = [("AAAUSDT_1h.csv", text(*hours(0, 2))), ("okx/BBBUSDT_1h.csv", text(*hours(0, 3))), ("notes.txt", b"x")]
    path = write(tmp_path, "x/many.zip", archive(*good, ("C_1h.csv", b"spoilt\n")))
    lake = Lake(tmp_path)
    report = ingest(lake)
    taken = {p: (status, read) for p, status, read in report.files.select("path", "status", "read").iter_rows()}
    first = {"x/many.zip/AAAUSDT_1h.csv": ("loaded", 3), "x/many.zip/okx/BBBUSDT_1h.csv": ("loaded", 4)}
    assert taken == {**first, "x/many.zip/C_1h.csv": ("failed", 0)}
    assert set(lake.bronze.scan().select("market").collect()["market"]) == {"x", "okx"}
    again = ingest(lake)  # what failed is tried again, and with it the archive; nothing new comes of it
    assert (again.inserted, again.updated, again.failed.height) == (0, 0, 1)
    assert lake.ledger.scan().collect().height == 3
    write(tmp_path, "x/many.zip", archive(*good, ("C_1h.csv", text(*hours(0, 0)))))
    os.utime(path, (START.timestamp() + 60,) * 2)
    assert ingest(lake).inserted == 1
    done = ingest(lake)
    assert (done.files.height, done.untouched) == (0, 1)


@pytest.mark.parametrize("name", ["AAAUSDT_1h.csv.bz2", "AAAUSDT_1h.txt.xz", "AAAUSDT_1h.csv.zst", "AAAUSDT_1h.tsv.gz"])
@pytest.mark.parametrize("block_bytes", [SMALL, 10**6])
def test_every_packing_is_unpacked_and_a_broken_one_gives_nothing(name: str, block_bytes: int, tmp_path: Path) -> None:
    pack = {"bz2": bz2.compress, "xz": lzma.compress, "gz": gzip.compress, "zst": zstd}[name.rsplit(".", 1)[-1]]
    content = text(*[bar(hour, close=5 + hour % 7) for hour in range(500)])
    write(tmp_path, name, pack(content))
    assert len(lines_of(list(opened(tmp_path, name, block_bytes).blocks))) == 500
    for broken in (pack(content)[:-9], pack(content)[: len(pack(content)) // 2]):
        write(tmp_path, name, broken)
        with pytest.raises(FileRefused, match=r"cannot be (unpacked|read)"):
            opened(tmp_path, name, block_bytes)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


def test_a_text_for_people_is_told_from_one_of_bars(tmp_path: Path) -> None:
    write(tmp_path, "README.txt", b"Bars of 2024, 2025\nand so on, 1, 2\n")
    place(tmp_path, "AAAUSDT_1h.txt", hours(0, 1))
    write(tmp_path, "book.xlsx", b"x")
    report = ingest(Lake(tmp_path))
    assert sorted(report.files.select("path", "status").iter_rows()) == [
        ("AAAUSDT_1h.txt", "loaded"),
        ("README.txt", "empty"),
    ]
    assert report.notes.rows() == [("README.txt", "it holds no bars, and is not read")]
    assert (report.unread, report.complete) == (("book.xlsx",), True)
    assert ingest(Lake(tmp_path)).untouched == 2
    assert read_status(Lake(tmp_path)).unread["path"].to_list() == ["book.xlsx"]


# ---------------------------------------------------------------- files that change under the reader


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bar(10).encode())


def replace(path: Path) -> None:
    other = path.with_suffix(".part")
    other.write_bytes(path.read_bytes().replace(b"20.0", b"21.0"))
    other.rename(path)


def overwrite(path: Path) -> None:
    """The same size, and even the same time: only the bytes tell."""
    path.write_bytes(path.read_bytes().replace(b"20.0", b"21.0"))
    os.utime(path, (START.timestamp(), START.timestamp()))


@pytest.mark.parametrize("block_bytes", [SMALL, 10**6])
@pytest.mark.parametrize("name", ["AAAUSDT_1h.csv", "AAAUSDT_1h.csv.gz"])
@pytest.mark.parametrize("change", [grow, replace, Path.unlink])
def test_a_file_that_changes_after_it_was_opened_is_noticed(
    change: Callable[[Path], None], name: str, block_bytes: int, tmp_path: Path
) -> None:
    path = place(tmp_path, name, hours(0, 9))
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    blocks = opened(tmp_path, name, block_bytes).blocks
    next(blocks)
    change(path)
    with pytest.raises(FileChanged):
        list(blocks)


def test_a_large_file_is_held_against_its_hash(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 99))
    blocks = opened(tmp_path, "AAAUSDT_1h.csv").blocks
    next(blocks)
    overwrite(path)
    with pytest.raises(FileChanged):
        list(blocks)


@pytest.mark.parametrize("change", [grow, replace, Path.unlink])
def test_a_file_that_changed_since_the_listing_is_noticed(change: Callable[[Path], None], tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 9))
    (file,) = list_files(store_of(tmp_path))
    change(path)
    with pytest.raises(FileChanged):
        list(open_file(store_of(tmp_path), file, CANDLES, Declared(), {}).blocks)


@permissions
def test_nothing_below_raw_is_written(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 9))
    path.chmod(0o444)
    path.parent.chmod(0o555)
    before = path.stat()
    list(opened(tmp_path, "AAAUSDT_1h.csv").blocks)
    assert (path.stat().st_mtime_ns, path.stat().st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    path.parent.chmod(0o755)
