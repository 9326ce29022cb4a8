"""Law 9: bronze is a function of what stands, whatever was declared, preferred, taken back and restored in between."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from histories import MODIFIED, examples, lines, overlapping_files
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from oracle import Revision, Statement, read_lines
from writers import Writer, deliver, fresh_lake, put

from lakehouse import Lake, ingest, withdraw
from lakehouse.errors import InputError

laws = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))
PATHS = [f"binance/BTCUSDT-1h-{number}.csv" for number in range(4)]
DECLARED: list[dict[str, Any]] = [{}, {}, {"prefer": 1}, {"prefer": 2}, {"symbol": "ETHUSDT"}, {"ignore": True}]


@st.composite
def deeds(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What people do to a lake: files come and change, are declared, taken back, gone; the table is restored."""
    hours = st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True).map(sorted)
    file = st.tuples(st.sampled_from(PATHS), hours, st.integers(0, 2), st.integers(0, 5))
    deed = st.one_of(
        st.tuples(st.just("put"), file),
        st.tuples(st.just("put"), file),
        st.tuples(st.just("declare"), st.tuples(st.sampled_from(PATHS), st.sampled_from(DECLARED))),
        st.tuples(st.just("withdraw"), st.sampled_from(PATHS)),
        st.tuples(st.just("remove"), st.sampled_from(PATHS)),
        st.tuples(st.just("restore"), st.integers(0, 3)),
    )
    return [("put", draw(file)), *draw(st.lists(deed, min_size=2, max_size=8))]


def declare(root: Path, declared: dict[str, dict[str, Any]]) -> None:
    entries = [
        "\n".join(
            ["[[source]]", f'glob = "{path}"', *(f"{name} = {json.dumps(value)}" for name, value in said.items())]
        )
        for path, said in declared.items()
    ]
    (root / "raw" / "sources.toml").write_text("\n".join(entries))


def statements(lake: Lake, declared: dict[str, dict[str, Any]]) -> tuple[list[Any], set[tuple[str, str]]]:
    """What the files that stand and can be read say, by key; and the revisions that stand and cannot be read."""
    known, gone = list[Any](), set[tuple[str, str]]()
    for row in lake.ledger.scan().filter(status="loaded").collect().to_dicts():
        path, at = Path(lake.root, "raw", row["path"]), int(row["stated_at"].timestamp() * 1e6 + 0.5)
        revision = Revision(row["path"], row["sha256"], row["size"], at, at, None)  # type: ignore[arg-type]
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
            gone.add((row["path"], row["sha256"]))
            continue
        said = declared.get(row["path"], {})
        for statement in read_lines(revision, path.read_bytes())[0]:
            key = (said.get("symbol", statement.key[1]), statement.key[3])
            known.append((key, (said.get("prefer", 0), *statement.order), statement))
    return known, gone


def check(lake: Lake, declared: dict[str, dict[str, Any]]) -> None:
    """Each bar is the newest statement of what stands; if a file that stands is gone, it may be one of that instead."""
    known, gone = statements(lake, declared)
    newest: dict[Any, Statement] = {key: said for key, _, said in sorted(known, key=lambda one: one[1])}
    rows = {(r["symbol"], int(r["open_time"].timestamp() * 1e6)): r for r in lake.bronze.scan().collect().to_dicts()}
    names = ["open", "high", "low", "close", "volume"]
    for key, row in rows.items():
        shown = tuple(row[name] for name in names)
        if (row["_file"], row["_sha256"]) in gone:
            continue
        assert shown == newest[key].values[:5], (key, row)
        said = [s for k, _, s in known if k == key and s.values[:5] == shown]
        assert (row["_file"], row["_line"]) in {(s.order[1], s.line) for s in said}
    assert newest.keys() <= rows.keys()
    told = {(k, s.values[:5]) for k, _, s in known}
    held = lake.conflicts.scan().collect().to_dicts() if lake.conflicts.exists() else []
    seen = {((r["symbol"], int(r["open_time"].timestamp() * 1e6)), tuple(r[n] for n in names)) for r in held}
    assert len(seen) == len(held)
    now = {(key, tuple(row[name] for name in names)) for key, row in rows.items()}
    assert not seen & now
    assert told - now <= seen
    if not gone:
        assert seen <= told


def play(history: list[tuple[str, Any]], root: Path) -> None:
    lake, declared = fresh_lake(root, {}), dict[str, dict[str, Any]]()
    for deed, what in history:
        restored = False
        match deed:
            case "put":
                path, hours, salt, late = what
                put(root, path, lines(hours, salt), MODIFIED + late)
            case "declare":
                declared[what[0]] = what[1]
                declare(root, declared)
            case "withdraw":
                try:
                    withdraw(lake, what)
                except InputError:
                    assert not lake.ledger.scan().filter(path=what, status="loaded").collect().height
            case "remove":
                (root / "raw" / what).unlink(missing_ok=True)
            case "restore":
                if lake.bronze.version() > 0:
                    lake.bronze.restore(max(0, lake.bronze.version() - what))
                    restored = True
        if deed == "withdraw" and lake.bronze.exists():
            check(lake, declared)
        again = "*" if restored and any((root / "raw").rglob("*.csv")) else ""
        try:
            ingest(lake, again=again)
        except InputError:  # all files are ignored
            ingest(lake)
        if lake.bronze.exists():
            check(lake, declared)
            before = [table.version() for table in (lake.bronze, lake.ledger, lake.conflicts)]
            ingest(lake)
            assert [table.version() for table in (lake.bronze, lake.ledger, lake.conflicts)] == before


