"""The account of a run: what became of each file, and the sums."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from lakehouse.contracts import COUNTS, Revision
from lakehouse.dataset import Form
from lakehouse.errors import LakehouseError
from lakehouse.raw import RawFile

MAX_CONFLICTS = 0.5  # of the bars that two files share: what is more than a correction
_TOLD = (  # of an account, in the ledger
    *("sha256", "stated_at", "layout", "market", "interval", "status", "error"),
    *("contradicts", "declared", "read_as", "read_by"),
)
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
    declared: str | None = None  # what sources.toml says of it
    read_as: str | None = None  # what the program takes it for
    read_by: str | None = None  # the rules by which it does
    counts: Counter[str] = field(default_factory=Counter)
    pairs: dict[str, tuple[int, int]] = field(default_factory=dict)  # other path → bars of both, and those that differ
    contradicts: float | None = None
    contradiction: str = ""  # in words
    assumed: tuple[str, ...] = ()  # a clock, a unit, a column: what is to be known of it
    versions: set[int] = field(default_factory=set)  # of bronze, after each part of the file

    def identify(self, sha256: str, form: Form) -> None:
        """Enter what the file was taken for."""
        self.sha256, self.read_as, self.assumed = sha256, form.as_text(), form.notes
        self.layout, self.market, self.interval = form.layout or None, form.market or None, form.interval or None
        self.symbols = {form.symbol} - {""}

    def reaches(self, first: dt.datetime, last: dt.datetime) -> None:
        """Enter the ends of what was read of it."""
        self.first, self.last = min(self.first or first, first), max(self.last or last, last)

    def row(self, run_id: str, ingested_at: dt.datetime) -> dict[str, object]:
        """The file as a row of the ledger; see `contracts.Revision`."""
        noted = "; ".join(filter(None, (*self.assumed, self.contradiction)))
        told = {name: getattr(self, name) for name in _TOLD} | {
            name: self.counts[name] for name in (*COUNTS, "skipped")
        }
        return told | {
            **{"path": self.file.path, "size": self.file.size, "modified_at": self.file.modified_at},
            **{"etag": self.file.etag or None},
            **{"symbol": next(iter(self.symbols)) if len(self.symbols) == 1 else None, "note": noted or None},
            **{"first_open_time": self.first, "last_open_time": self.last, "bronze_version": max(self.versions)},
            **{"withdrawn_version": None, "run_id": run_id, "ingested_at": ingested_at},
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
        unread: Paths below raw/ of what is no kind of file that ingest reads.
    """

    files: pl.DataFrame
    untouched: int
    run_id: str
    seconds: float
    unread: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = ", ".join(f"{self._sum(name):,} {name}" for name in COUNTS)
        taken = self.files.height - self.failed.height
        return f"{taken} files taken, {self.failed.height} failed: {counts} lines in {self.seconds:.1f} s"

    @property
    def read(self) -> int:
        """Data lines read: the sum of the six counts that follow."""
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
        """Statements that lost against a newer one which says the same."""
        return self._sum("superseded")

    @property
    def overruled(self) -> int:
        """Statements that lost against a newer one which says something else."""
        return self._sum("overruled")

    @property
    def rejected(self) -> int:
        """Lines that went to quarantine."""
        return self._sum("rejected")

    @property
    def failed(self) -> pl.DataFrame:
        """The files that did not load, with `error` saying why."""
        return self.files.filter(pl.col("status") == "failed")

    @property
    def notes(self) -> pl.DataFrame:
        """path, note: what was assumed of a file or is odd about it, those first that contradict others most."""
        noted = self.files.filter(pl.col("note").is_not_null())
        return noted.sort("contradicts", descending=True, nulls_last=True).select("path", "note")

    @property
    def contradicting(self) -> pl.DataFrame:
        """The files that say other things of most bars that they share with another path; `note` names it."""
        return self.contradicting_more_than(MAX_CONFLICTS)

    def contradicting_more_than(self, part: float) -> pl.DataFrame:
        """The files that say other things of more than this part of the bars that they share with another path."""
        return self.files.filter(pl.col("contradicts") > part)

    @property
    def complete(self) -> bool:
        """Whether all that lay in raw/ has been taken: no file failed, none was deferred; contradictions are apart."""
        return self.files.filter(pl.col("status").is_in(["failed", DEFERRED])).is_empty()

    def _sum(self, name: str) -> int:
        return int(self.files[name].sum())


def new_run_id() -> str:
    """A name for a run that sorts by time: `20250301T120000-1a2b3c`."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def report_of(
    rows: list[dict[str, object]], untouched: int, run_id: str, seconds: float, unread: tuple[str, ...] = ()
) -> IngestReport:
    """Make the report of a run.

    Args:
        rows: Its rows of the ledger.
        untouched: How many files had nothing new.
        run_id: Its name.
        seconds: How long it took.
        unread: What ingest does not read.

    Returns:
        The report.
    """
    files = pl.DataFrame(rows, schema=Revision.create_empty().schema)
    return IngestReport(files, untouched, run_id, seconds, unread)


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
