"""Silver: bronze's bars on a regular grid, short gaps filled, what looks odd flagged. No bar is dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from lakehouse.contracts import Gap, SilverCandle, check_rows
from lakehouse.intervals import seconds_in, seconds_of
from lakehouse.lake import Lake
from lakehouse.layers.difference import Computed
from lakehouse.layers.mismatches import refresh_mismatches
from lakehouse.layers.refresh import Layer, RefreshReport, Workers, refresh
from lakehouse.layers.stretches import Snapshot

SERIES = ("market", "symbol", "interval")
FILL_LIMIT = 3  # slots; longer gaps stay open
NEIGHBOURS = 15  # bars on each side that an outlier is held against
FAR = 1.0  # in natural logarithms: a factor of 2.7
CALM = 2.7  # a factor that is not far, with room for the last digit
RANGES = 10  # how often the usual range of a bar
AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
BARS = ("open_time", "open", "high", "low", "close", *AMOUNTS, "close_time", "_modified_at")
REACH = NEIGHBOURS + 1  # a bar influences what is said of so many bars before and after it
STEP = pl.duration(seconds=seconds_in("interval"))  # how long a bar is; months are taken as 31 days


def refresh_silver(lake: Lake, *, rebuild: bool = False, workers: Workers | None = None) -> RefreshReport:
    """Bring silver/candles and silver/gaps up to bronze, and then silver/mismatches; only what has changed is computed.

    Args:
        lake: The lake.
        rebuild: Compute everything.
        workers: Who is to do it where there is much to do; without them this process.

    Returns:
        What was done to silver/candles. Nothing new in bronze: nothing, and no version.

    Raises:
        VersionError: There is no bronze table yet.
        ConflictError: Other writers won at every attempt.

    Example:
        >>> refresh_silver(Lake("/data/lake")).inserted            # doctest: +SKIP
        2979
    """
    layer = Layer(
        targets=(lake.gaps, lake.silver),
        by=SERIES,
        time="open_time",
        apart=4 * REACH * STEP,
        compute=_compute,
    )
    report = refresh(layer, rebuild=rebuild, workers=workers)
    refresh_mismatches(lake, rebuild=rebuild)
    return report


def _on_grid(bars: pl.DataFrame, interval: str, by: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Candles and gaps, with the columns `by`: of which bars are neighbours of each other."""
    slot, before = pl.col("_slot"), pl.col("_slot").shift().over(by)
    end = slot.dt.offset_by(interval)
    rows = (
        bars.lazy()
        .with_columns(_slot=pl.col("open_time").dt.truncate(interval))
        .with_columns(_before=before, _last=pl.col("close").shift().over(by))
        .with_columns(_missing=_number(slot, interval) - _number(pl.col("_before"), interval) - 1)
        .with_columns(
            log_return=_log_return(pl.col("close"), pl.col("_last")),
            is_filled=pl.lit(False),
            is_off_grid=pl.col("open_time") != slot,
            closes_early=(pl.col("close_time") < end - pl.duration(seconds=1)).fill_null(False),
            is_unfinished=pl.col("_modified_at").is_between(slot, end, closed="left"),
        )
        .pipe(flag_outliers, by)
        .collect()
    )
    holes = rows.filter(pl.col("_missing") > 0)
    gaps = holes.select(
        *dict.fromkeys((*by, *SERIES)),
        first=pl.col("_before").dt.offset_by(interval),
        last=slot.dt.offset_by(f"-{interval}"),
        missing="_missing",
        is_filled=pl.col("_missing") <= FILL_LIMIT,
    )
    return _filled(rows, holes, interval, by), gaps


