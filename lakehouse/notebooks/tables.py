"""What comes from data is shown as text, never as markup: names of files and markets are written by strangers."""

from __future__ import annotations

import datetime as dt
import html
import math
from decimal import Decimal

import polars as pl
from IPython.display import HTML

DIGITS = 12  # beyond them a float tells noise: 0.30000000000000004


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
    names = [html.escape(name.replace("_", " ")) for name in frame.columns]
    kinds = [' class="number"' if dtype.is_numeric() else "" for dtype in frame.dtypes]
    head = "".join(f"<th{kind}>{name}</th>" for name, kind in zip(names, kinds, strict=True))
    rows = [
        "".join(f"<td{kind}>{html.escape(spell(value))}</td>" for value, kind in zip(row, kinds, strict=True))
        for row in frame.iter_rows()
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>")  # type: ignore[no-untyped-call]


def spell(value: object) -> str:
    """Say a value in words that keep its meaning from 1e-12 to 1e12: `1,917,325,577`, `0.000000117`, `–` for null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{Decimal(f'{value:.{DIGITS}g}'):,f}"
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, (list, pl.Series)):
        return "; ".join(spell(part) for part in value)
    return str(value)
