"""What every test of a chart asks: a valid spec, a picture that is not blank, few rows."""

from __future__ import annotations

import datetime as dt
import json
import struct
from typing import Any

import polars as pl
import vl_convert as vlc
from altair.typing import ChartType

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)  # a Monday


def drawn(chart: ChartType) -> dict[str, Any]:
    """The chart's spec, after it has been validated and rendered; no dataset has more than 5,000 rows."""
    spec = chart.to_dict()
    png = vlc.vegalite_to_png(spec)
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert min(width, height) > 30
    assert len(png) > 1500
    assert all(len(rows) <= 5000 for rows in spec["datasets"].values())
    return spec


def fields(spec: dict[str, Any]) -> set[str]:
    """The fields that a spec's encodings name."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("field"), str):
                found.add(node["field"])
            for name, part in node.items():
                if name != "datasets":
                    walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(spec)
    return found


def rows(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The dataset whose rows have a field."""
    return next(data for data in spec["datasets"].values() if data and field in data[0])


def subtitle(spec: dict[str, Any]) -> str:
    title = spec.get("title") or spec["vconcat"][0]["title"]
    return str(title["subtitle"])


def says_nothing(chart: ChartType) -> bool:
    """Whether the chart renders, and says that it is empty."""
    spec = chart.to_dict()
    vlc.vegalite_to_png(spec)
    return "a title" in json.dumps(spec) and "nothing to show" in subtitle(spec)


def bars(closes: list[float], minutes: int = 60, start: dt.datetime = START) -> pl.DataFrame:
    """Bars that open at the close before, with a high and a low 1 beyond, and volumes 1, 2, 3, …"""
    opens = [closes[0], *closes[:-1]]
    return pl.DataFrame(
        {
            "open_time": [start + dt.timedelta(minutes=minutes * place) for place in range(len(closes))],
            "open": opens,
            "high": [max(pair) + 1 for pair in zip(opens, closes, strict=True)],
            "low": [min(pair) - 1 for pair in zip(opens, closes, strict=True)],
            "close": closes,
            "volume": [float(place + 1) for place in range(len(closes))],
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )
