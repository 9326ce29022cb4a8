"""The API that flows report to: the one that is named, or an embedded one that ends with this process."""

from lakehouse.flows.settings import EMBEDDED_HOME  # before Prefect

# isort: split
import atexit
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import prefect
from platformdirs import user_cache_path
from prefect import Flow
from prefect.exceptions import ParameterTypeError, PrefectException
from prefect.settings import get_current_settings

from lakehouse.errors import ApiError, LakehouseError

ANSWER_SECONDS = 3.0  # seconds that an API may take to say that it is well
WITHOUT_PREFECT = "`lakehouse ingest` does without"


class LakeFlow[**P, R](Flow[P, R]):
    """A Prefect flow that first sees that there is an API to report to."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Run the flow.

        Raises:
            ApiError: The API does not answer, or an embedded one does not start.
        """
        with reached_api():
            return super().__call__(*args, **kwargs)


def lake_flow[**P, R](**options: Any) -> Callable[[Callable[P, R]], LakeFlow[P, R]]:
    """Declare a function to be such a flow; the options are those of `prefect.flow`."""
    return lambda function: LakeFlow(function, **options)


@contextmanager
def reached_api() -> Iterator[str]:
    """See that there is an API before a flow waits for it in vain; gives its address.

    Raises:
        ApiError: It does not answer, ceases to inside, or an embedded one does not start.
    """
    api = get_current_settings().api
    if not api.url:
        api.url = os.environ["PREFECT_API_URL"] = _start_embedded()  # kernels that are started here report there too
    try:
        _see_that_it_answers(api.url)
        yield api.url
    except ParameterTypeError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException) as error:
        said = (str(error) or type(error).__name__).partition("\n")[0]
        raise ApiError(
            f"Prefect's API {api.url} does not do its work: {said}; start it, or correct PREFECT_API_URL "
            f"(`prefect config view` tells where it is set); {WITHOUT_PREFECT}"
        ) from error


@cache
def _see_that_it_answers(url: str) -> None:
    """Raise what httpx does, within seconds: Prefect itself tries for two minutes."""
    # Nothing secret is sent yet; whether to trust its certificate is for Prefect to decide.
    answer = httpx.get(f"{url}/health", timeout=ANSWER_SECONDS, verify=False)
    if answer.status_code not in (401, 403):  # who may do what is for Prefect to tell
        answer.raise_for_status()


@cache
def _start_embedded() -> str:
    """Start an embedded API that ends with this process, also if this one is killed; wait until it answers.

    Prefect's own outlives a kill. What ties the two processes is a pipe that closes with its owner on every system.
    A session of its own keeps Ctrl-C from the server, so that a flow can still report its end.
    """
    if EMBEDDED_HOME and _is_whole(_template()):
        shutil.copyfile(_template(), Path(EMBEDDED_HOME, "prefect.db"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lifeline, _ = os.pipe()  # our end is never closed
    command = [sys.executable, "-P", str(Path(__file__).with_name("server.py")), str(port), EMBEDDED_HOME]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)},
            stdin=lifeline,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        os.close(lifeline)
        atexit.register(_stop, process)
        if not _comes_up(process, f"http://127.0.0.1:{port}/api"):
            _stop(process)
            log.seek(0)
            said = (log.read().decode(errors="replace").strip() or "it says nothing").splitlines()[-1]
            raise ApiError(f"Prefect's embedded API did not start: {said}; {WITHOUT_PREFECT}")
    _keep_template()
    return f"http://127.0.0.1:{port}/api"


def _comes_up(process: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + get_current_settings().server.ephemeral.startup_timeout_seconds
    with httpx.Client(timeout=ANSWER_SECONDS) as client:
        while process.poll() is None and time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if client.get(f"{url}/health").is_success:
                    return True
            time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep_template() -> None:
    """Keep a copy of the database that was just made, which took eight seconds; where none can be kept they recur."""
    made, template = Path(EMBEDDED_HOME, "prefect.db"), _template()
    if not EMBEDDED_HOME or not made.is_file() or _is_whole(template):
        return
    part = template.with_suffix(f".{os.getpid()}")
    with suppress(OSError, sqlite3.Error):
        template.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        part.replace(template)


def _template() -> Path:
    return user_cache_path("lakehouse") / f"prefect-{prefect.__version__}.db"


def _is_whole(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


class _OwnErrorsAreTold(logging.Filter):
    """Leaves out the tracebacks of errors that are expected: whoever called the flow tells them, in one piece."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], (LakehouseError, OSError)))


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_OwnErrorsAreTold())
