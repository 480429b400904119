"""What a run leaves as an artifact: the stages with what became of them, base against tuned, the gate's decision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = Path("reports/evaluate/metrics.json")
DECISION = Path("reports/register/decision.json")


@dataclass(frozen=True, slots=True)
class Outcome:
    stage: str
    state: str
    seconds: float


def markdown(
    outcomes: Sequence[Outcome], metrics: Mapping[str, Any] | None, decision: Mapping[str, Any] | None = None
) -> str:
    """Two tables; the second one where there are scores. Then what the gate decided, with each of its reasons."""
    lines = ["| stage | state | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {o.stage} | {o.state} | {o.seconds:.1f} |" for o in outcomes]
    if metrics:
        lines += ["", "| right answers | rows | base | tuned |", "| --- | ---: | ---: | ---: |"]
        lines += [
            f"| {name} | {base['n']} | {_share(base)} | {_share(tuned)} |" for name, base, tuned in _rows(metrics)
        ]
    if decision:
        lines += ["", f"**{decision['decision']}**: {decision.get('reason', '')}"]
        lines += ["", *(f"- {reason}" for reason in decision["reasons"])] if decision.get("reasons") else []
    return "\n".join(lines) + "\n"


def read_decision(path: Path = DECISION) -> Mapping[str, Any] | None:
    """What register decided, if it did."""
    decision = _read(path)
    return decision if isinstance(decision, dict) and "decision" in decision else None


def read_metrics(path: Path = METRICS) -> Mapping[str, Any] | None:
    """The scores of the last evaluation, if there are any."""
    metrics = _read(path)
    return metrics if isinstance(metrics, dict) and {"base", "tuned"} <= metrics.keys() else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    base, tuned = metrics["base"], metrics["tuned"]
    yield "overall", base["overall"], tuned["overall"]
    for group, title in (("by_category", ""), ("by_language", ""), ("by_tools", " tools")):
        for name in base.get(group, {}):
            yield f"{name}{title}", base[group][name], tuned[group][name]


def _share(score: Mapping[str, Any]) -> str:
    return "–" if score["accuracy"] is None else f"{score['accuracy']:.1%}"
