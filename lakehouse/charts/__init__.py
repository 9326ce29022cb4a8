"""Frame in, picture out. Charts know nothing but frames."""

from lakehouse.charts.candlestick import candles
from lakehouse.charts.changes import before_after, changes_map
from lakehouse.charts.lines import fates, rejects
from lakehouse.charts.quality import conflicts_over_time, quality_over_time
from lakehouse.charts.returns import beside, distribution
from lakehouse.charts.series import completeness
from lakehouse.charts.tables import files_on_disk, versions_timeline
from lakehouse.charts.theme import BLUE, CLOCK, GREY, ORANGE, look, theme

__all__ = [
    "BLUE",
    "CLOCK",
    "GREY",
    "ORANGE",
    "before_after",
    "beside",
    "candles",
    "changes_map",
    "completeness",
    "conflicts_over_time",
    "distribution",
    "fates",
    "files_on_disk",
    "look",
    "quality_over_time",
    "rejects",
    "theme",
    "versions_timeline",
]
