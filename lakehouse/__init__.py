"""A lakehouse from raw OHLCV files.

from lakehouse import Lake, ingest, refresh_gold, refresh_silver

lake = Lake()                      # the folder upwards that holds raw/
report = ingest(lake)              # new files of raw/ → bronze, every line accounted for
lake.bronze.scan().collect()       # Polars from here on
lake.bronze.versions()             # what happened, when, by which run
refresh_silver(lake)               # a regular grid, gaps and outliers flagged; costs what has changed
refresh_gold(lake)                 # days, weeks and months
lake.quarantine.scan().collect()   # the lines that were rejected, and why
"""

from lakehouse.account import IngestReport
from lakehouse.bronze import ingest
from lakehouse.errors import LakehouseError
from lakehouse.gold import refresh_gold
from lakehouse.lake import Lake
from lakehouse.refresh import RefreshReport
from lakehouse.silver import refresh_silver
from lakehouse.table import Table

__all__ = [
    "IngestReport",
    "Lake",
    "LakehouseError",
    "RefreshReport",
    "Table",
    "ingest",
    "refresh_gold",
    "refresh_silver",
]
