"""The house rules of the project, executed."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import lakehouse
from lakehouse import errors
from lakehouse.cli import app

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.stem for path in (ROOT / "lakehouse").glob("*.py") if path.stem != "__init__")
# Each module may import those that stand before it on a line of this river, and no others.
ABOVE = {
    "errors": set[str](),
    "contracts": {"errors"},
    "layouts": {"contracts"},
    "times": {"layouts"},
    "parse": {"layouts", "times"},
    "sniff": {"errors", "layouts", "parse"},
    "recognise": {"contracts", "errors", "layouts", "parse", "sniff", "times"},
    "unpack": {"errors"},
    "raw": {"errors", "layouts", "parse", "recognise", "unpack"},
    "stores": {"errors"},
    "commits": {"errors"},
    "diff": {"commits"},
    "history": set[str](),
    "upkeep": {"commits", "stores"},
    "table": {"commits", "diff", "errors", "history", "stores", "upkeep"},
    "rollback": {"commits", "table"},
    "lake": {"contracts", "errors", "layouts", "rollback", "stores", "table"},
    "plan": {"errors", "lake", "raw", "recognise"},
    "settle": {"commits", "layouts"},
    "late": {"errors", "history", "lake", "raw", "recognise"},
    "account": {"contracts", "raw"},
    "batch": {"account", "errors", "lake", "layouts", "parse", "plan", "raw", "recognise", "settle"},
    "bronze": {"account", "batch", "commits", "errors", "history", "lake", "late", "plan", "settle"},
    "refresh": {"commits", "diff", "errors", "table"},
    "silver": {"commits", "contracts", "lake", "layouts", "refresh"},
    "gold": {"commits", "contracts", "lake", "layouts", "refresh"},
    "quality": {"account", "lake", "refresh"},
    "progress": set[str](),
    "status": {"commits", "contracts", "lake", "plan", "table"},
    "sample": {"errors", "layouts"},
    "theme": set[str](),
    "candlestick": {"theme"},
    "charts": {"theme"},
    "series_charts": {"candlestick", "theme"},
    "quality_charts": {"series_charts", "theme"},
    "table_charts": {"theme"},
    "change_charts": {"theme"},
    "pages": {"theme"},
    "notebooks": {"errors", "pages"},
    "prefect_setup": set[str](),
    "notebook_flows": {"bronze", "errors", "notebooks"},
    "flows": {
        *("account", "batch", "bronze", "contracts", "errors", "gold", "lake", "notebook_flows", "plan", "progress"),
        *("quality", "refresh", "silver"),
    },
    "printing": {"account", "contracts", "lake", "quality", "status"},
    "cli": {
        *("bronze", "errors", "flows", "lake", "notebooks", "printing", "progress", "sample", "status"),
    },
}


def imports(module: str) -> set[str]:
    """The modules of this package that a module imports, but for those it needs for types alone."""
    tree = ast.parse((ROOT / "lakehouse" / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    found = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.removeprefix("lakehouse.") for name in found if name.startswith("lakehouse.")}


def public_names() -> Iterator[tuple[str, object]]:
    for name in MODULES:
        module = import_module(f"lakehouse.{name}")
        for label, thing in vars(module).items():
            ours = getattr(thing, "__module__", "") == module.__name__
            if ours and not label.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
                yield f"{name}.{label}", thing


def test_every_module_has_its_place_in_the_river() -> None:
    assert sorted(ABOVE) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_above(module: str) -> None:
    assert imports(module) <= ABOVE[module]


def test_the_front_door_exports_exactly_what_it_names() -> None:
    submodules = set(MODULES)
    exported = {name for name in vars(lakehouse) if not name.startswith("_")} - submodules
    assert exported == set(lakehouse.__all__)


def test_the_front_door_leaves_prefect_and_altair_alone() -> None:
    code = "import sys, lakehouse; print([m for m in ('prefect', 'altair', 'papermill') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "thing"), list(public_names()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_has_a_docstring(name: str, thing: object) -> None:
    text = inspect.getdoc(thing) or ""
    assert text, f"{name} has no docstring"
    if inspect.isfunction(thing) and not name.startswith("cli."):  # there the help stands beside the options
        wanted = [p for p in inspect.signature(thing).parameters if p != "cls"]
        if len(wanted) > 2:
            assert "Args:" in text, f"{name} does not explain its arguments"


def test_the_error_tree_is_drawn_in_its_docstring() -> None:
    drawn = set(re.findall(r"\w+(?:Error|Refused|Failed)\b", (errors.__doc__ or "")))
    there = {name for name, thing in vars(errors).items() if inspect.isclass(thing)}
    assert drawn == there


def test_the_readme_names_every_file_and_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [f"{name}.py" for name in MODULES if f"{name}.py" not in readme]
    missing += [path.name for path in (ROOT / "notebooks").glob("*.ipynb") if path.stem not in readme]
    missing += [name for name in app if not name.startswith("-") and f"lakehouse {name}" not in readme]
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_no_file_has_outgrown_its_room(module: str) -> None:
    lines = (ROOT / "lakehouse" / f"{module}.py").read_text().splitlines()
    assert len(lines) <= 270


def test_requirements_are_pinned_without_an_address() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(pins) > 100
    assert all("==" in pin for pin in pins)
    assert "://" not in "".join(lines)
