"""What the fields of a file may be, and how its times are written: guesses for an advice that a person is to judge."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, compress, pairwise

import polars as pl

from lakehouse.dataset import PRICES
from lakehouse.intervals import seconds_of
from lakehouse.raw.fields import Cells, is_day
from lakehouse.raw.numbers import as_float, is_number
from lakehouse.raw.times import from_text

TIME_LIKE = re.compile(
    r"-?\d{9,19}(\.\d+)?|\d{8}([ T]?\d{4,6})?|(\w{3,9},? )?\d{1,4}[-/.]\w{1,9}[-/.]\d{1,4}\D?.*"
    r"|\w{3,9} \d{1,2},? \d{4}.*|\d{1,2} \w{3,9} \d{4}.*"
)
CLOCK_LIKE = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?")
_DAY = r"(?<!\d)(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)"


def days_in(path: str) -> list[str]:
    """The days that stand in a file's name, such as 2024-01-31."""
    found = {"-".join(parts) for parts in re.findall(_DAY, path.rsplit("/", 1)[-1])}
    return sorted(day for day in found if is_day(day, "%Y-%m-%d"))


def table_in(cells: Cells) -> tuple[list[str], list[Sequence[str]]]:
    """The header's names, empty if there is none, and the lines below it that have as many fields."""
    best: tuple[list[str], list[Sequence[str]]] = ([], [])
    for rows in cells.values():
        width = Counter(len(row) for row in rows if len(row) > 1).most_common(1)
        table = [row for row in rows if width and len(row) == width[0][0]]
        bars = [row for row in table if sum(map(is_number, row)) >= max(3, len(row) // 2 - 1)]
        if len(bars) > len(best[1]):
            best = (list(table[0]) if table[0] is not bars[0] else []), bars
    return best


def guess_columns(rows: Sequence[Sequence[str]], known: Sequence[str], time: str) -> list[str]:
    """Guess what the fields of bars are.

    The time is the first field that is written like one. Of four numbers the greatest in every line is the high, the
    least the low, and the close is what the next line opens near to.

    Args:
        rows: Lines, as fields; all of them as many.
        known: What a header tells of the fields.
        time: The column of the time.

    Returns:
        Columns, "" for what is not known.
    """
    found, words = list(known), list(zip(*rows, strict=True))
    free = [i for i, name in enumerate(found) if not name]
    if time not in found and (at := [i for i in free if all(map(TIME_LIKE.fullmatch, words[i]))]):
        clock = at[0] + 1 in free and all(map(CLOCK_LIKE.fullmatch, words[at[0] + 1]))
        found[at[0] : at[0] + 1 + clock] = [time] * (1 + clock)
    free = [i for i, name in enumerate(found) if not name and all(map(is_number, words[i]))]
    if {*PRICES} & {*found} or len(rows) < 2:
        return found
    numbers = {i: list(map(as_float, words[i])) for i in free}
    for four in combinations(free, 4):
        bars = list(zip(*(numbers[i] for i in four), strict=True))
        high = [i for k, i in enumerate(four) if all(bar[k] == max(bar) for bar in bars)]
        low = [i for k, i in enumerate(four) if all(bar[k] == min(bar) > 0 for bar in bars)]
        if len(high) != 1 or len(low) != 1 or high == low or any(max(bar) > 3 * min(bar) for bar in bars):
            continue
        a, b = (i for i in four if i not in high + low)
        if (a_opens := _gaps(numbers[b], numbers[a])) == (b_opens := _gaps(numbers[a], numbers[b])):
            continue
        found[high[0]], found[low[0]] = "high", "low"
        found[a], found[b] = ("open", "close") if a_opens < b_opens else ("close", "open")
        after = [i for i in free if i > max(four)]
        if after and not any(known):
            found[after[0]] = "volume"
        break
    return found


def _gaps(closes: Sequence[float], opens: Sequence[float]) -> float:
    """How far the closes are from what the next line opens at."""
    return sum(abs(close - after) for close, after in zip(closes, opens[1:], strict=False))


_ORDERS = ("%d %m %Y", "%m %d %Y", "%Y %m %d", "%d %m %y", "%m %d %y", "%y %m %d", "%d %b %Y", "%d %b %y", "%Y %b %d")
_DATES = [
    *("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%d%m%y", "%m%d%y"),
    *(order.replace(" ", sign) for order in _ORDERS for sign in "/-. "),
    *("%b %d, %Y", "%b %d %Y", "%d %b, %Y", "%a %b %d %Y", "%a, %d %b %Y"),
]
_CLOCK = re.compile(r"([T ,-]*)\d{1,2}:\d\d(:\d\d)?(\.\d+)?( ?)([AaPp][Mm])?")
_OFFSET = re.compile(r"( ?)([+-]\d\d:?\d\d)")


def guess_formats(words: Sequence[str], interval: str) -> list[str]:
    """Find the formats in which all of some times can be read.

    Args:
        words: The times, in the order of the lines.
        interval: How far apart they should be, empty if that is not known.

    Returns:
        Formats that read them differently; only the likeliest if the order or the spacing of the bars tells which.
    """
    frame = pl.DataFrame({"word": words})
    if not (dates := [date + rest for date in _DATES for rest in _after_the_date(words[0])]):
        return []
    could = pl.select(from_text(pl.lit(words[0]), f, "UTC").is_not_null().alias(f) for f in dates).row(0)
    found: dict[tuple[dt.datetime, ...], str] = {}
    for written in compress(dates, could):
        times = tuple(frame.select(from_text(pl.col("word"), written, "UTC")).to_series())
        if None not in times and all(1970 <= time.year < 2100 for time in times):
            found.setdefault(times, written)
    if len(found) < 2:
        return list(found.values())
    # One reading may run on from line to line, and the other leap about; or be as far apart as it should.
    found = {t: f for t, f in found.items() if list(t) in (sorted(t), sorted(t, reverse=True))} or found
    near = {t: f for t, f in found.items() if interval and _commonest(t) <= 5 * seconds_of(interval)}
    return list((near if len(near) == 1 else found).values())


def _commonest(times: Sequence[dt.datetime]) -> float:
    """The middle one of the distances between neighbours, in seconds."""
    apart = sorted(abs((b - a).total_seconds()) for a, b in pairwise(times))
    return apart[len(apart) // 2] if apart else 0.0


def _after_the_date(word: str) -> list[str]:
    """How the rest of a time may be written, after its date."""
    if not (clock := _CLOCK.search(word)):
        compact = re.fullmatch(r"\d{6,8}([ T]?)(\d{2}|\d{4}|\d{6})", word)
        return [compact[1] + clock for clock in ("", "%H%M%S", "%H%M", "%H")] if compact else [""]
    sign, seconds, parts, blank, half = clock.groups()
    hours = f"{sign}{'%I' if half else '%H'}:%M{':%S' if seconds else ''}{'%.f' if parts else ''}"
    rest = word[clock.end() :] if half else f"{blank}{word[clock.end() :]}"
    offset = _OFFSET.fullmatch(rest)
    if not offset and rest.strip() not in ("", "Z", "UTC", "GMT"):  # EST: of which country?
        return []
    zone = f"{offset[1]}{'%:z' if ':' in offset[2] else '%z'}" if offset else rest.replace("%", "%%")
    return [f"{hours}{blank}%p{zone}" if half else hours + zone]
