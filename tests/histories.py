"""Random histories of raw/: small files whose keys collide, that come late, twice, changed or torn into batches."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from hypothesis import strategies as st

START = 1_735_689_600  # 2025-01-01T00:00Z, in seconds
MODIFIED = 1_740_000_000_000_000  # in µs
ONE_BATCH, SMALL = 2**26, 250  # bytes; a small batch holds about six lines, so that files are cut too

PATHS = [
    *("binance/BTCUSDT-1h-2025-01.csv", "binance/BTCUSDT-1h-2025-02.csv.gz", "binance/BTCUSDT_1h.csv"),
    *("binance/ETHUSDT-1h-2025-01.csv", "kraken/BTCUSDT_1h.csv"),
]
OHLCV = ("open_time", "open", "high", "low", "close", "volume")
COLUMNS = [OHLCV, (*OHLCV, "trades"), ("open_time", "symbol", *OHLCV[1:]), (*OHLCV[4:], *OHLCV[:4])]
BARS = [  # open, high, low, close, volume; the first two state the same values
    *(("1", "3", "1", "2", "10"), ("1.0", "3.00", "1", "2", "1e1")),
    *(("1", "3", "1", "2.5", "10"), ("2", "2", "2", "2", "0"), ("2", "2", "2", "2", "null"), ("2", "2", "2", "2", "")),
]
SLIPS = [  # what makes a good line bad: column, word
    *(("open_time", "soon"), ("open_time", "5"), ("open", ""), ("high", "0"), ("low", "2.75"), ("close", "inf")),
    *(("volume", "-1"), ("open", "1,1"), ("close", "one")),
]

Step = tuple[dict[str, tuple[bytes | None, int]], int]

whole = False  # whether all tests are asked for, see conftest.py


def examples(number: int) -> int:
    """How many random histories to try: so many when all tests are asked for, else a tenth, two at least."""
    return number if whole else max(2, number // 10)


def asked_for_all() -> bool:
    """Whether all tests are asked for, and not the default ones alone."""
    return whole


def lines(hours: Iterable[int], salt: int = 0, bad: int = 0) -> bytes:
    """A plain file: a bar an hour whose values tell the hour and the salt; a bad line after each `bad` of them."""
    text = []
    for number, hour in enumerate(hours, 1):
        text.append(f"{(START + hour * 3600) * 1000},{hour + salt / 100},9999,0,{hour},{salt}")
        text += [f"bad {salt}"] * (bad > 0 and number % bad == 0)
    return "\n".join([*text, ""]).encode()


def overlapping_files() -> dict[str, tuple[bytes, int]]:
    """Six files of a symbol: months, and corrections that overlap two months each; bad lines in all.

    Of a second symbol too when all tests are asked for.
    """
    files = {}
    for symbol in ("BTCUSDT", "ETHUSDT") if whole else ("BTCUSDT",):
        for month in (1, 2, 3):
            first = 700 * month
            fixed = range(first - 100, first + 400) if month < 3 else range(first + 400, first - 100, -1)
            path, at = f"binance/{symbol}-1h-{month}", MODIFIED + month * 10
            files[f"{path}.csv"] = lines(range(first, first + 700), bad=200), at
            files[f"{path}-fixed.csv"] = lines(fixed, salt=month, bad=150), at + 15
    return files


@st.composite
def contents(draw: st.DrawFn, cut: bool) -> bytes:
    """The text of a file. One that may be `cut` begins with its first or its last hour, to show its direction."""
    columns = draw(st.sampled_from(COLUMNS))
    headed = columns not in COLUMNS[:2] or draw(st.booleans())
    unit = draw(st.sampled_from([10**3, 10**6]))
    backwards = draw(st.booleans())
    hours = sorted(draw(st.sets(st.integers(0, 9), min_size=3)), reverse=backwards)
    hours += draw(st.lists(st.sampled_from(hours[1:]), max_size=3))
    hours = [hours[0], *draw(st.permutations(hours[1:]))] if cut else draw(st.permutations(hours))
    told = []
    for hour in hours:
        words = dict(zip(OHLCV[1:], draw(st.sampled_from(BARS)), strict=True))
        words |= {"open_time": str((START + hour * 3600) * unit), "trades": str(hour)}
        words |= {"symbol": draw(st.sampled_from(["BTCUSDT", "eth/usdt"]))}
        told.append(words)
    for column, word in draw(st.lists(st.sampled_from(SLIPS), max_size=2)):
        told.insert(draw(st.integers(2, len(told))), told[0] | {column: word})
    text = [",".join(words[column] for column in columns) for words in told]
    for junk in draw(st.lists(st.sampled_from(["", "  ", "garbage"]), max_size=2)):
        text.insert(draw(st.integers(2, len(text))), junk)
    text = [",".join(columns)] * headed + text
    start, end = draw(st.sampled_from(["", "\ufeff"])), draw(st.sampled_from(["\n", "\r\n"]))
    return (start + end.join(text) + draw(st.sampled_from(["", end]))).encode()


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Runs: what happened to raw/ before each (path → new bytes or None for gone, modified at), and its batch size.

    Modified times are few, so that they tie, and in no order, so that files come late and clocks go back.
    """
    batch_bytes = draw(st.sampled_from([ONE_BATCH, ONE_BATCH, SMALL]))
    times = st.sampled_from([MODIFIED + late for late in (0, 1, 2, 1_000_000, 1_000_001, 9_000_000)])
    blank = st.sampled_from([None, b"", b"\n \n", b"open_time,open,high,low,close\n\n"])
    told: list[bytes] = []
    steps: list[Step] = []
    for paths in draw(st.lists(st.lists(st.sampled_from(PATHS), max_size=3, unique=True), min_size=1, max_size=5)):
        step: dict[str, tuple[bytes | None, int]] = {}
        for path in paths:
            known = [st.sampled_from(told)] * 2 if told else []  # what another file, or an older revision, said
            data = draw(st.one_of(*[contents(batch_bytes == SMALL)] * 3, *known, blank))
            told += [data] if data else []
            packed = gzip.compress(data, mtime=0) if data is not None and path.endswith(".gz") else data
            step[path] = packed, draw(times)
        steps.append((step, batch_bytes))
    return steps
