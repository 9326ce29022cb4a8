"""Read numbers as people and spreadsheets write them: 1,234.50, 1.234,50, $115, 62.85K."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

MISSING = ("", "null", "nan", "none", "n/a", "na", "nil", "-")  # words for "no value", case folded
_SIGNS = r"[$€£¥₹₩]?"
_GROUPS = {".": r"[,'\u00a0\u202f ]", ",": r"[.'\u00a0\u202f ]", "": r"['\u00a0\u202f ]"}  # by the decimal mark
_POWERS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def _pattern(decimal: str) -> str:
    whole = rf"\d{{1,3}}(?:{_GROUPS[decimal]}\d{{3}})+|\d+"
    part = f"[{decimal or '.'}]"
    return rf"^([-+]?){_SIGNS}((?:{whole})(?:{part}\d*)?|{part}\d+)([KMBT]?) ?{_SIGNS}$"


_MARKED = re.compile(r"[-+$€£¥₹₩]*[\d.,'\s]*[.,]\d+\s*[KMBTkmbt]?\s*[$€£¥₹₩]?")
_EITHER = [re.compile(_pattern(decimal)) for decimal in ".,"]


def said(field: pl.Expr) -> pl.Expr:
    """A field without blanks around it; null if it says that there is no value."""
    word = field.str.strip_chars()
    return pl.when(~word.str.to_lowercase().is_in(MISSING)).then(word)


def from_word(word: pl.Expr, decimal: str) -> pl.Expr:
    """Read numbers, it may be with a currency sign, thousands or a letter for a power of ten; null where it is none.

    Args:
        word: The text.
        decimal: The file's decimal mark, `.` or `,`. If it is not known (empty), a comma is not read at all: `1,234`
            may be a thousand, or one and a bit.
    """

    def read(words: pl.Series) -> pl.Series:
        plain = words.cast(pl.Float64, strict=False)
        if decimal != "," and plain.null_count() == words.null_count():  # as programs write; the pattern takes its time
            return plain
        others = words if decimal == "," else words.zip_with(plain.is_null(), words.clear(len(words)))
        read = others.to_frame("word").select(_by_pattern(pl.col("word"), decimal)).to_series()
        return read if decimal == "," else plain.fill_null(read)

    return word.map_batches(read, return_dtype=pl.Float64, is_elementwise=True)


def _by_pattern(word: pl.Expr, decimal: str) -> pl.Expr:
    parts = word.str.to_uppercase().str.extract_groups(_pattern(decimal))
    digits = parts.struct[1].str.replace_all(_GROUPS[decimal], "")
    digits = digits.str.replace(",", ".", literal=True) if decimal == "," else digits
    power = parts.struct[2].replace_strict(_POWERS, default=1.0, return_dtype=pl.Float64)
    return (parts.struct[0] + digits).cast(pl.Float64, strict=False) * power


def is_number(word: str) -> bool:
    """Whether a word is a number, as programs write it or as people do."""
    try:
        float(word)
    except ValueError:
        return any(pattern.match(word.upper()) for pattern in _EITHER)
    return True


def _tells_point(word: str) -> bool:
    return "." in word and not re.search(r"\.\d{3}(?!\d)", word) and bool(_MARKED.fullmatch(word))


def decimal_of(words: Iterable[str]) -> str:
    """Tell the decimal mark by numbers that only one of the two allows: `.` or `,`.

    Args:
        words: Fields where numbers are due.

    Returns:
        Empty too if some can only be read with the one, and some only with the other.
    """
    met = [*words]
    if not any("," in word and _MARKED.fullmatch(word) for word in met):  # as mostly: then one word may tell it
        return "." if any(map(_tells_point, met)) else ""
    marked = [word for word in dict.fromkeys(met) if _MARKED.fullmatch(word)]
    point = any(re.search(r"\d*\.\d+", word) and not re.search(r"\.\d{3}(?!\d)", word) for word in marked)
    point |= any(re.search(r",\d{3}\.\d", word) for word in marked)
    comma = any("," in word and not re.search(r",\d{3}(?!\d)", word) for word in marked)
    comma |= any(re.search(r"\.\d{3},\d", word) for word in marked)
    return "" if point and comma else "." if point else "," if comma else ""


def as_float(word: str, decimal: str = ".") -> float:
    """One field as a number; 0 if it is none."""
    try:
        return float(word)
    except ValueError:
        return float(pl.select(from_word(pl.lit(word), decimal)).item() or 0)


def scaled(number: pl.Expr, scale: float) -> pl.Expr:
    """Numbers in the unit of the contract, to the last digit: 1e-9 of 4820250000000 is 4820.25."""
    parts = round(1 / scale)
    if scale == 1:
        return number
    divisor = number * 0 + float(parts)  # by a constant Polars multiplies by the reciprocal, off in the last digit
    return number / divisor if abs(parts * scale - 1) < 1e-9 else number * scale
