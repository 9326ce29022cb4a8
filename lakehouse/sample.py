"""SYNTHETIC klines in the exact form of Binance's public archive: any size, and always the same bytes.

No market ever traded these candles. Prices walk between monthly anchors, so that a month is the same whichever
other months are asked for, and opens where the month before it closed. All chance comes from SHAKE-128, a
published standard, and the arithmetic keeps to operations that IEEE 754 rounds exactly (no log, exp or sin).
Bars of 1s, 1m and 1h are walks of their own, of which only the ends of the months agree; all others are the sums of the
coarsest of these that fits into them, 4h and 1d of 1h, 15m of 1m.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path

import polars as pl

from lakehouse.errors import InputError

_DAY = 86_400
INTERVALS = {"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600, "2h": 7_200}
INTERVALS |= {"4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": _DAY}
"""Seconds of each interval that can be made."""

_DAILY_MOVE = 0.016  # times sqrt(2), which the fat tails add: about 2.3 % a day
_DAILY_TURNOVER = 2e9  # in the quote currency
_BASE_PRICES = {"BTCUSDT": 94_000.0, "ETHUSDT": 3_350.0}  # at the start of 2025
_BASE_MONTH = 2025 * 12
_MICROSECONDS_FROM = 2025 * 12  # Binance's archive changed its epoch unit with January 2025
_DRAWS = ("a", "b", "c", "tail", "up", "down", "crowd", "mix", "size", "taker")


def write_sample(
    dest: str | Path,
    *,
    symbols: Sequence[str] = ("BTCUSDT",),
    intervals: Sequence[str] = ("1h",),
    first: str = "2024-11",
    last: str = "2025-02",
    seed: int = 0,
) -> list[Path]:
    """Write synthetic monthly kline files, named and formed as in Binance's archive, and SYNTHETIC.md beside them.

    A file that is there already with the same bytes is left untouched; real data are never overwritten.

    Args:
        dest: Folder to write to; made if it is missing.
        symbols: Names such as ``BTCUSDT``; each has a price level of its own.
        intervals: Bar lengths from ``1s`` to ``1d``.
        first: First month, ``YYYY-MM``.
        last: Last month, included.
        seed: Another seed gives another history.

    Returns:
        The CSV files, one per symbol, interval and month, in that order. Each is headerless with Binance's 12
        fields; times are epoch milliseconds, from 2025-01 on microseconds.

    Raises:
        InputError: An argument is not usable, or another file of that name is in the way.

    Example:
        >>> import tempfile
        >>> [path.name for path in write_sample(tempfile.mkdtemp(), intervals=["1d"], first="2025-02")]
        ['BTCUSDT-1d-2025-02.csv']
    """
    if isinstance(symbols, str) or isinstance(intervals, str):
        raise InputError(f"symbols and intervals are lists, such as ['BTCUSDT'], not {symbols!r} and {intervals!r}")
    for symbol in symbols:
        if not re.fullmatch(r"[A-Z0-9_]+", symbol):
            raise InputError(f"symbol {symbol!r} is not made of A to Z, 0 to 9 and _: write it as 'BTCUSDT'")
    for interval in intervals:
        if interval not in INTERVALS:
            raise InputError(f"interval {interval!r} is not known; the known ones are {', '.join(INTERVALS)}")
    start, stop = _parse_month(first), _parse_month(last)
    if stop < start:
        raise InputError(f"last month {last} is before the first, {first}: did you swap them?")
    months = range(start, stop + 1)
    _label(dest, seed)
    return [
        _place(Path(dest, f"{symbol}-{interval}-{_month_name(month)}.csv"), _csv(_bars(symbol, interval, month, seed)))
        for symbol in symbols
        for interval in intervals
        for month in months
    ]


def walk_of(interval: str) -> str:
    """The interval of the walk that bars are made of. Bars of one walk add up; those of another do not add up to them.

    Args:
        interval: One of `INTERVALS`.
    """
    return next(name for name in ("1h", "1m", "1s") if INTERVALS[name] <= INTERVALS[interval])


def _label(dest: str | Path, seed: int) -> None:
    path = Path(dest, "SYNTHETIC.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = "The candles that `lakehouse sample` puts into this folder are SYNTHETIC: no market ever traded them.\n"
    known = path.read_text(encoding="utf-8") if path.exists() else heading
    made = f"They were made by `lakehouse sample` with seed {seed}; the same arguments give the same bytes.\n"
    if made not in known:
        path.write_text(known + made, encoding="utf-8", newline="\n")


def _place(path: Path, content: bytes) -> Path:
    """Write a file as a whole, or leave alone what is there already."""
    if not path.exists():
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
    elif path.read_bytes() != content:
        raise InputError(f"{path} is there already and holds other data: choose an empty folder, or move it away")
    return path


def _csv(bars: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    bars.write_csv(buffer, include_header=False, float_precision=8)
    return buffer.getvalue()


def _parse_month(text: str) -> int:
    """Months are counted from the year 0, so that they can be added and ranged over."""
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", text):
        raise InputError(f"month {text!r} is not one of 2000-01 to 2099-12, written YYYY-MM")
    return int(text[:4]) * 12 + int(text[5:]) - 1


def _month_name(month: int) -> str:
    return f"{month // 12}-{month % 12 + 1:02d}"


def _month_start(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())


def _draw(name: str) -> float:
    """One uniform number in [0, 1); the name is the seed."""
    return int.from_bytes(hashlib.shake_128(name.encode()).digest(4), "little") / 2**32


def _draw_columns(name: str, rows: int) -> pl.DataFrame:
    """Uniform numbers in (0, 1), a column for each of _DRAWS; the name is the seed."""
    size = 4 * rows
    noise = hashlib.shake_128(name.encode()).digest(size * len(_DRAWS))
    parts = pl.DataFrame({draw: [noise[at * size : (at + 1) * size]] for at, draw in enumerate(_DRAWS)})
    whole = pl.all().bin.reinterpret(dtype=pl.Array(pl.UInt32, rows), endianness="little")
    return parts.select((whole.explode() + 0.5) / 2**32)


def _base_price(symbol: str) -> float:
    return _BASE_PRICES.get(symbol) or (1 + 9 * _draw(symbol)) * 10.0 ** (int(5 * _draw(f"{symbol}/")) - 2)


def _anchor(symbol: str, month: int, seed: int) -> float:
    """Price at the first instant of a month: a walk outward from the base month, pulled gently back."""
    lean, away = 0.0, 1 if month >= _BASE_MONTH else -1
    for passed in range(_BASE_MONTH + away, month + away, away):
        lean = 0.97 * lean + 0.5 * (_draw(f"{seed}/{symbol}/{passed}") - 0.5)
    return _base_price(symbol) * (sqrt(1 + lean * lean) + lean)  # exp(asinh(lean)), always above 0


def _bars(symbol: str, interval: str, month: int, seed: int) -> pl.DataFrame:
    """One month of bars, the 12 columns in the archive's order."""
    walk = walk_of(interval)
    bars = _walk_bars(symbol, walk, month, seed)
    times = INTERVALS[interval] // INTERVALS[walk]
    return bars if times == 1 else _join_bars(bars, times)


