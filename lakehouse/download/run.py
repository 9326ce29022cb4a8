"""Many files at a time: what is wanted and not here yet is fetched; the rest costs a listing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lakehouse.download.archive import Archive, ArchiveError
from lakehouse.download.fetch import KEPT, PUBLISHED_BROKEN, fetch, standing, sweep
from lakehouse.download.look import Published, choose
from lakehouse.download.parallel import PARALLEL, in_parallel
from lakehouse.download.wishes import BINANCE, Wish, make_wishes, read_wishes
from lakehouse.errors import InputError
from lakehouse.lake import Lake

WANTED = "download.toml"
TO_FETCH = "to fetch"  # the verdict of a dry run
FILES: dict[str, pl.DataType] = {
    **{"path": pl.String(), "size": pl.Int64(), "modified_at": pl.Datetime("us", "UTC")},
    **dict.fromkeys(("verdict", "note"), pl.String()),
}

type Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """What a download has done.

    Attributes:
        files: A row for each file that was handled: path below raw/, size, modified_at, verdict, note.
        untouched: How many files were wanted and here already.
        notes: What was wanted and never published, in words.
        unmet: The wishes of which nothing is there, each with what there is.
        seconds: How long it took.
    """

    files: pl.DataFrame
    untouched: int
    notes: tuple[str, ...]
    unmet: tuple[str, ...]
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of the files in `files`."""
        return int(self.files["size"].sum())

    @property
    def failed(self) -> pl.DataFrame:
        """The rows of files that are not in raw/ now."""
        return self.files.filter(~pl.col("verdict").is_in([*KEPT, TO_FETCH]))

    @property
    def failures(self) -> tuple[str, ...]:
        """The wishes and files that raw/ has nothing of, in words."""
        return (*self.unmet, *(f"{path}: {verdict}, {note}" for path, _, _, verdict, note in self.failed.iter_rows()))

    @property
    def complete(self) -> bool:
        """Whether all that was wanted and published is in raw/."""
        return not self.failures


