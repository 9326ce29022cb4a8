"""One file from the archive into raw/, as a whole or not at all, and what its witnesses say of it.

The witnesses: the sha256 in the CHECKSUM file, if the archive has any; the size and the MD5 in the listing; the CRC
within the zip or gzip.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx

from lakehouse.delta import writing
from lakehouse.download.archive import Archive, Entry, TransferBroken
from lakehouse.download.look import Published

VERIFIED = "verified"  # all witnesses agree
BY_MD5 = "verified by size, MD5 and CRC"  # there is no CHECKSUM
BY_SIZE = "verified by size and CRC"  # nor is the ETag an MD5, as of a file that was uploaded in parts
STALE = "checksum stale"  # the bytes are those that are listed, and the CHECKSUM file is not of them: kept, told
TRANSFER_BROKEN = "transfer broken"  # what came was never what is listed, at any attempt: kept out, told
PUBLISHED_BROKEN = "published broken"  # what came is what is listed, and the zip or gzip is broken: kept out, told
NOT_THERE = "not there"  # listed, and yet there is no such file: told
KEPT = (VERIFIED, BY_MD5, BY_SIZE, STALE)

ABANDONED = 600.0  # seconds after which a part was left by a process that is no more: a stall ends much earlier


def standing(entry: Entry, raw: Path) -> str:
    """The verdict on a file that has been fetched already; empty if it is to be fetched.

    Size and modified time tell it: each publication has another time. What was published broken is kept under a
    hidden name that ingest does not read, so that it is not fetched every night.
    """
    path = raw / entry.key
    for at, verdict in ((path, VERIFIED), (_hidden(path, "broken"), PUBLISHED_BROKEN)):
        if at.exists() and (stat := at.stat()).st_size == entry.size:
            if abs(stat.st_mtime - entry.modified_at.timestamp()) < 2:
                return verdict
            if _md5(at) == entry.etag:  # published again as it was
                _date(at, entry)
                return verdict
    return ""


def fetch(archive: Archive, file: Published, raw: Path, on_bytes: Callable[[int], object]) -> tuple[str, str]:
    """Bring one file into raw/.

    Args:
        archive: Where from.
        file: As it is listed.
        raw: The folder.
        on_bytes: Called with the bytes that have come of this attempt.

    Returns:
        The verdict, and for people what else is to be said.

    Raises:
        ArchiveError: There is no connection any more.
        LakeError: The disk is full or read-only. Files that have come before are whole.
    """
    with writing(str(raw)):
        return _fetch(archive, file, raw, on_bytes)


def _fetch(archive: Archive, file: Published, raw: Path, on_bytes: Callable[[int], object]) -> tuple[str, str]:
    path = raw / file.entry.key
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _hidden(path, f"{uuid.uuid4().hex[:8]}.part")  # of its own: another process may fetch the same file
    attempts: list[Entry] = []

    def attempt() -> tuple[str, str]:
        entry = file.entry if not attempts else _look_again(archive, file.entry)
        attempts.append(entry)
        sha256 = _transfer(archive, entry, part, on_bytes)
        verdict, note = _judge(archive, entry, part, sha256, file.checksum)
        _date(part, entry)
        if verdict == PUBLISHED_BROKEN:
            part.replace(_hidden(path, "broken"))
        else:
            part.replace(path)
            _hidden(path, "broken").unlink(missing_ok=True)
        return verdict, note

    try:
        return archive.persist(attempt)
    except TransferBroken as error:
        return TRANSFER_BROKEN, f"{error}, {len(attempts)} times"
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        return (
            NOT_THERE if status == 404 else TRANSFER_BROKEN
        ), f"the archive answers {status} for {error.request.url}"
    except httpx.HTTPError as error:
        return TRANSFER_BROKEN, f"{type(error).__name__}, {len(attempts)} times: {error}"
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the parts that killed processes have left in a folder."""
    for part in folder.glob(".*.part"):
        if time.time() - part.stat().st_mtime > ABANDONED:
            part.unlink(missing_ok=True)


def _look_again(archive: Archive, entry: Entry) -> Entry:
    """What came was not what was listed: has the file been published anew since?"""
    return next((now for now in archive.entries(entry.key) if now.key == entry.key), entry)


def _transfer(archive: Archive, entry: Entry, part: Path, on_bytes: Callable[[int], object]) -> str:
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with archive.read(entry.key) as pieces, part.open("wb") as target:
        for piece in pieces:
            md5.update(piece)
            sha256.update(piece)
            target.write(piece)
            size += len(piece)
            on_bytes(size)
        target.flush()
        os.fsync(target.fileno())  # or a power cut may leave the name without the bytes
    if size != entry.size:
        raise TransferBroken(f"{size:,} bytes came, {entry.size:,} are listed")
    if _is_md5(entry.etag) and md5.hexdigest() != entry.etag:
        raise TransferBroken(f"the bytes that came have the MD5 {md5.hexdigest()}, {entry.etag} is listed")
    return sha256.hexdigest()


def _judge(archive: Archive, entry: Entry, part: Path, sha256: str, checksum: str) -> tuple[str, str]:
    told = _told_sha256(archive, checksum) if checksum else ""
    listed = "the size and MD5" if _is_md5(entry.etag) else "the size"  # uploaded in parts: the ETag is no MD5
    if broken := _broken(part):
        if not _is_md5(entry.etag) and told != sha256:
            raise TransferBroken(broken)  # nothing proves that these are the published bytes
        return PUBLISHED_BROKEN, f"{broken}; the archive itself has it so. It is kept out of raw/"
    if not told:
        return BY_MD5 if _is_md5(entry.etag) else BY_SIZE, ""
    if told != sha256:
        return STALE, f"the CHECKSUM file says {told[:12]}…, the bytes have {sha256[:12]}…, and {listed} of the listing"
    return VERIFIED, ""


def _told_sha256(archive: Archive, key: str) -> str:
    """`<sha256>  <name>`, with or without a line feed; empty where the listed file is not there."""
    try:
        with archive.read(key) as pieces:
            text = b"".join(pieces).decode("utf-8", "replace")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 404:
            raise
        return ""
    found = re.match(r"\s*([0-9a-fA-F]{64})\b", text)
    return found[1].lower() if found else repr(text[:12])


def _broken(path: Path) -> str:
    try:
        if ".gz." in path.name:
            with gzip.open(path) as unpacked:
                while unpacked.read(2**20):
                    pass
            return ""
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
            return f"the CRC of {member} within the zip is wrong" if member else ""
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"it cannot be unpacked: {error}"


def _is_md5(etag: str) -> bool:
    return re.fullmatch("[0-9a-f]{32}", etag) is not None


def _md5(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _date(path: Path, entry: Entry) -> None:
    """The time of publication, so that of two statements the later published one wins, and not the later fetched."""
    stamp = entry.modified_at.timestamp()
    os.utime(path, (stamp, stamp))


def _hidden(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")
