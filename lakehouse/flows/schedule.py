"""The schedule: the flows as deployments on a Prefect server, and the process that runs them when they are due.

What months bring, and who sees to it. A run that is killed: the runner, which tells the server that it has crashed. The
runner itself killed, or its machine: the run's heartbeats cease, and an automation on the server tells it. A server
that is away: the runner asks again until it is back. Nights that were missed: the last of them is run, the others are
cancelled. A run that finds the one before it at work: cancelled. A failure: a webhook is called, if one was named.
"""

from lakehouse.flows.embedded import reached_api  # before Prefect

# isort: split
import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect import Flow, get_client
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.runner import Runner
from prefect.schedules import Cron, Interval, Schedule
from prefect.settings import get_current_settings
from prefect.states import Cancelled
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr

from lakehouse.errors import InputError
from lakehouse.flows.lake import refresh_lake
from lakehouse.flows.notebooks import key_of, run_notebooks
from lakehouse.lake import Lake

HEARTBEAT = 30  # seconds, the fewest that Prefect takes
SILENCE = 100  # seconds without a heartbeat after which a run is taken to have crashed
ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")
EVENT = "prefect.flow-run."
# What a webhook is sent, as `text`, which is what Slack, Mattermost and others show. The templates are the server's.
FAILED = 'event.resource.name ~ " has failed: " ~ event.payload.said'
CRASHED = 'flow_run.name ~ " has crashed: " ~ (flow_run.state.message or "")'


@dataclass(frozen=True, slots=True)
class Timetable:
    """What is to be run for a lake, and when.

    Attributes:
        lake: Whose raw/ is brought to gold.
        cron: When, as `15 1 * * *`; or else `every`.
        every: How long from one run to the next.
        timezone: Whose clock `cron` means.
        parameters: Of `refresh_lake`, beside root.
        notebook: One that is run after each of these; empty: none.
        grid: Its parameters, see `run_notebooks`.
        notify: The address of a webhook that is told of failures; empty: nobody is.
    """

    lake: Lake
    cron: str = ""
    every: dt.timedelta | None = None
    timezone: str = "UTC"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notebook: str = ""
    grid: Mapping[str, Sequence[str | int | float | bool]] = field(default_factory=dict)
    notify: str = ""

    @property
    def schedule(self) -> Schedule:
        """As Prefect has it.

        Raises:
            InputError: There is none, or there are two, or it cannot be read.
        """
        if bool(self.cron) == bool(self.every):
            raise InputError("when? Say either cron, such as --cron '15 1 * * *', or every, such as --every 1h")
        try:
            ZoneInfo(self.timezone)  # Prefect would take any
            return Interval(self.every) if self.every else Cron(self.cron, timezone=self.timezone)
        except (ValueError, KeyError) as error:
            raise InputError(f"cron {self.cron!r} in {self.timezone!r} is no schedule: {error}") from error


def serve(timetable: Timetable) -> None:
    """Register a timetable with the server of PREFECT_API_URL, and run what is due until this process is ended.

    Raises:
        InputError: No server is named, or the timetable cannot be read.
        ApiError: The server does not answer.
    """
    schedule = timetable.schedule
    if not get_current_settings().api.url:
        raise InputError(
            "a schedule needs a server that goes on: `prefect server start`, and its address in PREFECT_API_URL, for "
            "example http://127.0.0.1:4200/api"
        )
    with reached_api():
        asyncio.run(_serve(timetable, schedule))


async def _serve(timetable: Timetable, schedule: Schedule) -> None:
    key = key_of(timetable.lake.root)
    # Its schedules are not paused when it ends: what is missed meanwhile is to be caught up.
    runner = Runner(name=key, heartbeat_seconds=HEARTBEAT, limit=None, pause_on_shutdown=False)
    parameters = {**timetable.parameters, "root": timetable.lake.root}
    nightly = await _register(runner, refresh_lake, key, parameters, schedule=schedule)
    ids = [nightly]
    if timetable.notebook:
        parameters = {"name": timetable.notebook, "grid": {name: [*values] for name, values in timetable.grid.items()}}
        ids.append(await _register(runner, run_notebooks, key, parameters))
    async with get_client() as client:
        for automation in await _automations(key, ids, timetable.notify):
            if there := await client.read_automations_by_name(automation.name):
                automation.id = there[0].id
                await automation.aupdate()
            else:
                await automation.acreate()
        for deployment in ids:
            await _skip_all_but_the_last(client, deployment)
    await runner.start()


