"""What stands around a run in a process of its own: signals, and an environment that others have spoilt."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from klines import hours, place

from lakehouse.errors import STOPPED, ApiError


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment that names no API, with a home and a folder for temporary files of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    homes = {name: str(tmp_path / name) for name in ("HOME", "TMPDIR")}
    for home in homes.values():
        Path(home).mkdir()
    return kept | homes | {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}


def begin(root: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    if not (root / "raw").exists():
        place(root, "AAAUSDT_1h.csv", hours(0, 4))
    command = [sys.executable, "-m", "lakehouse", "run", "--no-report", "--root", str(root)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")


def end(run: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = run.communicate(timeout=600)
    return run.returncode, out + err


def homes(environment: dict[str, str]) -> list[Path]:
    return list(Path(environment["TMPDIR"]).glob("lakehouse-prefect-*"))


def at_work(environment: dict[str, str]) -> bool:
    return any((home / "prefect.db-wal").exists() for home in homes(environment))


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 300  # of a machine that does much else
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def servers(home: Path) -> list[Path]:
    """The processes that were given this home; where there is no /proc nobody can tell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] if str(home) in path.read_text(encoding="utf-8") else []
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGINT, homes, 130),  # Prefect is being imported
        pytest.param(signal.SIGTERM, at_work, 143, marks=pytest.mark.slow),  # its server is coming up
        (getattr(signal, "SIGKILL", signal.SIGTERM), at_work, -9),
    ],
    ids=["Ctrl-C", "terminated", "killed"],
)
@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
def test_a_run_that_is_ended_leaves_no_server_and_no_home_behind(
    number: signal.Signals,
    moment: Callable[[dict[str, str]], object],
    code: int,
    tmp_path: Path,
    alone: dict[str, str],
) -> None:
    run = begin(tmp_path, alone)
    wait_until(lambda: moment(alone))
    (home,) = homes(alone)
    run.send_signal(number)
    ended, text = end(run)
    assert (ended, text.endswith(f"{STOPPED}\n")) == (code, code > 0), text
    wait_until(lambda: not home.exists() and not servers(home))


@pytest.mark.slow
def test_what_others_have_spoilt_does_not_matter_to_the_embedded_api(tmp_path: Path, alone: dict[str, str]) -> None:
    """A damaged database in a home that cannot be written to, a profile that cannot be read, a proxy that is none."""
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    (spoilt / "prefect.db").write_bytes(b"no database" * 99)
    (spoilt / "profiles.toml").write_text("= broken", encoding="utf-8")
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    code, text = end(begin(tmp_path, alone | proxies | {"PREFECT_HOME": str(spoilt), "HOME": "/dev/null/nobody"}))
    assert (code, "5 lines read = 5 inserted" in text, "Traceback" in text) == (0, True, False), text
    assert sorted(path.name for path in spoilt.iterdir()) == ["prefect.db", "profiles.toml"]
    assert homes(alone) == []


@pytest.mark.slow
@pytest.mark.parametrize("told_by", ["environment", pytest.param("profile", marks=pytest.mark.slow)])
def test_an_api_that_does_not_answer_is_told_within_seconds(
    told_by: str, tmp_path: Path, alone: dict[str, str]
) -> None:
    with socket.socket() as silent:  # it lets others connect, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        if told_by == "profile":
            silent.close()  # or there is nobody
            (home := Path(alone["HOME"], ".prefect")).mkdir()
            profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n'
            (home / "profiles.toml").write_text(profile, encoding="utf-8")
        else:
            alone["PREFECT_API_URL"] = url
        code, text = end(begin(tmp_path, alone))
    assert code == 2
    (said,) = [line for line in text.splitlines() if not line.startswith("Lake: ")]
    assert said.startswith(f"error: Prefect's API {url} does not do its work: ")
    assert not (tmp_path / "bronze").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_server_that_ends_at_once_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen
    code = "import sys; sys.exit('it began\\nno space left on device')"
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", code], **options))
    with pytest.raises(ApiError, match=r"embedded API did not start: no space left on device; `lakehouse ingest`"):
        import_module("lakehouse.flows.embedded")._start_embedded.__wrapped__()


@pytest.mark.slow
def test_settings_that_prefect_cannot_read_are_an_error_without_a_traceback(
    tmp_path: Path, alone: dict[str, str]
) -> None:
    code, text = end(begin(tmp_path, alone | {"PREFECT_LOGGING_LEVEL": "LOUD"}))
    assert (code, "Traceback" in text) == (2, False)
    assert text.splitlines()[-1].startswith("error: Prefect's settings: 2 validation errors for LoggingSettings level")
