"""A kernel of its own for each notebook: it starts while what executes it is imported, and leaves while a page is made.

Its start takes a second, and so does the import of papermill; its end takes as long as a page. Nothing of this waits
for the other.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop, run_sync
from traitlets.config import Config

from lakehouse.notebooks.pages import HEADLESS

# What nearly each notebook imports, in the time in which nobody talks to its kernel yet. Its own folder comes later.
# A debugger takes a quarter of a second to import, and nobody is there to use it. At the very end, when all else that
# was registered for it has been done, the system frees at once what Python would free piece by piece.
LAUNCH = """
import atexit, gc, os, sys
atexit.register(os._exit, 0)
del sys.path[0]
sys.modules["debugpy"] = None
gc.disable()
import lakehouse.charts, lakehouse.layers
from lakehouse.notebooks import Picker, record
from ipykernel.kernelapp import launch_new_instance
gc.enable()
launch_new_instance()
"""


class OwnKernel(AsyncKernelManager):
    """A kernel on the interpreter that runs us, whatever somebody's Jupyter takes `python3` to be.

    It runs in the present folder, and knows that nobody can click.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.listens = False
        super().__init__(config=_config(self._folder.name))

    def start(self) -> None:
        """Start it, while whoever wants it goes on."""
        run_sync(self.start_kernel)(env={**os.environ, HEADLESS: "1"})

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        command = [sys.executable, "-c", LAUNCH, "-f", "{connection_file}", "--HistoryManager.hist_file=:memory:"]
        return KernelSpec(argv=command, display_name="Python 3 (ipykernel)", language="python")

    def ask_to_leave(self) -> None:
        """Ask it to end, and do not wait: that is for whoever has started it."""
        run_sync(self.request_shutdown)()

    def leave(self, *, asked: bool = False) -> None:
        """Wait until it has ended.

        Args:
            asked: Whether it was asked to; else a cell is interrupted first, and a kernel that does not listen killed.
        """
        try:
            if asked:
                run_sync(self.finish_shutdown)()
            elif run_sync(self.is_alive)():
                run_sync(self.shutdown_kernel)(now=not self.listens)
        finally:
            run_sync(self.cleanup_resources)()
            self._folder.cleanup()


_ahead: list[OwnKernel] = []


def start_ahead() -> None:
    """Start the kernel of the first notebook that will be run, while what is to run it has not been imported yet."""
    atexit.register(leave_ahead)
    _ahead.append(OwnKernel())
    _ahead[-1].start()


def leave_ahead() -> None:
    """End the kernel that was started ahead, if nobody has taken it; the end of this process does so too."""
    with _event_loop():
        while _ahead:
            _ahead.pop().leave()


@contextmanager
def started_kernel() -> Iterator[OwnKernel]:
    """Start a kernel, or take the one that was started ahead; it has ended when the block has, however that ends.

    A block that ends well has asked it to leave.
    """
    with _event_loop():
        kernel = _ahead.pop() if _ahead else OwnKernel()
        asked = False
        try:
            if not kernel.has_kernel:
                kernel.start()
            yield kernel
            asked = True
        finally:
            kernel.leave(asked=asked)


@contextmanager
def _event_loop() -> Iterator[None]:
    """Close the event loop that Jupyter makes for its thread and leaves open, unless it is the caller's own."""
    loop = ensure_event_loop()
    try:
        yield
    finally:
        if not loop.is_running():
            loop.close()
            asyncio.set_event_loop(None)


def _config(folder: str) -> Config:
    """Talk to the kernel through files, where there are such: kernels that start together may race for a port.

    The path of such a file has room for 104 letters on macOS, which puts temporary folders deep down.
    """
    if os.name == "posix" and len(os.fsencode(folder)) < 80:
        return Config({"KernelManager": {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}})
    return Config({"KernelManager": {"transport_encryption": "auto"}})  # without it ipykernel 7 warns