def download(
    lake: Lake,
    symbols: Sequence[str],
    intervals: Sequence[str] = ("1h",),
    *,
    first: str = "",
    last: str = "",
    market: str = "",
    kind: str = "klines",
    source: str = BINANCE.name,
    archive: str = "",
    parallel: int = PARALLEL,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> DownloadReport:
    """Bring klines of a public archive into raw/, each file verified; what is here already is not fetched again.

    Args:
        lake: Where to; its raw/ must be a folder. The files keep the archive's own tree below it.
        symbols: Such as BTCUSDT.
        intervals: Such as 1h; the archive writes months as 1mo.
        first: First month or day, `2020-01` or `2020-01-15`, by the archive's clock; empty: from the beginning.
        last: Last month or day, included; empty: to the end.
        market: Of Binance spot, um or cm, of Bybit linear; empty: the first of these.
        kind: klines, or of Binance's futures: mark, index, premium.
        source: binance or bybit; see sources.toml.
        archive: Its address. Default: `LAKEHOUSE_ARCHIVE_URL`, else that of the source.
        parallel: How many files at a time.
        dry_run: Only list.
        on_progress: Called with (bytes done, bytes in all), in the caller's thread.

    Returns:
        The account. Files that did not stand up to their witnesses are in `failed`; the others are in raw/.

    Raises:
        InputError: An argument is not usable, or nothing of what was asked for is there: the message says what is.
        ArchiveError: The archive cannot be reached.
    """
    wishes = make_wishes(symbols, intervals, first, last, market, kind, source)
    return _download(lake, wishes, archive, parallel, dry_run, on_progress)


def download_wanted(
    lake: Lake,
    *,
    archive: str = "",
    parallel: int = PARALLEL,
    dry_run: bool = False,
    patient: bool = False,
    on_progress: Progress | None = None,
) -> DownloadReport:
    """Bring what the tables `[[download]]` of raw/download.toml name, as `download` does.

    Args:
        lake: Where to.
        archive: See `download`.
        parallel: See `download`.
        dry_run: See `download`.
        patient: An archive that cannot be reached, or has nothing of all that, is told in `unmet` of the account: at
            night the files that are in raw/ already are to be brought to gold nevertheless.
        on_progress: See `download`.

    Raises:
        InputError: There is no such file, or it cannot be understood.
        ArchiveError: The archive cannot be reached.
    """
    return _download(lake, read_wishes(raw_folder(lake) / WANTED), archive, parallel, dry_run, on_progress, patient)


def raw_folder(lake: Lake) -> Path:
    """The folder raw/ of a lake."""
    if "://" in lake.raw_uri:
        raise InputError(f"download writes into a folder, and {lake.raw_uri} is none; download beside it and copy")
    return Path(lake.raw_uri)


def _download(
    lake: Lake,
    wishes: Sequence[Wish],
    url: str,
    parallel: int,
    dry_run: bool,
    on_progress: Progress | None,
    patient: bool = False,
) -> DownloadReport:
    if parallel < 1:
        raise InputError(f"parallel is {parallel}; expected 1 or more")
    began, raw = time.perf_counter(), raw_folder(lake)
    rows, notes, errors, untouched, met = list[tuple[object, ...]](), list[str](), list[Exception](), 0, 0
    for source in dict.fromkeys(wish.source for wish in wishes):
        own = [wish for wish in wishes if wish.source is source]
        try:
            with Archive(url, source) as archive:
                wanted, told, unmet = _choose_all(archive, own, parallel)
                before = {key: standing(file.entry, raw) for key, file in wanted.items()}
                rows += _bring(archive, wanted, before, raw, parallel, dry_run, on_progress)
        except (ArchiveError, InputError) as error:  # the other archives may be there
            errors.append(error)
            continue
        untouched += sum(was not in ("", PUBLISHED_BROKEN) for was in before.values())
        errors += map(InputError, unmet)
        notes += told
        met += 1
    if errors and not met and not patient:
        raise errors[0]
    files = pl.DataFrame(rows, schema=FILES, orient="row").sort("path")
    unmet = sorted(map(str, errors))
    return DownloadReport(files, untouched, tuple(sorted(notes)), tuple(unmet), time.perf_counter() - began)


def _choose_all(
    archive: Archive, wishes: Sequence[Wish], parallel: int
) -> tuple[dict[str, Published], list[str], list[str]]:
    """The files that meet the wishes, by their keys; what was never published; and the wishes that nothing meets."""
    wanted, notes, unmet = dict[str, Published](), list[str](), list[str]()
    for answer in in_parallel(archive, lambda wish: _try_to_choose(archive, wish), wishes, parallel):
        if isinstance(answer, str):
            unmet.append(answer)
        else:
            wanted |= {file.entry.key: file for file in answer[0]}
            notes += answer[1]
    if unmet and not wanted:
        raise InputError("\n".join(sorted(unmet)))
    return wanted, notes, unmet


def _bring(
    archive: Archive,
    wanted: dict[str, Published],
    before: dict[str, str],
    raw: Path,
    parallel: int,
    dry_run: bool,
    on_progress: Progress | None,
) -> list[tuple[object, ...]]:
    rows = [_row(wanted[key], was, "as at the last time") for key, was in before.items() if was == PUBLISHED_BROKEN]
    todo = [file for key, file in sorted(wanted.items()) if not before[key]]
    if dry_run:
        return rows + [_row(file, TO_FETCH, "") for file in todo]
    for folder in {(raw / key).parent for key in wanted}:
        sweep(folder)
    return rows + _fetch_all(archive, todo, raw, parallel, on_progress)


def _try_to_choose(archive: Archive, wish: Wish) -> tuple[list[Published], list[str]] | str:
    try:
        return choose(archive, wish)
    except InputError as error:  # the other wishes may be met
        return str(error)


def _row(file: Published, verdict: str, note: str) -> tuple[object, ...]:
    return file.entry.key, file.entry.size, file.entry.modified_at, verdict, note


def _fetch_all(
    archive: Archive, todo: Sequence[Published], raw: Path, parallel: int, on_progress: Progress | None
) -> list[tuple[object, ...]]:
    came, total = dict[str, int](), sum(file.entry.size for file in todo)

    def one(file: Published) -> tuple[object, ...]:
        return _row(file, *fetch(archive, file, raw, lambda size: came.__setitem__(file.entry.key, size)))

    def tell() -> None:
        if on_progress:
            on_progress(min(sum(came.copy().values()), total), total)

    rows = list(in_parallel(archive, one, todo, parallel, tell))
    tell()
    return rows
