"""All that notebook 03 does, by a person who has only the terminal; and that what is told is what Python tells."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest
from klines import bar, hours, place

from lakehouse import Lake, ingest, refresh_silver
from lakehouse.cli.commands import app, main
from lakehouse.status import versions_since

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hours of a market; then a correction of the hours 1 and 2 that also has a line that is none."""
    root = tmp_path_factory.mktemp("corrected") / "lake"
    place(root, "m/AAAUSDT_1h.csv", hours(0, 4))
    ingest(Lake(root))
    later = [*hours(1, 2, close=11.5), bar(9, volume=-1.0)]
    place(root, "m/AAAUSDT_1h_fix.csv", later, at=9)
    ingest(Lake(root))
    return root


@pytest.fixture
def lake(corrected: Path, tmp_path: Path) -> Path:
    """A copy of that."""
    return Path(shutil.copytree(corrected, tmp_path, dirs_exist_ok=True))


class Call:
    """Runs the command line in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys

    def __call__(self, *args: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, args), "--root", str(self.root)])
        out = self.capsys.readouterr()
        assert int(stop.value.code or 0) == code, out.out + out.err
        return " ".join((out.out + out.err).split())

    def json(self, *args: object) -> dict[str, list[dict[str, object]]]:
        with pytest.raises(SystemExit):
            main([*map(str, args), "--json", "--root", str(self.root)])
        found: dict[str, list[dict[str, object]]] = json.loads(self.capsys.readouterr().out)
        return found


@pytest.fixture
def call(lake: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(lake, capsys)


def test_each_command_says_first_which_lake_is_meant(call: Call) -> None:
    for command in ("versions", "diff", "quarantine", "plan", "status"):
        assert call(command).startswith(f"Lake: {call.root}"), command


def test_a_correction_is_found_undone_and_taken_back(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    told = call.json("versions")["versions"]
    assert [(row["version"], row["inserted"], row["updated"]) for row in told] == [(2, 0, 2), (1, 5, 0), (0, 0, 0)]
    text = call("diff")
    assert "bronze/candles, v1 to v2: 2 updated (m, AAAUSDT, 1h)" in text
    assert "close 10 → 11.5" in text
    assert "m/AAAUSDT_1h_fix.csv:2" in text
    changes = call.json("diff", 1, 2)["changes"]
    assert [(row["change"], row["close_before"], row["close_after"]) for row in changes] == [
        ("updated", 10.0, 11.5)
    ] * 2

    assert "nobody is there to be asked; say --yes" in call("restore", 1, code=2)
    assert "--json needs --yes" in call("restore", 1, "--json", code=2)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    text = call("restore", 1, code=1)
    assert "Would be undone: bronze/candles, v2 back to v1" in text
    assert "close 11.5 → 10" in text
    assert text.endswith("Left as it is.")
    assert Lake(call.root).bronze.version() == 2
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert "bronze/candles is as it was at v1, now as v3" in call("restore", 1)
    assert "no row changed" in call("diff", 1, -1)
    assert "2 updated" in call("again", "*fix*")
    assert "no row changed" in call("diff", 2, -1)


def test_diff_since_goes_back_to_what_was_then(call: Call) -> None:
    lake = Lake(call.root)
    at = lake.bronze.versions().sort("version")["at"]
    assert versions_since(lake.bronze, at[1].isoformat()) == (1, 2)
    assert versions_since(lake.bronze, "7d") == (0, 2)
    assert "v0 to v2: 5 inserted" in call("diff", "--since", "24h")
    assert "since 'yesterday' is no time; write 2024-12-31" in call("diff", "--since", "yesterday", code=2)
    assert "not both" in call("diff", 1, "--since", "7d", code=2)
    assert "bronze/candles has no column" not in call("diff", "--symbol", "AAAUSDT")
    assert "did you mean AAAUSDT" in call("diff", "--symbol", "AAAUSD", code=2)
    assert "bronze/ledger has no column symbol" in call("diff", "--table", "ledger", "--symbol", "AAAUSDT", code=2)


def test_the_last_run_is_all_its_batches(tmp_path: Path) -> None:
    for name in "ABC":
        place(tmp_path, f"{name}AAUSDT_1h.csv", hours(0, 4))
    lake = Lake(tmp_path)
    ingest(lake, batch_bytes=1)
    assert lake.bronze.version() > 1
    assert versions_since(lake.bronze) == (0, lake.bronze.version())


def test_the_quarantine_shows_what_is_still_broken(call: Call) -> None:
    text = call("quarantine")
    assert "m/AAAUSDT_1h_fix.csv:4 volume is negative" in text
    assert [row["_line"] for row in call.json("quarantine", "--reason", "negative")["lines"]] == [4]
    assert "No such line" in call("quarantine", "--file", "other/*")
    place(call.root, "m/AAAUSDT_1h_fix.csv", [*hours(1, 2, close=11.5), bar(9)], at=20)
    call("ingest")
    assert "No such line" in call("quarantine")
    assert "volume is negative" in call("quarantine", "--history")


def test_a_plan_tells_exactly_what_a_run_then_does_and_writes_nothing(call: Call) -> None:
    place(call.root, "m/AAAUSDT_1h_more.csv", [*hours(4, 6, close=12.0), bar(8, volume=-1.0)], at=30)
    before = {path: path.stat().st_mtime_ns for path in call.root.rglob("*")}
    planned = call.json("plan")
    text = call("plan")
    assert "close 10 → 12" in text
    assert "Nothing was written" in text
    assert {path: path.stat().st_mtime_ns for path in call.root.rglob("*")} == before
    done = call.json("ingest")
    counts = ("path", "read", "inserted", "updated", "unchanged", "superseded", "rejected", "status")
    assert [[row[name] for name in counts] for row in planned["files"]] == [
        [row[name] for name in counts] for row in done["files"]
    ]
    told = [{**row, "_ingested_at_after": None} for row in planned["changes"]]
    assert told == [{**row, "_ingested_at_after": None} for row in call.json("diff", -2, -1)["changes"]]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_export_is_the_rows_that_were_asked_for(suffix: str, call: Call, tmp_path: Path) -> None:
    out = tmp_path / f"out.{suffix}"
    call("export", out, "--symbol", "AAAUSDT", "--version", 1)
    read = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
    held = Lake(call.root).bronze.scan(1).sort("open_time").collect()
    assert read["close"].to_list() == held["close"].to_list() == [10.0] * 5
    assert not [name for name in read.columns if name.startswith("_")]
    assert "is there; say --overwrite" in call("export", out, code=2)
    call("export", out, "--overwrite", "--start", "2024-03-01", "--provenance")
    assert "did you mean AAAUSDT" in call("export", tmp_path / "b.csv", "--symbol", "AAAUSD", code=2)
    wanted = ("--table", "quarantine", "--symbol", "AAAUSDT")
    assert "bronze/quarantine has no column symbol" in call("export", tmp_path / "b.csv", *wanted, code=2)
    assert "lies in raw/" in call("export", call.root / "raw" / "b.csv", code=2)
    assert "expected .csv or .parquet" in call("export", tmp_path / "b.xlsx", code=2)


def test_what_is_done_to_a_clone_is_not_done_to_the_lake(call: Call, tmp_path: Path) -> None:
    before = Lake(call.root).bronze.scan().collect().sort("open_time")
    other = Call(tmp_path / "other", call.capsys)
    call("clone", other.root)
    other("restore", 1, "--yes")
    other("care", "--vacuum", "--hours", 0, "--yes")
    place(other.root, "m/AAAUSDT_1h.csv", hours(0, 9, close=13.0), at=40)
    other("ingest")
    assert Lake(other.root).bronze.scan().collect().height == 10
    (then,) = re.findall(r"5 more; `lakehouse (diff \d+ 0)` shows more", other("restore", 0, code=2))
    assert "10 deleted" in other(*then.split())
    assert Lake(call.root).bronze.scan().collect().sort("open_time").equals(before)
    assert Lake(call.root).bronze.scan(1).collect().height == 5
    assert "is there already" in call("clone", other.root, code=2)


def test_care_plans_before_it_does_and_does_what_it_planned(call: Call) -> None:
    place(call.root, "m/AAAUSDT_1h_more.csv", hours(5, 6, close=12.0), at=30)
    ingest(Lake(call.root))
    call("tag", "now")
    lake = Lake(call.root)
    there = sorted(lake.bronze.files()["size_bytes"])
    held = lake.bronze.scan().sort("open_time").collect()
    wanted = ("care", "--table", "bronze", "--vacuum", "--hours", 0, "--keep", -1)
    (plan,) = call.json(*wanted)["plan"]
    old = Path(lake.bronze.at(1).file_uris()[0]).stat().st_size
    assert (plan["version"], plan["files"], plan["size"], plan["joined"], plan["into"]) == (3, 2, sum(there), 2, 1)
    assert (len(plan["removed"]), plan["freed"], plan["lost"], plan["kept"]) == (1, old, [1], [3])  # type: ignore[arg-type]
    assert "unreadable kept" in (text := call(*wanted))
    assert "Kept readable for tags: now" in text
    assert "Nothing was written; the same with --yes does it." in text
    assert lake.bronze.version() == 3
    assert Lake(call.root).bronze.scan(1).collect().height == 5
    (done,) = call.json(*wanted, "--yes")["done"]
    assert (done["files"], done["removed"], done["freed MB"], done["unreadable"]) == (1, 1, old / 1e6, "1")
    assert "vacuum has removed" in call("diff", 1, 2, code=2)
    assert Lake(call.root, at="now").bronze.scan().sort("open_time").collect().equals(held)
    assert lake.bronze.scan().sort("open_time").collect().equals(held)
    assert "Nothing to do." in call(*wanted)


def test_care_says_which_layer_lies_behind_and_would_have_to_be_computed_as_a_whole(call: Call) -> None:
    lake, wanted = Lake(call.root), ("care", "--table", "bronze", "--vacuum", "--hours", 0)
    refresh_silver(lake)
    place(call.root, "m/AAAUSDT_1h.csv", hours(0, 4, close=12.0), at=30)
    ingest(lake)
    told = "silver/candles has yet to go on from v2 of its source, which would go"
    assert told in " ".join(call(*wanted).split())
    refresh_silver(lake)
    assert "has yet to go on" not in call(*wanted)


def test_care_leaves_what_somebody_may_still_read_and_asks_for_the_table_of_a_version(call: Call) -> None:
    call("care", "--vacuum", "--yes")  # an hour has not passed since these files were in use
    assert Lake(call.root).bronze.scan(1).collect().height == 5
    assert "say which with --table" in call("care", "--keep", 1, code=2)
    assert "--hours is -1; expected 0 or more" in call("care", "--hours", -1, code=2)
    assert "--retention-days is 0; expected 1 or more" in call("care", "--retention-days", 0, code=2)


def test_care_gives_all_tables_of_a_lake_another_retention_when_told_to(call: Call) -> None:
    call("care", "--retention-days", 9)
    lake = Lake(call.root)
    periods = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
    kept = {table.name: table.open().metadata().configuration for table in (lake.bronze, lake.ledger, lake.quarantine)}
    assert {conf[period] for conf in kept.values() for period in periods} == {"interval 3650 days"}
    call("care", "--retention-days", 9, "--yes")
    kept = {table.name: table.open().metadata().configuration for table in (lake.bronze, lake.ledger, lake.quarantine)}
    assert {conf[period] for conf in kept.values() for period in periods} == {"interval 9 days"}


def test_a_table_that_is_none_is_said(call: Call) -> None:
    assert "--table is candles; expected one of bronze, quarantine" in call("versions", "--table", "candles", code=2)


def test_notebooks_are_listed_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["notebooks", "--json"])
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)["notebooks"]}
    assert {"00_quick_tour", "report"} <= found.keys()
    assert 'symbol="BTCUSDT"' in found["report"]["parameters"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_batch_is_a_notebook_for_each_combination(call: Call, tmp_path: Path) -> None:
    wanted = ("-p", "symbol=AAAUSDT", "-p", "interval=1h", "--output", tmp_path / "pages")
    call("batch", "report", *wanted)
    (page,) = (tmp_path / "pages").glob("*.html")
    assert page.name.endswith("-AAAUSDT-1h.html")
    assert "did you mean AAAUSDT" in call("batch", "report", "-p", "symbol=AAAUSD", "-p", "interval=1h", code=2)


def test_the_readme_s_table_of_commands_has_each_of_them_and_no_other() -> None:
    """Also each option that stands there is one of that command's."""
    table = README.read_text(encoding="utf-8").partition("## Commands")[2].partition("\n\n`--root`")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `lakehouse ")]
    named = re.findall(r"`lakehouse ([a-z]+)", "\n".join(row.split("|")[1] for row in rows))
    assert sorted(named) == sorted(name for name in app if not name.startswith("-"))
    for row in rows:
        (command,) = re.findall(r"`lakehouse ([a-z]+)", row.split("|")[1])
        known = {name for arg in app[command].assemble_argument_collection() for name in arg.names}
        told = {word for quoted in re.findall(r"`([^`]*)`", row) for word in re.findall(r"(?<!\S)--[a-z-]+", quoted)}
        assert told <= known | {"--port"}, (command, told - known)  # JupyterLab's own


