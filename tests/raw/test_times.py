from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from lakehouse.dataset import Form
from lakehouse.raw.times import TIME_FORMATS, from_epoch, from_text, from_words

NOON = dt.datetime(2024, 3, 14, 12, 30, tzinfo=dt.UTC)
ANY = Form("", ",", ())


def read(word: str, form: Form = ANY, *, own_only: bool = False) -> dt.datetime | None:
    return pl.DataFrame({"word": [word]}).select(from_words(pl.col("word"), form, own_only=own_only)).item()


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (1_710_419_400, NOON),
        (1_710_419_400_000, NOON),
        (1_710_419_400_000_000, NOON),
        (1_710_419_400_000_000_123, NOON),
        (1_710_419_400_999, NOON + dt.timedelta(milliseconds=999)),
        (-631_152_000, dt.datetime(1950, 1, 1, tzinfo=dt.UTC)),
        (100_000_000, dt.datetime(1973, 3, 3, 9, 46, 40, tzinfo=dt.UTC)),
        (99_999_999, None),
        (20_240_314, None),
        (20_240_314_123_000, None),
        (5, None),
        (0, None),
    ],
)
def test_the_unit_of_an_epoch_number_is_told_by_its_size(number: int, moment: dt.datetime | None) -> None:
    assert pl.select(from_epoch(pl.lit(number))).item() == moment


def test_seconds_may_have_decimals() -> None:
    assert read("1710419400.0") == NOON
    assert read("1710419400.123456") == NOON + dt.timedelta(microseconds=123_456)
    assert read("1.7104194e12") == NOON
    assert read("1.71042E+12") is None  # what a spreadsheet leaves of it


@pytest.mark.parametrize(
    "word",
    [
        *("2024-03-14 12:30:00", "2024-03-14 12:30:00.000", "2024-03-14 12:30", "2024-03-14T12:30:00"),
        *("2024-03-14T12:30:00Z", "2024-03-14T12:30:00.000Z", "2024-03-14T12:30", "2024-03-14T12:30Z"),
        *("2024-03-14 12:30:00+00:00", "2024-03-14 14:30:00+02:00", "2024-03-14T07:30:00-05:00"),
        *("2024-03-14 12:30:00+00", "2024-03-14T12:30:00+0000", "2024-03-14 12:30:00 UTC"),
        *("14.03.2024 12:30:00.000", "14.03.2024 13:30:00.000 GMT+0100", "2024.03.14 12:30", "2024.03.14 12:30:00"),
        *("20240314 123000", "20240314123000", "2024/03/14 12:30:00", "2024/03/14 12:30"),
    ],
)
def test_text_times_are_read_in_every_listed_format(word: str) -> None:
    assert read(word) == NOON


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2024-03-14", dt.datetime(2024, 3, 14, tzinfo=dt.UTC)),
        ("20240314", dt.datetime(2024, 3, 14, tzinfo=dt.UTC)),
        ("2024/03/14", dt.datetime(2024, 3, 14, tzinfo=dt.UTC)),
        ("2019-10-17 12-PM", dt.datetime(2019, 10, 17, 12, tzinfo=dt.UTC)),
        ("2019-10-17 12-AM", dt.datetime(2019, 10, 17, 0, tzinfo=dt.UTC)),
        ("2019-10-17 01-PM", dt.datetime(2019, 10, 17, 13, tzinfo=dt.UTC)),
    ],
)
def test_dates_and_half_days_are_read(word: str, moment: dt.datetime) -> None:
    assert read(word) == moment


@pytest.mark.parametrize("word", ["soon", "", "2024-02-30", "03/14/2024", "14/03/2024", "56971-01-01 00:00:00", "5"])
def test_what_is_no_time_or_could_be_two_is_null(word: str) -> None:
    assert read(word) is None


def test_times_without_an_offset_are_of_the_zone_that_is_declared() -> None:
    berlin = Form("", ",", (), time_zone="Europe/Berlin")
    assert read("2024-03-14 13:30:00", berlin) == NOON
    assert read("2024-03-14 12:30:00+00:00", berlin) == NOON
    assert read("1710419400", berlin) == NOON
    assert read("2024-03-31 02:30:00", berlin) is None  # the clocks go forward: there is no such time
    assert read("2024-10-27 02:30:00", berlin) is None  # they go back: there are two


def test_a_format_of_its_own_is_the_only_one_for_the_times_of_the_bars() -> None:
    day_first = Form("", ",", (), time_format="%d/%m/%Y %H:%M")
    assert read("14/03/2024 12:30", day_first, own_only=True) == NOON
    assert read("1710419400", day_first, own_only=True) is None
    assert read("1710419400", day_first) == NOON


def test_hours_may_come_without_minutes() -> None:
    assert pl.select(from_text(pl.lit("2024031412"), "%Y%m%d%H", "UTC")).item() == NOON.replace(minute=0)


def test_no_format_takes_what_an_earlier_one_reads_otherwise() -> None:
    words = pl.Series([NOON.replace(day=4), NOON.replace(year=2011, month=12, day=10, hour=0)])
    for written in TIME_FORMATS:
        text = words.dt.strftime(written.replace("%#z", "%z"))  # %#z is for reading only
        meant = pl.select(from_text(pl.lit(text), written, "UTC")).to_series()
        found = [pl.select(from_text(pl.lit(text), f, "UTC")).to_series() for f in TIME_FORMATS]
        assert meant.null_count() == 0
        assert all(other.is_null().all() or other.equals(meant) for other in found), written
