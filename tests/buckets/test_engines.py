"""Other engines, each with a Delta reader of its own, read every table as Polars does: now, and as it was."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import polars as pl
import pytest
from klines import hours, place
from obstore.store import from_url
from polars.testing import assert_frame_equal

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.cli import main
from lakehouse.lake import Table

TOLD = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "ENDPOINT_URL")
Read = Callable[[str, int], pl.DataFrame]  # a table, a version


def live(url: str, folder: Path) -> list[Table]:
    """Give a lake all that a lake goes through: appends, merges, a restore, small files joined; returns its tables."""

    def bring(name: str, *lines: str) -> None:
        path = place(folder, name, lines)
        if "://" in url:
            obstore.put(from_url(url), f"raw/{name}", path.read_bytes())
        ingest(Lake(url))

    if "://" not in url:
        folder = Path(url)
    bring("BTCUSDT-1h-1.csv", *hours(0, 50), "no,bar")
    lake = Lake(url)
    refresh_silver(lake)
    refresh_gold(lake)
    bring("A%B C/AAB-1h.csv", *hours(0, 5))
    bring("BTCUSDT-1h-2.csv", *hours(48, 60, 11.0))  # updates three bars
    lake.bronze.restore(-3)
    bring("BTCUSDT-1h-3.csv", *hours(61, 70), *hours(74, 90))
    refresh_silver(lake)
    refresh_gold(lake)
    assert (lake.bronze.optimize(), lake.silver.optimize()) == (1, 1)
    return [
        *(lake.bronze, lake.quarantine, lake.conflicts, lake.ledger, lake.silver),
        *(lake.gaps, lake.mismatches, lake.gold, lake.weekly, lake.monthly),
    ]


@pytest.fixture(scope="module")
def lived() -> dict[str, list[Table]]:
    """What both engines read, by where it lies."""
    return {}


@pytest.fixture(params=["folder", "bucket"])
def tables(
    request: pytest.FixtureRequest, lived: dict[str, list[Table]], tmp_path_factory: pytest.TempPathFactory
) -> list[Table]:
    """The tables of such a lake."""
    url = request.getfixturevalue("bucket") if request.param == "bucket" else ""  # puts its keys into the environment
    if request.param not in lived:
        folder = tmp_path_factory.mktemp("lake")
        (folder / "raw").mkdir()
        lived[request.param] = live(url or str(folder), folder)
    return lived[request.param]


def agree(tables: list[Table], read: Read) -> None:
    """Hold all that an engine reads against all that Polars reads."""
    for table in tables:
        for version in sorted({0, 1, table.version() // 2, table.version() - 1, table.version()} - {-1}):
            if version > table.version():
                continue
            ours, theirs = table.scan(version).collect(), read(table.uri, version)
            assert set(ours.columns) == set(theirs.columns)
            theirs = theirs.select(pl.col(name).cast(dtype) for name, dtype in ours.schema.items())
            assert_frame_equal(ours, theirs, check_row_order=False, check_exact=True)
    assert tables[0].scan().collect().height == 51 + 10 + 17


@pytest.mark.slow
def test_duckdb_reads_every_table_as_polars_does(tables: list[Table]) -> None:
    duckdb, extensions = pytest.importorskip("duckdb"), list[Path]()
    for name in ("httpfs", "delta"):
        package = pytest.importorskip(f"duckdb_extension_{name}", reason="uv sync --group services")
        extensions += Path(package.__file__).parent.rglob(f"{name}.duckdb_extension")
    with duckdb.connect() as engine:
        for extension in extensions:
            engine.execute(f"LOAD '{extension}'")
        engine.execute("SET TimeZone = 'UTC'")
        if "://" in tables[0].uri:  # it asks the environment for nothing
            key, secret, region, url = (os.environ[f"AWS_{name}"] for name in TOLD)
            said = f"KEY_ID '{key}', SECRET '{secret}', REGION '{region}', ENDPOINT '{url.removeprefix('http://')}'"
            engine.execute(f"CREATE SECRET (TYPE s3, {said}, URL_STYLE path, USE_SSL false)")

        def read(uri: str, version: int) -> pl.DataFrame:
            return pl.DataFrame(engine.sql(f"FROM delta_scan('{uri}', version = {version})").to_arrow_table())

        agree(tables, read)


@pytest.fixture(scope="module")
def spark() -> Iterator[object]:
    """Spark's API, answered by Sail in this process."""
    sail = pytest.importorskip("pysail.spark", reason="uv sync --group services")
    sql = pytest.importorskip("pyspark.sql", reason="uv sync --group services")
    server = sail.SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "ps1", "", raising=False)  # pyspark takes a program without a file for a doctest
        session = sql.SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        yield session
        session.stop()
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # the client's, of the pandas that comes with it
def test_sail_reads_every_table_as_polars_does(tables: list[Table], spark: object) -> None:
    def read(uri: str, version: int) -> pl.DataFrame:
        frame = spark.read.format("delta").option("versionAsOf", version).load(uri)  # type: ignore[attr-defined]
        return pl.DataFrame(frame.toArrow())

    agree(tables, read)


@pytest.mark.slow
def test_lakehouse_sql_asks_a_lake_in_a_bucket(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("duckdb", reason="uv sync --extra engines")
    obstore.put(from_url(bucket), "raw/A B/AAA-1h.csv", place(tmp_path, "AAA-1h.csv", hours(0, 9)).read_bytes())
    ingest(Lake(bucket))
    query = "select b.market, b.symbol, count(*) bars, any_value(l.path) from bronze b, ledger l group by all"
    with pytest.raises(SystemExit) as end:
        main(["sql", query, "--root", bucket, "--json"])
    out = capsys.readouterr()
    assert not end.value.code, out.err
    assert [list(row.values()) for row in json.loads(out.out)["rows"]] == [["A B", "AAA", 10, "A B/AAA-1h.csv"]]
