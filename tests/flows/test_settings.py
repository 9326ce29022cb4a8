from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import lakehouse.flows.settings, os
from prefect.settings import get_current_settings
settings = get_current_settings()
print(settings.server.ephemeral.startup_timeout_seconds, settings.server.analytics_enabled)
print(settings.flows.heartbeat_frequency)
"""


def settled(**environment: str) -> list[str]:
    """What Prefect is told in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_prefect_has_time_to_start_calls_nobody_and_does_not_wait_at_the_end() -> None:
    assert settled() == ["120", "False", "None"]


@pytest.mark.slow
def test_what_the_environment_says_goes_before() -> None:
    told = settled(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="33", PREFECT_FLOWS_HEARTBEAT_FREQUENCY="60")
    assert told == ["33", "False", "60"]