def flag_outliers(rows: pl.LazyFrame, by: Sequence[str] = SERIES) -> pl.LazyFrame:
    """Name the rule that a bar breaks. Robust: held against medians, which a few wild bars do not move.

    Far is a factor of e, or ten times the median range (ln high / low) of the bars around, if that is more.

    - `spike`: open or close is far from the median close of the 15 bars before and also from that of the 15 after, at
      least three each. A crash is far from what was before, and not from what comes after.
    - `wick`: low or high is far from the bar's own body; a low of 0 or less is.

    Prices that are not positive have no ratio, and are held against nothing else.

    Args:
        rows: `by`, open, high, low, close; sorted by time.
        by: The columns that name a series.

    Returns:
        The rows with `outlier`, null where no rule is broken.
    """
    collected = rows.collect()
    if _are_calm(collected, by):
        return collected.lazy().with_columns(outlier=pl.lit(None, pl.String))
    opened, high, low, close = (_positive(name) for name in ("open", "high", "low", "close"))
    medians = collected.lazy().with_columns(
        _past=close.shift().rolling_median(NEIGHBOURS, min_samples=3).over(by),
        _next=close.reverse().shift().rolling_median(NEIGHBOURS, min_samples=3).reverse().over(by),
        # A median of both sides: the mean would be moved by the very bar that is judged.
        _usual=(high / low).log().rolling_median(2 * NEIGHBOURS + 1, min_samples=1, center=True).over(by),
    )
    far, highest, lowest = pl.col("_far"), pl.max_horizontal(opened, close), pl.min_horizontal("open", "close")
    spikes = [
        ((price / pl.col("_past")).log().abs() > far) & ((price / pl.col("_next")).log().abs() > far)
        for price in (opened, close)
    ]
    fallen = (pl.col("low") <= 0) & (lowest > 0)
    wicks = (high / highest).log() > far, (lowest / low).log() > far, fallen
    rule = pl.when(pl.any_horizontal(spikes)).then(pl.lit("spike")).when(pl.any_horizontal(wicks)).then(pl.lit("wick"))
    return medians.with_columns(_far=pl.max_horizontal(FAR, RANGES * pl.col("_usual"))).with_columns(outlier=rule)


def _are_calm(rows: pl.DataFrame, by: Sequence[str]) -> bool:
    """Whether nothing can be far from anything around it, since all of a series lies within a factor of e.

    A median lies between the least and the most. To look at these takes a tenth of what the medians take.
    """
    body = pl.col("open", "close")
    highest, lowest = pl.max_horizontal(body), pl.min_horizontal(body)
    wide = highest.max() / lowest.min(), (pl.col("high") / highest).max(), (lowest / pl.col("low")).max()
    near = [(one < CALM).fill_null(False) for one in wide]
    return bool(rows.group_by(by).agg(_calm=pl.all_horizontal(pl.col("low").min() > 0, *near))["_calm"].all())


def _positive(name: str) -> pl.Expr:
    return pl.when(pl.col(name) > 0).then(pl.col(name))


def _compute(source: Snapshot, stretches: pl.DataFrame) -> Computed:
    """Compute stretches of any series anew, as far as their changes reach."""
    numbered = stretches.with_row_index("_n")
    bars = _read_around(source, numbered)
    reached = numbered.join(_reach(bars), on="_n", how="left", maintain_order="left").select(
        "_n", *SERIES, begin=pl.coalesce("first", "begin"), end=pl.coalesce("last", "end")
    )
    gaps, candles = [pl.DataFrame(Gap.create_empty())], [pl.DataFrame(SilverCandle.create_empty())]
    for (interval,), rows in bars.partition_by("interval", as_dict=True, maintain_order=True).items():
        on_grid, holes = _on_grid(rows, str(interval), ("_n",))
        candles.append(_inside(on_grid, reached, "open_time").select(candles[0].columns))
        gaps.append(_inside(holes, reached, "first").select(gaps[0].columns))
    return reached.drop("_n"), (check_rows(Gap, pl.concat(gaps)), check_rows(SilverCandle, pl.concat(candles)))


def _reach(bars: pl.DataFrame) -> pl.DataFrame:
    """From which bar to which one each stretch of changes has its say: `REACH` more on both sides."""
    time = pl.col("open_time")
    before, after = time.filter(time < pl.col("begin")), time.filter(time > pl.col("end"))
    start, end = (
        pl.min_horizontal(pl.col("begin").first(), time.first()),
        pl.max_horizontal(pl.col("end").first(), time.last()),
    )
    return bars.group_by("_n").agg(
        first=pl.when(before.len() >= REACH).then(before.get(-REACH, null_on_oob=True)).otherwise(start),
        last=pl.when(after.len() >= REACH).then(after.get(REACH - 1, null_on_oob=True)).otherwise(end),
    )


