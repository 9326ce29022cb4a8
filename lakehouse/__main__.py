"""The command line, as `lakehouse` and as `python -m lakehouse`."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from lakehouse.errors import STOPPED

_ahead: list[Callable[[], None]] = []  # what ends the kernel that was started ahead


def main() -> None:
    """Run the command line. Whoever ends it is told what stands from the first moment on, while it still imports."""
    ended = [1]  # the exit code, if nobody tells another
    if not atexit._ncallbacks():  # else somebody who measures or embeds us would not be heard
        atexit.register(_end, ended)
    ctrl_c = signal.getsignal(signal.SIGINT)
    if ctrl_c is signal.default_int_handler:  # else it is to be ignored, as behind nohup
        signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    gc.disable()  # an import makes many objects and no garbage; to look for it takes a tenth of the time
    if sys.argv[1:2] in (["report"], ["notebook"]) and not {"--help", "-h"} & {*sys.argv}:
        from lakehouse.notebooks import leave_ahead, start_ahead  # noqa: PLC0415  it imports for as long as we do

        _ahead.append(leave_ahead)
        start_ahead()
    from lakehouse.cli import main as run  # noqa: PLC0415  polars and others take a second to import

    gc.enable()
    try:
        signal.signal(signal.SIGINT, ctrl_c)
        run()
    except SystemExit as told:
        ended[0] = told.code if isinstance(told.code, int) else int(told.code is not None)
        raise
    except KeyboardInterrupt:  # before `run` looked for it
        _leave(signal.SIGINT)


def _leave(number: int, _frame: object = None) -> None:
    # Not an exception: a library that is half imported may turn it into one of its own. Nothing has begun yet.
    os.write(2, f"{STOPPED}\n".encode())
    try:
        for end in _ahead:
            end()
    finally:
        os._exit(128 + number)


def _end(code: list[int]) -> None:
    """Be registered first, so called last, when threads and all that others registered have ended.

    What would follow is to free each object by itself: a fifth of a second, after which the system frees them anyway.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            if stream:
                stream.flush()
    os._exit(code[0])


if __name__ == "__main__":
    main()
