"""How long bars are: the names of intervals, and the words that people use for them.

Any whole number of seconds, minutes, hours, days or weeks is an interval, and so is the month. Each length has one
name, in the largest unit that divides it: 60 minutes are `1h`, 7 days `1w`; else one series would be two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import polars as pl

MONTH = 31 * 86400  # seconds, of the longest
EXPECTED = "a whole number of s, m, h, d or w, such as 15m or 1d, or 1mo"  # what messages say

FEW = 1000  # times, with which Python is done before Polars begins
SOME = 5  # distances between bars that are surely no chance
_CUSTOMARY = "1s 5s 10s 15s 30s 1m 2m 3m 5m 10m 15m 20m 30m 45m 1h 2h 3h 4h 6h 8h 12h 1d 2d 3d 1w 1mo"
CUSTOMARY = frozenset(_CUSTOMARY.split())
_DAY = 86_400 * 10**6  # microseconds

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 366 * 86400

# How units are written after a number. `M` is not among them: 1M is a month at Binance, and 3M are three, not minutes.
_UNITS = {
    **{"s": "s|S|sec|secs|second|seconds", "m": "m|T|min|mins|minute|minutes", "h": "h|H|hr|hrs|hour|hours"},
    **{"d": "d|D|day|days", "w": "w|W|wk|week|weeks"},
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words.split("|")}
_MONTH = r"1 ?(?:M|mo|mon|mth|month)|MN1?|P1M"
_ALONE = {
    "d": "1d",
    "D": "1d",
    "h": "1h",
    "H": "1h",
    "W": "1w",
    "day": "1d",
    "daily": "1d",
    "week": "1w",
    "weekly": "1w",
}
_ALONE |= {"hour": "1h", "hourly": "1h", "minute": "1m", "month": "1mo", "monthly": "1mo", "1mo": "1mo"}

# As regular expressions, for names of files. MetaTrader writes the unit first; minutes are often a bare number.
MINUTES = "1|2|3|5|10|15|20|30|45|60|90|120|180|240|360|480|720|1440|2880|4320|10080"
_METATRADER = r"M(?:[1-6]|1[05]|20|30)|H(?:[1-46]|8|12)|m(?:1|5|15|30)|h[14]|[DdWw]1|MN1"
_LONG = "|".join(sorted((re.escape(word) for word in _UNIT_OF), key=len, reverse=True))
WORDS = (
    rf"(?:[1-9]\d{{0,3}}-?(?:{_LONG.replace('|T|', '|')}|MIN|HRS?|DAYS?)|1(?:M|mo|mon|month)|{_METATRADER}"
    r"|[Dd]aily|[Hh]ourly|day|hour|minute|d|h|D)"
)


@cache
def read_interval(word: str) -> str:
    """Read a word for an interval.

    Args:
        word: Such as `45m`, `4H`, `M15`, `1Min`, `daily`, `PT1H`, or `60`: a number alone means minutes.

    Returns:
        The interval's name, such as `45m` or `1d`; empty if the word is none. `3M` is none: these are three months.
    """
    word = word.strip()
    if word.isdecimal():
        return name_interval(int(word) * 60)
    if re.fullmatch(_MONTH, word) or re.fullmatch(r"1 ?(?:mo|mon|mth|month)", word.lower()):
        return "1mo"
    if alone := _ALONE.get(word) or _ALONE.get(word.lower() if len(word) > 1 else word):
        return alone
    if re.fullmatch(_METATRADER, word):
        return name_interval(int(word[1:]) * _SECONDS[word[0].lower()])
    number, unit = _parted(word.removeprefix("PT") if word.startswith("PT") else word.removeprefix("P"))
    if word.startswith("PT") and unit == "M":
        unit = "m"  # in a duration of ISO 8601
    unit = _UNIT_OF.get(unit) or (_UNIT_OF.get(unit.lower(), "") if len(unit) > 1 else "")
    return name_interval(number * _SECONDS[unit]) if unit else ""


def _parted(word: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d{1,7})[ _-]?([A-Za-z]+)", word)
    return (int(match[1]), match[2]) if match else (0, "")


def name_interval(seconds: int) -> str:
    """Name a length.

    Args:
        seconds: The length; months are told by other means.

    Returns:
        The interval's name; empty if it is not within 1 second and a year.
    """
    if not 0 < seconds <= _LONGEST:
        return ""
    unit = next(unit for unit, length in _SECONDS.items() if not seconds % length)
    return f"{seconds // _SECONDS[unit]}{unit}"


@cache
def seconds_of(interval: str) -> int:
    """The length of an interval in seconds; a month, and what this program does not know, counts as 31 days."""
    number, unit = _parted(interval)
    return number * _SECONDS[unit] if unit in _SECONDS else MONTH


def seconds_in(column: str) -> pl.Expr:
    """The lengths of the intervals that a column names; see `seconds_of`."""
    return pl.col(column).map_batches(_lengths, return_dtype=pl.Int64, is_elementwise=True)


def _lengths(names: pl.Series) -> pl.Series:
    known = {name: seconds_of(name) for name in names.drop_nulls().unique()}
    return names.replace_strict(known, default=MONTH, return_dtype=pl.Int64)


def normal_interval(word: pl.Expr) -> pl.Expr:
    """Write intervals one way: `1H`, `60` and `hourly` are `1h`. Null where a word is none."""
    return word.map_batches(_names, return_dtype=pl.String, is_elementwise=True)


def _names(words: pl.Series) -> pl.Series:
    known = words.drop_nulls().unique().to_list()
    return words.replace_strict(
        known, [read_interval(word) or None for word in known], default=None, return_dtype=pl.String
    )


def _steps(moments: pl.Series) -> Mapping[int, int]:
    """How often each distance between neighbours is met, once they are in order."""
    if len(moments) < FEW:
        return Counter(later - earlier for earlier, later in pairwise(sorted(moments.to_list())))
    ordered = moments.sort()
    return dict((ordered.slice(1) - ordered.slice(0, len(ordered) - 1)).value_counts().iter_rows())


def spacing(times: pl.Series) -> tuple[str, int]:
    """Infer the interval from the distances between neighbouring times.

    It is the commonest distance, if the others are multiples of it as gaps are: with a few exceptions where there are
    many, for an odd time among the last bars. An unusual one, such as 66 minutes, takes more than a few bars to prove.
    Distances of whole days may be an hour off, because clocks change.

    Args:
        times: In any order.

    Returns:
        The interval, empty if they prove none; and how many distances there are.
    """
    steps = Counter[int]()
    for step, count in _steps(times.cast(pl.Int64)).items():  # microseconds; `to_physical` would be a query
        days = (step + _DAY // 24) // _DAY * _DAY
        steps[days if days > 0 and abs(step - days) <= _DAY // 24 else step] += count
    del steps[0]  # a time that is stated again
    if not (total := steps.total()):
        return "", 0
    commonest = min(steps, key=lambda step: (-steps[step], step))  # of equally common ones the shortest
    if 28 * _DAY <= commonest <= 31 * _DAY and (times.dt.day().n_unique() == 1 or len(steps) > 1):
        return "1mo", total
    fitting = sum(count for step, count in steps.items() if not step % commonest)
    name = "" if commonest % 10**6 else name_interval(commonest // 10**6)
    sure = fitting >= 0.9 * total and (name in CUSTOMARY or total >= 2 * SOME)
    return name if sure else "", total
