from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from klines import hours, place

from lakehouse import Lake, ingest, refresh_gold, refresh_silver
from lakehouse.cli.commands import main
from lakehouse.errors import STOPPED, ConflictError, LakeError

ROOT = Path(__file__).parents[2]


def call(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out + out.err


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = call(capsys, "--help")
    assert code == 0
    for word in ("run", "ingest", "status", "sample", "Exit codes"):
        assert word in text


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert call(capsys, "--version") == (0, f"{declared}\n")


@pytest.mark.parametrize("module", ["lakehouse", pytest.param("lakehouse.cli", marks=pytest.mark.slow)])
def test_there_is_a_command_where_nothing_was_installed(module: str, tmp_path: Path) -> None:
    """After `pip install -r requirements.txt`, which installs what the package needs, but not the package."""
    (tmp_path / "raw").mkdir()
    command = [sys.executable, "-m", module, "status", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, str(tmp_path) in done.stdout.replace("\n", "")) == (0, True)
    wrong = subprocess.run([*command[:3], "nonsense"], cwd=ROOT, capture_output=True, check=False)
    assert wrong.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
@pytest.mark.parametrize(
    ("verb", "number"), [("status", signal.SIGINT), ("status", signal.SIGTERM), ("report", signal.SIGINT)]
)
def test_whoever_ends_a_command_while_it_still_imports_is_told_what_stands(
    verb: str, number: signal.Signals, tmp_path: Path
) -> None:
    """Python tells of each import when it is done; of Polars' many the first is far from the last.

    The kernel of a report has been started by then. It holds the pipe too, and would say that its parent has gone.
    """
    command = [sys.executable, "-X", "importtime", "-m", "lakehouse", verb, "--root", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, encoding="utf-8") as run:
        assert run.stderr
        met = next(line for line in run.stderr if "polars" in line)
        run.send_signal(number)
        out, err = run.communicate(timeout=300)
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (run.returncode, out, said) == (128 + number, "", [STOPPED]), met


def test_a_name_that_the_terminal_cannot_show_does_not_end_a_run(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT→1h-1h-2024-03.csv", hours(0, 4))
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}  # as a pipe on Windows
    command = [sys.executable, "-m", "lakehouse", "ingest", "--root", str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, b"AAAUSDT?1h" in done.stdout, b"5 inserted" in done.stdout) == (0, True, True), done


def test_ingest_tells_what_landed_and_then_that_nothing_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    code, text = call(capsys, "ingest", "--root", tmp_path)
    assert (code, "5 lines read = 5 inserted" in text) == (0, True)
    code, text = call(capsys, "ingest", "--root", tmp_path)
    assert (code, "Nothing new" in text) == (0, True)


def test_files_that_did_not_load_are_named_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "BBB.csv", ["<html>"], header=False)
    code, text = call(capsys, "ingest", "--root", tmp_path)
    assert code == 1
    assert "failed BBB.csv: HTML or XML saved as .csv" in text
    assert "5 inserted" in text


def test_json_is_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    _, text = call(capsys, "ingest", "--root", tmp_path, "--json")
    told = json.loads(text)
    assert (told["files"][0]["inserted"], told["files"][0]["path"], told["untouched"]) == (5, "AAAUSDT_1h.csv", 0)
    _, text = call(capsys, "status", "--root", tmp_path, "--json")
    assert json.loads(text)["series"][0]["rows"] == 5


def test_status_shows_tables_and_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    call(capsys, "ingest", "--root", tmp_path)
    code, text = call(capsys, "status", "--root", tmp_path, "--all")
    assert code == 0
    for word in ("bronze/candles", "AAAUSDT", "Last runs"):
        assert word in text


def test_status_fits_a_screen_and_says_first_what_is_wrong_and_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(30):
        place(tmp_path, f"A{number:02}USDT_1h.csv", [*hours(0, 4), f"x{number}"])
        if number in (0, 10, 20):
            call(capsys, "ingest", "--root", tmp_path)
    place(tmp_path, "BBB.csv", ["<html>"], header=False)
    call(capsys, "ingest", "--root", tmp_path)
    place(tmp_path, "LATE_1h.csv", hours(0, 4))
    code, text = call(capsys, "status", "--root", tmp_path)
    lines = text.splitlines()
    assert (code, lines[0], len(lines) <= 50) == (0, f"Lake:   {tmp_path}", True)
    assert max(map(len, lines)) <= 80
    head = " ".join(lines[:8])
    assert "1 file did not load" in head
    assert "1 file waiting, 0.0 MB; `lakehouse run` takes it in" in head
    place(tmp_path, "LATER_1h.csv", hours(0, 4))
    assert "2 files waiting, 0.0 MB; `lakehouse run` takes them in" in call(capsys, "status", "--root", tmp_path)[1]
    (tmp_path / "raw" / "LATER_1h.csv").unlink()
    assert "… and 25 more; `lakehouse status --all` shows them" in text
    (tmp_path / "raw" / "BBB.csv").unlink()
    call(capsys, "ingest", "--root", tmp_path)
    refresh_silver(Lake(tmp_path))
    refresh_gold(Lake(tmp_path))
    assert "Nothing is wrong, and nothing waits." in call(capsys, "status", "--root", tmp_path)[1]


