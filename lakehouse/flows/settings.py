"""Settings that Prefect reads when it is imported: import this first."""

import os

# A cold embedded API takes up to 25 s on two cores, and Prefect gives up after 20.
for _name, _value in {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # or it prints tracebacks when it is shut down
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

from prefect.settings import get_current_settings  # noqa: E402

_flow_settings = get_current_settings().flows
if "heartbeat_frequency" not in _flow_settings.model_fields_set:
    _flow_settings.heartbeat_frequency = None  # its thread makes every run end with a second of sleep
