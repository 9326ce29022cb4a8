"""Frame in, picture out. Charts know nothing but frames."""

from lakehouse.charts.candlestick import MONTH, candles, spacing
from lakehouse.charts.changes import before_after, changes_map
from lakehouse.charts.lines import fates, rejects
from lakehouse.charts.quality import quality_over_time
from lakehouse.charts.returns import distribution
from lakehouse.charts.series import completeness, count_slots
from lakehouse.charts.tables import files_on_disk, versions_timeline
from lakehouse.charts.theme import BLUE, CLOCK, GREY, ORANGE, look, theme

__all__ = [
    "BLUE",
    "CLOCK",
    "GREY",
    "MONTH",
    "ORANGE",
    "before_after",
    "candles",
    "changes_map",
    "completeness",
    "count_slots",
    "distribution",
    "fates",
    "files_on_disk",
    "look",
    "quality_over_time",
    "rejects",
    "spacing",
    "theme",
    "versions_timeline",
]
