"""The same work as Prefect flows: runs, retries, artifacts and a schedule."""

from lakehouse.flows.lake import ingest_bronze, refresh_lake
from lakehouse.flows.notebooks import run_notebooks
from lakehouse.flows.schedule import Timetable, serve

__all__ = ["Timetable", "ingest_bronze", "refresh_lake", "run_notebooks", "serve"]
