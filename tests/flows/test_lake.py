from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from klines import hours, place
from later import Later

from lakehouse import Lake
from lakehouse.bronze.account import IngestFailed
from lakehouse.errors import LakeError
from lakehouse.layers.quality import RefreshFailed

flows, prefect = Later("lakehouse.flows"), Later("prefect")
pytestmark = pytest.mark.usefixtures("prefect_api")


def _ask(url: str, question: dict[str, object]) -> list[dict[str, str]]:
    """Ask the API; it is unavailable for a moment while another process writes to its database."""
    for _ in range(50):
        answer = httpx.post(url, json=question)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(0.1)
    return list(answer.raise_for_status().json())


def test_the_flow_ingests_and_publishes_its_account(tmp_path: Path, prefect_api: str) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    report = flows.ingest_bronze(root=str(tmp_path))
    assert (report.inserted, report.complete) == (5, True)
    assert Lake(tmp_path).bronze.scan().collect().height == 5
    own = flows.notebooks.key_of(str(tmp_path))
    keys = [f"{name}-{own}" for name in ("ingest-progress", "ingest-files", "ingest-summary")]
    found = _ask(f"{prefect_api}/artifacts/filter", {"artifacts": {"key": {"any_": keys}}})
    assert {artifact["key"]: artifact["type"] for artifact in found} == {
        f"ingest-progress-{own}": "progress",
        f"ingest-files-{own}": "table",
        f"ingest-summary-{own}": "markdown",
    }


def test_failed_files_fail_the_flow_after_all_others_have_landed(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", ["<html>"], header=False)
    place(tmp_path, "BBBUSDT_1h.csv", hours(0, 4), at=5)
    with pytest.raises(IngestFailed, match=r"1 file\(s\) did not load \(1 other\(s\) did\):\n  AAAUSDT_1h.csv: HTML"):
        flows.ingest_bronze(root=str(tmp_path))
    assert Lake(tmp_path).bronze.scan().collect().height == 5
    state = flows.ingest_bronze(root=str(tmp_path), return_state=True)
    assert state.is_failed()


def test_runs_and_tasks_have_readable_names(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    state = flows.ingest_bronze(root=str(tmp_path), return_state=True)
    with prefect.get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        filters, order = prefect.client.schemas.filters, prefect.client.schemas.sorting.TaskRunSort.NAME_ASC
        only = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[run.id]))
        tasks = [task.name for task in client.read_task_runs(flow_run_filter=only, sort=order, limit=9)]
    assert run.name == f"ingest {tmp_path}"
    assert f"batch 1: 1 files, {path.stat().st_size / 1e6:.1f} MB" in tasks


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_mb": 0}, "batch_mb: Input should be greater than or equal to 1"),
        ({"batch_mb": "many"}, "batch_mb: Input should be a valid integer"),
    ],
)
def test_wrong_parameters_are_named(tmp_path: Path, parameters: dict[str, object], message: str) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(prefect.exceptions.ParameterTypeError, match=message):
        flows.ingest_bronze(root=str(tmp_path), **parameters)


def test_a_root_that_is_no_lake_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no raw/ folder"):
        flows.ingest_bronze(root=str(tmp_path))


def test_one_flow_goes_from_raw_to_gold_and_a_second_adds_nothing(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 4), *hours(6, 30)])
    done = flows.refresh_lake(root=str(tmp_path))
    lake = Lake(tmp_path)
    assert (done.ingest.inserted, [layer.inserted for layer in done.layers]) == (30, [31, 2, 1, 1])
    before = [table.version() for table in (lake.bronze, lake.silver, lake.gold)]
    flows.refresh_lake(root=str(tmp_path))
    assert [table.version() for table in (lake.bronze, lake.silver, lake.gold)] == before


def test_data_worse_than_demanded_fail_the_flow_when_all_is_done(tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", [*hours(0, 4), *hours(15, 19)])
    assert flows.refresh_lake(root=str(tmp_path), min_completeness=0.6).breaches
    with pytest.raises(RefreshFailed, match=r"AAAUSDT 1h is 50.00 % complete; at least 60.00 % was asked for"):
        flows.refresh_lake(root=str(tmp_path), min_completeness=0.6, on_breach="fail")
    assert Lake(tmp_path).gold.scan().collect().height == 1
