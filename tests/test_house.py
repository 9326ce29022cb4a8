"""The house rules of the project, executed."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import lakehouse
from lakehouse import errors
from lakehouse.cli.commands import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lakehouse"
WINGS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("[!_]*.py"))
# The river, from mouth to spring: a wing, or a file of the top floor, may import what stands below it here.
# What stands on one line does not know of each other.
RIVER = [
    {"cli"},
    {"flows"},
    {"notebooks"},
    {"reports"},
    {"status"},
    {"layers"},
    {"bronze", "download"},
    {"lake"},
    {"recognise", "delta"},
    {"raw"},
    {"dataset", "sample"},
    {"contracts", "intervals", "progress"},
    {"errors", "measures"},
]
COMMANDS = [app[name].default_command for name in app if not name.startswith("-")]
FLOOR = {place: number for number, places in enumerate(RIVER) for place in places} | {"charts": len(RIVER) - 2}


def path_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, those that it needs for types alone too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    found = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    found |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.removeprefix("lakehouse.") for name in found if name.startswith("lakehouse.")}


def wing_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def public_names(module: str) -> Iterator[tuple[str, object]]:
    for name, thing in vars(import_module(f"lakehouse.{module}")).items():
        ours = getattr(thing, "__module__", "") == f"lakehouse.{module}"
        if ours and not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
            yield name, thing


def test_every_wing_and_file_has_its_place_in_the_river() -> None:
    assert sorted(FLOOR) == sorted({wing_of(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down_the_river_only(module: str) -> None:
    here = wing_of(module)
    beyond = {wing_of(other) for other in imports(path_of(module))} - {here}
    assert {other for other in beyond if FLOOR[other] <= FLOOR[here]} == set()


@pytest.mark.parametrize("module", MODULES)
def test_wings_meet_at_their_doors(module: str) -> None:
    here = wing_of(module)
    inner = {other for other in imports(path_of(module)) if "." in other and wing_of(other) != here}
    assert inner == set()


@pytest.mark.parametrize("wing", WINGS)
def test_no_circle_within_a_wing(wing: str) -> None:
    graph = {module: imports(path_of(module)) for module in MODULES if module.startswith(f"{wing}.")}
    order = TopologicalSorter({module: below & graph.keys() for module, below in graph.items()}).static_order()
    assert set(order) == graph.keys()  # a circle raises CycleError


def test_charts_know_nothing_but_frames() -> None:
    beyond = {wing_of(other) for module in MODULES if wing_of(module) == "charts" for other in imports(path_of(module))}
    assert beyond <= {"charts", "measures"}


@pytest.mark.parametrize("wing", ["", *WINGS])
def test_a_wing_has_at_most_eight_files(wing: str) -> None:
    assert 1 <= len([*(PACKAGE / wing).glob("[!_]*.py")]) <= 8


@pytest.mark.parametrize("wing", WINGS)
def test_a_door_says_what_its_wing_does_and_names_what_it_lets_out(wing: str) -> None:
    door = import_module(f"lakehouse.{wing}")
    assert door.__doc__
    exported = dict[str, object]()
    exec(f"from lakehouse.{wing} import *", exported)
    assert exported.keys() - {"__builtins__"} == set(door.__all__)
    there = {path.stem for path in (PACKAGE / wing).glob("*.py")} | {"TYPE_CHECKING", "import_module"}
    assert {name for name in vars(door) if not name.startswith("_")} - there <= set(door.__all__)


def test_the_front_door_exports_exactly_what_it_names() -> None:
    exported = dict[str, object]()
    exec("from lakehouse import *", exported)
    assert exported.keys() - {"__builtins__"} == set(lakehouse.__all__)
    with pytest.raises(AttributeError, match="'lakehouse' has no attribute 'Lakes'"):
        lakehouse.Lakes  # noqa: B018


def test_the_front_door_leaves_prefect_and_altair_alone() -> None:
    heavy = ("prefect", "altair", "papermill", "sqlalchemy")
    code = f"import sys; from lakehouse import *; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    door = import_module(f"lakehouse.{wing_of(module)}")  # what stays within a wing has a sentence
    for name, thing in public_names(module):
        text = inspect.getdoc(thing) or ""
        assert text, f"{module}.{name} has no docstring"
        at_the_door = name in getattr(door, "__all__", dir(door))
        if inspect.isfunction(thing) and at_the_door and thing not in COMMANDS:  # whose help stands beside the options
            wanted = [p for p in inspect.signature(thing).parameters if p != "cls"]
            if len(wanted) > 2:
                assert "Args:" in text, f"{module}.{name} does not explain its arguments"


def test_the_error_tree_is_drawn_in_its_docstring() -> None:
    drawn = set(re.findall(r"\w+(?:Error|Refused|Failed)\b", (errors.__doc__ or "")))
    modules = [import_module(f"lakehouse.{name}") for name in MODULES]
    classes = [thing for module in modules for thing in vars(module).values() if inspect.isclass(thing)]
    there = {thing.__name__ for thing in classes if issubclass(thing, errors.LakehouseError)}
    assert drawn == there


def test_the_readme_names_every_file_and_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [f"{name.split('.')[-1]}" for name in MODULES if name.split(".")[-1] not in readme]
    missing += [f"{wing}/" for wing in WINGS if f"{wing}/" not in readme]
    missing += [path.name for path in (ROOT / "notebooks").glob("*.ipynb") if path.stem not in readme]
    missing += [name for name in app if not name.startswith("-") and f"lakehouse {name}" not in readme]
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_no_file_has_outgrown_its_room(module: str) -> None:
    most = {"bronze": 250, "delta": 270}.get(wing_of(module), 300)
    assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("module", MODULES)
def test_texts_are_in_utf_8_on_every_system(module: str) -> None:
    lines = path_of(module).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.search(r"\.(read|write)_text\(", line) and "utf-8" not in line] == []


def test_requirements_are_pinned_without_an_address() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(pins) > 100
    assert all("==" in pin for pin in pins)
    assert "://" not in "".join(lines)
