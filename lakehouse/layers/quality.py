"""How complete the series are, and what breaks a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from lakehouse.bronze import MAX_CONFLICTS, IngestFailed, IngestReport
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake
from lakehouse.layers.mismatches import read_mismatches
from lakehouse.layers.refresh import RefreshReport
from lakehouse.measures import completeness, spell_part

if TYPE_CHECKING:  # who never downloads need not import HTTP
    from lakehouse.download import DownloadReport

SERIES = ["market", "symbol", "interval"]


@dataclass(frozen=True, slots=True)
class LakeReport:
    """What a run from raw/ to gold did.

    Attributes:
        ingest: The account of the raw files.
        layers: What was done to silver/candles and the three tables of gold.
        quality: See `read_quality`.
        breaches: What is worse than the thresholds, in words.
        download: What came from the archive before, if that was asked for.
    """

    ingest: IngestReport
    layers: tuple[RefreshReport, ...]
    quality: pl.DataFrame
    breaches: tuple[str, ...]
    download: DownloadReport | None = None

    @property
    def complete(self) -> bool:
        """Whether all files loaded, and all that was wanted of the archive came; breaches are not asked."""
        return not self.ingest.failed.height and (self.download is None or self.download.complete)


def read_quality(lake: Lake) -> pl.DataFrame:
    """Count what each series of silver has and lacks, from the Delta log, the gaps and the mismatches alone.

    Args:
        lake: The lake.

    Returns:
        market, symbol, interval, bars (stated), missing (slots that nobody stated), filled (of these), mismatched (bars
        that do not add up, see `read_mismatches`) and completeness (bars / (bars + missing)); sorted by series.
    """
    counts = dict.fromkeys(("bars", "missing", "filled", "mismatched"), pl.Int64())
    if not lake.silver.exists() or lake.silver.files().is_empty():
        return pl.DataFrame(schema={**dict.fromkeys(SERIES, pl.String()), **counts, "completeness": pl.Float64()})
    # Row counts stand in the log, so this costs no read of a bar, however long the series.
    rows = lake.silver.files().group_by(SERIES).agg(pl.col("num_records").sum().alias("rows"))
    filled = pl.col("missing").filter("is_filled").sum().alias("filled")
    gaps = lake.gaps.scan().group_by(SERIES).agg(pl.col("missing").sum(), filled).collect()
    odd = read_mismatches(lake).select(*SERIES, mismatched="bars")
    found = (
        rows.join(gaps, on=SERIES, how="left")
        .join(odd, on=SERIES, how="left")
        .with_columns(pl.col("missing", "filled", "mismatched").fill_null(0))
    )
    found = found.with_columns(bars=pl.col("rows") - pl.col("filled"))
    complete = completeness(pl.col("bars"), pl.col("bars") + pl.col("missing"))
    return found.select(*SERIES, *counts, completeness=complete).sort(SERIES)


def find_breaches(
    account: IngestReport,
    quality: pl.DataFrame,
    max_rejected: float,
    min_completeness: float,
    max_conflicts: float = MAX_CONFLICTS,
) -> list[str]:
    """Hold a run against thresholds.

    Args:
        account: Of the raw files.
        quality: See `read_quality`.
        max_rejected: The largest part of the lines read that may be rejected.
        min_completeness: The smallest part of its grid that each series must have.
        max_conflicts: The largest part of the bars that two paths share of which they may say different things.

    Returns:
        A sentence for each breach.
    """
    found = []
    part = account.rejected / account.read if account.read else 0.0
    if part > max_rejected:
        told = f"{account.rejected:,} of {account.read:,} lines were rejected, {spell_part(part)}"
        found.append(f"{told}; at most {spell_part(max_rejected)} was asked for")
    for row in quality.filter(pl.col("completeness") < min_completeness).iter_rows(named=True):
        name = " ".join(row[column] for column in SERIES)
        told = f"{name} is {spell_part(row['completeness'])} complete"
        found.append(f"{told}; at least {spell_part(min_completeness)} was asked for")
    for path, part in account.contradicting_more_than(max_conflicts).select("path", "contradicts").iter_rows():
        told = f"{path} differs from another file on {spell_part(part)} of the bars that both state"
        found.append(f"{told}; at most {spell_part(max_conflicts)} was asked for. `lakehouse conflicts` shows them")
    return found


class RefreshFailed(LakehouseError):
    """A run from raw/ to gold is done, but files did not come or load, or what it found is worse than was demanded.

    Args:
        report: All that was done; `report.ingest.failed` and `report.breaches` are what is wrong.
    """

    def __init__(self, report: LakeReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        lines = [str(IngestFailed(self.report.ingest))] if self.report.ingest.failed.height else []
        return "\n".join(
            [*(self.report.download.failures if self.report.download else ()), *lines, *self.report.breaches]
        )
