"""What cells call: tables, answers to exercises, and the results that a copy keeps for programs.

What comes from data is shown as text, never as markup: names of files and markets are written by strangers.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from lakehouse.measures import spell
from lakehouse.notebooks.parameters import Value

if TYPE_CHECKING:
    from IPython.display import HTML

RESULTS = "application/vnd.lakehouse.results+json"
FIGURE = re.compile(r"[-+−]?\d[\d,.]*( ?%)?|–")


def plain(value: object) -> str:
    """Write a value so that Markdown and HTML take every character of it as itself.

    Args:
        value: A name, a number, a line of a file.

    Returns:
        The text: what is neither letter nor digit nor space is written as a character reference.
    """
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in spell(value))


def show_table(frame: pl.DataFrame) -> HTML:
    """Show a frame as a table: numbers to the right and in full, times to the minute, lists in words.

    Args:
        frame: A few rows; the names of its columns are its head.

    Returns:
        What a notebook displays as its cell's last expression.
    """
    from IPython.display import HTML  # noqa: PLC0415  there wherever a table can be shown

    names = [html.escape(name.replace("_", " ")) for name in frame.columns]
    words = [[spell(value) for value in column] for column in frame]
    figures = [
        dtype.is_numeric() or all(map(FIGURE.fullmatch, told)) for dtype, told in zip(frame.dtypes, words, strict=True)
    ]
    kinds = [' class="number"' if figure else "" for figure in figures]
    head = "".join(f"<th{kind}>{name}</th>" for name, kind in zip(names, kinds, strict=True))
    rows = [
        "".join(f"<td{kind}>{html.escape(word)}</td>" for word, kind in zip(row, kinds, strict=True))
        for row in zip(*words, strict=True)
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>")  # type: ignore[no-untyped-call]


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
    from IPython.display import display  # noqa: PLC0415  what runs a notebook needs none of it

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
    for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(RESULTS, {})
    return found
