"""The command line itself: its options, which lake and which table a command is about, and how it ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterable
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.console import Console, ConsoleDimensions
from rich.markup import escape

from lakehouse.delta import Table
from lakehouse.errors import STOPPED, InputError, LakehouseError
from lakehouse.lake import Lake

DONE, INCOMPLETE, UNUSABLE, INTERRUPTED, UNHEARD, TERMINATED = 0, 1, 2, 130, 141, 143
EPILOGUE = """
Exit codes: 0 all that was asked for was done; 1 some files did not come or load (they are named, the others have
loaded), or the data are worse than was asked for; 2 the command could not be carried out; 130 stopped by Ctrl-C, 143
by a supervisor; 141 nobody read on, as in `| head`. Every command takes --help.
"""
app = App(
    name="lakehouse",
    help="A lakehouse from raw OHLCV files. Start with `lakehouse run`.",
    help_epilogue=EPILOGUE,
    version=lambda: version("lakehouse-workbook"),
    suppress_keyboard_interrupt=False,  # `main` says what stands
)


class Screen(Console):
    """What is printed on: a terminal at its width; a file or a pipe as wide as need be, for nothing folds there."""

    @property  # type: ignore[misc]  # whose width is set is no screen
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        return super().size if self.is_terminal or "COLUMNS" in os.environ else ConsoleDimensions(UNFOLDED, 25)

    def on_broken_pipe(self) -> None:
        """Leave it to `main`, if nobody reads on."""
        raise Unheard


class Unheard(Exception):
    """Nobody reads what is printed, as in `| head`; any other pipe that breaks is an error."""


def say(text: str) -> None:
    """Print plain text, all of it.

    Raises:
        Unheard: Nobody reads it.
    """
    try:
        print(text, end="", flush=True)
    except BrokenPipeError as error:
        raise Unheard from error


UNFOLDED = 500
console = Screen(emoji=False)  # a path may hold :fire:

Root = Annotated[str, Parameter(help="The lake: a folder that holds raw/. Default: LAKEHOUSE_ROOT, else the nearest.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON for machines instead of tables.")]
Limit = Annotated[int, Parameter(help="Rows that are shown; --json has all.")]
At = Annotated[str, Parameter(help="A tag: the tables as they were then; see `lakehouse tag`.")]
TABLES = (
    *("bronze", "quarantine", "ledger", "conflicts"),
    *("silver", "gaps", "mismatches", "gold", "weekly", "monthly"),
)
Home = Parameter(converter=lambda _, words: Path(words[0].value).expanduser())  # of --output=~/x a shell makes nothing
TableName = Annotated[str, Parameter(name="--table", help=f"{', '.join(TABLES)}.")]


def open_lake(root: str, *, quiet: bool = False, at: str = "") -> Lake:
    """Open the lake that is meant, and say which it is.

    Args:
        root: As it was given; empty for the nearest.
        quiet: Whether something else than a person reads what is printed.
        at: A tag.
    """
    lake = Lake(root or None, at=at)
    if not quiet:
        tagged = f", as it was at the tag {at}" if at else ""
        elsewhere = "" if lake.raw_uri == lake.uri("raw") else f", raw files in {lake.raw_uri}"
        Screen(emoji=False).print(f"Lake:   {escape(lake.root + tagged + elsewhere)}", soft_wrap=True)
    return lake


def named_table(lake: Lake, name: str) -> Table:
    """Find a table of a lake by the name that Python has for it.

    Raises:
        InputError: There is none.
    """
    there = [known for known in TABLES if hasattr(lake, known)]
    if name not in there:
        raise InputError(f"--table is {name}; expected one of {', '.join(there)}")
    table: Table = getattr(lake, name)
    return table


def check_columns(table: Table, there: Iterable[str], wanted: Iterable[str]) -> None:
    """See that there are the columns by which rows are chosen: left out in silence, others would come.

    Raises:
        InputError: One is not there.
    """
    if missing := sorted(set(wanted) - set(there)):
        raise InputError(f"{table.name} has no column {missing[0]} to choose by; leave --{missing[0]} out")


def agreed(question: str) -> bool:
    """Ask before something is done that somebody may regret.

    Raises:
        InputError: Nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise InputError("nobody is there to be asked; say --yes")
    if input(f"{question} [y/N] ").strip().lower() in ("y", "yes"):
        return True
    print("Left as it is.")
    return False


def load_flow(name: str, verbose: bool = False) -> Any:
    """Import a Prefect flow, which takes seconds; what it logs is told to its server, and shown only when asked for.

    Args:
        name: Of the flow in `lakehouse.flows`.
        verbose: Whether what it logs is shown.
    """
    if not verbose:  # what is worth telling the command itself tells, once
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    gc.disable()  # as in `__main__`: it takes a seventh of Prefect's import
    try:
        from lakehouse import flows  # noqa: PLC0415
    except ValueError as error:  # its settings are read then
        raise InputError(f"Prefect's settings: {' '.join(str(error).split())}") from error
    finally:
        gc.enable()
    return getattr(flows, name)


def demand(holds: bool, option: str, given: float, expected: str) -> None:
    """Hold an option against what it may be.

    Args:
        holds: Whether it is that.
        option: Its name.
        given: What was given.
        expected: In words.

    Raises:
        InputError: It is not.
    """
    if not holds:
        raise InputError(f"{option} is {given}; expected {expected}")


@app.command(name="--install-completion")
def install_completion(*, shell: Literal["bash", "zsh", "fish", "powershell"] | None = None) -> int:
    """Let the TAB key complete commands and options: adds a line to what this shell reads when it starts.

    For example: lakehouse --install-completion --shell bash
    """
    from cyclopts.completion.detect import ShellDetectionError  # noqa: PLC0415  nobody else needs it

    try:
        script = app.install_completion(shell=shell)
    except ShellDetectionError as error:
        raise InputError("which shell this is cannot be told; say --shell bash, zsh, fish or powershell") from error
    zsh = ", if `autoload -Uz compinit && compinit` follows in .zshrc" if script.name.startswith("_") else ""
    console.print(f"Written: {escape(str(script))}; it works in the next shell that is opened{zsh}", soft_wrap=True)
    return DONE


class Terminated(KeyboardInterrupt):
    """A supervisor's SIGTERM: handled like Ctrl-C, so that what this process has started is stopped with it."""


def main(args: list[str] | None = None) -> None:
    """Run the command line; what goes wrong is printed in one piece, without a traceback, unless it is a fault of ours.

    Args:
        args: The words after `lakehouse`. Default: those of the process.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that a terminal or a pipe cannot show must not end a run
            stream.reconfigure(errors="replace")
    words = sys.argv[1:] if args is None else args
    if words[:1] in ([], ["--help"], ["-h"]):
        _import_all()
    try:
        code = app(args, exit_on_error=True, result_action="return_value")
        say("")
    except Unheard:  # Python must not meet it once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = UNHEARD
    except (LakehouseError, OSError) as error:  # OSError: full, read-only or gone, wherever it is met first
        Console(stderr=True, emoji=False).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        code = UNUSABLE
    except KeyboardInterrupt as stop:
        print(STOPPED, file=sys.stderr)
        code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    sys.exit(code)


def _import_all() -> None:
    """Import every command: what each is for stands in its docstring, which the overview shows."""
    for name in app:
        app[name]


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated
