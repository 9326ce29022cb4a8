"""Numbers, times and names as people write them; they keep their meaning from 1e-12 to 1e15."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import polars as pl

DIGITS = 12  # beyond them a float tells noise: 0.30000000000000004


def spell(value: object) -> str:
    """Say a value in words: `1,917,325,577`, `0.000000117`, times to the minute, `–` for null."""
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


def spell_part(part: float | None) -> str:
    """Say a part of a whole: `99.99 %`. Never rounded up, so that `100.00 %` is all of it."""
    return "–" if part is None or math.isnan(part) else f"{math.floor(round(1e4 * part, 6)) / 100:.2f} %"


def spell_change(part: float | None) -> str:
    """Say how far something moved: `+8.28 %`, `−0.50 %`."""
    return "–" if part is None or math.isnan(part) else f"{100 * part:+,.2f} %".replace("-", "−")


def counted(number: int, thing: str) -> str:
    """Say how many: `1 bar`, `2,000 bars`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
