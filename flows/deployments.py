"""What a Prefect server has to know before it can run the pipeline: work pool, deployments, and what ends dead runs.

All of it can be done again at any time; nothing is made twice.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from callwright.faults import Fault
from flows import supervisor

POOL = "callwright"
HEARTBEAT = 30
"""Seconds between two signs of life of a flow run (PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the worker)."""

_ZOMBIES = "Callwright: a run that gives no sign of life has crashed"


def deploy() -> None:
    """Make pool, deployments and automation on the server that PREFECT_API_URL names."""
    _make_pool()
    end_dead_runs()
    _make_automation()
    said: list[str] = []
    # Where CALLWRIGHT_HOME is set, `prefect deploy` writes its value into the deployment; the worker is to read it.
    os.environ.pop("CALLWRIGHT_HOME", None)
    command = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "prefect.yaml")
    if code := supervisor.run(command, said.append):
        raise Fault(f"prefect deploy ended with exit code {code}: {' '.join(' '.join(said).split())}")


def _make_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    # One run at a time, whatever deployment it is of: DVC takes one command at a time in a folder.
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type="process", concurrency_limit=1, base_job_template=template)
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)


def end_dead_runs() -> None:
    """Where no worker is, nothing can be running; what says so was killed before it could tell."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    begun = filters.FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    dead = filters.FlowRunFilter(state=filters.FlowRunFilterState(type=begun))
    pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[POOL]))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=dead, work_pool_filter=pool):
            client.set_flow_run_state(run.id, Crashed(message="Its worker was stopped"), force=True)


def _make_automation() -> None:
    """After kill -9 of its process a run stays Running for ever, and would hold up the next one: end it."""
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture

    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(_ZOMBIES):
            return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")}
    Automation(
        name=_ZOMBIES,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=4 * HEARTBEAT),
        ),
        actions=[ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message="No sign of life", force=False)],
    ).create()
