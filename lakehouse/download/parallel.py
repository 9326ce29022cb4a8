"""Work in several threads that end when the first one fails, or Ctrl-C comes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from lakehouse.download.archive import Archive, Stopped

PARALLEL = 8
TICK = 0.2  # seconds between two looks at how far it is
FAREWELL = 2.0  # seconds that workers get to remove their parts


def in_parallel[A, B](
    archive: Archive,
    work: Callable[[A], B],
    items: Sequence[A],
    parallel: int,
    tell: Callable[[], object] = lambda: None,
) -> Iterator[B]:
    """Do work in several threads, and give the results as they come.

    The threads are daemons: Ctrl-C must not wait for a transfer that has stalled.

    Args:
        archive: Told to stop when the caller gives up, or a worker fails.
        work: What to do with an item.
        items: What to do it with.
        parallel: How many at a time.
        tell: Called now and then, in the caller's thread.

    Raises:
        Exception: What `work` has raised first.
    """
    todo, done = queue.SimpleQueue[A](), queue.SimpleQueue[B | Exception]()
    for item in items:
        todo.put(item)

    def labour() -> None:
        while not archive.stop.is_set():
            try:
                done.put(work(todo.get_nowait()))
            except (queue.Empty, Stopped):
                return
            except Exception as error:
                done.put(error)

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(min(parallel, len(items)))]
    for thread in threads:
        thread.start()
    given, told_at = 0, time.monotonic()
    try:
        while given < len(items):
            if time.monotonic() - told_at > TICK:
                tell()
                told_at = time.monotonic()
            try:
                result = done.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(result, Exception):
                raise result
            given += 1
            yield result
    finally:
        if given < len(items):
            archive.stop.set()
        until = time.monotonic() + FAREWELL
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
