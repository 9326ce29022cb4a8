"""A kernel of its own for each notebook: it starts while what executes it is imported, and leaves while a page is made.

Its start takes a second, and so does the import of papermill; its end takes as long as a page. Nothing of this waits
for the other.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop, run_sync
from traitlets.config import Config

from lakehouse.notebooks.pages import HEADLESS

# What nearly each notebook imports, in the time in which nobody talks to its kernel yet. Its own folder comes later.
LAUNCH = """
import gc, sys
del sys.path[0]
gc.disable()
import lakehouse.charts, lakehouse.layers, lakehouse.notebooks
from ipykernel.kernelapp import launch_new_instance
gc.enable()
launch_new_instance()
"""


class OwnKernel(AsyncKernelManager):
    """A kernel on the interpreter that runs us, whatever somebody's Jupyter takes `python3` to be."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        command = [sys.executable, "-c", LAUNCH, "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3 (ipykernel)", language="python")

    def ask_to_leave(self) -> None:
        """Ask it to end, and do not wait: that is for whoever has started it."""
        run_sync(self.request_shutdown)()


@contextmanager
def started_kernel(cwd: Path) -> Iterator[OwnKernel]:
    """Start a kernel that knows that nobody can click; it has ended when the block has, however that ends.

    Args:
        cwd: The folder in which it runs.
    """
    with _event_loop(), tempfile.TemporaryDirectory() as folder:
        kernel = OwnKernel(config=_config(folder))
        run_sync(kernel.start_kernel)(cwd=str(cwd), env={**os.environ, HEADLESS: "1"})
        try:
            yield kernel
            run_sync(kernel.finish_shutdown)()
        except BaseException:
            if run_sync(kernel.is_alive)():
                run_sync(kernel.shutdown_kernel)()  # which interrupts it first
            raise
        finally:
            run_sync(kernel.cleanup_resources)()


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