@pytest.mark.usefixtures("prefect_api")
def test_run_goes_from_raw_to_a_page_and_names_what_did_not_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 4))
    code, text = call(capsys, "run", "--root", tmp_path)
    assert (code, "5 lines read = 5 inserted" in text, "silver/candles" in text) == (0, True, True)
    (page,) = tmp_path.glob("runs/*-report/*.html")
    assert page.as_uri() in text.replace("\n", "")
    assert "BBBUSDT 1h" in page.read_text(encoding="utf-8")
    place(tmp_path, "CCC.csv", ["<html>"], header=False)
    code, text = call(capsys, "run", "--root", tmp_path, "--no-report")
    assert (code, "HTML or XML saved as .csv" in text, "Page:" in text) == (1, True, False)


def test_where_nothing_is_new_no_orchestrator_is_started_and_the_same_report_is_not_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setattr("lakehouse.cli.run.load_flow", lambda *_: pytest.fail("a flow was started"))
    (tmp_path / "raw").mkdir()
    code, text = call(capsys, "run")
    assert (code, "holds no file of bars. Put CSV files there" in text) == (0, True)
    place(tmp_path, "BBBUSDT_1h.csv", [*hours(0, 4), *hours(15, 20)])
    lake = Lake(tmp_path)
    ingest(lake)
    refresh_silver(lake)
    refresh_gold(lake)
    made = []

    def execute(name: str, about: dict[str, object], *_: object, **__: object) -> tuple[Path, dict[str, object]]:
        run = tmp_path / "runs" / "20240101T000000-report"
        run.mkdir(parents=True)
        results = {"application/vnd.lakehouse.results+json": {"version": lake.bronze.version()}}
        book = {"metadata": {"papermill": {"parameters": about}}, "cells": [{"outputs": [{"data": results}]}]}
        (run / "report.ipynb").write_text(json.dumps(book))
        made.append((run / "report.html").write_text("<title>a report</title>"))
        return run / "report.html", {}

    monkeypatch.setattr("lakehouse.cli.run.execute", execute)
    code, text = call(capsys, "run")
    assert (code, "Nothing new in" in text, len(made)) == (0, True, 1)
    code, text = call(capsys, "run")
    assert (code, "nothing has changed since" in text, len(made)) == (0, True, 1)
    code, text = call(capsys, "run", "--min-completeness", "0.9")
    assert (code, "52.38 % complete; at least 90.00 % was asked for" in " ".join(text.split())) == (1, True)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # whoever names a server sees each run there
    with pytest.raises(pytest.fail.Exception, match="a flow was started"):
        main(["run"])


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize(
    "error", [LakeError("disk full below silver"), ConflictError("others kept winning"), OSError(28, "no space left")]
)
def test_a_layer_that_cannot_be_written_ends_the_run_in_one_line(
    error: Exception, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lakehouse.flows.lake.refresh_silver", refuse)
    monkeypatch.setattr("lakehouse.flows.lake.silver_task.retries", 0)
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 4))
    code, text = call(capfd, "run", "--root", tmp_path, "--no-report")
    assert (code, text.splitlines()[-1], "Traceback" in text) == (2, f"error: {error}", False)


@pytest.mark.slow
def test_a_notebook_is_executed_on_the_lake_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").mkdir()
    sources = ['root: str = ""\nsymbol: str = ""', "from lakehouse.notebooks import record; record(was=symbol + root)"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, str(tmp_path / "small.ipynb"))
    wanted = ("-p", "symbol=BBBUSDT", "--root", tmp_path, "--output", tmp_path / "out.ipynb")
    code, text = call(capsys, "notebook", tmp_path / "small.ipynb", *wanted)
    said = text.replace("\n", "")
    assert (code, f"was BBBUSDT{tmp_path}" in said, (tmp_path / "out.html").as_uri() in said) == (0, True, True)