@laws(max_examples=examples(25))
@given(deeds())
@example(
    [
        ("put", (PATHS[3], [0, 1], 2, 5)),
        ("put", (PATHS[0], [0, 1], 0, 0)),
        ("declare", (PATHS[3], {"symbol": "ETHUSDT"})),
        ("put", (PATHS[1], [0, 1], 0, 0)),
        ("restore", 3),  # brings back what file 3 said as BTCUSDT
        ("put", (PATHS[0], [0], 0, 0)),
    ]
)
def test_bronze_is_a_function_of_what_stands(history: list[tuple[str, Any]]) -> None:
    """Law 9, after each step of a history; and a run with nothing new adds no version."""
    with tempfile.TemporaryDirectory() as folder:
        play(history, Path(folder, "lake"))


def state(lake: Lake) -> tuple[Any, ...]:
    """What must not depend on how the lake came to be."""
    names = ["symbol", "open_time", "open", "volume"]
    rows = lake.bronze.scan().select(*names, "_file", "_line").sort("symbol", "open_time").collect().rows()
    said = lake.conflicts.scan().select(names).sort(names).collect().rows() if lake.conflicts.exists() else []
    ledger = lake.ledger.scan().filter(status="loaded").select("path").sort("path").collect().rows()
    return rows, said, ledger


@pytest.mark.slow
def test_a_withdrawal_that_is_killed_at_any_moment_is_ended_by_the_next_run(tmp_path: Path) -> None:
    """Law 6: the ledger says what was begun; the run that follows ends it, or it never was."""
    files, chance, pattern = overlapping_files(), random.Random(9), "*-fixed*"
    whole = fresh_lake(tmp_path / "whole", files)
    ingest(whole)
    before = state(whole)
    began = time.perf_counter()
    withdraw(Lake(shutil.copytree(tmp_path / "whole", tmp_path / "after")), pattern)
    seconds, after = time.perf_counter() - began, state(Lake(tmp_path / "after"))
    kept = {path: file for path, file in files.items() if "-fixed" not in path}
    fresh = fresh_lake(tmp_path / "fresh", kept)
    ingest(fresh)
    assert after == state(fresh)
    kills, ended, coming = 0, set[bool](), Writer()
    while kills < 10 or (len(ended) < 2 and kills < 60):
        root = Path(shutil.copytree(tmp_path / "whole", tmp_path / f"killed-{kills}"))
        with coming as writer:
            writer.ready().begin(root, 0, back=pattern)
            coming = Writer()
            killed = writer.end(chance.uniform(0, seconds)) is None
        kills += killed
        lake = Lake(root)
        ingest(lake)
        assert not lake.ledger.scan().filter(status="withdrawing").collect().height
        found = state(lake)
        assert found in (before, after)
        ended.add(found == after)
        shutil.rmtree(root)
    with coming:
        assert ended == {True, False}


@pytest.mark.slow
def test_a_withdrawal_beside_a_writer_ends_as_one_after_the_other(tmp_path: Path) -> None:
    """Law 7: one process takes files back while another loads files that those confirm and overrule."""
    files = overlapping_files()
    first = {path: file for path, file in files.items() if "-2" not in path}
    rest = {path: file for path, file in files.items() if path not in first}
    fresh = fresh_lake(tmp_path / "fresh", {path: file for path, file in files.items() if "-1-fixed" not in path})
    ingest(fresh)
    lake = fresh_lake(tmp_path / "shared", first)
    ingest(lake)
    with Writer() as one, Writer() as other:
        one.ready(), other.ready()
        deliver(tmp_path / "shared", rest)
        one.begin(tmp_path / "shared", 10_000)
        other.begin(tmp_path / "shared", 0, back="*-1-fixed*")
        assert (one.end(), other.end()) == (0, 0)
    ingest(lake)
    assert state(lake) == state(fresh)


def test_what_rests_on_a_file_that_is_taken_back_meanwhile_is_decided_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 7: a late line loses against a file that confirmed the bar; before it is entered, that one is withdrawn."""
    names = [f"binance/BTCUSDT-1h-{name}.csv" for name in ("a", "late", "z")]
    lake = fresh_lake(tmp_path, {names[0]: (lines([1]), MODIFIED)})
    ingest(lake)
    deliver(tmp_path, {names[2]: (lines([1]), MODIFIED + 9)})
    ingest(lake)
    deliver(tmp_path, {names[1]: (lines([1], salt=7), MODIFIED + 5)})
    module = import_module("lakehouse.bronze.ingest")
    enter = module._write_ledger

    def enter_late(*args: Any) -> Any:
        monkeypatch.setattr(module, "_write_ledger", enter)
        withdraw(Lake(tmp_path), names[2])
        return enter(*args)

    monkeypatch.setattr(module, "_write_ledger", enter_late)
    report = ingest(lake)
    assert (report.updated, report.overruled) == (1, 0)
    assert lake.bronze.scan().collect()["volume"].to_list() == [7.0]
