"""A progress bar that is text: on a terminal, and in a notebook, where its executed copy keeps the last state."""

from __future__ import annotations

import io
import sys
from typing import Any

from tqdm.std import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of bytes. On a terminal a line, in a notebook one output that is replaced, elsewhere nothing."""

    _shown: Any = None

    def __init__(self, **options: Any) -> None:
        self._notebook = _in_notebook()
        shown = self._notebook or sys.stderr.isatty()
        super().__init__(**{"unit": "B", "unit_scale": True, "leave": self._notebook, "disable": not shown, **options})

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # type: ignore[override]
        """Show the present state; whether that is done tells tqdm to go back to the line's beginning."""
        if not self._notebook:
            return bool(super().display(msg, pos))
        if self._shown is None:
            from IPython.display import display  # noqa: PLC0415

            self._shown = display({"text/plain": str(self)}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update({"text/plain": str(self)}, raw=True)
        return True

    def reach(self, done: int, total: int) -> None:
        """Stand at `done` of `total`."""
        self.total = total
        self.update(done - self.n)

    def close(self) -> None:
        """End the bar."""
        if self._notebook:
            self.fp = io.StringIO()  # the line feed that follows is for a terminal
        super().close()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell" if ipython else False
