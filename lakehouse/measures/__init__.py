"""What is said of a series of bars, each defined once: charts, tables, records and prose all use these."""

from lakehouse.measures.fold import add_up, fold_prices, in_order
from lakehouse.measures.grid import MONTH, completeness, count_missing, count_slots, find_gaps, spacing
from lakehouse.measures.indicators import bollinger, moving_average, resample, rsi
from lakehouse.measures.prices import change, draw_down, fall, last_close
from lakehouse.measures.words import counted, spell, spell_change, spell_part

__all__ = [
    "MONTH",
    "add_up",
    "bollinger",
    "change",
    "completeness",
    "count_missing",
    "count_slots",
    "counted",
    "draw_down",
    "fall",
    "find_gaps",
    "fold_prices",
    "in_order",
    "last_close",
    "moving_average",
    "resample",
    "rsi",
    "spacing",
    "spell",
    "spell_change",
    "spell_part",
]
