"""Settings that Prefect reads when it is imported: import this first."""

import atexit
import os
import shutil
import tempfile

from lakehouse.status import names_an_api

# A cold embedded API takes up to 25 s on two cores, and Prefect gives up after 20.
for _name, _value in {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # or it prints tracebacks when it is shut down
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

# What runs on this machine is not asked for through a proxy. Where both spellings are set the small one counts.
_direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [_direct, "127.0.0.1", "localhost"]))

# The embedded API lives in a home of its own that goes with this process: a database in the user's home may be damaged,
# locked, of a newer Prefect or read-only, and each of these makes Prefect wait for two minutes and then fail.
EMBEDDED_HOME = "" if names_an_api() else tempfile.mkdtemp(prefix="lakehouse-prefect-")
if EMBEDDED_HOME:
    os.environ["PREFECT_HOME"] = EMBEDDED_HOME
    atexit.register(shutil.rmtree, EMBEDDED_HOME, ignore_errors=True)

from prefect.settings import get_current_settings  # noqa: E402

_flow_settings = get_current_settings().flows
if "heartbeat_frequency" not in _flow_settings.model_fields_set:
    _flow_settings.heartbeat_frequency = None  # its thread makes every run end with a second of sleep
