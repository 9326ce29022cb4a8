"""Who is measured: ways from CSV files to a table of bars, each the way its own people would go.

Every side loads all files, does the whole job again, brings in one new file, and one of which five bars were corrected.
A side that keeps no account of files is told which file is new; ours and dlt look for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import batched, pairwise
from pathlib import Path
from time import process_time
from typing import Any

import polars as pl

WHOLE = ("open_time", "close_time", "trades", "ignore")
NAMES = "open_time open high low close volume close_time quote_volume trades taker_buy_volume taker_buy_quote_volume"
SCHEMA = {name: pl.Int64() if name in WHOLE else pl.Float64() for name in (*NAMES.split(), "ignore")}
SYMBOL = "BTCUSDT"

type Files = Sequence[Path]


@dataclass(frozen=True, slots=True)
class Side:
    """A way from CSV files to a table.

    Attributes:
        load: Given the root and all files, make the table, or make it once more.
        upsert: Given the root and some files, bring these in.
        total: Rows of the table, and the sum of their trades.
        needs: Modules that are imported before the clock starts; the side is skipped where one is missing.
        zipped: Whether it reads zips.
        ready: What is started before the clock.
    """

    load: Callable[[Path, Files], object]
    upsert: Callable[[Path, Files], object]
    total: Callable[[Path], tuple[int, int]]
    needs: tuple[str, ...]
    zipped: bool = False
    ready: Callable[[], AbstractContextManager[object]] | None = None

    @property
    def missing(self) -> str:
        """Which module it lacks; empty if it can run."""
        return next((name for name in self.needs if find_spec(name.partition(".")[0]) is None), "")


def parsed(files: Files) -> pl.LazyFrame:
    """The bars of some files, by a schema that is known beforehand."""
    times = [pl.from_epoch(name, "ms").dt.replace_time_zone("UTC") for name in ("open_time", "close_time")]
    if files[0].suffix == ".zip":
        import zipfile  # noqa: PLC0415

        members = [zipfile.ZipFile(file).read(f"{file.stem}.csv") for file in files]
        bars = pl.concat(pl.read_csv(member, has_header=False, schema=SCHEMA) for member in members).lazy()
    else:
        bars = pl.scan_csv(list(files), has_header=False, schema=SCHEMA, include_file_paths="_file")
    return bars.with_columns(*times, symbol=pl.lit(SYMBOL), interval=pl.lit("1m")).drop("ignore")


def summed(bars: pl.LazyFrame) -> tuple[int, int]:
    """Rows, and the sum of their trades."""
    return bars.select(pl.len(), pl.sum("trades")).collect().row(0)


def delta(root: Path) -> tuple[int, int]:
    return summed(pl.scan_delta(str(root / "table")))


# The floor: parse with a known schema and write to Delta. No checks, no provenance, no account, and no upsert.


def floor_load(root: Path, files: Files) -> None:
    parsed(files).sink_delta(str(root / "table"), mode="overwrite")


def floor_upsert(root: Path, files: Files) -> None:
    """Put a month's bars in the place of those that are there; whoever calls knows that a file is a month."""
    bars = parsed(files).collect()
    first, last = bars["open_time"].min(), bars["open_time"].max()
    within = f"open_time >= '{first}' AND open_time <= '{last}'"
    bars.write_delta(str(root / "table"), mode="overwrite", delta_write_options={"predicate": within})


# Ours, without and with Prefect.


def ours(root: Path, _: Files) -> None:
    from lakehouse import Lake, ingest  # noqa: PLC0415

    report = ingest(Lake(root))
    assert report.complete, report.failed


def with_prefect(root: Path, _: Files) -> None:
    from lakehouse.flows import ingest_bronze  # noqa: PLC0415

    assert ingest_bronze(root=str(root)).complete


def prefect_api() -> AbstractContextManager[object]:
    """The embedded API: it is started once for many runs, so that its start is not part of one."""
    from lakehouse.flows.embedded import reached_api  # noqa: PLC0415

    return reached_api()


