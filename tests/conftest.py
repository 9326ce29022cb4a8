from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import histories
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# By default these have one worker to themselves: of the others none imports Prefect, which takes seconds.
PREFECT = ("tests/flows/", "cli/test_commands", "test_cluster", "test_nightly", "test_house")
LONGEST = (
    "flows/test_schedule",
    "test_cluster",
    "test_browser.py",
    "flows/",
    "solutions_pass",
    "test_laws.py",
    "test_laws_of",
    "notebooks/test_run.py",
)
# Else each of the eighty processes that tests start would compile the package anew, and each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Prefect reads it when the first test module imports it, which is before ours do; a busy machine takes more than 20.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
# Where the address of the one API of all workers is to be read; each of its own would cost 17 s of the processor.
SHARED = "LAKEHOUSE_TESTS_API"
HOLDER = """
import sys
from pathlib import Path
from lakehouse.flows.embedded import reached_api
with reached_api() as url:
    (part := Path(sys.argv[1] + ".part")).write_text(url, encoding="utf-8")
    part.replace(sys.argv[1])
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def shared_api() -> str:
    """The address of the API of all workers, where there is one; kernels find it in the environment."""
    if shared := os.environ.get(SHARED):
        os.environ["PREFECT_API_URL"] = _read_address(Path(shared))
    return os.environ["PREFECT_API_URL"] if shared else ""


@pytest.fixture(scope="session")
def prefect_api(shared_api: str) -> Iterator[str]:
    """An embedded API for the whole session and for the notebooks' kernels; its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
        from prefect.events.worker import EventsWorker  # noqa: PLC0415
        from prefect.settings import (  # noqa: PLC0415
            PREFECT_LOGGING_TO_API_ENABLED,
            get_current_settings,
            temporary_settings,
        )

        from lakehouse.flows.embedded import reached_api  # noqa: PLC0415  Prefect takes seconds to import

        if shared_api:
            get_current_settings().api.url = shared_api
        with reached_api() as url, temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield url
            EventsWorker.drain_all(timeout=10)  # or it calls on the server for a minute after its end


def _read_address(place: Path) -> str:
    end = time.monotonic() + 300
    while not place.exists():
        assert time.monotonic() < end, "the embedded API of all workers did not come up"
        time.sleep(0.1)
    return place.read_text(encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Before there are workers: start the API that they share, which ends with this process, however that ends.

    Only for the tests that run by default: slow ones look into the home of their own, and load it more.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.markexpr != "not slow":
        return
    folder = tempfile.TemporaryDirectory(prefix="lakehouse-tests-")
    os.environ[SHARED] = str(Path(folder.name, "address"))
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", HOLDER, os.environ[SHARED]]
    holder = subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, env=os.environ | {"PREFECT_LOGGING_LEVEL": "WARNING"}
    )
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(holder.wait)
    config.add_cleanup(holder.stdin.close)  # type: ignore[union-attr]  the last is called first


def pytest_configure(config: pytest.Config) -> None:
    """Random histories are as many as they are long when all tests are asked for, fewer otherwise."""
    histories.whole = not config.option.markexpr


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: some tests wait for processes. Tests that are named begin sooner without."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(os.cpu_count() or 1, 4) + 1


class Rooms(LoadScopeScheduling):
    """Deals a file to one worker, all that import Prefect to one too where they share an API, and tutorials singly."""

    def _split_scope(self, nodeid: str) -> str:
        if SHARED in os.environ and any(name in nodeid for name in PREFECT):
            return "Prefect"
        return nodeid if "solutions_pass" in nodeid else nodeid.split("::", maxsplit=1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Rooms:
    """Not by marks: xdist 3.8 cannot put them into the ids of pytest 9.2, and says nothing."""
    return Rooms(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported now stays: to look for garbage in it again and again costs each worker a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the rooms that take longest: a worker that meets one of them last leaves the others idle."""
    first = (*(PREFECT if SHARED in os.environ else ()), *LONGEST)
    items.sort(key=lambda item: next((at for at, name in enumerate(first) if name in item.nodeid), len(first)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Import Prefect before a test captures what is said: it keeps the stderr that it meets first."""
    if any(name in item.nodeid for name in PREFECT):
        import_module("lakehouse.flows")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and how to run it."""
    if config.option.markexpr == "not slow" and not config.option.keyword:
        terminalreporter.write_line(
            "left out: slow tests (seven of nine chapters, the report's figures, all pictures of notebooks, each "
            "notebook in a browser and a second time, the built wheel, most of the buckets, clusters, kills and random "
            "histories); "
            '`uv run pytest -m ""` runs them all, in some 20 minutes'
        )
