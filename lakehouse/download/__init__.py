"""The public archive → raw/: what is listed and not here is fetched, and each file is held against three witnesses."""

from lakehouse.download.archive import Archive, ArchiveError, Entry
from lakehouse.download.look import list_archive
from lakehouse.download.missing import missing
from lakehouse.download.run import DownloadReport, download, download_wanted
from lakehouse.download.standin import FAULTS, StandIn
from lakehouse.download.wishes import KINDS, MARKETS

__all__ = [
    "FAULTS",
    "KINDS",
    "MARKETS",
    "Archive",
    "ArchiveError",
    "DownloadReport",
    "Entry",
    "StandIn",
    "download",
    "download_wanted",
    "list_archive",
    "missing",
]
