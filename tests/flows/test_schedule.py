"""A schedule that runs for months, on a real Prefect server with PostgreSQL; what goes wrong is made to go wrong."""

from __future__ import annotations

import datetime as dt
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from klines import hours, place

from lakehouse import Lake
from lakehouse.cli.commands import main
from lakehouse.download import StandIn
from lakehouse.errors import InputError
from lakehouse.flows import Timetable
from lakehouse.flows.notebooks import key_of

EVERY = ("--every", "2m")
LONG = 240.0  # seconds; all of this takes a tenth on a quiet machine
POSTGRES = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
ROOT = Path(__file__).parents[2]
PROGRAMS = [Path(found).parent for found in POSTGRES if found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait[T](look: Callable[[], T], seconds: float = LONG) -> T:
    """Look until there is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.5)
    return found


class Served:
    """A server, a lake, and the process that serves its schedule."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.port = folder, free_port()
        self.lake = Lake(self._root())
        self.told: list[bytes] = []
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAKEHOUSE"))}
        self.env |= {"PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api", "PREFECT_HOME": str(folder / "home")}
        self.env |= {"PREFECT_API_DATABASE_CONNECTION_URL": database, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        self.env |= {"PREFECT_RUNNER_POLL_FREQUENCY": "2", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
        self.client = httpx.Client(timeout=30, trust_env=False)  # one: each reads all certificates
        self.server = self.start_server()
        self.process: subprocess.Popen[bytes] | None = None

    def _root(self) -> Path:
        place(self.folder / "lake", "AAAUSDT_1h.csv", hours(0, 4))
        return self.folder / "lake"

    def start_server(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--host=127.0.0.1"]
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [*command, f"--port={self.port}"], env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        wait(self._answers)
        return self.server

    def _answers(self) -> bool:
        try:
            return self.client.get(f"{self.env['PREFECT_API_URL']}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def serve(self, *options: str, **environment: str) -> None:
        command = [sys.executable, "-m", "lakehouse", "serve", "--root", self.lake.root, *options]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env | environment, stdout=log, stderr=log, start_new_session=True
            )
        registered = self.ask("deployments/filter")
        wait(lambda: self.ask("deployments/filter") != registered)

    def ask(self, path: str, method: str = "POST", **question: Any) -> Any:
        answer = self.client.request(method, f"{self.env['PREFECT_API_URL']}/{path}", json=question)
        return answer.raise_for_status().json() if answer.content else None

    def deployment(self) -> str:
        name, flow = {"any_": [key_of(self.lake.root)]}, {"name": {"any_": ["refresh-lake"]}}
        (found,) = self.ask("deployments/filter", deployments={"name": name}, flows=flow)
        return str(found["id"])

    def run(self, **parameters: object) -> str:
        made = self.ask(f"deployments/{self.deployment()}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def run_at(self, due: dt.datetime) -> str:
        """A run as the schedule has made it."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        return str(self.ask(f"deployments/{self.deployment()}/create_flow_run", state=state)["id"])

    def run_alone(self, **parameters: object) -> str:
        """Begin a run when no other is at work."""
        while True:
            run = self.run(**parameters)
            if (
                wait(lambda run=run: (s := self.state(run)["type"]) not in ("SCHEDULED", "PENDING") and s)
                != "CANCELLED"
            ):  # type: ignore[misc]
                return run

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.ask(f"flow_runs/{run}", "GET")["state"])

    def ended(self, run: str) -> dict[str, Any]:
        return wait(
            lambda: (state := self.state(run))["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") and state
        )

    def of_the_schedule(self, *names: str) -> list[dict[str, Any]]:
        state = {"name": {"any_": list(names)}}
        found = self.ask("flow_runs/filter", flow_runs={"state": state}, sort="EXPECTED_START_TIME_ASC", limit=200)
        return [run for run in found if run["auto_scheduled"]]

    def at_work(self) -> list[int]:
        """The processes of runs."""
        assert self.process
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = [pid for thread in threads for pid in thread.read_text(encoding="utf-8").split()]
        return [int(pid) for pid in found if "prefect" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")]

    def end(self, process: subprocess.Popen[bytes] | None, number: int = signal.SIGTERM) -> None:
        if process and process.poll() is None:
            os.kill(process.pid, number)
            process.wait(60)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    if not PROGRAMS:
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # pytest's own is closed to others
        as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it will not run as root
        if as_other:
            shutil.chown(folder, "postgres")
        port, data = free_port(), ["-D", f"{folder}/db"]
        init = [*as_other, str(PROGRAMS[0] / "initdb"), *data, "-U", "prefect", "-A", "trust"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        control = [*as_other, str(PROGRAMS[0] / "pg_ctl"), *data, "-l", f"{folder}/log", "-w"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd=folder)


@pytest.fixture(scope="module")
def served(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    here = Served(tmp_path_factory.mktemp("served"), database)

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            here.told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver, StandIn() as archive:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        here.env |= {"LAKEHOUSE_NOTIFY_URL": f"http://127.0.0.1:{receiver.server_port}/hook"}
        here.env |= {"LAKEHOUSE_ARCHIVE_URL": archive.url}
        archive.fail("*", "stall", 99)  # a run that is to be killed lasts
        archive.fail("?*", "stall", 99)
        Path(here.lake.root, "raw/download.toml").write_text(
            '[[download]]\nsymbols = ["BTCUSDT"]\nintervals = ["1h"]\n', encoding="utf-8"
        )
        given = "root: str = ''  # the lake\nmark: str = ''  # a file to write"
        cell = nbformat.v4.new_code_cell(given, metadata={"tags": ["parameters"]})
        write = nbformat.v4.new_code_cell("import pathlib; pathlib.Path(mark).touch()")
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell, write], metadata=kernel), here.folder / "small.ipynb")
        try:
            here.serve(*EVERY, "--notebook", str(here.folder / "small.ipynb"), "-p", f"mark={here.folder / 'mark'}")
            yield here
        finally:
            here.end(here.process)
            here.end(here.server)
            here.client.close()
            receiver.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_schedule_runs_for_months(served: Served) -> None:
    """It fires; a run names its lake; unknown parameters are refused; failures are told with their reasons."""
    wait(lambda: served.of_the_schedule("Completed"))
    wait((served.folder / "mark").exists)  # the notebook has followed
    assert served.lake.gold.scan().collect().height == 1
    own = key_of(served.lake.root)
    assert {f"ingest-files-{own}", f"refresh-summary-{own}"} <= {a["key"] for a in served.ask("artifacts/filter")}
    with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
        served.run(rebild=True)
    # A file that does not load: the run fails with its reason, and somebody is told.
    bad = place(Path(served.lake.root), "BBBUSDT_1h.csv", ["<html>"], header=False)
    state = served.ended(served.run_alone())
    assert state["type"] == "FAILED"
    assert "BBBUSDT_1h.csv: HTML" in state["message"]
    wait(lambda: any(b"BBBUSDT_1h.csv: HTML" in told for told in served.told))
    bad.unlink()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_run_that_is_killed_has_crashed_and_another_one_is_not_begun_beside_it(served: Served) -> None:
    run = served.run_alone(download=True)
    beside = served.run()
    wait(lambda: served.state(beside)["type"] == "CANCELLED")
    for pid in served.at_work():
        os.kill(pid, signal.SIGKILL)
    assert served.ended(run)["type"] == "CRASHED"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_server_that_restarts_is_found_again(served: Served) -> None:
    served.end(served.server, signal.SIGKILL)
    time.sleep(5)
    served.start_server()
    assert served.ended(served.run_alone())["type"] == "COMPLETED"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_all_is_killed_then_the_run_has_crashed_and_what_was_missed_is_caught_up_once(served: Served) -> None:
    run = served.run_alone(download=True)
    wait(lambda: any(event["event"] == "prefect.flow-run.heartbeat" for event in _events(served, run)))
    assert served.process
    os.killpg(served.process.pid, signal.SIGKILL)
    served.process.wait()
    state = served.ended(run)
    assert (state["type"], "heartbeats" in state["message"]) == ("CRASHED", True)
    # Its place is free again, at the latest when the lease of what had begun beside it has run out.
    wait(lambda: not any(limit["active_slots"] for limit in served.ask("v2/concurrency_limits/filter", limit=200)), 400)
    # Paused, and the last one due this moment: or a run that the schedule makes meanwhile would be the last.
    served.ask(f"deployments/{served.deployment()}", "PATCH", paused=True)
    missed = [served.run_at(dt.datetime.now(dt.UTC) - dt.timedelta(days=days)) for days in (2, 1, 0)]
    served.serve("--cron", "15 1 * * *")
    state = served.ended(missed[-1])
    assert (state["type"], state["message"]) == ("COMPLETED", None)
    assert [served.state(run)["name"] for run in missed[:-1]] == ["Cancelled", "Cancelled"]


def _events(served: Served, run: str) -> list[dict[str, Any]]:
    since = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    question = {"occurred": {"since": since.isoformat()}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return list(served.ask("events/filter", filter=question)["events"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "when"),
        (["--cron", "nope"], "is no schedule"),
        (["--cron", "1 1 * * *", "--timezone", "Nowhere/Land"], "is no schedule"),
        (["--every", "soon"], "--every is soon"),
        (["--every", "1h", "--cron", "1 1 * * *"], "either cron"),
        (["--every", "1h", "-p", "symbol=A"], "-p is for a notebook"),
    ],
)
def test_a_timetable_that_is_none_is_told(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["serve", *words, "--root", str(tmp_path)])
    assert (stop.value.code, message in capsys.readouterr().err) == (2, True)


def test_the_schedule_says_when(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lake = Lake(tmp_path)
    assert Timetable(lake, cron="15 1 * * *", timezone="Europe/Berlin").schedule.cron == "15 1 * * *"
    assert Timetable(lake, every=dt.timedelta(hours=6)).schedule.interval == dt.timedelta(hours=6)
    with pytest.raises(InputError, match="either cron"):
        _ = Timetable(lake).schedule


def test_no_two_lakes_have_one_key() -> None:
    keys = [key_of(root) for root in ("/a/Lake 1", "/b/Lake 1", "s3://bucket/Lake_1/", "/", "report")]
    assert keys[0].startswith("lake-1-")
    assert len({*keys}) == len(keys)
    assert not [key for key in keys if set(key) - set("abcdefghijklmnopqrstuvwxyz0123456789-")]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_systemd_understands_the_units_of_the_documentation(tmp_path: Path) -> None:
    """Their programs are those that are installed here."""
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    units = re.findall(r"^`/etc/systemd/system/(\S+)`:\n\n```ini\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    files = [tmp_path / name for name, _ in units]
    for file, (_, unit) in zip(files, units, strict=True):
        file.write_text(unit.replace("/opt/lakehouse/.venv/bin", sysconfig.get_path("scripts")), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *files]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert len(units) == 2
    assert not verified.returncode, verified.stderr
    assert not [line for line in verified.stderr.splitlines() if any(file.name in line for file in files)]
