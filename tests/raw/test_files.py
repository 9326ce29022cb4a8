from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from klines import HEADER, START, bar, hours, place
from obstore.store import LocalStore
from systems import any_name, links, permissions, raw_bytes

from lakehouse import Lake, ingest
from lakehouse.errors import FileRefused, LakeError
from lakehouse.raw.files import FileChanged, RawFile, hash_file, list_files, stat
from lakehouse.raw.parse import Block
from lakehouse.recognise.layouts import CANDLES
from lakehouse.recognise.opened import Opened, open_file
from lakehouse.recognise.sources import Declared, load_sources

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
    files = list_files(store_of(tmp_path))
    assert [file.path for file in files] == [".hidden.csv", "a/b/c.zip", "a/d.csv/e.csv", "a/z.CSV.GZ", "b.csv"]
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
    (raw / "a\nb.csv").write_text("x")


def break_by_bytes(raw: Path) -> None:
    Path(os.fsdecode(bytes(raw / "bad") + b"\xff.csv")).write_text("x")


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
    (secret := tmp_path / "id_rsa").write_text("PRIVATE\n" * 9)
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