async def _register(runner: Runner, flow: Flow[..., Any], key: str, parameters: dict[str, Any], **options: Any) -> UUID:
    limit = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    deployment = await flow.ato_deployment(
        name=key,
        parameters=parameters,
        concurrency_limit=limit,
        entrypoint_type=EntrypointType.MODULE_PATH,
        **options,
    )
    made: UUID = await runner.aadd_deployment(deployment)
    # Prefect's own schema lets any other name through, and the run fails hours later; its client drops this word.
    schema = parameter_schema(flow).model_dump_for_openapi() | {"additionalProperties": False}
    async with get_client() as client:
        answer = await client.request(
            "PATCH", "/deployments/{id}", path_params={"id": made}, json={"parameter_openapi_schema": schema}
        )
        answer.raise_for_status()
    return made


async def _automations(key: str, deployments: Sequence[UUID], notify: str) -> list[Automation]:
    """What the server does by itself: see the head of this file."""
    silent = _when(deployments, (*ENDS, "heartbeat"), after={f"{EVENT}heartbeat"}, within=dt.timedelta(seconds=SILENCE))
    crash = ChangeFlowRunState(
        name=None, state=StateType.CRASHED, message="Its heartbeats have ceased: it was killed.", force=False
    )
    found = [_automation(key, "silent runs have crashed", silent, crash)]
    if len(deployments) > 1:  # after a failure too: what loaded is in gold
        then = RunDeployment(source="selected", deployment_id=deployments[1], parameters=None, job_variables=None)
        found.append(_automation(key, "then the notebook", _when_ended(deployments[:1], ("Completed", "Failed")), then))
    if notify:
        block: UUID = await Webhook(url=SecretStr(notify)).save(f"lakehouse-{key}", overwrite=True)
        failed, crashed = _when_ended(deployments, ("Failed", "TimedOut")), _when(deployments, ("Crashed",))
        for name, trigger, said in (("failures", failed, FAILED), ("crashes", crashed, CRASHED)):
            tell = CallWebhook(block_document_id=block, payload='{"text": {{ (%s) | tojson }}}' % said)  # noqa: UP031
            found.append(_automation(key, f"tell {name}", trigger, tell))
    return found


def _automation(key: str, name: str, trigger: EventTrigger, action: ActionTypes) -> Automation:
    return Automation(name=f"lakehouse {key}: {name}", trigger=trigger, actions=[action])


def _when_ended(deployments: Sequence[UUID], states: Sequence[str]) -> EventTrigger:
    """When a run of these deployments has announced that it ended so."""
    return EventTrigger(
        expect={f"lakehouse.{state}" for state in states},
        match=ResourceSpecification({"prefect.resource.id": [f"lakehouse.{one}" for one in deployments]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )


def _when(deployments: Sequence[UUID], events: Sequence[str], **silence: Any) -> EventTrigger:
    """When such an event comes of a run of these deployments, or within some time does not come."""
    return EventTrigger(
        expect={f"{EVENT}{name}" for name in events},
        match=ResourceSpecification({"prefect.resource.id": f"{EVENT}*"}),
        match_related=ResourceSpecification(
            {
                "prefect.resource.id": [f"prefect.deployment.{deployment}" for deployment in deployments],
                "prefect.resource.role": "deployment",
            }
        ),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive if silence else Posture.Reactive,
        threshold=1,
        **silence,
    )


async def _skip_all_but_the_last(client: PrefectClient, deployment: UUID) -> None:
    missed = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime.model_validate(
                {"before_": dt.datetime.now(dt.UTC)}
            ),
        ),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=200,
    )
    for run in missed[:-1]:
        await client.set_flow_run_state(run.id, Cancelled(message="Missed; a later run catches up."), force=True)
