"""The first lines of a file, cut into fields: which are bars, which is a header, and what no text is."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, compress, pairwise

import polars as pl

from lakehouse.dataset import PRICES, Dataset
from lakehouse.errors import FileRefused
from lakehouse.raw.numbers import as_float, is_number
from lakehouse.raw.times import from_text

SEPARATORS = (",", ";", "\t", "|")
HEAD_LINES = 20  # banner lines and a header are looked for in these
Cells = Mapping[str, Sequence[Sequence[str]]]  # the first lines' fields, by separator


def split_line(line: str, separator: str) -> list[str]:
    """Split one line as CSV does: quotes are honoured, blanks around the fields removed."""
    if '"' not in line:
        return [field.strip() for field in line.split(separator)] if line else []
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:  # a stray carriage return
        return [field.strip() for field in line.split(separator)]


def has_digit(word: str) -> bool:
    """Whether a digit is in a word."""
    return word.isdigit() or any(map(str.isdigit, word))


def is_day(word: str, time_format: str) -> bool:
    """Whether a word is a day in one format."""
    try:
        return bool(time_format) and 1900 <= dt.datetime.strptime(word, time_format).year < 2100
    except ValueError:
        return False


def is_header(row: Sequence[str], columns: Sequence[str], dataset: Dataset) -> bool:
    """Whether a line above the first bar names its fields: as many as bars have, and mostly no numbers.

    Args:
        row: Its fields.
        columns: What the fields of a bar are.
        dataset: Whose columns.
    """
    if len(row) != len(columns) or not any(row):
        return False
    time = "".join(field for field, column in zip(row, columns, strict=True) if column == dataset.time)
    due = [field for field, column in zip(row, columns, strict=True) if column and column != dataset.time]
    words = sum(bool(field) and not is_number(field) for field in due)
    return (bool(time) and not has_digit(time)) or not any(map(is_number, row)) or words > len(due) / 2


def is_data(row: Sequence[str], columns: Sequence[str], dataset: Dataset, written: str = "") -> bool:
    """Whether a line has as many fields as columns, and a number wherever one is due.

    Args:
        row: Its fields.
        columns: What they are.
        dataset: Whose columns.
        written: How times are written, if that matters.
    """
    if len(row) != len(columns):
        return False
    for field, column in zip(row, columns, strict=True):
        if column == dataset.time:
            if not (re.fullmatch(written, field) if written else has_digit(field)):
                return False
        elif column and not isinstance(dataset.schema[column], pl.String) and not is_number(field or "0"):
            return False
    return True


def refuse_non_text(head: bytes) -> None:
    """Refuse what is no text, or another kind of text than CSV, by its first bytes."""
    start = head[:4096]
    if start.startswith(b"version https://git-lfs"):
        raise FileRefused("a Git LFS pointer, not the data; run `git lfs pull` and copy the real file")
    unmarked = 0 not in start[::2] and start[1::2].count(0) > len(start) // 3
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or unmarked:
        raise FileRefused("UTF-16 text; save it as UTF-8 (Excel: 'CSV UTF-8')")
    if start.startswith(b"PAR1"):
        raise FileRefused("a Parquet file under a .csv name; export it as CSV")
    if re.match(rb"\s*<(!|\?|html|head|body|error)", start, re.IGNORECASE):
        raise FileRefused("HTML or XML saved as .csv, probably an error page; download the file again")
    if len(re.findall(rb"[\x00-\x08\x0e-\x1f]", start)) > len(start) // 20:
        raise FileRefused(f"binary data, not text (it starts with {start[:8]!r}); is it packed under a wrong name?")
    if b"\r" in start and b"\n" not in head:
        raise FileRefused(
            "lines that end in a carriage return alone, as on old Macintoshes; convert them to line feeds"
        )


TIME_LIKE = re.compile(
    r"-?\d{9,19}(\.\d+)?|\d{8}([ T]?\d{4,6})?|(\w{3,9},? )?\d{1,4}[-/.]\w{1,9}[-/.]\d{1,4}\D?.*"
    r"|\w{3,9} \d{1,2},? \d{4}.*|\d{1,2} \w{3,9} \d{4}.*"
)
_DATE = r"(?<!\d)(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)"
CLOCK_LIKE = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?")


def guess_columns(rows: Sequence[Sequence[str]], known: Sequence[str], time: str) -> list[str]:
    """Guess what the fields of bars are, for an advice that a person is to judge.

    The time is the first field that is written like one. Of four numbers the greatest in every line is the high, the
    least the low, and the close is what the next line opens near to.

    Args:
        rows: Lines, as fields; all of them as many.
        known: What a header tells of the fields.
        time: The column of the time.

    Returns:
        Columns, "" for what is not known.
    """
    found = list(known)
    words = [list(column) for column in zip(*rows, strict=True)]
    free = [i for i, name in enumerate(found) if not name]
    if time not in found:
        for i in free:
            if all(map(TIME_LIKE.fullmatch, words[i])):
                beside = free.index(i) + 1 < len(free) and i + 1 in free
                clock = beside and all(map(CLOCK_LIKE.fullmatch, words[i + 1]))
                found[i : i + 1 + clock] = [time] * (1 + clock)
                break
    free = [i for i, name in enumerate(found) if not name and all(map(is_number, words[i]))]
    if not {*PRICES} & {*found} and len(rows) > 1:
        numbers = {i: [as_float(word) for word in words[i]] for i in free}
        for four in combinations(free, 4):
            bars = list(zip(*(numbers[i] for i in four), strict=True))
            high = [i for k, i in enumerate(four) if all(bar[k] == max(bar) for bar in bars)]
            low = [i for k, i in enumerate(four) if all(bar[k] == min(bar) > 0 for bar in bars)]
            if len(high) != 1 or len(low) != 1 or high == low or any(max(bar) > 3 * min(bar) for bar in bars):
                continue
            one, two = (numbers[i] for i in four if i not in high + low)
            first, second = (
                sum(abs(a - b) for a, b in pairwise_ends)
                for pairwise_ends in (zip(two, one[1:], strict=False), zip(one, two[1:], strict=False))
            )
            if first == second:
                continue
            a, b = (i for i in four if i not in high + low)
            for i, name in zip((a, b, *high, *low), ("open", "close", "high", "low"), strict=True):
                found[i] = name
            if second < first:
                found[a], found[b] = "close", "open"
            after = [i for i in free if i > max(four)]
            if after and not any(known):
                found[after[0]] = "volume"
            break
    return found


_DATES = [
    *("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%d%m%y", "%m%d%y"),
    *(sign.join(parts) for sign in "/-. " for parts in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%Y", "%m", "%d"))),
    *(sign.join(parts) for sign in "/-. " for parts in (("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d"))),
    *(sign.join(parts) for sign in "/-. " for parts in (("%d", "%b", "%Y"), ("%d", "%b", "%y"), ("%Y", "%b", "%d"))),
    *("%b %d, %Y", "%b %d %Y", "%d %b, %Y", "%a %b %d %Y", "%a, %d %b %Y"),
]
_CLOCK = re.compile(r"([T ,-]*)\d{1,2}:\d\d(:\d\d)?(\.\d+)?( ?)([AaPp][Mm])?")
_OFFSET = re.compile(r"( ?)([+-]\d\d:?\d\d)")


def guess_formats(words: Sequence[str], interval: str) -> list[str]:
    """Find the formats in which all of some times can be read, for an advice.

    Args:
        words: The times, in the order of the lines.
        interval: How far apart they should be, empty if that is not known.

    Returns:
        Formats that read them differently; only the likeliest if the order or the spacing of the bars tells which.
    """
    frame = pl.DataFrame({"word": words})
    dates = [date + rest for date in _DATES for rest in _after_the_date(words[0])]
    if not dates:
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
    ordered = {times: f for times, f in found.items() if list(times) in (sorted(times), sorted(times, reverse=True))}
    found = ordered or found
    seconds = [s for s in (_seconds(interval),) if s]
    near = {t: f for t, f in found.items() if seconds and _commonest(t) <= 5 * seconds[0]}
    return list((near if len(near) == 1 else found).values())


def _seconds(interval: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 2678400}
    number = re.fullmatch(r"(\d+)([a-z]+)", interval)
    return int(number[1]) * units.get(number[2], 0) if number else 0


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


def days_in(path: str) -> list[str]:
    """The days that stand in a file's name, such as 2024-01-31."""
    found = {"-".join(parts) for parts in re.findall(_DATE, path.rsplit("/", 1)[-1])}
    return sorted(day for day in found if is_day(day, "%Y-%m-%d"))


def table_in(cells: Cells) -> tuple[list[str], list[Sequence[str]]]:
    """The header's names, empty if there is none, and the lines below it that have as many fields."""
    best: tuple[list[str], list[Sequence[str]]] = ([], [])
    for rows in cells.values():
        width = Counter(len(row) for row in rows if len(row) > 1).most_common(1)
        table = [row for row in rows if width and len(row) == width[0][0]]
        bars = [row for row in table if sum(map(is_number, row)) >= max(3, len(row) // 2 - 1)]
        if bars and len(bars) > len(best[1]):
            names = list(table[0]) if table[0] is not bars[0] else []
            best = names, bars
    return best
