"""Small files are parsed as one text where they are written alike: nothing may come of them that way alone."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import polars as pl
import pytest
from klines import HEADER, START, bar, hours, place
from polars.testing import assert_frame_equal

from lakehouse import Lake, ingest
from lakehouse.bronze import batch
from lakehouse.raw import parse

OWN = ("_ingested_at", "ingested_at", "rejected_at", "run_id", "read_at")  # of each run


def klines(text: str, prices: str = "10.0,20.0,5.0,9.25", volume: str = "6.0", quote: str = "60.0") -> str:
    """The bars of a text as Binance writes them: lines that look alike, and differ in what their numbers say."""
    times = [int(line.split(",")[0]) for line in text.splitlines()[1:]]
    rest = f"{quote},7,3.0,30.0,0"
    return "".join(f"{time},{prices},{volume},{time + 3_599_999},{rest}\n" for time in times)


def hours_as(text: str, words: Callable[[dt.datetime], object]) -> str:
    """A text with its times written in another way."""
    head, *lines = text.splitlines()
    cut = (line.split(",", 1) for line in lines)
    told = [f"{words(dt.datetime.fromtimestamp(int(time) / 1000, dt.UTC))},{rest}" for time, rest in cut]
    return "\n".join([head, *told, ""])


KINDS = {  # what is done to the text of a good file
    "good": lambda text: text,
    "no header": lambda text: text.removeprefix(f"{HEADER}\n"),
    "no line feed": lambda text: text.removesuffix("\n"),
    "a surplus empty field at its end": lambda text: text.removesuffix("\n") + ",",
    "a bad number": lambda text: text.replace(",5.0,", ",five,", 1),
    "a field too many": lambda text: text.replace(",5.0,", ",5.0,5.0,", 1),
    "a low above the open": lambda text: text.replace(",5.0,", ",15.0,", 1),
    "blank lines": lambda text: text.replace("\n", "\n\n", 3),
    "blank lines at its end": lambda text: f"{text}\n \n",
    "a mark": lambda text: f"\ufeff{text}",
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "quoted": lambda text: text.replace("10.0", '"10.0"'),
    "a quote": lambda text: text.replace("10.0", '"10.0', 1),
    "another form": lambda text: text.replace(",", ";"),
    "text times": lambda text: "".join(
        [text[: len(HEADER) + 1], *(f"2024-03-0{n + 1} 00:00:00,10,20,5,9,1\n" for n in range(5))]
    ),
    "a stray epoch": lambda text: text + bar(0).replace("1709", "0709") + "\n",
    "another century": lambda text: text.replace("1709", "5709"),
    "klines": klines,
    "volumes exchanged": lambda text: klines(text, volume="60.0", quote="6.0"),
    "contracts": lambda text: klines(text, quote="6.0"),
    "lots": lambda text: klines(text, volume="0.06"),
    "a volume among the others": lambda text: klines(text).replace(",6.0,", ",0.06,", 1),
    "backwards": lambda text: "".join(reversed(klines(text).splitlines(keepends=True))),
    "a gap": lambda text: "".join(klines(text).splitlines(keepends=True)[i] for i in (0, -1)),
    "stated twice": lambda text: klines(text) + klines(text, "11.0,20.0,5.0,9.25").splitlines(keepends=True)[-1],
    "half an hour on": lambda text: klines(hours_as(text, lambda time: int(time.timestamp() * 1000) + 1_800_000)),
    "ends": lambda text: klines(hours_as(text, lambda time: int(time.timestamp() * 1000) + 3_599_999)),
    "minutes": lambda text: klines(hours_as(text, lambda time: int(time.timestamp() * 1000) // 60)),
    "parts": lambda text: klines(text, "10000000000,20000000000,5000000000,9000000000"),
    "thousandths": lambda text: klines(text, "1.125,2.125,1.125,1.125", "6", "9"),
    "seconds": lambda text: hours_as(text, lambda time: int(time.timestamp())),
    "hours of days": lambda text: hours_as(text, lambda time: f"{time:%Y%m%d%H}"),
    "ragged": lambda text: "".join(f"{line},\n" if n else f"{line}\n" for n, line in enumerate(text.splitlines())),
    "no bars": lambda _: f"{HEADER}\n",
    "empty": lambda _: "",
    "no table": lambda _: "so long\n",
}


def fill(root: Path, seed: int) -> None:
    """Put every kind into raw/ some times, in any order."""
    random = Random(seed)
    kinds = [*KINDS] * 2 + ["good"] * 15
    random.shuffle(kinds)
    for number, kind in enumerate(kinds):
        first = random.randrange(60)
        lines = hours(first, first + random.randrange(2, 20), random.choice([8.0, 9.5, 10.0]))
        path = place(root, f"{random.choice(['BTC', 'ETH', 'SOL'])}USDT-1h-{number:03}.csv", lines)
        path.write_bytes(KINDS[kind](path.read_text(encoding="utf-8")).encode())
        stamp = START.timestamp() + random.randrange(5)
        os.utime(path, (stamp, stamp))


def tables_of(root: Path) -> dict[str, pl.DataFrame]:
    """All that ingest writes, but for what is each run's own."""
    lake = Lake(root)
    ingest(lake)
    found = {}
    for name in ("bronze", "quarantine", "conflicts", "ledger"):
        rows = getattr(lake, name).scan().collect()
        rows = rows.drop(OWN, strict=False)
        found[name] = rows.sort(pl.all().exclude(pl.List(pl.String)))
    return found


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_small_files_come_to_the_same_together_and_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    fill(tmp_path / "together", seed)
    fill(tmp_path / "alone", seed)
    texts = list[int]()
    alike = parse._parse_alike
    monkeypatch.setattr(parse, "_parse_alike", lambda parts, *rest: texts.append(len(parts)) or alike(parts, *rest))
    monkeypatch.setattr(batch, "TOGETHER", 40)
    together = tables_of(tmp_path / "together")
    assert max(texts) > 5  # not everything was read by itself
    texts.clear()
    monkeypatch.setattr(batch, "TOGETHER", 1)  # then nothing is known of another file either
    alone = tables_of(tmp_path / "alone")
    assert max(texts) == 1
    assert together["ledger"]["status"].is_in(["loaded", "failed", "empty"]).all()
    assert together["quarantine"].height > 3
    for name, rows in alone.items():
        assert_frame_equal(together[name], rows, check_exact=True)
