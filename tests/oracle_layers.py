"""What silver and gold must be, told in plain Python from the rows of bronze. It shares no code with lakehouse/."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]
SECONDS = {"1m": 60, "1h": 3600, "2h": 7200, "1d": 86400}
AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
SERIES = ("market", "symbol", "interval")
FLAGS = ("is_filled", "is_off_grid", "closes_early", "is_unfinished")


def silver(bronze: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of silver/candles and silver/gaps."""
    candles, gaps = [], []
    for key, bars in _grouped(bronze, SERIES).items():
        told = dict(zip(SERIES, key, strict=True))
        step = dt.timedelta(seconds=SECONDS[told["interval"]])
        bars.sort(key=lambda bar: bar["open_time"])
        last: Row | None = None
        widths, closes = [math.log(bar["high"] / bar["low"]) for bar in bars], [bar["close"] for bar in bars]
        for place, bar in enumerate(bars):
            slot = _slot(bar["open_time"], step)
            missing = (slot - _slot(last["open_time"], step)) // step - 1 if last else None
            if last and missing and missing > 0:
                first = _slot(last["open_time"], step) + step
                gaps.append(
                    {**told, "first": first, "last": slot - step, "missing": missing, "is_filled": missing <= 3}
                )
                for turn in range(missing if missing <= 3 else 0):
                    prices = dict.fromkeys(("open", "high", "low", "close"), last["close"])
                    amounts = {name: None if bar[name] is None else 0 for name in AMOUNTS}
                    flags = dict.fromkeys(FLAGS, False) | {"is_filled": True, "log_return": 0.0, "outlier": None}
                    candles.append(
                        {**told, "open_time": first + turn * step, **prices, **amounts, "close_time": None, **flags}
                    )
            near = last is not None and missing is not None and missing <= 3
            values = {name: bar[name] for name in ("open_time", "open", "high", "low", "close", "close_time", *AMOUNTS)}
            closing = bar["close_time"]
            flags = {
                "is_filled": False,
                "is_off_grid": slot != bar["open_time"],
                "closes_early": closing is not None and closing < slot + step - dt.timedelta(seconds=1),
                "is_unfinished": slot <= bar["_modified_at"] < slot + step,
            }
            change = math.log(bar["close"] / last["close"]) if near and last else None
            candles.append(
                {**told, **values, "log_return": change, **flags, "outlier": _outlier(bar, closes, widths, place)}
            )
            last = bar
    return candles, gaps


def daily(candles: Iterable[Row]) -> list[Row]:
    """The rows of gold/daily."""
    days: dict[tuple[str, str, dt.datetime], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in candles:
        if row["interval"] in SECONDS:
            day = row["open_time"].replace(hour=0, minute=0, second=0, microsecond=0)
            days[row["market"], row["symbol"], day][row["interval"]].append(row)
    found = []
    for (market, symbol, day), sources in sorted(days.items()):
        stated = {name: [r for r in rows if not r["is_filled"]] for name, rows in sources.items()}
        finest = min((name for name in stated if stated[name]), key=SECONDS.__getitem__, default=None)
        if finest is None:
            continue
        bars = sorted(stated[finest], key=lambda r: r["open_time"])
        typical = [(r["high"] + r["low"] + r["close"]) / 3 for r in bars]
        quotes = [
            None if r["volume"] is None else price * r["volume"] if r["quote_volume"] is None else r["quote_volume"]
            for r, price in zip(bars, typical, strict=True)
        ]
        expected = 86400 // SECONDS[finest]
        volume, quote, returns = _sum(r["volume"] for r in bars), _sum(quotes), [r["log_return"] for r in bars]
        squares = _sum(None if r is None else r * r for r in returns)
        found.append(
            {
                **{"market": market, "symbol": symbol, "open_time": day, "source": finest},
                **_prices(bars),
                **{"volume": volume, "vwap": quote / volume if volume and quote is not None else None},
                **{"trades": _sum(r["trades"] for r in bars)},
                **{"realised_volatility": None if squares is None else math.sqrt(squares)},
                **{"max_drawdown": _fall(bars), "bars": len(bars), "expected": expected},
                **{"completeness": len(bars) / expected, "filled": len(sources[finest]) - len(bars)},
                "outliers": sum(r["outlier"] is not None for r in bars),
            }
        )
    return found


def mismatches(candles: Iterable[Row]) -> list[Row]:
    """The rows of silver/mismatches."""
    stated = [row for row in candles if not row["is_filled"] and not row["is_off_grid"]]
    bars = {tuple(row[name] for name in (*SERIES, "open_time")): row for row in stated}
    found, series = [], {key[:3] for key in bars}
    for (market, symbol, interval, begin), whole in bars.items():
        for finer in sorted(SECONDS, key=SECONDS.__getitem__, reverse=True):
            if (market, symbol, finer) not in series:
                continue
            count, rest = divmod(SECONDS[interval], SECONDS[finer])
            step = dt.timedelta(seconds=SECONDS[finer])
            parts = [bars.get((market, symbol, finer, begin + step * turn)) for turn in range(count)]
            if count < 2 or rest or None in parts:
                continue
            for field, folded in {
                **_prices(parts),
                **{name: _whole([p[name] for p in parts]) for name in AMOUNTS},
            }.items():
                stated_ = whole[field]
                small = 1e-8 if field in AMOUNTS else 0
                if None not in (stated_, folded) and not math.isclose(stated_, folded, rel_tol=1e-9, abs_tol=small):
                    told = {
                        "market": market,
                        "symbol": symbol,
                        "interval": interval,
                        "field": field,
                        "open_time": begin,
                    }
                    found.append({**told, "finer": finer, "stated": stated_, "folded": folded})
            break
    return sorted(found, key=lambda row: [row[name] for name in (*SERIES, "field", "open_time")])


def _whole(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(values)


def _grouped(rows: Iterable[Row], by: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in by)].append(row)
    return dict(sorted(found.items()))


def _slot(moment: dt.datetime, step: dt.timedelta) -> dt.datetime:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return epoch + (moment - epoch) // step * step


def _outlier(bar: Row, closes: Sequence[float], widths: Sequence[float], place: int) -> str | None:
    past, after = closes[max(0, place - 15) : place], closes[place + 1 : place + 16]
    far = max(1.0, 10 * median(widths[max(0, place - 15) : place + 16]))
    if len(past) >= 3 and len(after) >= 3:
        levels = [median(side) for side in (past, after)]
        for name in ("open", "close"):
            if all(abs(math.log(bar[name] / level)) > far for level in levels):
                return "spike"
    body = bar["open"], bar["close"]
    wick = math.log(bar["high"] / max(body)) > far or math.log(min(body) / bar["low"]) > far
    return "wick" if wick else None


def _prices(bars: Sequence[Row]) -> Row:
    high, low = max(r["high"] for r in bars), min(r["low"] for r in bars)
    return {"open": bars[0]["open"], "high": high, "low": low, "close": bars[-1]["close"]}


def _fall(bars: Sequence[Row]) -> float:
    path = [bars[0]["open"], *(r["close"] for r in bars)]
    return max(1 - price / max(path[: place + 1]) for place, price in enumerate(path))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
