"""Which notebook is meant, and what it takes: parameters are held against it before a kernel is started."""

from __future__ import annotations

import ast
import difflib
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from lakehouse.errors import InputError, LakeError
from lakehouse.lake import Lake
from lakehouse.raw import list_all
from lakehouse.reports import choose_bars, read_days

KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
Value = str | int | float | bool
CHAPTERS = Path(__file__).parent / "chapters"  # where an installed package carries the notebooks


def find_notebook(name_or_path: str | Path) -> Path:
    """Find a notebook by its path, or by its name in `notebooks/` here or above, or among those of this package.

    Raises:
        InputError: There is none.
    """
    path = Path(name_or_path)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    name = path.name.removesuffix(".ipynb")
    for folder in _folders():
        candidate = folder / f"{name}.ipynb"
        if candidate.is_file():
            return candidate
    near = difflib.get_close_matches(name, [path.stem for folder in _folders() for path in folder.glob("*.ipynb")], 1)
    hint = f"; did you mean '{near[0]}'?" if near else "; `lakehouse notebooks` lists what there is"
    raise InputError(f"no notebook '{name_or_path}': neither a file, nor in notebooks/ of {Path.cwd()} or above{hint}")


def _folders() -> list[Path]:
    here = Path.cwd()
    return [*(folder / "notebooks" for folder in (here, *here.parents, Path(__file__).parents[2])), CHAPTERS]


def _read(known: Mapping[str, tuple[str, str]], name: str, word: str) -> Value:
    try:
        kind = known[name][0] if name in known else "str"
        return json.loads(word.lower()) if kind in ("int", "float", "bool") else word
    except ValueError:
        return word  # which the check that follows does not let pass


def read_parameters(name_or_path: str | Path, words: Mapping[str, str]) -> dict[str, Value]:
    """Turn words of a command line into values of the dtypes that a notebook's parameters have.

    Args:
        name_or_path: The notebook.
        words: Name → word.

    Returns:
        Name → value.

    Raises:
        InputError: There is no such notebook or parameter, or a word is no such value.
    """
    path = find_notebook(name_or_path)
    known = _parameters(_read_book(path))
    found = {name: _read(known, name, word) for name, word in words.items()}
    check_parameters(path, found)
    return found


def read_grid(name_or_path: str | Path, words: Mapping[str, str]) -> dict[str, list[Value]]:
    """Turn words of a command line into the values of a grid; they are checked when it is run.

    Args:
        name_or_path: The notebook.
        words: Name → words with commas between them.

    Returns:
        Name → values.

    Raises:
        InputError: There is no such notebook.
    """
    known = _parameters(_read_book(find_notebook(name_or_path)))
    return {name: [_read(known, name, word) for word in text.split(",")] for name, text in words.items()}


def name_lake(name_or_path: str | Path, given: Mapping[str, Value]) -> dict[str, Value]:
    """Name the lake that is meant: a kernel begins where its notebook lies, and would take the lake of that folder.

    Args:
        name_or_path: The notebook.
        given: Name → value.

    Returns:
        The same; with the nearest lake as `root`, if the notebook leaves that open and nobody has said which.

    Raises:
        InputError: There is no such notebook.
    """
    _, default = _parameters(_read_book(find_notebook(name_or_path))).get("root", ("", "None"))
    if default in ("''", '""') and not given.get("root"):
        with suppress(LakeError):  # the notebook says it where one is needed
            return {**given, "root": Lake().root}
    return dict(given)


