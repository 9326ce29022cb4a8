"""Read times: epoch numbers of any unit, and text in the formats of `layouts.TIME_FORMATS` or the file's own."""

from __future__ import annotations

import re

import polars as pl

from lakehouse.dataset import Form

UTC = pl.Datetime("us", "UTC")

# Text times, tried in this order. Without an offset they are UTC, or the `time_zone` of sources.toml.
# Day-first and month-first dates with slashes cannot be told apart: declare `time_format` for those.
TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f%#z",  # the offset as +00
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%MZ",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y-%m-%d %I-%p",  # CryptoDataDownload before 2020: 2019-10-17 12-PM
    "%d.%m.%Y %H:%M:%S%.f",  # Dukascopy
    "%d.%m.%Y %H:%M:%S%.f GMT%z",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
    "%Y%m%d %H%M%S",  # HistData
    "%Y%m%d",
    "%Y.%m.%d %H:%M",  # MetaTrader
    "%Y.%m.%d %H:%M:%S",
)

# Digits alone that are no epoch, by their number; only if all of a file's first lines read so.
COMPACT_TIMES = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def from_epoch(value: pl.Expr) -> pl.Expr:
    """Read epoch numbers, the unit told per value by its magnitude: seconds, ms, µs or ns.

    Seconds reach to 10¹¹ (the year 5138), milliseconds to 10¹³ (2286), microseconds from 10¹⁴ to 10¹⁷. What is
    smaller than 10⁸ (March 1973 in seconds) or has fourteen digits is no epoch: `20190101`, `20190101120000`, `5`.
    """
    size = value.abs()
    micros = (
        pl.when(size < 10**8).then(None).when(size < 10**11).then(value * 10**6).when(size < 10**13).then(value * 1000)
        .when(size < 10**14).then(None).when(size < 10**17).then(value).otherwise(value // 1000)
    )  # fmt: skip
    return micros.round().cast(pl.Int64, strict=False).cast(UTC)


def from_text(word: pl.Expr, time_format: str, zone: str) -> pl.Expr:
    """Read text times in one format; null where that fails.

    Args:
        word: The text.
        time_format: As the chrono library has it, which is nearly as C and Python have it.
        zone: Where times without an offset were written down.

    Returns:
        Times in UTC.
    """
    if "%M" not in time_format and ("%I" in time_format or "%H" in time_format):
        word, time_format = word + " 00", time_format + " %M"  # Polars wants minutes beside hours
    time = word.str.to_datetime(time_format, time_unit="us", strict=False, ambiguous="null", exact=True)
    if re.search(r"%[:#]*z|%\+", time_format):
        return time.dt.convert_time_zone("UTC")
    return time.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def from_words(word: pl.Expr, form: Form, *, own_only: bool) -> pl.Expr:
    """Read times that may be written in any way; null where none fits.

    Args:
        word: Text without blanks around it.
        form: The file's, with its time zone and, it may be, a format of its own.
        own_only: Whether the format of its own, if it has one, is the only one allowed.

    Returns:
        Times in UTC.
    """
    own = [from_text(word, form.time_format, form.time_zone)] if form.time_format else []
    if own and own_only:
        return own[0]
    cut = word.str.contains(r"^\d(\.\d{0,5})?[eE]")  # by a spreadsheet: 1709251200000 to 1.70925E+12
    plain = pl.when(~cut).then(word)
    numbers = [from_epoch(plain.cast(dtype, strict=False)) for dtype in (pl.Int64, pl.Float64)]
    return pl.coalesce(*own, *numbers, *(from_text(word, f, form.time_zone) for f in TIME_FORMATS))


def like(first: str, cell: pl.Expr, form: Form) -> pl.Expr:
    """Read text times that are all written as one of them is.

    Args:
        first: The one.
        cell: The text of all.
        form: The file's.

    Returns:
        Times in UTC; null where they are written in another way.
    """
    formats = (form.time_format,) if form.time_format else TIME_FORMATS
    fits = pl.select(from_text(pl.lit(first), f, form.time_zone).is_not_null().alias(f) for f in formats).row(0)
    met = [from_text(cell, f, form.time_zone) for f, fit in zip(formats, fits, strict=True) if fit]
    return met[0] if met else pl.lit(None, UTC)
