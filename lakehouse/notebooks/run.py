"""Run notebooks headless. The only file that knows papermill."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from lakehouse.errors import NotebookFailed
from lakehouse.notebooks.index import write_index
from lakehouse.notebooks.kernel import OwnKernel, started_kernel
from lakehouse.notebooks.pages import prepare_page, write_page
from lakehouse.notebooks.parameters import CHAPTERS, Value, check_parameters, find_notebook, name_lake
from lakehouse.reports import RUNS

START_SECONDS = 300  # that a kernel may take to start and import, on a machine that has much else to do


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
    path = find_notebook(name_or_path)
    given = name_lake(path, parameters or {})
    check_parameters(path, given)
    target = Path(output) if output else _next_run(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with started_kernel() as kernel:
        _execute(path, target, given, kernel, timeout)
        kernel.ask_to_leave()
        write_page(target)
    if target.absolute().parents[1].name == RUNS:
        write_index(target.parents[1])
    return target


def _execute(path: Path, target: Path, given: dict[str, Value], kernel: OwnKernel, timeout: int) -> None:
    import papermill as pm  # noqa: PLC0415  while the kernel starts; and each kernel would import it, to run nothing
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    try:
        pm.execute_notebook(
            str(path),
            str(target),
            parameters=given,
            kernel_name="python3",
            language="python",  # which a notebook need not tell
            engine_name=_own_engine(),
            progress_bar=False,
            kernel=kernel,
            folder=str(Path.cwd() if path.parent == CHAPTERS else path.parent),
            timeout=timeout,
        )
    except PapermillExecutionError as error:
        raise NotebookFailed(target, error.exec_count or 0, f"{error.ename}: {error.evalue}", error.source) from error
    except CellTimeoutError as error:
        raise NotebookFailed(target, 0, f"a cell took longer than {timeout} s", "") from error
    except DeadKernelError as error:
        raise NotebookFailed(target, 0, "its kernel died: killed, or out of memory", "") from error


@cache
def _own_engine() -> str:
    """Papermill's engine, but for a kernel that is there, and a copy that is written when it begins and when it ends.

    It would be written before and after each cell, and it holds all pictures: most of a run's time went there.
    """
    from papermill.clientwrap import PapermillNotebookClient  # noqa: PLC0415
    from papermill.engines import Engine, papermill_engines  # noqa: PLC0415

    class OwnEngine(Engine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(
            cls, nb_man: Any, _kernel_name: str, *, kernel: OwnKernel, folder: str, timeout: int, **_options: object
        ) -> None:
            path, nb_man.output_path = nb_man.output_path, None
            client = PapermillNotebookClient(nb_man, km=kernel, timeout=timeout, startup_timeout=START_SECONDS)
            try:
                client.start_new_kernel_client()
                kernel.listens = True
                told = client.wait_for_reply(client.kc.execute(f"__import__('os').chdir({folder!r})", silent=True))
                if told["content"]["status"] != "ok":
                    raise OSError(f"a kernel cannot work in the notebook's folder: {told['content']['evalue']}")
                with ThreadPoolExecutor(1) as beside:
                    beside.submit(prepare_page, nb_man.nb)  # whoever has cells executed only waits for them
                    client.execute()
            finally:
                if client.kc:
                    client.kc.stop_channels()
                nb_man.output_path = path  # papermill itself writes what has come of the cells

    papermill_engines.register(name := "own kernel, written once", OwnEngine)
    return name


def _next_run(path: Path) -> Path:
    now = dt.datetime.now(dt.UTC)
    folder = Path(RUNS, f"{now:%Y%m%dT%H%M%S}-{path.stem}")
    return (Path(f"{folder}-{uuid.uuid4().hex[:6]}") if folder.exists() else folder) / path.name
