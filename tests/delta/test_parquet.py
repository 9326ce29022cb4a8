"""Files that are written here say of themselves what deltalake says of the files that it writes."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from lakehouse.delta import Changes, Table, commit, open_store
from lakehouse.delta.parquet import FILE_BYTES, write_files

AT = dt.datetime(2024, 3, 1, 12, 30, 59, 123999, dt.UTC)
ODD = ["A%B C", "a/b=c:d", "ü€", "x'#?*"]
ROWS = pl.DataFrame(
    {
        "symbol": [*ODD, ODD[0]],
        "at": [AT, AT + dt.timedelta(days=1), dt.datetime(1969, 12, 31, 23, 59, 59, 999999, dt.UTC), None, AT],
        "day": [dt.date(2024, 2, 29), dt.date(1950, 1, 1), None, None, dt.date(2024, 2, 28)],
        "close": [1e-9, -2.5, 1e12, None, 1e-10],
        "endless": [1.0, 2.0, float("inf"), 4.0, 5.0],
        "count": [2**60, -1, 0, None, 3],
        "word": ["b" * 64, "", 'quote " and ü', None, "a"],
        "nothing": pl.Series([None] * 5, dtype=pl.Float64),
        "yes": [True, False, None, True, True],
        "reasons": [["x"], [], None, ["a", "b"], ["c"]],
    },
    schema_overrides={"at": pl.Datetime("us", "UTC")},
)


def said(table: DeltaTable) -> dict[str, dict[str, Any]]:
    """By partition value, what the log says of its file."""
    paths = sorted(Path(table.table_uri.removeprefix("file://"), "_delta_log").glob("*.json"))
    log = [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]
    return {add["partitionValues"]["symbol"]: json.loads(add["stats"]) for line in log if (add := line.get("add"))}


def test_the_log_says_of_a_file_what_deltalake_says_of_its_own(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "theirs", ROWS, partition_by=["symbol"])
    ours = Table("own/rows", str(tmp_path / "our rows"), dict(ROWS.schema), ("symbol",), ("symbol",))
    commit(base := ours.open_or_create(), ours.key, Changes(ROWS), guards=["a"])
    theirs, mine = said(DeltaTable(tmp_path / "theirs")), said(base)
    assert mine.keys() == theirs.keys() == {*ODD}
    for value, stats in theirs.items():
        assert mine[value]["numRecords"] == stats["numRecords"]
        least, most = stats["minValues"], stats["maxValues"]
        left_out = {"endless", "reasons", "yes"}
        left_out |= {name for name, said in least.items() if isinstance(said, float) and said == most[name]}
        for bound in ("minValues", "maxValues"):
            known = {name: said for name, said in stats[bound].items() if name not in left_out}
            assert {name: said for name, said in mine[value][bound].items() if name != "endless"} == known
        assert all(mine[value]["nullCount"][n] == stats["nullCount"][n] for n in ("at", "close", "word", "nothing"))
    assert "endless" not in mine[ODD[2]]["maxValues"]  # there is no JSON for it
    order = ("symbol", "count")
    assert ours.scan().sort(order).collect().equals(ROWS.sort(order))
    assert pl.from_arrow(DeltaTable(tmp_path / "our rows").to_pyarrow_table()).height == ROWS.height  # type: ignore[union-attr]


def test_much_is_cut_into_files_of_about_one_size_in_the_order_of_the_rows(tmp_path: Path) -> None:
    many = pl.DataFrame({"symbol": ["A"] * 400_000, "n": range(400_000)}).with_columns(
        pl.col("n").hash(i).alias(f"noise{i}") % 2**40 for i in range(12)
    )
    many = many.with_columns(pl.selectors.unsigned_integer().cast(pl.Int64))
    table = Table("own/rows", str(tmp_path / "rows"), dict(many.schema), ("symbol", "n"), ("symbol",))
    commit(base := table.open_or_create(), table.key, Changes(many), guards=["a"])
    files = table.files().sort("min.n")
    assert files.height > 1
    assert files["size_bytes"].max() < 4 * FILE_BYTES  # type: ignore[operator]
    assert files["size_bytes"].min() > files["size_bytes"].max() * 0.9  # type: ignore[operator]
    assert files["min.n"].to_list() == [0, *(files["max.n"] + 1)][:-1]
    assert table.scan().collect().sort("n").equals(many.sort("n"))
    assert write_files(open_store(base.table_uri), base, many.clear()) == []


def test_whoever_commits_beside_others_stands_at_its_own_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table("own/rows", str(tmp_path / "rows"), {"symbol": pl.String(), "n": pl.Int64()}, ("n",), ("symbol",))
    rows = {name: Changes(pl.DataFrame({"symbol": [name], "n": [1]})) for name in "abc"}
    table.open_or_create()
    mine, theirs = table.open(), table.open()
    advance = DeltaTable.update_incremental

    def late(opened: DeltaTable) -> None:
        """Another comes between my commit and my look at the log."""
        if opened is mine:
            monkeypatch.undo()
            commit(theirs, table.key, rows["b"], guards=["b"])
            commit(theirs, table.key, rows["c"], guards=["c"])
        advance(opened)

    monkeypatch.setattr(DeltaTable, "update_incremental", late)
    assert (commit(mine, table.key, rows["a"], guards=["a"]), mine.version()) == (1, 1)
    assert (theirs.version(), table.version()) == (3, 3)
    assert commit(mine, table.key, rows["a"], guards=["d"]) == 4  # after what it had not seen
