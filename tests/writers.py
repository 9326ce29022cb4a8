"""Lakes to be written, and writer processes for the laws of crashes and of concurrency; they run this file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from lakehouse import Lake, ingest


class Writer:
    """A process that has imported the lakehouse and waits to be told what to do; `with` ends it."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], text=True, **pipes)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()

    def ready(self) -> Writer:
        """Wait until it has imported everything."""
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        return self

    def begin(self, root: Path, batch_bytes: int, inbox: Path | str = "") -> None:
        """Let it ingest root; or each file of `inbox`, which it moves into raw/, one after the other."""
        print(root, batch_bytes, inbox, sep="\t", file=self.process.stdin, flush=True)

    def end(self, seconds: float = 600) -> int | None:
        """Wait until it is done; returns its exit code, None if it is still at work."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def put(root: Path, path: str, data: bytes, modified_at: int) -> None:
    """Lay a file into raw/; `modified_at` in epoch µs."""
    target = root / "raw" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    os.utime(target, ns=(modified_at * 1000, modified_at * 1000))


def fresh_lake(root: Path, files: Mapping[str, tuple[bytes, int]]) -> Lake:
    (root / "raw").mkdir(parents=True)
    deliver(root, files)
    return Lake(root)


def deliver(root: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    for path, file in files.items():
        put(root, path, *file)


def snapshot(raw: Path) -> dict[Path, tuple[object, ...]]:
    """All that can be told of raw/, but for when it was read."""
    stats = {path: path.lstat() for path in (raw, *raw.rglob("*"))}
    told = {p: (s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_mtime_ns, s.st_ctime_ns) for p, s in stats.items()}
    return {path: (*told[path], path.read_bytes() if path.is_file() else b"") for path in stats}


def write_together(root: Path, batch_bytes: int, inboxes: Sequence[Path | str]) -> None:
    """Let a writer for each inbox begin at once, and wait for them all."""
    with ExitStack() as stack:
        writers = [stack.enter_context(Writer()) for _ in inboxes]
        for writer in writers:
            writer.ready()
        for writer, inbox in zip(writers, inboxes, strict=True):
            writer.begin(root, batch_bytes, inbox)
        assert [writer.end(600) for writer in writers] == [0] * len(writers)


def main() -> None:
    print("ready", flush=True)
    root, batch_bytes, inbox = sys.stdin.readline().rstrip("\n").split("\t")
    if not inbox:
        ingest(Lake(root), batch_bytes=int(batch_bytes))
    for path in sorted(Path(inbox, "raw").rglob("*.csv")) if inbox else []:
        target = Path(root, "raw", path.relative_to(Path(inbox, "raw")))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        ingest(Lake(root), batch_bytes=int(batch_bytes))


if __name__ == "__main__":
    main()
