"""Laws 3 to 6 for silver and gold: after any history they equal a full rebuild, and an oracle in plain Python."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import oracle_layers
import polars as pl
import pytest
from deltalake.exceptions import DeltaError
from histories import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from klines import HEADER, START, bar, hours, place
from obstore.exceptions import GenericError
from writers import put

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.delta.table import Table
from lakehouse.errors import LakeError, VersionError

laws = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))
NOW = int(START.timestamp() * 1_000_000)
Row = dict[str, Any]
PRICES = [*[(10.0, 11.0, 9.0, 10.0)] * 4, (10.0, 12.0, 9.5, 11.0), (10.0, 10.0, 0.06, 10.0), (95.0, 96.0, 94.0, 95.0)]
NAMES = ["binance/AAAUSDT-1h-2024-03.csv", "binance/AAAUSDT-1h-2024-04.csv", "kraken/BBBUSDT_1h.csv"]
COARSE = {"binance/AAAUSDT-2h-2024-03.csv": 2, "binance/AAAUSDT-1d-2024-03.csv": 24, "kraken/BBBUSDT_1d.csv": 24}


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A file of hourly or longer bars: a run with holes, somewhere in ten days; sometimes off the grid."""
    name = draw(st.sampled_from([*NAMES, *NAMES, *COARSE]))
    step = COARSE.get(name, 1)
    first, count = draw(st.integers(0, 240 // step)), draw(st.integers(1, 60))
    holes = draw(st.sets(st.integers(first, first + count), max_size=8))
    lines = [HEADER]
    for hour in (step * turn for turn in sorted(set(range(first, first + count)) - holes) or [first]):
        late = draw(st.sampled_from([0] * 15 + [90]))  # seconds
        values = ",".join(map(str, draw(st.sampled_from(PRICES))))
        volume = draw(st.sampled_from(["1", "2.5", "0", ""]))
        lines.append(f"{NOW // 1000 + (hour * 3600 + late) * 1000},{values},{volume}")
    modified = NOW + draw(st.integers(0, 300)) * 3600 * 10**6
    return name, "\n".join([*lines, ""]).encode(), modified


STEPS = st.lists(
    st.one_of(
        files(),
        files(),
        files(),
        st.sampled_from(["silver", "gold", "back", "silver back", "gaps back", "odd back", "tidy"]),
    ),
    min_size=1,
    max_size=9,
)


@contextmanager
def parts_of(rows: int) -> Iterator[None]:
    """Let stretches be cut where a file begins, into parts of so many rows, and each part be committed by itself."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lakehouse.layers.stretches.BATCH_ROWS", rows)
        patched.setattr(import_module("lakehouse.layers.refresh"), "PENDING_ROWS", rows)
        yield


@laws(max_examples=examples(12))
@given(STEPS, st.sampled_from([10, 10**6]))
def test_layers_equal_a_rebuild_after_any_history(history: Sequence[tuple[str, bytes, int] | str], rows: int) -> None:
    """Law 5: files, corrections, gaps filled late, restores and compaction, and refreshes at any moment."""
    with tempfile.TemporaryDirectory() as folder, parts_of(rows):
        (Path(folder) / "raw").mkdir()
        lake = Lake(folder)
        for step in history:
            do(lake, step)
        if not lake.bronze.exists():
            return
        refresh_silver(lake)
        refresh_gold(lake)
        assert_equal_to_the_oracle(lake)
        before = {table.name: rows_of(table) for table in layers(lake)}
        refresh_silver(lake, rebuild=True)
        refresh_gold(lake, rebuild=True)
        for table in layers(lake):
            for ours, rebuilt in zip(rows_of(table), before[table.name], strict=True):
                assert ours == rebuilt


@st.composite
def parts(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A file of bars of one, two or 24 hours in the same four days, nearly without holes."""
    step = draw(st.sampled_from([1, 1, 2, 24]))
    first, end = draw(st.sampled_from([0, 0, 14, 30])) // step, draw(st.sampled_from([40, 56, 72, 96])) // step
    hole, chosen = draw(st.integers(first, 4 * end + 4)), draw(st.sampled_from([PRICES[0], *PRICES[4:6]]))
    values = f"{','.join(map(str, chosen))},{step}"
    places = [turn for turn in range(first, end + 1) if turn != hole]
    lines = [HEADER, *(f"{NOW // 1000 + turn * step * 3600 * 1000},{values}" for turn in places)]
    name = f"binance/AAAUSDT-{'1d' if step == 24 else f'{step}h'}-{draw(st.integers(1, 2))}.csv"
    return name, "\n".join([*lines, ""]).encode(), NOW + draw(st.integers(0, 300)) * 3600 * 10**6


def made(name: str, first: int, last: int, step: int, price: float, at: int) -> tuple[str, bytes, int]:
    lines = [HEADER, *(f"{NOW // 1000 + t * 3600 * 1000},{price},20,5,{price},1" for t in range(first, last, step))]
    return f"binance/AAAUSDT-{name}.csv", "\n".join([*lines, ""]).encode(), NOW + at * 3600 * 10**6


HOURS, DAYS = made("1h-1", 0, 48, 1, 10.0, 1), made("1d-1", 0, 48, 24, 10.0, 1)


@pytest.mark.slow
@laws(max_examples=examples(8))
@example([HOURS, DAYS, made("1h-2", 14, 24, 1, 11.0, 2)])  # a day changes from its middle on
@example([DAYS, HOURS, made("1d-2", 24, 48, 24, 11.0, 2), "back"])
@given(st.lists(st.one_of(parts(), parts(), parts(), st.sampled_from(["back", "odd back"])), min_size=3, max_size=7))
def test_what_does_not_add_up_is_found_in_whatever_order_bars_and_their_parts_come(
    history: Sequence[tuple[str, bytes, int] | str],
) -> None:
    """Law 5, and law 3: a refresh after each step."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw").mkdir()
        lake = Lake(folder)
        for step in history:
            do(lake, step)
            do(lake, "silver")
        if not lake.bronze.exists():
            return
        expected = oracle_layers.mismatches(rows_of(lake.silver))
        assert_rows_equal(rows_of(lake.mismatches), expected)
        found, version = rows_of(lake.mismatches), lake.mismatches.version()
        refresh_silver(lake, rebuild=True)
        assert (rows_of(lake.mismatches), lake.mismatches.version()) == (found, version)


def do(lake: Lake, step: tuple[str, bytes, int] | str) -> None:
    if isinstance(step, tuple):
        put(Path(lake.root), *step)
        ingest(lake)
    elif step == "silver" and lake.bronze.exists():
        refresh_silver(lake)
    elif step == "gold" and lake.silver.exists():
        refresh_gold(lake)
    elif step == "back" and lake.bronze.version() > 1:
        go_back(lake.bronze)
    elif step == "silver back" and lake.silver.exists():
        go_back(lake.silver)
    elif step == "gaps back" and lake.gaps.exists():
        go_back(lake.gaps)
    elif step == "odd back" and lake.mismatches.exists():
        go_back(lake.mismatches)
    elif step == "tidy" and lake.bronze.exists():
        lake.bronze.optimize()
        lake.bronze.vacuum()


def go_back(table: Table) -> None:
    try:
        table.restore(table.version() // 2)
    except VersionError as error:
        assert "vacuum has removed" in str(error)  # nothing was done then


def assert_equal_to_the_oracle(lake: Lake) -> None:
    candles, gaps = oracle_layers.silver(rows_of(lake.bronze))
    assert_rows_equal(rows_of(lake.silver), candles)
    assert rows_of(lake.gaps) == gaps
    assert_rows_equal(rows_of(lake.mismatches), oracle_layers.mismatches(candles))
    assert_rows_equal(rows_of(lake.gold), oracle_layers.daily(candles))


def assert_rows_equal(found: list[Row], expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            same = ours[name] == value
            if isinstance(value, float) and isinstance(ours[name], float):
                same = math.isclose(ours[name], value, rel_tol=1e-12, abs_tol=1e-14)
            assert same, (name, ours, theirs)


def rows_of(table: Table) -> list[Row]:
    return table.scan().sort(table.key).collect().to_dicts() if table.exists() else []


@pytest.fixture(scope="module")
def three_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series over three months, in files of their own, with silver and gold."""
    root = tmp_path_factory.mktemp("three_months") / "lake"
    for month in range(3):
        place(root, f"m/AAAUSDT-1h-{month}.csv", hours(720 * month, 720 * month + 719))
        place(root, f"m/BBBUSDT-1h-{month}.csv", hours(720 * month, 720 * month + 719))
        ingest(Lake(root))
    refresh_silver(Lake(root))
    refresh_gold(Lake(root))
    return root


@pytest.fixture
def lake(three_months: Path, tmp_path: Path) -> Lake:
    """A copy of these."""
    return Lake(shutil.copytree(three_months, tmp_path, dirs_exist_ok=True))


def layers(lake: Lake) -> list[Table]:
    return [lake.silver, lake.gaps, lake.mismatches, lake.gold, lake.weekly, lake.monthly]


def test_a_refresh_with_nothing_new_adds_no_version(lake: Lake) -> None:
    """Law 3."""
    before = [table.version() for table in layers(lake)]
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    assert [table.version() for table in layers(lake)] == before


def test_a_refresh_reads_only_what_the_change_touches(lake: Lake) -> None:
    """Law 4: every Parquet file that lies elsewhere is moved away, and the refresh still succeeds."""
    before = {table.name: table.version() for table in layers(lake)}
    place(
        Path(lake.root), "m/AAAUSDT-1h-1.csv", [*hours(720, 1000), *hours(1001, 1001, 12.0), *hours(1002, 1439)], at=9
    )
    ingest(lake)
    far = [path for path in Path(lake.root).rglob("*.parquet") if "BBBUSDT" in str(path) and "gold" not in path.parts]
    early = lake.bronze.files().filter(pl.col("max.open_time") < START.replace(day=31), symbol="AAAUSDT")
    far += [Path(lake.bronze.uri, path) for path in early["path"]]
    assert len(far) == 5
    for path in far:
        path.rename(path.with_suffix(".away"))
    report = refresh_silver(lake)
    assert (report.inserted, report.updated, report.deleted, report.rebuilt) == (
        0,
        2,
        0,
        "",
    )  # its return, and the next
    assert [r.updated for r in refresh_gold(lake)] == [1, 1, 1]
    after = {table.name: table.version() - before[table.name] for table in layers(lake)}
    assert after == {
        "silver/candles": 1,
        "silver/gaps": 0,
        "silver/mismatches": 1,
        "gold/daily": 1,
        "gold/weekly": 1,
        "gold/monthly": 1,
    }


def test_vacuumed_changes_are_told_and_computed_anew(lake: Lake) -> None:
    place(Path(lake.root), "m/AAAUSDT-1h-1.csv", hours(720, 1439, 12.0), at=9)
    ingest(lake)
    lake.bronze.vacuum()
    report = refresh_silver(lake)
    assert "vacuum has removed" in report.rebuilt
    assert report.updated == 721  # and the return of the bar after them


def test_a_bronze_table_that_was_made_anew_is_noticed(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "bronze").rename(tmp_path / "old")
    for path in (tmp_path / "raw").rglob("*BBB*"):
        path.unlink()
    ingest(lake)
    assert refresh_silver(lake).deleted == 3 * 720


def test_a_killed_refresh_is_healed_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 6: gaps are committed, and candles are not yet."""
    place(Path(lake.root), "m/AAAUSDT-1h-3.csv", hours(2200, 2300), at=9)
    ingest(lake)
    module = import_module("lakehouse.layers.difference")

    commit, calls = module.commit, list[str]()

    def dies(*args: Any, **kwargs: Any) -> int:
        calls.append("")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return commit(*args, **kwargs)

    monkeypatch.setattr(module, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        refresh_silver(lake)
    monkeypatch.setattr(module, "commit", commit)
    refresh_silver(lake)
    refresh_gold(lake)
    assert_equal_to_the_oracle(lake)


def test_each_table_of_a_layer_is_asked_what_it_has_consumed(tmp_path: Path) -> None:
    """Law 5: gaps that are restored by themselves are mended, and not doubled when all is up to date again."""
    place(tmp_path, "m/AAAUSDT-1h.csv", [*hours(0, 49), *hours(60, 99)])
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    lake.gaps.restore(0)
    assert lake.gaps.scan().collect().is_empty()
    report = refresh_silver(lake)
    assert (report.rebuilt, report.changed, report.version) == ("the table was restored", 0, 1)
    assert lake.gaps.scan().collect()["missing"].to_list() == [10]
    assert refresh_silver(lake).rebuilt == ""
    place(tmp_path, "m/AAAUSDT-1h-2.csv", hours(100, 119))
    ingest(lake)
    assert (refresh_silver(lake).rebuilt, lake.gaps.version()) == ("", 3)


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        pytest.param(10**6, 1, id="gaps are ahead", marks=pytest.mark.slow),
        pytest.param(50, 2, id="one part is written"),
    ],
)
def test_what_a_killed_refresh_was_made_from_may_be_undone_before_the_next(
    rows: int, calls: int, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 6: gaps have consumed a version that candles never saw, or some of the candles have."""
    for part in range(3):
        place(Path(lake.root), f"m/AAAUSDT-1h-9{part}.csv", hours(2200 + 90 * part, 2250 + 90 * part), at=9)
        ingest(lake)
    module = import_module("lakehouse.layers.difference")
    commit, left = module.commit, iter(range(calls))

    def dies(*args: Any, **kwargs: Any) -> int:
        if next(left, None) is None:
            raise KeyboardInterrupt
        done: int = commit(*args, **kwargs)
        return done

    with parts_of(rows), monkeypatch.context() as patched:
        patched.setattr(module, "commit", dies)
        with pytest.raises(KeyboardInterrupt):
            refresh_silver(lake)
    lake.bronze.restore(-4)
    refresh_silver(lake)
    refresh_gold(lake)
    assert_equal_to_the_oracle(lake)


@pytest.mark.slow
def test_refreshes_of_a_long_series_at_once_end_as_one(long_series: Lake) -> None:
    """Law 7: each commits part by part, and meets what others have committed in between."""
    with parts_of(50), ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: refresh_silver(Lake(long_series.root)), range(3)))
    refresh_gold(long_series)
    assert_equal_to_the_oracle(long_series)


