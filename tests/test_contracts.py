from __future__ import annotations

import datetime as dt
import math

import dataframely as dy
import polars as pl
import pytest
from histories import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts import COUNTS, PROVENANCE, Candle, Gap, Quarantined, Revision, check_rows, rules
from lakehouse.errors import ContractError
from lakehouse.recognise.layouts import CANDLES

NOON = dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC)
GOOD = {
    **{"market": "m", "symbol": "AAA", "interval": "1h", "open_time": NOON},
    **{"open": 10.0, "high": 20.0, "low": 5.0, "close": 12.0, "volume": 1.0, "close_time": None},
    **{"quote_volume": None, "trades": 3, "taker_buy_volume": 0.0, "taker_buy_quote_volume": None},
    **{"_file": "a.csv", "_line": 1, "_sha256": "0", "_modified_at": NOON, "_ingested_at": NOON},
}


def broken(**changed: object) -> list[str]:
    """What a bar breaks that is good but for what is changed."""
    row = pl.DataFrame([GOOD | changed], schema=CANDLES.schema)
    judged = row.select(**{reason: rule.fill_null(True) for reason, rule in rules(Candle).items()}).row(0, named=True)
    return [reason for reason, holds in judged.items() if not holds]


def test_a_good_bar_breaks_nothing() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({"open": None}, ["open is missing"]),
        ({"volume": None, "trades": None}, []),
        ({"symbol": ""}, ["symbol is empty"]),
        ({"symbol": "BTC\x00"}, ["symbol is no name"]),
        ({"symbol": "BTC\\XE9"}, ["symbol is no name"]),
        ({"symbol": "BT'C\"%#ü币.1"}, []),
        ({"open_time": None}, ["open_time is missing"]),
        ({"high": math.inf}, ["high is not finite"]),
        ({"volume": math.nan}, ["volume is not finite"]),
        ({"high": 11.0}, ["high is below open, low or close"]),
        ({"low": 11.0}, ["low is above open or close"]),
        ({"open": 10.0, "high": 10.0, "low": 10.0, "close": 10.0, "volume": 0.0}, []),
        ({"volume": -0.5}, ["volume is negative"]),
        ({"trades": -1}, ["trades is negative"]),
        ({"low": 0.06}, []),
        ({"open_time": dt.datetime(1899, 12, 31, tzinfo=dt.UTC)}, ["open_time is off the epoch"]),
        ({"open_time": dt.datetime(1900, 1, 1, tzinfo=dt.UTC)}, []),
        ({"open_time": dt.datetime(2100, 1, 1, tzinfo=dt.UTC)}, ["open_time is off the epoch"]),
        ({"close_time": dt.datetime(2100, 1, 1, tzinfo=dt.UTC)}, ["close_time is off the epoch"]),
    ],
)
def test_each_rule_is_told_in_words(changed: dict[str, object], reasons: list[str]) -> None:
    assert broken(**changed) == reasons


numbers = st.one_of(st.none(), st.sampled_from([0.0, -1.0, 5.0, 10.0, 20.0, math.nan, math.inf, -math.inf]))
changes = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), numbers),
        "trades": st.one_of(st.none(), st.integers(-1, 1)),
        "symbol": st.sampled_from([None, "", "AAA"]),
        "open_time": st.one_of(st.none(), st.datetimes(dt.datetime(1890, 1, 1), timezones=st.just(dt.UTC))),
    },
)


@settings(deadline=None, max_examples=examples(100))
@given(changes)
def test_the_rules_are_what_dataframely_holds_a_row_to(changed: dict[str, object]) -> None:
    row = pl.DataFrame([GOOD | changed], schema=CANDLES.schema)
    assert (broken(**changed) == []) == Candle.is_valid(row)


def test_rules_across_columns_count_too() -> None:
    class Pair(dy.Schema):
        a = dy.Int64()
        b = dy.Int64(nullable=True)

        @dy.rule()
        def a_is_above_b(cls) -> pl.Expr:
            return pl.col("a") <= pl.col("b")

    found = rules(Pair)
    assert list(found) == ["a is missing", "a is above b"]
    rows = pl.DataFrame({"a": [1, 2, 3], "b": [2, 1, None]})
    assert rows.select(found["a is above b"]).to_series().to_list() == [True, False, None]


def test_what_we_say_ourselves_is_no_reason_to_reject_a_line() -> None:
    assert not [reason for reason in rules(Candle) if reason.startswith("_")]
    assert set(PROVENANCE) == {name for name in Candle.column_names() if name.startswith("_")}


def test_times_are_utc_in_microseconds_in_every_table() -> None:
    for contract in (Candle, Quarantined, Revision):
        for name, dtype in contract.create_empty().schema.items():
            if name.endswith(("_at", "_time")):
                assert dtype == pl.Datetime("us", "UTC"), name


def test_the_ledger_keeps_every_count_of_law_1() -> None:
    assert set(COUNTS) <= set(Revision.column_names())


def test_rows_that_break_the_contract_of_a_layer_are_told_by_rule_and_the_first_is_shown() -> None:
    good = {
        "market": "m",
        "symbol": "A",
        "interval": "1h",
        "first": NOON,
        "last": NOON,
        "missing": 1,
        "is_filled": True,
    }
    rows = pl.DataFrame([good, good | {"missing": 0}, good | {"missing": -1}], schema=Gap.create_empty().schema)
    assert check_rows(Gap, rows[:1]).height == 1
    with pytest.raises(
        ContractError, match=r"Gap: missing\|min \(2 rows\); nothing was written. The first: .*, 0, True"
    ):
        check_rows(Gap, rows)