@pytest.mark.parametrize("name", [name for name in app if not name.startswith("-")])
def test_the_help_of_each_command_has_an_example_and_whatever_has_data_gives_it_to_machines(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (stop.value.code or 0, f"For example: lakehouse {name}" in text) == (0, True)
    servers = {"lab", "archive", "serve"}  # they last until Ctrl-C
    assert ("--json" in text) == (name not in servers)


def test_a_tag_names_what_the_tables_are_and_commands_read_it(call: Call) -> None:
    place(call.root, "m/AAAUSDT_1h_more.csv", hours(5, 6, close=12.0), at=30)
    assert "No tag in this lake" in call("tag")
    assert "before-more" in call("tag", "before-more")
    call("ingest")
    assert "v2 to v3: 2 inserted" in call("diff", "--since", "before-more")
    text = call("versions", "--at", "before-more")
    assert text.startswith(f"Lake: {call.root}, as it was at the tag before-more Versions of bronze/candles (3)")
    assert call.json("status", "--at", "before-more")["series"][0]["rows"] == 5
    assert call.json("status")["series"][0]["rows"] == 7
    assert "no tag 'befor' in" in call("versions", "--at", "befor", code=2)
    assert "there is a tag 'before-more' already" in call("tag", "before-more", code=2)
    call("care", "--vacuum", "--hours", 0, "--yes")
    assert call.json("status", "--at", "before-more")["series"][0]["rows"] == 5
    assert "No tag" in call("tag", "before-more", "--remove")
    assert "--remove needs the name" in call("tag", "--remove", code=2)


def test_sql_asks_the_tables_as_they_are_or_as_a_tag_has_them(call: Call, tmp_path: Path) -> None:
    call("tag", "five")
    place(call.root, "m/AAAUSDT_1h_more.csv", hours(5, 6, close=12.0), at=30)
    call("ingest")
    query = "select symbol, count(*) as bars, max(close) as top, min(open_time) as first from bronze group by symbol"
    held = Lake(call.root).bronze.scan().collect()
    (row,) = call.json("sql", query)["rows"]
    assert (row["bars"], row["top"]) == (held.height, held["close"].max()) == (7, 12.0)
    assert row["first"] == "2024-03-01T00:00:00+00:00"
    assert call.json("sql", query, "--at", "five")["rows"][0]["bars"] == 5
    text = call("sql", query)
    assert "AAAUSDT 7 12 2024-03-01 00:00" in text
    assert "No row." in call("sql", "select * from bronze where close > 99")
    assert "… and 6 more" in call("sql", "select * from bronze", "--limit", 1)
    assert "1 │" not in call("sql", "select reasons from quarantine")
    assert "DuckDB says:" in call("sql", "select nonsense from bronze", code=2)
    assert "Not in this lake yet: gold" in call("sql", "select * from gold", code=2)
    assert call("sql", "select * from bronze where false").endswith("No row.")


def test_without_duckdb_sql_says_what_to_install_and_that_is_what_the_package_names(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    text = call("sql", "select 1", code=2)
    engines = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]["engines"]
    assert text.endswith(f"needs DuckDB: uv sync --extra engines, or pip install {' '.join(map(repr, engines))}")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_gate_lets_nothing_through_that_breaks_a_threshold_and_everything_else(call: Call) -> None:
    call("run", "--no-report")
    place(call.root, "m/AAAUSDT_1h_more.csv", hours(15, 16), at=30)  # a hole of ten hours
    limits = ("--min-completeness", "0.9", "--gate", "--no-report")

    def tables() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in call.root.rglob("*")}

    before = tables()
    text = call("run", *limits, code=1)
    assert "m AAAUSDT 1h is 41.17 % complete; at least 90.00 % was asked for" in text
    assert "Nothing was written: --gate" in text
    told = call.json("run", *limits)
    assert (told["written"], len(told["breaches"]), told["files"][0]["inserted"]) == (False, 1, 2)
    assert tables() == before
    assert "run `lakehouse download` first" in call("run", "--gate", "--download", code=2)
    told = call.json("run", "--min-completeness", "0.4", "--gate", "--no-report")
    assert (told["written"], told["breaches"], told["page"], told["files"][0]["inserted"]) == (True, [], None, 2)
    assert told["layers"][0]["table"] == "silver/candles"
    assert Lake(call.root).bronze.scan().collect().height == 7