def our_total(root: Path) -> tuple[int, int]:
    from lakehouse import Lake  # noqa: PLC0415

    return summed(Lake(root).bronze.scan())


# What people would write in an afternoon.


def merge(root: Path, bars: Any) -> None:
    """Upsert by key, as the tutorials of Delta have it."""
    from deltalake import DeltaTable  # noqa: PLC0415

    same = "s.symbol = t.symbol AND s.interval = t.interval AND s.open_time = t.open_time"
    merging = DeltaTable(root / "table").merge(bars, same, source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()


def merge_each(root: Path, files: Files) -> None:
    """One MERGE a file, which is what a loop over new files comes to."""
    for file in files:
        bars = parsed([file]).collect()
        if (root / "table" / "_delta_log").exists():
            merge(root, bars)
        else:
            bars.write_delta(str(root / "table"))


def pandas_bars(files: Files) -> Any:
    import pandas as pd  # noqa: PLC0415

    bars = pd.concat([pd.read_csv(file, header=None, names=list(SCHEMA)) for file in files], ignore_index=True)
    for name in ("open_time", "close_time"):
        bars[name] = pd.to_datetime(bars[name], unit="ms", utc=True).astype("datetime64[us, UTC]")
    return bars.drop(columns="ignore").assign(symbol=SYMBOL, interval="1m")


def pandas_load(root: Path, files: Files) -> None:
    from deltalake import write_deltalake  # noqa: PLC0415

    write_deltalake(root / "table", pandas_bars(files), mode="overwrite")


def pandas_upsert(root: Path, files: Files) -> None:
    merge(root, pandas_bars(files))


# Peers.


def dlt_run(root: Path, _: Files) -> None:
    """A filesystem source that remembers modified times, upserting into Delta; the CSV is parsed by Polars for it."""
    import dlt  # noqa: PLC0415
    from dlt.sources.filesystem import filesystem  # noqa: PLC0415

    @dlt.transformer(
        primary_key="open_time",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        table_format="delta",
        name="bars",
    )
    def read(items: Any) -> Any:
        for item in items:
            text = item.read_bytes()
            bars = pl.read_csv(text, has_header=False, schema=SCHEMA).lazy()
            times = [pl.from_epoch(name, "ms").dt.replace_time_zone("UTC") for name in ("open_time", "close_time")]
            yield bars.with_columns(*times, symbol=pl.lit(SYMBOL)).drop("ignore").collect().to_arrow()

    newer = dlt.sources.incremental("modification_date")
    files = filesystem(bucket_url=(root / "raw").as_uri(), file_glob="**/*.csv", incremental=newer)
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(root / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(root / "dlt").as_uri()),
        dataset_name="lake",
    )
    pipeline.run(files | read)


def dlt_total(root: Path) -> tuple[int, int]:
    return summed(pl.scan_delta(str(root / "dlt" / "lake" / "bars")))


def arctic(root: Path) -> Any:
    from arcticdb import Arctic  # noqa: PLC0415

    return Arctic(f"lmdb://{root / 'arctic'}?map_size=20GB").get_library("bars", create_if_missing=True)


def arctic_bars(files: Files) -> Any:
    return parsed(files).drop("_file", "symbol", "interval").collect().to_pandas().set_index("open_time")


def arctic_load(root: Path, files: Files) -> None:
    arctic(root).write(SYMBOL, arctic_bars(files))


def arctic_upsert(root: Path, files: Files) -> None:
    """Its update puts a stretch of time in the place of what was there."""
    arctic(root).update(SYMBOL, arctic_bars(files))


def arctic_total(root: Path) -> tuple[int, int]:
    bars = arctic(root).read(SYMBOL, columns=["trades"]).data
    return len(bars), int(bars["trades"].sum())


def duckdb_query(files: Files) -> str:
    columns = {name: "BIGINT" if name in WHOLE else "DOUBLE" for name in SCHEMA}
    listed = ", ".join(f"'{file}'" for file in files)
    times = ", ".join(f"make_timestamptz({name} * 1000) AS {name}" for name in ("open_time", "close_time"))
    read = f"read_csv([{listed}], header = false, auto_detect = false, columns = {columns})"
    return f"SELECT * EXCLUDE (ignore) REPLACE ({times}), '{SYMBOL}' AS symbol, '1m' AS interval FROM {read}"