def list_notebooks() -> pl.DataFrame:
    """List the notebooks here or above, and those of this package.

    Returns:
        name, purpose (its first sentence), parameters (each with its default value), path; sorted by name.
    """
    paths = [path for folder in reversed(_folders()) for path in folder.glob("*.ipynb")]
    rows = []
    for path in sorted({path.stem: path for path in paths}.values(), key=lambda path: path.stem):
        book = _read_book(path)
        prose = "".join(book["cells"][0]["source"]).split("\n\n")
        taken = [f"{name}={default}" for name, (_, default) in _parameters(book).items()]
        rows.append((path.stem, " ".join(prose[1:2]).partition(". ")[0].rstrip("."), taken, str(path)))
    columns: dict[str, Any] = {
        "name": pl.String,
        "purpose": pl.String,
        "parameters": pl.List(pl.String),
        "path": pl.String,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")


def check_parameters(name_or_path: str | Path, given: Mapping[str, Value]) -> None:
    """Hold values against the parameters of a notebook, before a kernel is started.

    Args:
        name_or_path: The notebook.
        given: Name → value.

    Raises:
        InputError: There is no such notebook, or it has no such parameter, or a value is of another type, or nothing to
            show.
    """
    path = find_notebook(name_or_path)
    book = _read_book(path)
    known = _parameters(book)
    kinds = {name: kind for name, (kind, _) in known.items()}
    check_values(f"notebook '{path.stem}'", kinds, given)
    values = {name: ast.literal_eval(default) for name, (_, default) in known.items()} | dict(given)
    words = {name: str(values.get(name, "")) for name in ("symbol", "interval", "market", "start", "end")}
    read_days(words["start"], words["end"])
    if book["metadata"].get("reads_bronze"):
        lake = Lake(str(values.get("root", "")) or None, at=str(values.get("at", "")))
        if lake.bronze.exists():
            choose_bars(lake, **words)
        elif not list_all(lake.raw)[0]:  # of which the notebook would make it
            raise InputError(f"{lake.raw_uri} holds no file of bars; `lakehouse run` says what to do first")


def check_given() -> None:
    """In a notebook: hold what papermill was given against the notebook's own parameters.

    Papermill puts values that nobody asks for into a cell and only warns, so that a misspelt name gives a report on
    another series. `run_notebook` has looked before; this is for `papermill` itself.

    Raises:
        InputError: There is no such parameter, or a value is of another type.
    """
    from IPython import get_ipython  # noqa: PLC0415  there already

    cells = get_ipython().user_ns["In"]
    for before, cell in itertools.pairwise(cells):
        if cell.startswith("# Parameters\n"):
            given = {target: ast.literal_eval(value) for target, _, value in _assigned(cell)}
            check_values("this notebook", {name: kind for name, kind, _ in _assigned(before)}, given)


def check_values(whose: str, kinds: Mapping[str, str], given: Mapping[str, Value]) -> None:
    """Hold values against parameters.

    Args:
        whose: For the message.
        kinds: Name → type, for example `str`.
        given: Name → value.

    Raises:
        InputError: There is no such parameter, or a value is of another type.
    """
    for name, value in given.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(kinds) or 'none'}"
            raise InputError(f"{whose} has no parameter '{name}'{hint}")
        if kinds[name] in KINDS and type(value) not in KINDS[kinds[name]]:
            raise InputError(f"{whose}: {name} is {value!r}; expected {kinds[name]}")


def _assigned(cell: str) -> Iterator[tuple[str, str, ast.expr]]:
    """Name, annotation and value of each assignment."""
    for node in ast.parse(cell).body:
        if isinstance(node, ast.AnnAssign) and node.value:
            yield ast.unparse(node.target), ast.unparse(node.annotation), node.value
        elif isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), "", node.value


def _read_book(path: Path) -> dict[str, Any]:
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        return {"cells": book["cells"], "metadata": book["metadata"]}
    except (ValueError, TypeError, KeyError) as error:  # no JSON, no notebook, or one of before 2015
        raise InputError(f"{path} is no notebook of today; open it in JupyterLab and save it") from error


def _parameters(book: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name → annotation and default value as they are written, of the cell that papermill puts values behind."""
    cell = next((cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", [])), {"source": ""})
    source = "".join(cell["source"])
    return {name: (kind, ast.get_source_segment(source, value) or "") for name, kind, value in _assigned(source)}
