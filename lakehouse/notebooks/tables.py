"""What comes from data is shown as text, never as markup: names of files and markets are written by strangers."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import polars as pl

from lakehouse.measures import spell

if TYPE_CHECKING:
    from IPython.display import HTML

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
