"""A lakehouse from raw OHLCV files.

from lakehouse import Lake, ingest

lake = Lake()                      # the folder upwards that holds raw/
report = ingest(lake)              # new files of raw/ → bronze, every line accounted for
lake.bronze.scan().collect()       # Polars from here on
lake.bronze.versions()             # what happened, when, by which run
lake.quarantine.scan().collect()   # the lines that were rejected, and why
"""

from lakehouse.account import IngestReport
from lakehouse.bronze import ingest
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake
from lakehouse.table import Table

__all__ = ["IngestReport", "Lake", "LakehouseError", "Table", "ingest"]
