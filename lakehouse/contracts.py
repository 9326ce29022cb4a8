"""What a valid row of each table is: columns, units, keys and rules, each said once.

A contract is a `dataframely` schema. The Delta tables take their columns from it, and ingest takes
its rules: a line of a raw file that breaks one is quarantined, and the rule's name is the reason.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from functools import cache

import polars as pl

from lakehouse.errors import ContractError

# Where it finds SQLAlchemy, which Prefect brings, dataframely imports it to write schemas as tables of SQL: that took
# half of the time of `import lakehouse`. So, unless it is there already, it does not find it.
_hidden = sys.modules.setdefault("sqlalchemy", None) is None  # type: ignore[arg-type]
try:
    import dataframely as dy
finally:
    if _hidden:
        del sys.modules["sqlalchemy"]

Contract = dy.Schema

EARLIEST = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
NAME_BYTES = 64  # a name becomes that of a folder, three letters for each odd byte, and 255 is the most

Check = dict[str, Callable[[pl.Expr], pl.Expr]]  # what is wrong with the column → when it is right
ON_THE_EPOCH: Check = {"is off the epoch": lambda time: time.is_between(EARLIEST, LATEST, closed="left")}
NOT_NEGATIVE: Check = {"is negative": lambda amount: amount >= 0}
HIGHEST: Check = {"is below open, low or close": lambda high: high >= pl.max_horizontal("open", "low", "close")}
LOWEST: Check = {"is above open or close": lambda low: low <= pl.min_horizontal("open", "close")}
# No control characters, marks without a width, bytes that are no UTF-8, blanks at an end; nor Hive's word for null.
NO_NAME = r"[\\\pC\p{Zl}\p{Zp}]|^\s|\s$|^__HIVE_DEFAULT_PARTITION__$"
A_NAME: Check = {
    "is no name": lambda name: ~name.str.contains(NO_NAME),
    "is too long": lambda name: name.str.len_bytes() <= NAME_BYTES,
}


def _time(*, nullable: bool = False, alias: str | None = None, check: Check | None = None) -> dy.Datetime:
    return dy.Datetime(time_unit="us", time_zone="UTC", nullable=nullable, alias=alias, check=check)


class Provenance(dy.Schema):
    """Where a row was stated: from any bar one can walk back to the raw line."""

    file = dy.String(alias="_file")  # path below raw/
    line = dy.Int64(alias="_line")  # counted from 1, in the unpacked file
    sha256 = dy.String(alias="_sha256")  # of the file's bytes as they lie in raw/
    modified_at = _time(alias="_modified_at")  # when the file was modified: newer statements win by it
    ingested_at = _time(alias="_ingested_at")  # when the run that wrote the row began its batch


class Bar(dy.Schema):
    """A bar of bronze and silver. Key: market, symbol, interval, open_time. Prices are in the quote asset."""

    market = dy.String(min_length=1, check=A_NAME)  # where it was traded, for example `binance` or `binance-um`
    symbol = dy.String(min_length=1, check=A_NAME)  # for example `BTCUSDT`
    interval = dy.String(min_length=1)  # `1s` to `1mo`
    open_time = _time(check=ON_THE_EPOCH)
    open = dy.Float64()
    high = dy.Float64(check=HIGHEST)
    low = dy.Float64(check=LOWEST)
    close = dy.Float64()
    volume = dy.Float64(nullable=True, check=NOT_NEGATIVE)  # in the base asset
    close_time = _time(nullable=True, check=ON_THE_EPOCH)
    quote_volume = dy.Float64(nullable=True, check=NOT_NEGATIVE)  # in the quote asset
    trades = dy.Int64(nullable=True, check=NOT_NEGATIVE)  # how many
    taker_buy_volume = dy.Float64(nullable=True, check=NOT_NEGATIVE)  # in the base asset
    taker_buy_quote_volume = dy.Float64(nullable=True, check=NOT_NEGATIVE)  # in the quote asset


class Candle(Bar, Provenance):
    """A bar of bronze/candles, as it was stated."""


class Quarantined(dy.Schema):
    """A line that was rejected. Key: _file, _sha256, _line. Fixing the file and running again is the replay."""

    file = dy.String(alias="_file")
    sha256 = dy.String(alias="_sha256")
    line = dy.Int64(alias="_line")
    raw = dy.String()  # the whole line; bytes that are not UTF-8 are written as \xNN
    reasons = dy.List(dy.String())  # every rule that the line broke
    rejected_at = _time()


class Revision(dy.Schema):
    """A file revision that ingest has handled. Key: path, sha256, stated_at, bronze_version.

    A revision stands here once, or once more each time it was rolled back and taken again.

    Law 1: read = inserted + updated + unchanged + superseded + overruled + rejected.
    """

    path = dy.String()  # below raw/
    sha256 = dy.String()  # empty if the file could not be read
    size = dy.Int64()  # bytes
    modified_at = _time()  # what the file system said: the plan compares it
    etag = dy.String(nullable=True)  # what a bucket said: there the plan compares this
    stated_at = _time()  # modified_at, or just after the path's last revision if the clock went back
    layout = dy.String(nullable=True)
    market = dy.String(nullable=True)
    symbol = dy.String(nullable=True)  # null where a file states several
    interval = dy.String(nullable=True)
    first_open_time = _time(nullable=True)
    last_open_time = _time(nullable=True)
    read = dy.Int64()
    inserted = dy.Int64()
    updated = dy.Int64()
    unchanged = dy.Int64()
    superseded = dy.Int64()  # lost against a newer statement that says the same
    overruled = dy.Int64()  # lost against a newer statement that says something else
    rejected = dy.Int64()
    skipped = dy.Int64()  # header, banner and blank lines; not in `read`
    status = dy.String(
        check=lambda c: c.is_in(["loaded", "empty", "failed", "rolled_back", "withdrawing", "withdrawn"])
    )
    error = dy.String(nullable=True)
    note = dy.String(nullable=True)  # what was decided and cannot be proved
    contradicts = dy.Float64(nullable=True)  # the part of the bars it shares with another path on which both disagree
    declared = dy.String(nullable=True)  # what sources.toml said of it, as JSON; null if nobody wrote it down
    read_as = dy.String(nullable=True)  # what the program took it for, as JSON: its layout, columns, clock, scales
    read_by = dy.String(nullable=True)  # a digest of the rules by which it did; null in an older lake
    withdrawn_version = dy.Int64(nullable=True)  # of bronze, after all that it stated was taken back
    bronze_version = dy.Int64(nullable=True)  # the table's version after the file
    run_id = dy.String()
    ingested_at = _time()


class SilverCandle(Bar):
    """A bar of silver/candles: every bar of bronze as it is, and fillings for short gaps."""

    log_return = dy.Float64(nullable=True)  # ln(close / close of the slot before); null after an open gap
    is_filled = dy.Bool()  # nobody stated it: the last price is carried on, nothing was traded
    is_off_grid = dy.Bool()  # it does not open where the grid has a slot
    closes_early = dy.Bool()  # it says that it closes a second or more before its slot ends
    is_unfinished = dy.Bool()  # it was stated before its slot ended
    outlier = dy.String(nullable=True, check=lambda rule: rule.is_in(["wick", "spike"]))  # see `silver.flag_outliers`


class Gap(dy.Schema):
    """Slots of the grid for which bronze has no bar, in silver/gaps. Key: market, symbol, interval, first."""

    market = dy.String()
    symbol = dy.String()
    interval = dy.String()
    first = _time()  # the first slot that is missing
    last = _time()  # the last
    missing = dy.Int64(min=1)  # how many slots
    is_filled = dy.Bool()  # whether silver/candles carries the price over it


class Mismatch(dy.Schema):
    """What a bar of silver says otherwise than all its parts, the bars of the longest finer interval that has them all.

    Key: market, symbol, interval, field, open_time.
    """

    market = dy.String()
    symbol = dy.String()
    interval = dy.String()
    field = dy.String()  # `open` to `taker_buy_quote_volume`
    open_time = _time()
    finer = dy.String()  # the interval of the parts
    stated = dy.Float64()  # what the bar says
    folded = dy.Float64()  # what its parts come to


class GoldBar(dy.Schema):
    """A day, week or month of gold. Key: market, symbol, open_time. Filled bars count for nothing but the price."""

    market = dy.String()
    symbol = dy.String()
    open_time = _time()  # midnight UTC; a week begins on Monday
    source = dy.String()  # the interval of the bars that it is made from: the finest that has any
    open = dy.Float64()
    high = dy.Float64(check=HIGHEST)
    low = dy.Float64(check=LOWEST)
    close = dy.Float64()
    volume = dy.Float64(nullable=True, check=NOT_NEGATIVE)  # in the base asset
    vwap = dy.Float64(
        nullable=True
    )  # quote volume / volume; quote volume may be typical price (h + l + c) / 3 × volume
    trades = dy.Int64(nullable=True, check=NOT_NEGATIVE)
    realised_volatility = dy.Float64(
        nullable=True, min=0
    )  # square root of the sum of squared log returns, not annualised
    max_drawdown = dy.Float64(
        nullable=True, min=0
    )  # the largest fall from the highest close so far, or the first open; 0.1 is 10 %
    bars = dy.Int64(min=1)  # that were stated
    expected = dy.Int64(min=1)  # that a whole day, week or month has
    completeness = dy.Float64(min=0)  # bars / expected
    filled = dy.Int64(min=0)
    outliers = dy.Int64(min=0)


COUNTS = ("read", "inserted", "updated", "unchanged", "superseded", "overruled", "rejected")
PROVENANCE = tuple(Provenance.column_names())


def rules(contract: type[dy.Schema]) -> dict[str, pl.Expr]:
    """What a contract demands of a raw line, each rule under the words that say how a row breaks it.

    Args:
        contract: Its columns' own rules are meant, and what `@dy.rule()` adds; not those of provenance.

    Returns:
        Expressions that are false where a row breaks the rule, for example under "open is missing".
    """
    words = {"nullability": "is missing", "nan": "is not finite", "inf": "is not finite", "min_length": "is empty"}
    found: dict[str, pl.Expr] = {}
    stated = {name: column for name, column in contract.columns().items() if name not in PROVENANCE}
    for name, column in stated.items():
        for rule, holds in column.validation_rules(pl.col(name)).items():
            text = f"{name} {words.get(rule, rule.removeprefix('check__'))}"
            found[text] = found[text] & holds if text in found else holds
    for name, rule in vars(contract).items():
        if hasattr(rule, "validation_fn"):
            found[name.replace("_", " ")] = rule.validation_fn(contract)
    return found


@cache
def name_faults(name: str) -> str:
    """Say what is wrong with a market or a symbol that a whole file has.

    Args:
        name: The market, or the symbol.

    Returns:
        The first of `A_NAME` that it breaks; empty if it is a name.
    """
    faults = (fault for fault, holds in A_NAME.items() if not pl.select(holds(pl.lit(name))).item())
    return next(faults, "" if name else "is empty")


def check_rows(contract: type[dy.Schema], rows: pl.DataFrame) -> pl.DataFrame:
    """Hold rows that are to be written against their contract; what is computed must never break it.

    Args:
        contract: Of the table.
        rows: Its columns.

    Returns:
        The rows.

    Raises:
        ContractError: Some rows break a rule; the message tells which, and shows the first.
    """
    if contract.is_valid(rows):
        return rows
    _, failure = contract.filter(rows)
    counts = ", ".join(f"{rule} ({count:,} rows)" for rule, count in failure.counts().items())
    raise ContractError(f"{contract.__name__}: {counts}; nothing was written. The first: {failure.invalid().row(0)}")
