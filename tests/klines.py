"""Hand-made files for the tests."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
HEADER = "open_time,open,high,low,close,volume"


def bar(hour: int, close: float = 10.0, volume: float = 1.0) -> str:
    """A line of HEADER's columns: the bar `hour` hours after START, open 10, high 20, low 5."""
    millis = int((START + dt.timedelta(hours=hour)).timestamp() * 1000)
    return f"{millis},10.0,20.0,5.0,{close},{volume}"


def place(root: Path, name: str, lines: Iterable[str], *, at: int = 0, header: bool = True) -> Path:
    """Put a file below root/raw, modified `at` seconds after START."""
    path = root / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*([HEADER] if header else []), *lines]) + "\n", encoding="utf-8", newline="\n")
    stamp = START.timestamp() + at
    os.utime(path, (stamp, stamp))
    return path


def hours(first: int, last: int, close: float = 10.0) -> Sequence[str]:
    """Bars from `first` to `last`, both included."""
    return [bar(hour, close) for hour in range(first, last + 1)]
