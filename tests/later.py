"""Modules that take seconds to import: most workers of the tests never need them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Later:
    """Stands for a module, which is imported when it is first asked for something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks whatever a test module holds for such
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