def parquet_load(root: Path, files: Files) -> None:
    """A Parquet file for each CSV file: a month that comes again takes the place of its own."""
    import duckdb  # noqa: PLC0415

    (root / "parquet").mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        for file in files:
            connection.execute(f"COPY ({duckdb_query([file])}) TO '{root / 'parquet' / file.stem}.parquet'")


def parquet_total(root: Path) -> tuple[int, int]:
    return summed(pl.scan_parquet(root / "parquet" / "*.parquet"))


def ducklake(root: Path) -> Any:
    import duckdb  # noqa: PLC0415
    import duckdb_extension_ducklake as extension  # noqa: PLC0415

    (binary,) = Path(extension.__file__).parent.rglob("ducklake.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{binary}'")
    connection.execute(f"ATTACH 'ducklake:{root / 'lake.ducklake'}' AS lake (DATA_PATH '{root / 'ducklake'}')")
    return connection


def ducklake_load(root: Path, files: Files) -> None:
    with ducklake(root) as connection:
        connection.execute(f"CREATE OR REPLACE TABLE lake.bars AS {duckdb_query(files)}")


def ducklake_upsert(root: Path, files: Files) -> None:
    same = "s.symbol = t.symbol AND s.interval = t.interval AND s.open_time = t.open_time"
    then = "WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT"
    with ducklake(root) as connection:
        connection.execute(f"MERGE INTO lake.bars AS t USING ({duckdb_query(files)}) AS s ON {same} {then}")


def ducklake_total(root: Path) -> tuple[int, int]:
    with ducklake(root) as connection:
        rows, trades = connection.execute("SELECT count(*), sum(trades) FROM lake.bars").fetchone()
    return rows, int(trades)


SIDES = {
    "floor": Side(floor_load, floor_upsert, delta, ("deltalake",), zipped=True),
    "ours": Side(ours, ours, our_total, ("lakehouse.bronze",), zipped=True),
    "ours, Prefect": Side(with_prefect, with_prefect, our_total, ("lakehouse.flows",), zipped=True, ready=prefect_api),
    "pandas to Delta": Side(pandas_load, pandas_upsert, delta, ("pandas", "deltalake"), zipped=True),
    "loop of MERGEs": Side(merge_each, merge_each, delta, ("deltalake",), zipped=True),
    "DuckDB to Parquet": Side(parquet_load, parquet_load, parquet_total, ("duckdb",)),
    "DuckLake": Side(ducklake_load, ducklake_upsert, ducklake_total, ("duckdb", "duckdb_extension_ducklake")),
    "ArcticDB": Side(arctic_load, arctic_upsert, arctic_total, ("arcticdb", "pandas")),
    "dlt to Delta": Side(dlt_run, dlt_run, dlt_total, ("dlt.sources.filesystem", "deltalake")),
}


# What this machine can do at the most: each byte is parsed, hashed, counted, and its bars are written, once.


def four_steps(root: Path, files: Files) -> dict[str, float]:
    """CPU seconds of each step alone."""
    import hashlib  # noqa: PLC0415

    from deltalake import write_deltalake  # noqa: PLC0415

    from lakehouse.delta.parquet import WRITER  # noqa: PLC0415

    spent = dict.fromkeys(("parse", "sha256", "count lines", "write"), 0.0)
    for some in batched(files, 8):
        texts, at = [file.read_bytes() for file in some], [process_time()]
        bars = [pl.read_csv(text, has_header=False, schema=SCHEMA) for text in texts]
        at.append(process_time())
        for text in texts:
            hashlib.sha256(text).digest()
        at.append(process_time())
        for text in texts:
            text.count(b"\n")
        at.append(process_time())
        write_deltalake(root / "limit", pl.concat(bars), mode="append", writer_properties=WRITER)
        at.append(process_time())
        for step, (begin, end) in zip(spent, pairwise(at), strict=True):
            spent[step] += end - begin
    return spent
