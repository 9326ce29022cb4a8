"""The Prefect flow that runs a notebook for each combination of parameters.

No `from __future__ import annotations` here, see `flows`.
"""

from lakehouse.flows.embedded import lake_flow  # before Prefect

# isort: split
import hashlib
import itertools
import re
import time
from contextvars import Context
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from lakehouse.bronze import new_run_id
from lakehouse.errors import BatchFailed
from lakehouse.notebooks import Value, check_parameters, read_results, run_notebook


@task(name="run notebook", task_run_name="{label}", cache_policy=NO_CACHE)
def run_one(name: str, parameters: dict[str, Value], folder: str, label: str) -> dict[str, object]:
    """Run a notebook; returns where its page lies, how long it took and what it recorded."""
    began = time.perf_counter()
    # Prefect gives each thread a copy of the flow's context. An event loop that Jupyter has left there would be that of
    # all threads, and only one of them can run it.
    executed = Context().run(run_notebook, name, parameters, Path(folder, f"{label}.ipynb"))
    page = executed.with_suffix(".html").resolve()
    key = "-".join(key_of(str(word)) for word in (name, parameters.get("root", "")) if word)
    create_link_artifact(
        page.as_uri(), link_text=label, key=f"notebook-page-{key}", description=f"{name}: {parameters}"
    )
    return {"seconds": round(time.perf_counter() - began, 1), "page": str(page), **read_results(executed)}


def announce(_flow: object, run: FlowRun, state: State[Any]) -> None:
    """Tell the server how a run of a deployment has ended, by an event of our own.

    The server takes a run's own events in their order, and never gets the first of a run that its scheduler has made:
    what shall follow such a run at once would wait for a quarter of an hour.
    """
    if run.deployment_id:
        about = {"prefect.resource.id": f"lakehouse.{run.deployment_id}", "prefect.resource.name": run.name}
        emit_event(f"lakehouse.{state.name}", resource=about, payload={"said": state.message or ""})


@lake_flow(
    name="run-notebooks",
    flow_run_name="{name}",
    validate_parameters=True,
    on_completion=[announce],
    on_failure=[announce],
)
def run_notebooks(
    name: str,
    grid: dict[str, list[str | int | float | bool]],
    output: str = "",
    at_once: Annotated[int, Field(ge=1, description="Notebooks at the same time; each is a process.")] = 2,
) -> pl.DataFrame:
    """Run a notebook for each combination of parameters: a task each, with its page as an artifact.

    Args:
        name: The notebook: a path, or its name in notebooks/.
        grid: Parameter → its values, for example {"symbol": ["BTCUSDT", "ETHUSDT"], "interval": ["1h"]}.
        output: The folder for executed copies and pages. Default: `runs/<UTC time>-<name>`.
        at_once: How many run at the same time.

    Returns:
        A row for each: the parameters, seconds, page, what it recorded, and error (null if it went well).

    Raises:
        InputError: There is no such notebook or parameter.
        BatchFailed: Some notebooks failed; the others have run. It carries the rows.
    """
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for parameters in combinations:
        check_parameters(name, parameters)
    folder = output or f"runs/{new_run_id()}-{Path(name).stem}"
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=at_once)
    with pool as runner:
        labels = name_runs([[*map(str, parameters.values())] or [Path(name).stem] for parameters in combinations])
        jobs = [
            {"name": name, "parameters": parameters, "folder": folder, "label": label}
            for label, parameters in zip(labels, combinations, strict=True)
        ]
        futures = [runner.submit(run_one, parameters) for parameters in jobs]
        outcomes = [future.result(raise_on_failure=False) for future in futures]
    rows = [
        {
            "notebook": label,
            **given,
            **(end if isinstance(end, dict) else {}),
            "error": None if isinstance(end, dict) else str(end) or type(end).__name__,
        }
        for label, given, end in zip(labels, combinations, outcomes, strict=True)
    ]
    key = "-".join(key_of(str(word)) for word in (name, *grid.get("root", [])[:1]))
    runs = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"error": pl.String})
    create_table_artifact(runs.to_dicts(), key=f"notebook-results-{key}", description=f"{name}: what each run recorded")
    failed = runs["error"].count()
    create_markdown_artifact(
        f"{runs.height} runs of {name}, {failed} failed; see {folder}", key=f"notebook-summary-{key}"
    )
    if failed:
        error = BatchFailed(runs)
        return Failed(message=str(error), data=error)  # type: ignore[return-value]
    return runs


def name_runs(words: list[list[str]]) -> list[str]:
    """Name runs by the values of their parameters, as names of files.

    Args:
        words: The values of each run.

    Returns:
        A name for each: none leads out of its folder, and no two are equal, not even where a system folds cases.
    """
    names = dict[str, str]()  # folded → as it is written
    for run in words:
        # Each value keeps its end (a long path's own name) and its share of what a file's name may hold.
        kept = [re.sub(r"[^\w.]+", "-", word).strip("-.")[-80 // len(run) :] for word in run]
        base = "-".join(kept).strip("-.") or "run"
        turns = itertools.chain([base], (f"{base}-{turn}" for turn in itertools.count(2)))
        name = next(name for name in turns if name.casefold() not in names)
        names[name.casefold()] = name
    return [*names.values()]


def key_of(root: str) -> str:
    """What a lake or a notebook is called where only small letters, digits and `-` may stand; each has its own.

    Args:
        root: Of the lake, or the notebook's path.
    """
    name = re.sub(r"[^a-z0-9]+", "-", root.rstrip("/").rpartition("/")[2].lower()).strip("-") or "lake"
    return f"{name[:40]}-{hashlib.sha256(root.encode()).hexdigest()[:6]}"
