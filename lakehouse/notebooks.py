"""Run notebooks headless, and keep what they found. The only file that knows papermill."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import altair as alt
import nbformat
import papermill as pm
from IPython.display import display
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from lakehouse.errors import InputError, NotebookFailed

RESULTS = "application/vnd.lakehouse.results+json"
HEADLESS = "LAKEHOUSE_HEADLESS"  # set for the kernels of `run_notebook`
Value = str | int | float | bool


def run_notebook(
    name_or_path: str | Path,
    parameters: Mapping[str, Value] | None = None,
    output: str | Path | None = None,
    *,
    timeout: int = 600,
) -> Path:
    """Execute a notebook from top to bottom in a fresh kernel.

    Args:
        name_or_path: A path, or the name of a notebook in `notebooks/` here or above: `00_quick_tour`.
        parameters: Values for its cell tagged `parameters`: text, numbers, booleans. Never a secret: they are stored.
        output: Where to put the executed copy. Default: `runs/<UTC time>-<name>/<name>.ipynb`.
        timeout: Seconds that a cell may take.

    Returns:
        The path of the executed copy, which is there also if the notebook fails.

    Raises:
        InputError: There is no such notebook, or it has no such parameter, or a value is of another type.
        NotebookFailed: A cell raised or took too long.
    """
    path = _find(name_or_path)
    given = dict(parameters or {})
    _check_parameters(path, given)
    now = dt.datetime.now(dt.UTC)
    target = Path(output) if output else Path("runs", f"{now:%Y%m%dT%H%M%S}-{path.stem}", path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(HEADLESS)
    os.environ[HEADLESS] = "1"  # the kernel inherits it
    try:
        pm.execute_notebook(
            str(path),
            str(target),
            parameters=given,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=timeout,
            cwd=str(path.parent),
            # ipykernel 7 warns of unencrypted ports without it
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
    except PapermillExecutionError as error:
        raise NotebookFailed(target, error.exec_count or 0, f"{error.ename}: {error.evalue}", error.source) from error
    except CellTimeoutError as error:
        raise NotebookFailed(target, 0, f"a cell took longer than {timeout} s", "") from error
    finally:
        os.environ.pop(HEADLESS) if before is None else os.environ.update({HEADLESS: before})
    return target


def use_charts() -> None:
    """Choose how charts are shown: interactive in JupyterLab, PNG where nobody can click; both without network."""
    if os.environ.get(HEADLESS) or not os.environ.get("JPY_SESSION_NAME"):
        alt.renderers.enable("png")
    else:
        alt.renderers.enable("jupyter", offline=True)


def check_answer(given: object, right: object, hint: str) -> None:
    """Say whether the answer to an exercise is right; the dots that stand for none are let pass.

    Args:
        given: The learner's answer.
        right: What it should be.
        hint: What to look at again.

    Raises:
        AssertionError: It is another answer; the message gives the hint.
    """
    if given is ...:
        print("Not answered yet: put your answer in place of the dots.")
        return
    assert given == right, f"Not yet: {given!r} is not it. Hint: {hint}."
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


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        candidate = folder / "notebooks" / f"{path.name.removesuffix('.ipynb')}.ipynb"
        if candidate.is_file():
            return candidate
    raise InputError(f"no notebook '{name_or_path}': neither a file, nor in notebooks/ of {here} or above it")


def _check_parameters(path: Path, given: Mapping[str, Value]) -> None:
    known = pm.inspect_notebook(str(path))
    kinds = {"str": str, "int": int, "float": (int, float), "bool": bool}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known) or 'none'}"
            raise InputError(f"notebook '{path.stem}' has no parameter '{name}'{hint}")
        wanted = known[name]["inferred_type_name"]
        fits = kinds.get(wanted, object)
        if not isinstance(value, fits) or (isinstance(value, bool) and fits is not bool):  # type: ignore[arg-type]
            raise InputError(f"notebook '{path.stem}': {name} is {value!r}; expected a {wanted}")
