"""Gold: days made from silver's bars, and weeks and months made from the days."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from lakehouse.contracts import GoldBar, check_rows
from lakehouse.intervals import seconds_in
from lakehouse.lake import Lake
from lakehouse.layers.difference import Computed
from lakehouse.layers.refresh import Compute, Layer, RefreshReport, Workers, refresh
from lakehouse.layers.stretches import Snapshot
from lakehouse.measures import add_up, completeness, fall, fold_prices, in_order

DAY = 86400
BY = ("market", "symbol")
APART = pl.duration(days=31)
COLUMNS = tuple(GoldBar.create_empty().schema)
UNBOUND = ("volume", "vwap", "realised_volatility", "max_drawdown")  # what absurd prices make of them is no number


def refresh_gold(lake: Lake, *, rebuild: bool = False, workers: Workers | None = None) -> list[RefreshReport]:
    """Bring gold/daily up to silver, then gold/weekly and gold/monthly up to the days.

    Args:
        lake: The lake.
        rebuild: Compute everything.
        workers: As of `refresh_silver`.

    Returns:
        What was done to each of the three tables.

    Raises:
        VersionError: There is no silver table yet.
        ConflictError: Other writers won at every attempt.

    Example:
        >>> [report.table for report in refresh_gold(Lake("/data/lake"))]            # doctest: +SKIP
        ['gold/daily', 'gold/weekly', 'gold/monthly']
    """
    layers = [
        Layer((lake.gold,), BY, "open_time", APART, _days),
        Layer((lake.weekly,), BY, "open_time", APART, _periods("1w")),
        Layer((lake.monthly,), BY, "open_time", APART, _periods("1mo")),
    ]
    return [refresh(layer, rebuild=rebuild, workers=workers) for layer in layers]


def make_days(bars: pl.DataFrame) -> pl.DataFrame:
    """Gather bars to days: of each day those of the finest interval that has any.

    Args:
        bars: Rows of silver/candles, whole days, any series.

    Returns:
        Rows of gold/daily; see `contracts.GoldBar`.
    """
    day = pl.col("open_time").dt.truncate("1d")
    whole = DAY % pl.col("_seconds") == 0  # bars of 7 hours would lie across midnight
    fitted = bars.lazy().with_columns(_day=day, _seconds=seconds_in("interval")).filter(whole)
    is_filled, keys = pl.col("is_filled"), [*BY, "_day", "_seconds"]
    # By day, not by series: a month of minutes must not empty the years of hours before it.
    finest = pl.col("_seconds").filter(~is_filled).min().over(*BY, "_day")
    kept = fitted.filter(pl.col("_seconds") == finest).collect().lazy()
    filled = kept.filter(is_filled).group_by(keys).agg(filled=pl.len().cast(pl.Int64))
    path = ("open", "close")
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    known_volume = pl.col("volume").is_not_null()
    quote = pl.when(known_volume).then(pl.coalesce("quote_volume", typical * pl.col("volume")))
    gathered = (
        kept.filter(~is_filled)
        .sort("open_time")
        .with_columns(_fall=fall(*path, over=keys), _quote=quote)
        .group_by(keys, maintain_order=True)
        .agg(
            source=pl.col("interval").first(),
            **fold_prices(),
            volume=add_up("volume"),
            vwap=add_up("_quote") / add_up("volume"),
            trades=_whole_sum("trades"),
            realised_volatility=_root_of_squares("log_return"),
            max_drawdown=pl.col("_fall").max(),
            bars=pl.len().cast(pl.Int64),
            outliers=pl.col("outlier").count().cast(pl.Int64),
        )
    )
    expected = (DAY // pl.col("_seconds")).cast(pl.Int64)
    days = (
        gathered.join(filled, on=keys, how="left")
        .with_columns(*map(_finite, UNBOUND), pl.col("filled").fill_null(0), open_time="_day", expected=expected)
        .with_columns(completeness=completeness(pl.col("bars"), pl.col("expected")))
        .select(COLUMNS)
        .sort(*BY, "open_time")
        .collect()
    )
    return check_rows(GoldBar, days)


def make_periods(days: pl.DataFrame, every: str) -> pl.DataFrame:
    """Gather days to weeks or months.

    Args:
        days: Rows of gold/daily, whole weeks or months, any series.
        every: `1w` or `1mo`.

    Returns:
        Rows of gold/weekly or gold/monthly; see `contracts.GoldBar`. What they expect is what the whole period has of
        the finest source that it met; the draw-down is the larger of the days' own and that of their closes.
    """
    keys = [*BY, "_period"]
    seconds = seconds_in("source")
    length = (pl.col("_period").dt.offset_by(every) - pl.col("_period")).dt.total_days()
    periods = (
        days.lazy()
        .sort(*BY, "open_time")
        .with_columns(_period=pl.col("open_time").dt.truncate(every), _seconds=seconds)
        .with_columns(_fall=fall("open", "close", over=keys), _quote=pl.col("vwap") * pl.col("volume"))
        .group_by(keys, maintain_order=True)
        .agg(
            source=pl.col("source").sort_by("_seconds").first(),
            **fold_prices(),
            volume=add_up("volume"),
            vwap=add_up("_quote") / add_up("volume"),
            trades=_whole_sum("trades"),
            realised_volatility=_root_of_squares("realised_volatility"),
            max_drawdown=pl.max_horizontal(pl.col("_fall").max(), pl.col("max_drawdown").max()),
            expected=pl.col("expected").max(),
            **{name: pl.col(name).sum() for name in ("bars", "filled", "outliers")},
        )
        .with_columns(*map(_finite, UNBOUND), open_time="_period", expected=pl.col("expected") * length)
        .with_columns(completeness=completeness(pl.col("bars"), pl.col("expected")))
        .select(COLUMNS)
        .sort(*BY, "open_time")
        .collect()
    )
    return check_rows(GoldBar, periods)


def _days(source: Snapshot, stretches: pl.DataFrame) -> Computed:
    return _by_period(source, stretches, "1d", make_days)


def _periods(every: str) -> Compute:
    return lambda source, stretches: _by_period(source, stretches, every, lambda days: make_periods(days, every))


def _by_period(
    source: Snapshot, stretches: pl.DataFrame, every: str, make: Callable[[pl.DataFrame], pl.DataFrame]
) -> Computed:
    """Make whole periods anew, all that stretches touch; those of a batch lie further apart than a month."""
    whole = stretches.with_columns(pl.col("begin", "end").dt.truncate(every))
    end = pl.col("end").dt.offset_by(every) - pl.duration(microseconds=1)
    return whole, (make(source.read(whole.with_columns(end=end)).collect()),)


def _whole_sum(name: str) -> pl.Expr:
    """The same of whole numbers, null too where it would be more than an Int64 holds."""
    return pl.when(in_order(pl.col(name).cast(pl.Float64)) < 2**62).then(add_up(name))


def _root_of_squares(name: str) -> pl.Expr:
    return pl.when(pl.col(name).count() > 0).then(in_order(pl.col(name) ** 2).sqrt())


def _finite(name: str) -> pl.Expr:
    """Null what has grown too large for a number, or is none."""
    return pl.when(pl.col(name).is_finite()).then(pl.col(name))
