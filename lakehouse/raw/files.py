"""The files below raw/: list them, open one whatever its packing, read it block by block.

All access goes through an obstore store, so that a folder and a bucket are read alike. Nothing here writes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import re
from collections.abc import Buffer, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from lakehouse.errors import LakeError
from lakehouse.raw.times import EPOCH, MICROSECOND

if TYPE_CHECKING:
    from obstore import ObjectMeta

PLAIN = (".csv", ".tsv", ".txt")
PACKED = (".gz", ".bz2", ".xz", ".zst")
SUFFIXES = (*PLAIN, *(plain + packed for plain in PLAIN for packed in PACKED), ".zip")
BESIDE = (".checksum", ".part")  # what stands beside a download
LOCK = ".#"  # so begins an editor's mark beside a file that is being written, a link to nowhere
CHECKPOINTS = ".ipynb_checkpoints"  # JupyterLab's folder for a copy of what is dropped or saved in it
UNREADABLE = "cannot be read: "  # so begins what the system says, and may not say the next time
READ_BYTES = 8 * 2**20  # of a large file: what is asked of the store at once
RACY = dt.timedelta(seconds=2)  # a file this fresh may change again without its time showing it


class Seekable(io.RawIOBase):
    """A reader of obstore's as Python's own readers are: zipfile and others want real bytes of it."""

    def __init__(self, reader: obstore.ReadableFile) -> None:
        self._reader = reader

    def readable(self) -> bool:
        """Yes."""
        return True

    seekable = readable

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; returns how many bytes there were."""
        view = memoryview(buffer).cast("B")
        found = bytes(self._reader.read(len(view)))
        view[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; returns it."""
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._reader.tell()


class FileChanged(Exception):
    """The file was written to while it was read; the next run takes it."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as a listing shows it."""

    path: str  # below raw/
    size: int  # in bytes
    modified_at: dt.datetime  # UTC
    problem: str = ""  # why it cannot be read, if the listing shows that already
    etag: str = ""  # of a bucket: other bytes never have the same one, though the same bytes may have another

    @property
    def is_settled(self) -> bool:
        """Whether a later change will show: in its etag, or in its time, which must be some seconds old for that."""
        return bool(self.etag) or self._is_old()

    def is_still(self, size: int, modified_at: dt.datetime, etag: str | None) -> bool:
        """Whether it is what was noted of its path. An etag tells more than the time, of which buckets keep seconds."""
        if self.etag and etag:
            return (self.size, self.etag) == (size, etag)
        return (self.size, self.modified_at) == (size, modified_at) and self._is_old()

    def _is_old(self) -> bool:
        return dt.datetime.now(dt.UTC) - self.modified_at > RACY


def list_files(store: ObjectStore) -> list[RawFile]:
    """List what ingest would read; see `list_all`."""
    return list_all(store)[0]


def list_all(store: ObjectStore) -> tuple[list[RawFile], list[str]]:
    """List what lies below raw/, in the order of the paths, at any depth.

    Args:
        store: raw/.

    Returns:
        The files that ingest would read, with a problem those that must not be read and the links that lead nowhere;
        and the paths of what it would not read. Hidden files, `sources.toml`, checksums and JupyterLab's copies are not
        among these.

    Raises:
        LakeError: raw/ cannot be listed.
    """
    try:
        metas = [meta for chunk in obstore.list(store) for meta in chunk]
        found = {m["path"]: _as_told(store, m["path"], m) for m in metas if _is_wanted(m["path"])}
        others = {m["path"] for m in metas} - found.keys()
        if isinstance(store, LocalStore) and store.prefix is not None:
            found |= {file.path: file for file in _odd_links(store.prefix, store.prefix)}
    except BaseError as error:
        if not isinstance(store, LocalStore) or store.prefix is None:
            raise LakeError(f"raw/ cannot be listed: {first_line(error)}") from error
        found, others = {file.path: file for file in _walk(store, store.prefix)}, set()
    unread = [path for path in others - found.keys() if not path.rsplit("/", 1)[-1].startswith(".")]
    unread = [path for path in unread if path != "sources.toml" and not path.lower().endswith(BESIDE)]
    unread = [path for path in unread if f"{CHECKPOINTS}/" not in path]
    return [found[path] for path in sorted(found)], sorted(unread)


def at_once(store: ObjectStore) -> int:
    """How many files to ask a store for side by side: a bucket lets one wait, whatever it is asked for."""
    return 2 if isinstance(store, LocalStore) else 8


def split_member(path: str) -> tuple[str, str]:
    """The archive's path and the member's, of a path such as `a/b.zip/c.csv`; the member's is empty for other files."""
    if ".zip/" not in path.lower():
        return path, ""
    archive, _, member = re.sub(r"(?i)(\.zip)/", r"\1\0", path, count=1).partition("\0")
    return archive, member


def _is_wanted(path: str) -> bool:
    *folders, name = path.split("/")
    return name.lower().endswith(SUFFIXES) and not name.startswith(LOCK) and CHECKPOINTS not in folders


def first_line(error: Exception) -> str:
    """What an error says, without what a library adds below."""
    return str(error).split("\n", 1)[0]


def _odd_links(root: Path, folder: Path) -> Iterator[RawFile]:
    """Links that the store's listing leaves out, or shows like any file. It has just shown that none is a circle."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:  # a folder may go meanwhile
        for entry in entries:
            if entry.is_dir():
                yield from _odd_links(root, Path(entry))
            elif entry.is_symlink() and (why := _why_odd(root, Path(entry))):
                yield _unreadable(root, Path(entry), why)


def _why_odd(root: Path, link: Path) -> str:
    """Why a link to a file is not followed, if it is not.

    One that leads nowhere may be all of an archive whose disk is not mounted. One that leads out of raw/ to what does
    not even call itself data is not opened: an error would quote its first line, and the ledger keep that for good.
    """
    target = Path(os.path.realpath(link))  # `resolve` does not bear a circle, which the system tells in its own words
    if not target.exists() and not target.is_symlink():
        return "" if link.name.startswith(LOCK) else f"a link to {target}, which is not there"
    if _is_wanted(link.name) and not _is_wanted(target.name) and not target.is_relative_to(root.resolve()):
        return f"a link out of raw/ to {target}, whose name is not that of a CSV file"
    return ""


def _walk(store: LocalStore, root: Path) -> Iterator[RawFile]:
    """List a folder that the store lists not at all, for a link that runs in a circle or a name that is no text."""
    denied: list[OSError] = []
    for folder, _, names in root.walk(on_error=denied.append):
        for path in (folder / name for name in names):
            if path.is_dir():
                yield _unreadable(root, path, "a link to a folder; none is followed while one of them runs in a circle")
            elif path.is_symlink() and (why := _why_odd(root, path)):
                yield _unreadable(root, path, why)
            elif _is_wanted(path.relative_to(root).as_posix()):
                try:
                    name = path.relative_to(root).as_posix()
                    yield _as_told(store, name, obstore.head(store, name))  # which is strict about names
                except (BaseError, OSError, ValueError) as error:  # a ValueError is about the name
                    yield _unreadable(root, path, first_line(error))
    for denial in denied:
        yield _unreadable(root, Path(denial.filename), first_line(denial))


def _unreadable(root: Path, path: Path, why: str) -> RawFile:
    name = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)
    modified_at = dt.datetime.fromtimestamp(path.lstat().st_mtime, dt.UTC)
    return RawFile(shown, 0, modified_at, f"{UNREADABLE}{why}; mend or remove it")


def _root(store: ObjectStore) -> str:
    """The folder of a store; empty if it is of a bucket. obstore tells it anew each time, which takes its time."""
    known = vars(store)
    if "_root" not in known:
        known["_root"] = str(store.prefix or "") if isinstance(store, LocalStore) else ""
    return str(known["_root"])


def stat(store: ObjectStore, path: str) -> RawFile:
    """Look at one file without reading it; for a member of an archive, at the archive."""
    whole = _whole(store, path)
    if root := _root(store):  # obstore would do it on another thread
        told = os.stat(f"{root}/{whole}")  # noqa: PTH116  a `Path` takes ten times as long
        return RawFile(path, told.st_size, EPOCH + told.st_mtime_ns // 1000 * MICROSECOND)
    return _as_told(store, path, obstore.head(store, whole))


def _as_told(store: ObjectStore, path: str, meta: ObjectMeta) -> RawFile:
    """A file as its store tells of it. A folder's etag is but its stat; a weak one promises nothing of the bytes."""
    etag = "" if isinstance(store, LocalStore) else meta["e_tag"] or ""
    return RawFile(path, meta["size"], meta["last_modified"], etag="" if etag.startswith("W/") else etag.strip('"'))


def _whole(store: ObjectStore, path: str) -> str:
    """The file that holds what a path names."""
    archive, member = split_member(path)
    folder = member and isinstance(store, LocalStore) and store.prefix and Path(store.prefix, archive).is_dir()
    return path if folder else archive


def open_file_of(store: ObjectStore, path: str) -> io.BufferedReader:
    """Open a file, or the archive that holds it, to read it piece by piece."""
    reader = obstore.open_reader(store, _whole(store, path), buffer_size=READ_BYTES)
    return io.BufferedReader(Seekable(reader), READ_BYTES)


def fetch(store: ObjectStore, file: RawFile, into: IO[bytes]) -> str:
    """Download a file of a bucket, or the archive that holds it, once and as a whole.

    Args:
        store: raw/, in a bucket.
        file: As it was listed, some seconds ago.
        into: Where its bytes go.

    Returns:
        Its sha256.

    Raises:
        FileChanged: It is not the file that was listed.
    """
    found = obstore.get(store, _whole(store, file.path))
    came = _as_told(store, file.path, found.meta)
    later = abs(came.modified_at - file.modified_at) >= dt.timedelta(seconds=1)  # stores list ms, and answer seconds
    if came.size != file.size or (came.etag != file.etag if came.etag and file.etag else later):
        raise FileChanged(file.path)
    digest = hashlib.sha256()
    for chunk in found:
        digest.update(chunk)
        into.write(chunk)
    return digest.hexdigest()


def hash_file(store: ObjectStore, path: str) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    if isinstance(store, LocalStore):  # a stream would take twice the time
        reader = obstore.open_reader(store, _whole(store, path), buffer_size=READ_BYTES)
        chunks: Iterable[Buffer] = iter(lambda: reader.read(READ_BYTES), b"")
    else:  # a reader would ask twice
        chunks = obstore.get(store, _whole(store, path))
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def read_file(store: ObjectStore, path: str) -> bytes:
    """Read a file as a whole. In a folder Python does it: obstore would copy every byte twice."""
    if root := _root(store):
        with open(f"{root}/{_whole(store, path)}", "rb", buffering=0) as file:  # noqa: PTH123  as in `stat`
            return file.readall()
    return bytes(obstore.get(store, _whole(store, path)).bytes())
