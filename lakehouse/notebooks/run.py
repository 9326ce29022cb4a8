"""Run notebooks headless, and keep what they found. The only file that knows papermill."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from IPython.display import display
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from traitlets.config import Config

from lakehouse.errors import NotebookFailed
from lakehouse.notebooks.index import write_index
from lakehouse.notebooks.pages import HEADLESS, write_page
from lakehouse.notebooks.parameters import CHAPTERS, Value, check_parameters, find_notebook
from lakehouse.reports import RUNS

RESULTS = "application/vnd.lakehouse.results+json"


def run_notebook(
    name_or_path: str | Path,
    parameters: Mapping[str, Value] | None = None,
    output: str | Path | None = None,
    *,
    timeout: int = 600,
) -> Path:
    """Execute a notebook from top to bottom in a fresh kernel, and make a page of it.

    Args:
        name_or_path: A path, or the name of a notebook in `notebooks/` here or above: `00_quick_tour`.
        parameters: Values for its cell tagged `parameters`: text, numbers, booleans. Never a secret: they are stored.
        output: Where to put the executed copy. Default: `runs/<UTC time>-<name>/<name>.ipynb`.
        timeout: Seconds that a cell may take.

    Returns:
        The path of the executed copy, which is there also if the notebook fails. Beside it, with the suffix `.html`,
        lies a page that opens without network.

    Raises:
        InputError: There is no such notebook, or it has no such parameter, or a value is of another type.
        NotebookFailed: A cell raised or took too long, or its kernel died.
    """
    import papermill as pm  # noqa: PLC0415  each kernel would import it, to run nothing
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    path = find_notebook(name_or_path)
    given = dict(parameters or {})
    check_parameters(path, given)
    target = Path(output) if output else _next_run(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with headless(), _event_loop(), tempfile.TemporaryDirectory() as folder:
            pm.execute_notebook(
                str(path),
                str(target),
                parameters=given,
                kernel_name="python3",
                engine_name=_written_once(),
                progress_bar=False,
                execution_timeout=timeout,
                cwd=str(Path.cwd() if path.parent == CHAPTERS else path.parent),
                config=_kernel_config(folder),
                kernel_manager_class=OwnKernel,
            )
    except PapermillExecutionError as error:
        raise NotebookFailed(target, error.exec_count or 0, f"{error.ename}: {error.evalue}", error.source) from error
    except CellTimeoutError as error:
        raise NotebookFailed(target, 0, f"a cell took longer than {timeout} s", "") from error
    except DeadKernelError as error:
        raise NotebookFailed(target, 0, "its kernel died: killed, or out of memory", "") from error
    write_page(target)
    if target.absolute().parents[1].name == RUNS:
        write_index(target.parents[1])
    return target


class OwnKernel(AsyncKernelManager):
    """A kernel on the interpreter that runs us, whatever somebody's Jupyter takes `python3` to be."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3 (ipykernel)", language="python")


@cache
def _written_once() -> str:
    """Papermill's engine, but for a copy that is written when it begins and when it ends or breaks off.

    It would be written before and after each cell, and it holds all pictures: most of a run's time went there.
    """
    from papermill.engines import NBClientEngine, papermill_engines  # noqa: PLC0415

    class WrittenOnce(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            path, nb_man.output_path = nb_man.output_path, None
            try:
                super().execute_managed_notebook(nb_man, kernel_name, **options)
            finally:
                nb_man.output_path = path  # papermill itself writes what has come of the cells

    papermill_engines.register(name := "written once", WrittenOnce)
    return name


@contextmanager
def headless() -> Iterator[None]:
    """Let kernels that are started inside know that nobody can click: they inherit it."""
    before = os.environ.get(HEADLESS)
    os.environ[HEADLESS] = "1"
    try:
        yield
    finally:
        os.environ.pop(HEADLESS) if before is None else os.environ.update({HEADLESS: before})


@contextmanager
def _event_loop() -> Iterator[None]:
    """Close the event loop that nbclient makes for its thread and leaves open, unless it is the caller's own."""
    loop = ensure_event_loop()
    try:
        yield
    finally:
        if not loop.is_running():
            loop.close()
            asyncio.set_event_loop(None)


def _kernel_config(folder: str) -> Config:
    """Talk to the kernel through files, where there are such: kernels that start together may race for a port.

    The path of such a file has room for 104 letters on macOS, which puts temporary folders deep down.
    """
    if os.name == "posix" and len(os.fsencode(folder)) < 80:
        return Config({"KernelManager": {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}})
    return Config({"KernelManager": {"transport_encryption": "auto"}})  # without it ipykernel 7 warns


def _next_run(path: Path) -> Path:
    now = dt.datetime.now(dt.UTC)
    folder = Path(RUNS, f"{now:%Y%m%dT%H%M%S}-{path.stem}")
    return (Path(f"{folder}-{uuid.uuid4().hex[:6]}") if folder.exists() else folder) / path.name


def check_answer(given: object, right: object, hint: str) -> None:
    """Say whether the answer to an exercise is right; the dots that stand for none are let pass.

    Args:
        given: The learner's answer.
        right: What it should be; or a function without arguments that works it out, if there is an answer to check.
        hint: What to look at again.

    Raises:
        AssertionError: It is another answer; the message gives the hint.
    """
    if given is ...:
        print("Not answered yet: put your answer in place of the dots.")
        return
    expected = right() if callable(right) else right
    assert given == expected, f"Not yet: {given!r} is not it. Hint: {hint}."
    print("Right.")


def record(**values: Value) -> None:
    """Keep the results of a notebook in its executed copy, for `read_results`.

    Args:
        values: Plain text, numbers and booleans, few.
    """
    text = "\n".join(f"{name} = {value}" for name, value in values.items())
    display({RESULTS: values, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]


def read_results(path: str | Path) -> dict[str, Value]:
    """Read what an executed notebook recorded.

    Args:
        path: The executed copy.

    Returns:
        The recorded values; empty if there are none.
    """
    found: dict[str, Value] = {}
    for cell in nbformat.read(str(path), as_version=4).cells:  # type: ignore[no-untyped-call]
        for output in cell.get("outputs", []):
            values = output.get("data", {}).get(RESULTS, {})
            found |= json.loads(values) if isinstance(values, str) else values
    return found
