"""The pipeline as a Prefect flow: each stage of dvc.yaml through DVC, as a task with the stage's name

    python -m flows.pipeline        no server needed; prefect.yaml has it as deployments

DVC decides what has to run, Prefect when and where. A stage's output goes to the terminal and to Prefect's logs; the
artifact `results` keeps what became of each stage and the scores.
"""

from __future__ import annotations

if __name__ == "__main__":  # before Prefect is imported: a fault in params.yaml is told at once
    import sys

    from flows.terminal import main

    sys.exit(main())

import time
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from callwright.params import read_params
from flows import dvc, graph, results
from flows.results import Outcome

WAITS = [3.0, 15.0, 60.0, 120.0]
"""Seconds before a stage that another dvc command keeps waiting, or that was interrupted, is tried again."""


@flow(name="callwright")
def callwright() -> None:
    """Bring every stage of dvc.yaml up to date and leave the results as an artifact."""
    read_params()
    stages = graph.read_stages()
    for sentence in dvc.mend():
        _tell(sentence)
    outcomes: list[Outcome] = []
    for stage in stages:
        began = time.monotonic()
        named = reproduce.with_options(name=stage.name, task_run_name=stage.name, description=stage.desc)
        try:
            state = named(stage.name, stage.desc, str(flow_run.id))
        except dvc.StageFailed:
            _leave([*outcomes, Outcome(stage.name, "failed", time.monotonic() - began)])
            raise
        outcomes.append(Outcome(stage.name, str(state.name).lower(), time.monotonic() - began))
    _leave(outcomes)


def _worth_a_retry(_task: Any, _run: Any, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    again = isinstance(error, dvc.Busy | dvc.StageInterrupted)
    if again:
        _tell(f"  {error}; trying again")
    return again


@task(cache_policy=NO_CACHE, retries=len(WAITS), retry_delay_seconds=WAITS, retry_condition_fn=_worth_a_retry)
def reproduce(stage: str, desc: str, run_id: str) -> State[None]:
    """Bring one stage up to date; DVC keeps the results, so Prefect keeps none."""
    began = time.monotonic()
    try:
        state = dvc.repro(
            stage,
            on_line=lambda line: _tell(f"  {line}"),
            on_start=lambda: _tell(f"▶ {stage:<9} {desc}".rstrip()),
            env={"CALLWRIGHT_PREFECT_RUN": run_id, "TQDM_DISABLE": "1"},  # bars are for a terminal of their own
        )
    except dvc.StageFailed as failed:
        _tell(f"✗ {stage:<9} failed after {time.monotonic() - began:.1f} s (exit {failed.code})")
        raise
    seconds = f"{time.monotonic() - began:.1f} s"
    _tell(f"{'✓' if state == dvc.State.RAN else '='} {stage:<9} {state}, {seconds}")
    return Completed(name=state.capitalize(), message=seconds)


def _leave(outcomes: list[Outcome]) -> None:
    done = {outcome.stage for outcome in outcomes if outcome.state != "failed"}
    create_markdown_artifact(
        results.markdown(
            outcomes,
            results.read_metrics() if "evaluate" in done else None,
            results.read_decision() if "register" in done else None,
        ),
        key="results",
        description="Callwright",
    )


def _tell(line: str) -> None:
    """To the person at the terminal, and to Prefect's logs."""
    print(line, flush=True)
    get_run_logger().info(line)