@pytest.mark.parametrize(
    "error",
    [
        OSError("No space left on device (os error 28)"),
        pytest.param(DeltaError("(os error 30)"), marks=pytest.mark.slow),
        pytest.param(GenericError("(os error 28)"), marks=pytest.mark.slow),
    ],
)
def test_a_layer_that_cannot_be_written_is_our_error(
    error: Exception, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(Path(lake.root), "m/AAAUSDT-1h-3.csv", hours(2200, 2300), at=9)
    ingest(lake)

    def fails(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("lakehouse.delta.commits.write_files", fails)
        with pytest.raises(LakeError, match=r"silver/candles cannot be written: .*make room or mend the permissions"):
            refresh_silver(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    assert_equal_to_the_oracle(lake)


def test_a_file_that_a_vacuum_takes_beside_a_refresh_is_decided_anew(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(Path(lake.root), "m/AAAUSDT-1h-1.csv", hours(720, 1439, 12.0), at=9)
    ingest(lake)
    module = import_module("lakehouse.layers.refresh")
    changed_since = module.changed_since

    def beside_a_vacuum(*args: Any) -> pl.DataFrame:
        lake.bronze.vacuum()
        found: pl.DataFrame = changed_since(*args)
        return found

    monkeypatch.setattr(module, "changed_since", beside_a_vacuum)
    report = refresh_silver(lake)
    assert "vacuum has removed" in report.rebuilt
    assert report.updated == 721


def test_many_series_are_read_and_written_together(tmp_path: Path) -> None:
    """Law 5, and law 4: series of several intervals and holes at once, cut into batches of one file each."""
    for turn in range(6):
        length, name = [("1h", "A"), ("1d", "A"), ("1h", "B"), ("1h", "C"), ("1d", "D"), ("1h", "E")][turn]
        step = 24 if length == "1d" else 1
        place(
            tmp_path, f"m/{name}AAUSDT-{length}.csv", [bar(step * n, 10.0 + turn) for n in range(99) if n % 17 > turn]
        )
    lake = Lake(tmp_path)
    ingest(lake)
    with parts_of(100):
        refresh_silver(lake)
        refresh_gold(lake)
    first = lake.silver.version()
    assert first > 1
    assert_equal_to_the_oracle(lake)
    for name in "ABCE":
        place(tmp_path, f"m/{name}AAUSDT-1h-2.csv", [bar(3, 11.0), bar(50, 95.0), *hours(99, 130)], at=9)
    ingest(lake)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lakehouse.layers.stretches.BATCH_ROWS", 100)
        refresh_silver(lake)
        refresh_gold(lake)
    assert lake.silver.version() == first + 1
    assert_equal_to_the_oracle(lake)


@pytest.fixture(scope="module")
def eight_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files of 50 bars, with a hole at one cut and a wild bar at another."""
    root = tmp_path_factory.mktemp("eight_files") / "lake"
    for part in range(8):
        bars = [bar(hour, 95.0 if hour == 199 else 10.0) for hour in range(50 * part, 50 * part + 50)]
        place(root, f"m/AAAUSDT-1h-{part}.csv", bars[7:] if part == 6 else bars)
        ingest(Lake(root))
    return root


@pytest.fixture
def long_series(eight_files: Path, tmp_path: Path) -> Lake:
    """A copy of these."""
    return Lake(shutil.copytree(eight_files, tmp_path, dirs_exist_ok=True))


def test_a_long_series_is_cut_and_each_part_committed_by_itself(long_series: Lake) -> None:
    """Law 5: rows beside a cut hang on bars beyond it, and are computed with both parts; each is there once."""
    lake = long_series
    with parts_of(50):
        report = refresh_silver(lake)
        days = refresh_gold(lake)[0]
    assert (report.inserted, report.updated, report.deleted) == (400 - 7, 0, 0)
    assert (days.inserted, days.updated) == (17, 0)
    assert lake.silver.version() == 8
    assert_equal_to_the_oracle(lake)
    assert (refresh_silver(lake, rebuild=True).changed, refresh_gold(lake, rebuild=True)[0].changed) == (0, 0)


def test_a_first_time_that_is_killed_between_two_parts_is_done_again_and_no_row_twice(
    long_series: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 6: what was written says that it is unfinished, and the next run goes through all of it."""
    lake = long_series
    module = import_module("lakehouse.layers.refresh")
    write, calls = module.write_difference, list[str]()

    def dies(*args: Any, **kwargs: Any) -> Any:
        calls.append("")
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write(*args, **kwargs)

    with parts_of(50), monkeypatch.context() as patched:
        patched.setattr(module, "write_difference", dies)
        with pytest.raises(KeyboardInterrupt):
            refresh_silver(lake)
    assert 0 < len(rows_of(lake.silver)) < 393
    report = refresh_silver(lake)
    assert report.rebuilt == "the last time was broken off"
    assert 0 < report.inserted < 393
    refresh_gold(lake)
    assert_equal_to_the_oracle(lake)
    assert refresh_silver(lake).rebuilt == ""


@pytest.mark.slow
def test_gold_of_an_older_lake_stays_partitioned_and_is_as_right(lake: Lake) -> None:
    """Law 5: tables that an earlier version of this package has made, each with a folder for each symbol."""
    older = [replace(table, partition=table.key[:-1]) for table in (lake.gaps, lake.gold, lake.weekly, lake.monthly)]
    for table in older:
        shutil.rmtree(table.uri)
        table.open_or_create()
    refresh_silver(lake)
    refresh_gold(lake)
    place(Path(lake.root), "m/AAAUSDT-1h-1.csv", [*hours(720, 1000), *hours(1005, 1439, 12.0)], at=9)
    place(Path(lake.root), "m/AAAUSDT-1h-3.csv", hours(2200, 2300), at=9)
    ingest(lake)
    refresh_silver(lake)
    assert [r.updated > 0 for r in refresh_gold(lake)] == [True, True, True]
    assert lake.gold.diff(-2, -1)["symbol"].unique().to_list() == ["AAAUSDT"]
    assert set(lake.gold.files()["symbol"]) == {"AAAUSDT", "BBBUSDT"}
    assert_equal_to_the_oracle(lake)


def test_a_correction_opens_no_file_of_gold_that_holds_other_symbols(tmp_path: Path) -> None:
    """Law 4: gold has a file for each run, not for each symbol; the log says which symbols lie in it."""
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    for name in ("AAA", "BBB", "CCC"):
        place(tmp_path, f"m/{name}USDT-1h-1.csv", hours(0, 71))
        ingest(lake)
        refresh_silver(lake)
        refresh_gold(lake)
    place(tmp_path, "m/BBBUSDT-1h-2.csv", hours(30, 31, 12.0), at=9)
    ingest(lake)
    for table in (lake.gold, lake.weekly, lake.monthly):
        others = table.files().filter(~((pl.col("min.symbol") <= "BBBUSDT") & (pl.col("max.symbol") >= "BBBUSDT")))
        assert others.height == 2
        for path in others["path"]:
            Path(table.uri, path).rename(Path(table.uri, path).with_suffix(".away"))
    refresh_silver(lake)
    assert [r.updated for r in refresh_gold(lake)] == [1, 1, 1]
