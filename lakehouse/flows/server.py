"""Prefect's embedded API as a process that ends with the one that started it, even if that one is killed.

It runs as a file, `python server.py PORT HOME`: imported as a part of the package it would import all of that first.
"""

import os
import shutil
import sys
import threading


def end_with_parent(home: str) -> None:
    """Wait until the parent has ended, however it did; then remove its home, and end.

    The other end of standard input is the parent's. It writes nothing: the pipe closes when there is no parent.
    """
    sys.stdin.buffer.read()
    shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    import uvicorn

    os.environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    threading.Thread(target=end_with_parent, args=sys.argv[2:], daemon=True).start()
    # Loopback only: the API runs whatever it is told to, for anybody who reaches it.
    app, port = "prefect.server.api.server:create_app", int(sys.argv[1])
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")
