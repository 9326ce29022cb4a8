"""Everything that the lakehouse raises on purpose.

```
LakehouseError            catch this to catch them all
├── LakeError             the lake itself cannot be used: no such root, read-only, disk full
├── InputError            an argument is wrong: the message names it and what was expected
├── FileRefused           one raw file cannot be understood; the other files still load
├── VersionError          a table version or time that was asked for is not there
├── ConflictError         other writers kept winning; running again is safe
├── ContractError         rows that were computed break the contract of their table; nothing was written
├── ApiError              Prefect's API does not answer, or the embedded one does not start
├── ClusterError          the Dask cluster that is named cannot be used
├── NotebookFailed        a cell of a notebook raised, or took too long
├── BatchFailed           some notebooks of a batch failed, the others have run
├── download.ArchiveError the archive cannot be reached, or what it answers is no listing
├── bronze.IngestFailed   a run has ended, and some of its files did not load; it carries the account
└── layers.RefreshFailed  raw/ has been brought to gold, but files did not come or load, or the quality is too low
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl


STOPPED = "stopped; what was committed stands, run again to go on"


class LakehouseError(Exception):
    """Base of all errors of this package."""


class LakeError(LakehouseError):
    """The lake cannot be used: its root is missing, read-only, or out of space."""


class InputError(LakehouseError, ValueError):
    """An argument is not usable; the message says what was met and what was expected."""


class FileRefused(LakehouseError):
    """One raw file cannot be understood. Ingest records the message and goes on with the others."""


class VersionError(LakehouseError, LookupError):
    """A version or a time was asked for that the table does not have."""


class ConflictError(LakehouseError):
    """Other writers changed the same partition at every attempt. Nothing is half-done; run again."""


class ContractError(LakehouseError):
    """Rows of a layer break the contract of their table: whatever computes them is wrong, or the contract is."""


class ApiError(LakehouseError):
    """Prefect's API does not answer, or the embedded one did not start. `lakehouse ingest` does without."""


class ClusterError(LakehouseError):
    """The cluster of DASK_ADDRESS does not answer, has no worker, or does not see this lake."""


class NotebookFailed(LakehouseError):
    """A cell of a notebook raised, or took too long.

    Args:
        path: The executed copy, up to that cell.
        cell: The cell's execution count, 0 if it is not known.
        reason: What it raised.
        source: Its code.
    """

    def __init__(self, path: Path, cell: int, reason: str, source: str) -> None:
        super().__init__(path, cell, reason, source)
        self.path, self.cell, self.reason, self.source = path, cell, reason, source

    def __str__(self) -> str:
        code = "".join(f"\n    {line}" for line in self.source.strip().splitlines()[:5])
        return f"{self.path.stem} failed in cell [{self.cell}]: {self.reason}{code}\nsee {self.path}"


class BatchFailed(LakehouseError):
    """Some notebooks of a batch failed.

    Args:
        runs: A row for each notebook, see `flows.run_notebooks`.
    """

    def __init__(self, runs: pl.DataFrame) -> None:
        super().__init__(runs)
        self.runs = runs

    def __str__(self) -> str:
        failed = self.runs.filter(self.runs["error"].is_not_null()).iter_rows(named=True)
        lines = [f"  {row['notebook']}: {row['error'].partition(chr(10))[0]}" for row in failed]
        return f"{len(lines)} of {self.runs.height} notebook(s) failed:\n" + "\n".join(lines)
