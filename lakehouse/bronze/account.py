"""The account of a run: what became of each file, and the sums."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from lakehouse.contracts import COUNTS, Revision
from lakehouse.errors import LakehouseError
from lakehouse.raw import RawFile

DEFERRED = "deferred"  # in a report only: written to while it was read, so left for the next run


@dataclass(slots=True)
class Account:
    """What has become of one file so far; `row` is what the ledger keeps of it."""

    file: RawFile
    stated_at: dt.datetime
    number: int  # its rank among the run's files: newer statements have a higher one
    sha256: str = ""
    layout: str | None = None
    market: str | None = None
    interval: str | None = None
    symbols: set[str] = field(default_factory=set)
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    status: str = "loaded"
    error: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    versions: set[int] = field(default_factory=set)  # of bronze, after each part of the file

    def row(self, run_id: str, ingested_at: dt.datetime) -> dict[str, object]:
        """The file as a row of the ledger; see `contracts.Revision`."""
        counted = {
            name: self.counts[name]
            for name in ("read", "inserted", "updated", "unchanged", "superseded", "rejected", "skipped")
        }
        return {
            **{"path": self.file.path, "sha256": self.sha256, "size": self.file.size},
            **{"modified_at": self.file.modified_at, "stated_at": self.stated_at},
            **{"layout": self.layout, "market": self.market, "interval": self.interval},
            "symbol": next(iter(self.symbols)) if len(self.symbols) == 1 else None,
            **{"first_open_time": self.first, "last_open_time": self.last},
            **counted,
            **{"status": self.status, "error": self.error, "bronze_version": max(self.versions)},
            **{"run_id": run_id, "ingested_at": ingested_at},
        }


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The account of a run.

    Attributes:
        files: One row for each file that was handled, in the columns of `contracts.Revision`, the oldest statement
            first. A file with status "deferred" was written to while it was read; the next run takes it.
        untouched: How many files had nothing new.
        run_id: The run's name in the ledger and in the tables' versions.
        seconds: How long it took.
    """

    files: pl.DataFrame
    untouched: int
    run_id: str
    seconds: float

    def __str__(self) -> str:
        counts = ", ".join(f"{self._sum(name):,} {name}" for name in COUNTS)
        taken = self.files.height - self.failed.height
        return f"{taken} files taken, {self.failed.height} failed: {counts} lines in {self.seconds:.1f} s"

    @property
    def read(self) -> int:
        """Data lines read: the sum of the five counts that follow."""
        return self._sum("read")

    @property
    def inserted(self) -> int:
        """Rows with a new key."""
        return self._sum("inserted")

    @property
    def updated(self) -> int:
        """Rows to which a newer statement gave other values."""
        return self._sum("updated")

    @property
    def unchanged(self) -> int:
        """Statements that agree with what the table had."""
        return self._sum("unchanged")

    @property
    def superseded(self) -> int:
        """Statements that lost against a newer one."""
        return self._sum("superseded")

    @property
    def rejected(self) -> int:
        """Lines that went to quarantine."""
        return self._sum("rejected")

    @property
    def failed(self) -> pl.DataFrame:
        """The files that did not load, with `error` saying why."""
        return self.files.filter(pl.col("status") == "failed")

    @property
    def complete(self) -> bool:
        """Whether all that lay in raw/ has been taken: no file failed, none was deferred."""
        return self.files.filter(pl.col("status").is_in(["failed", DEFERRED])).is_empty()

    def _sum(self, name: str) -> int:
        return int(self.files[name].sum())


def report_of(rows: list[dict[str, object]], untouched: int, run_id: str, seconds: float) -> IngestReport:
    """Make the report of a run.

    Args:
        rows: Its rows of the ledger.
        untouched: How many files had nothing new.
        run_id: Its name.
        seconds: How long it took.

    Returns:
        The report.
    """
    files = pl.DataFrame(rows, schema=Revision.create_empty().schema)
    return IngestReport(files, untouched, run_id, seconds)


class IngestFailed(LakehouseError):
    """A run ended with files that did not load.

    Args:
        report: The whole account of the run; ``report.failed`` holds the files and their reasons.
    """

    def __init__(self, report: IngestReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        lines = [f"  {row['path']}: {row['error']}" for row in self.report.failed.iter_rows(named=True)]
        others = self.report.files["error"].null_count()
        return f"{len(lines)} file(s) did not load ({others} other(s) did):\n" + "\n".join(lines)