def test_a_notebook_that_lies_elsewhere_is_about_the_lake_in_which_it_was_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel begins in its notebook's folder, and would take the lake of that in silence."""
    for name in ("here", "there"):
        (tmp_path / name / "raw").mkdir(parents=True)
    sources = [
        'root: str = ""',
        "from lakehouse import Lake; from lakehouse.notebooks import record; record(was=Lake(root or None).root)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, str(tmp_path / "there" / "small.ipynb"))
    monkeypatch.chdir(tmp_path / "here")
    code, text = call(capsys, "notebook", "../there/small.ipynb", "--output", tmp_path / "out.ipynb")
    here = (tmp_path / "here").as_posix()
    assert (code, text.startswith(f"Lake:   {here}\n"), f"was {here}" in text) == (0, True, True)


@pytest.mark.slow
def test_notebooks_and_the_report_are_executed_on_the_lake_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 4))
    call(capsys, "ingest", "--root", tmp_path)
    wanted = ("--root", tmp_path, "--output", tmp_path / "out.ipynb")
    code, text = call(capsys, "report", "--symbol", "BBBUSDT", *wanted)
    assert (code, "bars 5," in text) == (0, True)
    Lake(tmp_path).tag("five")
    place(tmp_path, "BBBUSDT_1h_more.csv", hours(5, 9), at=9)
    call(capsys, "ingest", "--root", tmp_path)
    code, text = call(capsys, "report", "--symbol", "BBBUSDT", "--at", "five", *wanted)
    assert (code, "bars 5," in text) == (0, True)
    assert "as it was at the tag five" in (tmp_path / "out.html").read_text(encoding="utf-8")
    code, text = call(capsys, "notebook", "02_explore_bronze", "--at", "fiv", *wanted)
    assert (code, "no tag 'fiv' in" in text) == (2, True)
    wanted = (*wanted, "--at", "five")
    code, text = call(capsys, "notebook", "02_explore_bronze", "-p", "symbol=BBBUSDT", *wanted)
    assert (code, "bars 5," in text, (tmp_path / "out.html").exists()) == (0, True, True)
    code, text = call(capsys, "notebook", "00_quick_tour", *wanted)
    assert (code, "notebook '00_quick_tour' has no parameter 'root'" in text) == (2, True)
    code, text = call(capsys, "notebook", "00_quick_tour", "--at", "five")
    assert (code, "notebook '00_quick_tour' has no parameter 'at'" in text) == (2, True)


def test_two_files_that_contradict_each_other_end_in_exit_code_1_unless_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "A_BTCUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "B_BTCUSDT_1h.csv", hours(0, 4, 12.0), at=5)
    code, text = call(capsys, "ingest", "--root", tmp_path)
    assert (code, "two things under one name" in " ".join(text.split())) == (1, True)
    assert call(capsys, "ingest", "--root", tmp_path, "--again", "*", "--max-conflicts", "1")[0] == 0
    code, text = call(capsys, "conflicts", "--root", tmp_path, "--symbol", "BTCUSDT", "--json")
    told = json.loads(text)
    assert (code, told["pairs"][0]["bars"], len(told["bars"])) == (0, 5, 5)
    assert (told["bars"][0]["close"], told["bars"][0]["close_won"]) == (10.0, 12.0)
    assert "close 10, not 12" in call(capsys, "conflicts", "--root", tmp_path)[1]
    code, text = call(capsys, "conflicts", "--symbol", "BTCUSD", "--root", tmp_path)
    assert (code, "did you mean BTCUSDT" in text) == (2, True)


def test_whoever_reads_but_the_beginning_ends_a_command_without_a_word(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    ingest(Lake(tmp_path))
    for more in ([], ["--json"]):
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "lakehouse", "versions", "--root", str(tmp_path), *more]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b""), more


def test_another_pipe_that_breaks_is_an_error_and_no_reader_that_has_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()

    def broken(_lake: Lake) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("lakehouse.cli.run.read_status", broken)
    code, text = call(capsys, "status", "--root", tmp_path)
    assert (code, "error: [Errno 32] Broken pipe" in text) == (2, True)


