"""A lakehouse from raw OHLCV files.

from lakehouse import Lake, ingest, refresh_gold, refresh_silver

lake = Lake()                      # the folder upwards that holds raw/
report = ingest(lake)              # new files of raw/ → bronze, every line accounted for
lake.bronze.scan().collect()       # Polars from here on
lake.bronze.versions()             # what happened, when, by which run
refresh_silver(lake)               # a regular grid, gaps and outliers flagged; costs what has changed
refresh_gold(lake)                 # days, weeks and months
lake.quarantine.scan().collect()   # the lines that were rejected, and why
lake.conflicts.scan().collect()    # what files say otherwise than the table, and why the table's values stand
withdraw(lake, "2024/*")           # take back what some files stated
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse.bronze import IngestReport, ingest, withdraw
    from lakehouse.delta import Table
    from lakehouse.errors import LakehouseError
    from lakehouse.lake import Lake
    from lakehouse.layers import RefreshReport, refresh_gold, refresh_silver

__all__ = [
    "IngestReport",
    "Lake",
    "LakehouseError",
    "RefreshReport",
    "Table",
    "ingest",
    "refresh_gold",
    "refresh_silver",
    "withdraw",
]
_WINGS = {
    **dict.fromkeys(("IngestReport", "ingest", "withdraw"), "bronze"),
    **dict.fromkeys(("RefreshReport", "refresh_gold", "refresh_silver"), "layers"),
    **{"Lake": "lake", "LakehouseError": "errors", "Table": "delta"},
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is: the command line must hear a Ctrl-C before that second is over."""
    if name not in _WINGS:
        raise AttributeError(f"module 'lakehouse' has no attribute '{name}'")
    return getattr(import_module(f"lakehouse.{_WINGS[name]}"), name)