def _join_bars(bars: pl.DataFrame, times: int) -> pl.DataFrame:
    """Make one bar of every so many; a month holds a whole number of them."""
    first, last = pl.col("open_time", "open", "ignore").first(), pl.col("close", "close_time").last()
    amounts = pl.col("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
    added = amounts.cum_sum().last()  # one by one: `sum` adds in the order that suits the processor
    groups = bars.group_by(pl.int_range(pl.len()) // times, maintain_order=True)
    return groups.agg(first, pl.col("high").max(), pl.col("low").min(), last, added).select(bars.columns)


def _walk_bars(symbol: str, interval: str, month: int, seed: int) -> pl.DataFrame:
    """One month of a walk. Prices are whole ticks until the end."""
    begin, seconds, base = _month_start(month), INTERVALS[interval], _base_price(symbol)
    decimals = 2 if base >= 100 else 4 if base >= 1 else 6
    tick, lot = 10**decimals, 10 ** max(0, 9 - 2 * decimals)  # how many of them make one
    rows = (_month_start(month + 1) - begin) // seconds
    opening, closing = (int(_anchor(symbol, at, seed) * tick) for at in (month, month + 1))
    draws = _draw_columns(f"{seed}/{symbol}/{interval}/{_month_name(month)}", rows)
    start = begin + pl.int_range(rows) * seconds
    priced = _walk_prices(draws.with_columns(start=start), opening, closing, _DAILY_MOVE * sqrt(seconds / _DAY))
    unit = 1_000_000 if month >= _MICROSECONDS_FROM else 1_000
    lots, taker_lots, paid = pl.col("lots"), pl.col("taker_lots"), pl.col("vwap") / (lot * tick)
    return _trade_volumes(priced, _DAILY_TURNOVER / base * seconds / _DAY * lot).select(
        (pl.col("start") * unit).alias("open_time"),
        pl.col("open", "high", "low", "close") / tick,
        volume=lots / lot,
        close_time=(pl.col("start") + seconds) * unit - 1,
        quote_volume=lots * paid,
        trades=1 + (lots * paid * pl.col("rate")).cast(pl.Int64),
        taker_buy_volume=taker_lots / lot,
        taker_buy_quote_volume=taker_lots * paid,
        ignore=pl.lit(0),
    )


def _walk_prices(draws: pl.DataFrame, opening: int, closing: int, move: float) -> pl.DataFrame:
    """Add open, high, low and close in ticks, from exactly ``opening`` to exactly ``closing``."""
    from_peak = (pl.col("start") % _DAY / 3_600 - 15).abs()  # 15:00 UTC is the busiest hour, 03:00 the calmest
    busy = 1.6 - pl.min_horizontal(from_peak, 24 - from_peak) / 10
    # Three uniforms are nearly a normal number; the fourth gives it the tails of a Student t with 4 degrees.
    shock = (pl.col("a") + pl.col("b") + pl.col("c") - 1.5) * 2 / pl.col("tail").clip(1e-4).sqrt().sqrt()
    # Large moves follow large moves: the variance remembers about twenty bars.
    memory = (pl.col("shock") * pl.col("shock")).ewm_mean(alpha=0.05, adjust=False).shift(1, fill_value=2.0)
    reach = pl.col("heat") * move
    done = pl.int_range(1, pl.len() + 1) / pl.len()
    bridge = pl.col("walk") - pl.col("walk").last() * done
    level = opening + (closing - opening) * done
    return (
        draws.with_columns(shock=shock)
        .with_columns(heat=busy * (0.2 + 0.4 * memory).sqrt())
        .with_columns(walk=(reach * pl.col("shock")).cum_sum())
        .with_columns(close=(level * ((1 + bridge * bridge).sqrt() + bridge) + 0.5).floor())
        .with_columns(open=pl.col("close").shift(1, fill_value=opening))
        .with_columns(
            high=(pl.max_horizontal("open", "close") * (1 + reach * pl.col("up") * pl.col("up"))).floor(),
            low=(pl.min_horizontal("open", "close") / (1 + reach * pl.col("down") * pl.col("down"))).ceil(),
        )
    )


def _trade_volumes(priced: pl.DataFrame, usual_lots: float) -> pl.DataFrame:
    """Add lots, taker_lots, vwap in ticks and rate, the trades per unit of turnover."""
    lively = pl.col("heat") * (0.3 + 0.7 * pl.col("shock").abs()) * (0.5 + pl.col("crowd"))
    return priced.with_columns(
        lots=1 + (usual_lots * lively).floor(),
        vwap=pl.col("low") + (pl.col("high") - pl.col("low")) * (0.3 + 0.4 * pl.col("mix")),
        rate=1 / (400 + 800 * pl.col("size")),
    ).with_columns(taker_lots=(pl.col("lots") * (0.3 + 0.4 * pl.col("taker"))).floor())
