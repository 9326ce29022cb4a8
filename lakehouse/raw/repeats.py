"""Lines that state one bar twice, each time otherwise: does another column of theirs tell them apart?"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from lakehouse.dataset import Dataset, Form, fold
from lakehouse.raw.parse import Block, split_line

FEW = 2_000  # lines show what is to be seen
_TIME_LIKE = re.compile(r"\d[-/.:]\d|[+-]?\d+:\d\d")
_YES_OR_NO = {"true", "false", "yes", "no", "y", "n", "t", "f", ""}


@dataclass(frozen=True, slots=True)
class Repeats:
    """What some lines say otherwise than others of the same key.

    Attributes:
        lines: How many they are.
        share: Of all lines.
        each: How many have the same key, on average.
        example: The numbers of two of them.
        place: The field that tells them apart, counted from 0; -1 if none does.
        values: What it holds.
    """

    lines: int
    share: float
    each: float
    example: tuple[int, int]
    place: int
    values: tuple[str, ...]


def find_repeats(text: bytes, first_line: int, block: Block, form: Form, dataset: Dataset) -> Repeats | None:
    """Look for lines of one key that state different values, and for the column that tells them apart.

    Args:
        text: The lines.
        first_line: The number of the first of them.
        block: What they were parsed to.
        form: How.
        dataset: Whose key.

    Returns:
        What was found; None if no key is repeated with other values.
    """
    key, rows = [name for name in dataset.key if name in form.columns], block.rows
    steps = rows[dataset.time].diff(null_behavior="drop").dt.total_microseconds()
    if (steps > 0).all() or (steps < 0).all():  # as nearly all files are: nothing is repeated
        return None
    repeated = rows.filter(pl.struct(key).is_duplicated()).select("_line", *key, *dataset.values)
    said = repeated.unique([*key, *dataset.values]).group_by(key).len().filter(pl.col("len") > 1)
    clashes = repeated.join(said, on=key, how="semi", maintain_order="left")
    if clashes.is_empty():
        return None
    clashes = clashes.select("_line", _key=pl.struct(key).rank("dense"))
    shown = clashes.sort("_key", "_line", maintain_order=True).head(FEW)
    lines = text.split(b"\n")
    fields = [split_line(lines[n - first_line].decode("utf-8", "replace"), form.separator) for n in shown["_line"]]
    share = clashes.height / rows.height
    place, values = _telling(shown["_key"], fields, form, dataset, often=share > 0.5 and rows.height > 2)
    return Repeats(
        lines=clashes.height,
        share=share,
        each=clashes.height / clashes["_key"].n_unique(),
        example=(shown["_line"][0], shown["_line"][1]),
        place=place,
        values=values,
    )


def _telling(
    keys: pl.Series, fields: list[list[str]], form: Form, dataset: Dataset, often: bool
) -> tuple[int, tuple[str, ...]]:
    """The first column of text that is not kept and differs within each key; if most lines repeat one, of any kind."""
    header = [fold(name) for name in split_line(form.header, form.separator)]
    for place, column in enumerate(form.columns):
        words = [row[place] if place < len(row) else "" for row in fields]
        met = tuple(dict.fromkeys(words))
        if column or len(met) < 2:
            continue
        apart = pl.DataFrame({"key": keys, "word": words}).group_by("key").agg(pl.col("word").n_unique(), n=pl.len())
        if (apart["word"] == apart["n"]).mean() < 0.9:  # type: ignore[operator] # a slip here and there
            continue
        timely = place < len(header) and header[place] in dataset.synonyms[dataset.time]
        text = not timely and not any(_is_number(word) or _TIME_LIKE.search(word) for word in met)
        # A year of expiry or a strike comes again at other times; a price or a running number does not.
        category = often and 2 * len(met) <= len(words)
        if category or (text and not {word.lower() for word in met} <= _YES_OR_NO):
            return place, met
    return -1, ()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
