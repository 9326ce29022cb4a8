"""The command line: the same verbs as the functions."""

from lakehouse.cli.commands import app, main

__all__ = ["app", "main"]

_VERBS = {  # in the order of `--help`; a command's file, and what it needs, is imported when it is called
    "run": "run ingest status sample",
    "notebooks": "notebook report lab notebooks runs batch",
    "nightly": "download missing archive serve",
    "standing": "quarantine conflicts withdraw",
    "tables": "sql export care clone",
    "time_travel": "versions diff restore again plan tag",
}
for _file, _verbs in _VERBS.items():
    for _verb in _verbs.split():
        app.command(f"lakehouse.cli.{_file}:{_verb}", name=_verb)
