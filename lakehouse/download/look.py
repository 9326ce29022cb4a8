"""What the archive has: symbols, intervals, spans. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lakehouse.download.archive import Archive
from lakehouse.download.parallel import PARALLEL, in_parallel
from lakehouse.download.wishes import LENGTHS, Wish, choose, make_wishes, published

SPANS = pl.Schema(
    {"symbol": pl.String, "interval": pl.String, "first": pl.Date, "last": pl.Date}
    | {"monthly": pl.Int64, "daily": pl.Int64, "bytes": pl.Int64}
)


def list_archive(
    symbols: Sequence[str] = (),
    intervals: Sequence[str] = (),
    *,
    market: str = "spot",
    kind: str = "klines",
    archive: str = "",
) -> pl.DataFrame:
    """List what the archive has.

    Args:
        symbols: Which; none: all, by name alone.
        intervals: Which; none: all that a symbol has.
        market: spot, um or cm.
        kind: klines, mark, index or premium.
        archive: Its address. Default: `LAKEHOUSE_ARCHIVE_URL`, else Binance's public archive.

    Returns:
        Without symbols, a column `symbol`. With them a row for each series: the first and last day that a file
        states, how many monthly and daily files there are, and their bytes. Both lengths state the same bars.

    Raises:
        InputError: An argument is not usable, or there is no such symbol.
        ArchiveError: The archive cannot be reached.
    """
    with Archive(archive) as there:
        if not symbols:
            return pl.DataFrame(
                {"symbol": _names(there, make_wishes(["X"], ["1h"], market=market, kind=kind)[0], up=2)}
            )
        wishes = make_wishes(symbols, intervals or ["1h"], market=market, kind=kind)
        if not intervals:
            found = {wish: _names(there, wish, up=1) for wish in wishes}
            for wish in (wish for wish, names in found.items() if not names):
                choose(there, wish)  # says what there is instead
            wishes = [Wish(wish.symbol, name, market, kind) for wish, names in found.items() for name in names]
        rows = list(in_parallel(there, lambda wish: _span(there, wish), wishes, PARALLEL))
    return pl.DataFrame(rows, schema=SPANS, orient="row").sort("symbol", "interval")


def _names(archive: Archive, wish: Wish, up: int) -> list[str]:
    """The folders that lie beside a series' interval (up 1) or symbol (up 2), whatever the length of their files."""
    places = ["/".join(wish.folder(length).split("/")[: -1 - up]) + "/" for length in LENGTHS]
    return sorted({name for place in places for name in archive.folders(place)})


def _span(archive: Archive, wish: Wish) -> tuple[object, ...]:
    monthly, daily = (published(archive, wish, length) for length in LENGTHS)
    if not (files := monthly + daily):
        choose(archive, wish)  # says what there is instead
    first, last = min(file.first for file in files), max(file.last for file in files)
    return wish.symbol, wish.interval, first, last, len(monthly), len(daily), sum(file.entry.size for file in files)
