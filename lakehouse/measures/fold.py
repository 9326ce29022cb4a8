"""How bars are folded into a longer one: first, highest, lowest, last, and sums."""

from __future__ import annotations

import polars as pl


def fold_prices() -> dict[str, pl.Expr]:
    """Open, high, low and close of a group of bars that are sorted by time."""
    firsts = {"open": pl.col("open").first(), "high": pl.col("high").max(), "low": pl.col("low").min()}
    return {**firsts, "close": pl.col("close").last()}


def add_up(name: str) -> pl.Expr:
    """A sum that is null where nothing is known, instead of 0."""
    return pl.when(pl.col(name).count() > 0).then(in_order(pl.col(name)))


def in_order(values: pl.Expr) -> pl.Expr:
    """Add up one by one in the order of the rows, so that the last digit depends on nothing else.

    A plain sum adds parts side by side, as many as there are threads; and a list's adds blocks as soon as any list of
    the frame holds a null, so that one day's digit would hang on another day's.
    """
    return values.drop_nulls().implode().list.sum()
