"""The command line, as `lakehouse` and as `python -m lakehouse`."""

import gc
import os
import signal

from lakehouse.errors import STOPPED


def main() -> None:
    """Run the command line. Whoever ends it is told what stands from the first moment on, while it still imports."""
    ctrl_c = signal.getsignal(signal.SIGINT)
    if ctrl_c is signal.default_int_handler:  # else it is to be ignored, as behind nohup
        signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    gc.disable()  # an import makes many objects and no garbage; to look for it takes a tenth of the time
    from lakehouse.cli import main as run  # noqa: PLC0415  polars and others take a second to import

    gc.enable()
    signal.signal(signal.SIGINT, ctrl_c)
    run()


def _leave(number: int, _frame: object) -> None:
    # Not an exception: a library that is half imported may turn it into one of its own. Nothing has begun yet.
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()