@pytest.mark.skipif(os.name == "nt", reason="no shell that closes a stream")
def test_a_command_without_any_output_to_write_to_works_all_the_same(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    command = f"exec {sys.executable} -m lakehouse ingest --root {tmp_path} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr, Lake(tmp_path).bronze.scan().collect().height) == (0, b"", 5)


def test_what_is_piped_is_neither_folded_nor_cut_and_what_has_no_room_on_a_screen_comes_row_by_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{'a-long-folder/' * 8}AAAUSDT_1h.csv"
    place(tmp_path, name, hours(0, 4))
    monkeypatch.delenv("COLUMNS", raising=False)
    _, text = call(capsys, "ingest", "--root", tmp_path)
    assert any(line.startswith(f"{name}  ") for line in text.splitlines())
    monkeypatch.setenv("COLUMNS", "80")
    _, text = call(capsys, "sql", "select * from bronze limit 1", "--root", tmp_path)
    assert re.search(r"(?m)^taker buy quote volume  [\d–.]+$", text)
    assert re.search(r"(?m)^open time {15}2024-03-01 00:00$", text)


def test_a_home_that_no_shell_has_told_is_still_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "sample", "~/lake/raw")[0] == 0
    assert call(capsys, "ingest", "--root", "~/lake")[0] == 0
    assert call(capsys, "export", "~/bars.csv", "--root", "~/lake")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars.csv", "lake"]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_the_tab_key_completes_commands_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert call(capsys, "--install-completion", "--shell", "bash")[0] == 0
    (script,) = tmp_path.rglob("completions/lakehouse")
    for words, wanted in (("wi", "withdraw"), ("export --sym", "--symbol")):
        typed = f"COMP_WORDS=(lakehouse {words}); COMP_CWORD={len(words.split())}"
        asked = (
            f"source '{script}'; {typed}; $(complete -p lakehouse | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo $COMPREPLY"
        )
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == wanted, done


def test_a_lake_without_a_file_says_what_to_do_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a lake" / "raw").mkdir(parents=True)
    code, text = call(capsys, "status", "--root", tmp_path / "a lake")
    advice = re.search(r"try `lakehouse (sample .*?)`", text)
    assert (code, bool(advice)) == (0, True)
    assert advice
    assert call(capsys, *shlex.split(advice[1]))[0] == 0
    assert "4 files waiting" in call(capsys, "status", "--root", tmp_path / "a lake")[1]


def test_what_is_withdrawn_is_named_and_what_does_not_stand_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "A_BTCUSDT_1h.csv", hours(0, 4))
    call(capsys, "ingest", "--root", tmp_path)
    code, text = call(capsys, "withdraw", "A*", "--root", tmp_path)
    assert (code, "1 file revision taken back" in " ".join(text.split())) == (0, True)
    assert "Withdrawn" in call(capsys, "status", "--root", tmp_path)[1]
    code, text = call(capsys, "withdraw", "A*", "--root", tmp_path)
    assert (code, "no file that stands in the ledger is like 'A*'" in text) == (2, True)


def test_sample_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--symbol", "AAAUSDT", "--symbol", "BBBUSDT", "--interval", "1d", "--from", "2024-12", "--to", "2025-01")
    code, text = call(capsys, "sample", tmp_path / "raw", *options)
    assert (code, "4 synthetic files" in text) == (0, True)
    assert len(list((tmp_path / "raw").glob("*-1d-*.csv"))) == 4
    assert "do not add up" not in text
    for fine, told in (("4h", False), ("15m", True)):  # of 1d
        _, text = call(capsys, "sample", tmp_path / fine, "--interval", fine, "--interval", "1d", "--to", "2024-11")
        assert ("Bars of 1d and 15m agree at the ends of months alone" in text) == told, fine


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("ingest", "--root", "/no/such/lake"), "no folder /no/such/lake"),
        (("ingest", "--root", "{lake}", "--batch-mb", "0"), "--batch-mb is 0; expected 1 or more"),
        (("ingest", "--root", "{lake}", "--batch-mb", "many"), "unable to convert"),
        (("sample", "{lake}/raw", "--interval", "7m"), "7m"),
        (("frobnicate",), "Unknown command"),
        (("run", "--root", "{lake}", "--batch-mb", "0"), "--batch-mb is 0; expected 1 or more"),
        (("run", "--root", "{lake}", "--max-rejected", "-1"), "--max-rejected is -1.0; expected 0 to 1"),
        (("run", "--root", "{lake}", "--min-completeness", "2"), "--min-completeness is 2.0; expected 0 to 1"),
        (("batch", "00_quick_tour", "--at-once", "0"), "--at-once is 0; expected 1 or more"),
        (("notebook", "00_quick_tour", "-p", "symbol"), "-p symbol tells no value; expected name=value"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_exit_code_is_2(
    args: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    code, text = call(capsys, *[arg.format(lake=tmp_path) for arg in args])
    assert (code, message in text) == (2, True)
