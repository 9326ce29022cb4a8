"""A public archive → raw/: what is listed and not here is fetched, and each file is held against its witnesses."""

from lakehouse.download.archive import Archive, ArchiveError, Entry
from lakehouse.download.look import list_archive
from lakehouse.download.missing import missing
from lakehouse.download.run import DownloadReport, download, download_wanted
from lakehouse.download.standin import FAULTS, StandIn
from lakehouse.download.wishes import SOURCES

__all__ = [
    "FAULTS",
    "SOURCES",
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
