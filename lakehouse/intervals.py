"""How long bars are: the names of intervals, and the words that people use for them."""

from __future__ import annotations

import re

INTERVAL_SECONDS = {
    **{"1s": 1, "1m": 60, "2m": 120, "3m": 180, "5m": 300, "10m": 600, "15m": 900, "30m": 1800},
    **{"1h": 3600, "2h": 7200, "3h": 10800, "4h": 14400, "6h": 21600, "8h": 28800, "12h": 43200},
    **{"1d": 86400, "3d": 259200, "1w": 604800},
}

# Other words for an interval, as file names have them. `1M` is a month at Binance, `M1` a minute elsewhere.
INTERVAL_WORDS = {
    **{name: name for name in (*INTERVAL_SECONDS, "1mo")},
    **{"1M": "1mo", "1H": "1h", "4H": "4h", "1D": "1d", "1W": "1w", "d": "1d", "h": "1h", "D": "1d"},
    **{"daily": "1d", "hourly": "1h", "day": "1d", "hour": "1h", "minute": "1m", "1-min": "1m", "1min": "1m"},
    **{"5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "1hour": "1h", "1day": "1d", "Daily": "1d"},
    **{"M1": "1m", "M5": "5m", "M15": "15m", "M30": "30m", "H1": "1h", "H4": "4h", "D1": "1d", "W1": "1w"},
    **{"m1": "1m", "m5": "5m", "m15": "15m", "m30": "30m", "h1": "1h", "h4": "4h", "d1": "1d"},
    **{str(seconds // 60): name for name, seconds in INTERVAL_SECONDS.items() if seconds >= 60},  # minutes: 60, 1440
}

INTERVALS = (*INTERVAL_SECONDS, "1mo")
MINUTES = "|".join(word for word in INTERVAL_WORDS if word.isdigit())

WORDS = "|".join(sorted((re.escape(word) for word in INTERVAL_WORDS if not word.isdigit()), key=len, reverse=True))