def _inside(rows: pl.DataFrame, reached: pl.DataFrame, time: str) -> pl.DataFrame:
    """What lies where a stretch has its say. Two of one series may both have it, and then say the same."""
    places = reached.select("_n", "begin", "end")
    if places.height == 1:
        return rows.filter(pl.col(time).is_between(*places.row(0)[1:]))
    kept = rows.join(places, on="_n", maintain_order="left")
    return kept.filter(pl.col(time).is_between(pl.col("begin"), pl.col("end")))


def _read_around(source: Snapshot, stretches: pl.DataFrame) -> pl.DataFrame:
    """Read stretches and, on both sides, twice as many bars as a change reaches; sorted by time."""
    ends = source.ends().rename({"begin": "_first", "end": "_last"})
    waiting, reach = stretches.join(ends, on=SERIES, how="left", maintain_order="left"), 3 * REACH
    bars = list[pl.DataFrame]()
    begin, end, time = pl.col("begin"), pl.col("end"), pl.col("open_time")
    while waiting.height or not bars:
        margin = reach * STEP
        wider = waiting.select("_n", *SERIES, _begin=begin, _end=end, begin=begin - margin, end=end + margin)
        found = source.read(wider).select("_n", *SERIES, *BARS, begin="_begin", end="_end").collect()
        counts = found.group_by("_n").agg(_before=(time < begin).sum(), _after=(time > end).sum())
        counted = waiting.join(counts, on="_n", how="left", maintain_order="left")
        many = [pl.col(name).fill_null(0) >= 2 * REACH for name in ("_before", "_after")]
        enough = (many[0] | (begin - margin <= pl.col("_first"))) & (many[1] | (end + margin >= pl.col("_last")))
        done = enough.fill_null(True)  # bronze has nothing of the series any more
        waiting = counted.filter(~done).select(waiting.columns)
        bars.append(found.filter(~pl.col("_n").is_in(waiting["_n"].implode())) if waiting.height else found)
        reach *= 8  # bars lie far apart here
    found = pl.concat(bars)
    return found if found["open_time"].is_sorted() else found.sort("open_time")


def _number(slot: pl.Expr, interval: str) -> pl.Expr:
    """Number the slots of the grid without a hole."""
    if interval == "1mo":
        return slot.dt.year().cast(pl.Int64) * 12 + slot.dt.month()
    return slot.dt.epoch("us") // (seconds_of(interval) * 10**6)


def _log_return(close: pl.Expr, last: pl.Expr) -> pl.Expr:
    change = (close / last).log()
    return pl.when(pl.col("_missing") <= FILL_LIMIT, close > 0, last > 0, change.is_finite()).then(change)


def _filled(rows: pl.DataFrame, holes: pl.DataFrame, interval: str, by: Sequence[str]) -> pl.DataFrame:
    """Carry the last price over short gaps."""
    schema = SilverCandle.create_empty().schema
    columns = list(dict.fromkeys((*by, *schema)))
    short = holes.filter(pl.col("_missing") <= FILL_LIMIT)
    if short.is_empty():
        return rows.select(columns)
    count, unit = re.fullmatch(r"(\d+)(\w+)", interval).groups()  # type: ignore[union-attr]
    turn = pl.int_ranges(1, pl.col("_missing") + 1).alias("_turn")
    later = pl.col("_before").dt.offset_by(pl.format(f"{{}}{unit}", pl.col("_turn") * int(count)))
    zero = [pl.when(pl.col(n).is_not_null()).then(0).cast(schema[n]).alias(n) for n in schema if n in AMOUNTS]
    fillings = (
        short.with_columns(turn)
        .explode("_turn")
        .select(
            *dict.fromkeys((*by, *SERIES)),
            later.alias("open_time"),
            *(pl.col("_last").alias(name) for name in ("open", "high", "low", "close")),
            *zero,
            close_time=pl.lit(None, schema["close_time"]),
            log_return=pl.when(pl.col("_last") > 0).then(0.0),
            is_filled=pl.lit(True),
            **dict.fromkeys(("is_off_grid", "closes_early", "is_unfinished"), pl.lit(False)),
            outlier=pl.lit(None, pl.String),
        )
    )
    return pl.concat([rows.select(columns), fillings.select(columns)]).sort("open_time", maintain_order=True)
