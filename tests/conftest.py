from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTUP = 120  # seconds; a cold Prefect API takes up to 25 on two idle cores


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect API for the whole session, for this process and for the notebooks' kernels."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "WARNING"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **quiet, "PREFECT_HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{url}/health", server, home / "server.log")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**quiet, "PREFECT_API_URL": url, "PREFECT_HOME": str(home)}.items():
                patch.setenv(name, value)
            from prefect.events.worker import EventsWorker  # noqa: PLC0415
            from prefect.settings import (  # noqa: PLC0415
                PREFECT_API_URL,
                PREFECT_LOGGING_TO_API_ENABLED,
                temporary_settings,
            )

            with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}):
                yield url
                EventsWorker.drain_all(timeout=10)  # or it calls on the server for a minute after its end
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTUP
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the Prefect API did not start:\n{log.read_text()[-2000:]}")
