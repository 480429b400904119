"""register: an adapter and its scores -> a version of the MLflow model, its alias, and the reason for it

    python -m stages.register

Reads models/adapter, reports/train, reports/evaluate; leaves reports/register/decision.json. One version per adapter
hash. It becomes `champion` only if it is better than its base, holds the floors and is no worse than the champion
before it on the same rows; otherwise it is the `challenger`. With MLflow down it decides nothing and says so: the next
`callwright sync` or `dvc repro` does.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.outs import to_json, whole_file, whole_folder
from callwright.params import Register, read_params
from stages import _entry
from stages._card import model_card
from stages._completion import ADAPTER, EVALUATE, TRAIN, Completed, complete, data_hash, folder_hash, origin, read_json
from stages._registry import Registry, aliases
from stages._tracking import HOME, Unreachable, finite, open_store, shown_address, told_unreachable

OUT = Path("reports/register")
LAST = HOME / "last-decision.json"  # DVC removes the out before a stage runs; this copy outlives it


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the decision rests on, from the files."""

    adapter_hash: str
    summary: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rules: Register

    @property
    def test_hash(self) -> str:
        return str(self.metrics["test_hash"])

    @property
    def inputs(self) -> str:
        """Of the metrics and the gate's knobs: with other ones the same adapter may get another decision."""
        text = json.dumps([self.metrics, self.rules.model_dump()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in service: its accuracy on our test rows, or why there is none to compare with."""

    version: str
    accuracy: float | None
    why_none: str = ""


def objections(metrics: Mapping[str, Any], rules: Register, champion: Champion | None) -> list[str]:
    """Every reason, in words, why this adapter is no champion; none if it is one."""
    tuned, base = number(metrics, "tuned", "overall", "accuracy"), number(metrics, "base", "overall", "accuracy")
    p_value = number(metrics, "comparison", "p_value")
    against = []
    if tuned is None or base is None or p_value is None:
        against.append("the accuracy of tuned or base, or the p-value between them, is missing or no number")
    elif tuned <= base:
        against.append(f"tuned is right on {tuned:.1%} of the rows and base on {base:.1%}")
    elif p_value >= rules.significance:
        against.append(f"tuned's {tuned:.1%} against base's {base:.1%} may be chance (McNemar p = {p_value:.2g})")
    for category, floor in rules.floors.model_dump().items():
        accuracy = floor_accuracy(metrics, category)
        if accuracy is None:
            against.append(f"{category} on seen tools has no accuracy, and its floor is {floor:.0%}")
        elif accuracy < floor:
            against.append(f"{category} on seen tools is at {accuracy:.1%}, under its floor of {floor:.0%}")
    if champion and champion.accuracy is None:
        against.append(f"champion version {champion.version} cannot be compared with: {champion.why_none}")
    elif champion and champion.accuracy is not None and tuned is not None and tuned < champion.accuracy:
        worse = f"{tuned:.1%} is worse than champion version {champion.version}'s {champion.accuracy:.1%}"
        against.append(f"{worse} on the same rows")
    return against


def number(metrics: Any, *path: str) -> float | None:
    """The finite number at this path, or None: a slice without rows has none."""
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    return finite(metrics)


def floor_accuracy(metrics: Mapping[str, Any], category: str) -> float | None:
    return number(metrics, "tuned", "by_tools", "seen", "by_category", category, "accuracy")


def reason(against: list[str], metrics: Mapping[str, Any], before: str) -> str:
    """One sentence; `before` says how it stands to the champion before it."""
    if against:
        return f"Not champion: {'; '.join(against)}."
    tuned, base = number(metrics, "tuned", "overall", "accuracy"), number(metrics, "base", "overall", "accuracy")
    return f"Champion: tuned is right on {tuned:.1%} of the rows, base on {base:.1%}; it holds its floors and {before}."


def numbers(evidence: Evidence, champion: Champion | None) -> dict[str, Any]:
    """Every number that makes the decision."""
    metrics = evidence.metrics
    return {
        "tuned": number(metrics, "tuned", "overall", "accuracy"),
        "base": number(metrics, "base", "overall", "accuracy"),
        "rows": number(metrics, "tuned", "overall", "n"),
        **{key: number(metrics, "comparison", key) for key in ("wins", "losses", "p_value")},
        "significance": evidence.rules.significance,
        "floors": {
            category: {"floor": floor, "accuracy": floor_accuracy(metrics, category)}
            for category, floor in evidence.rules.floors.model_dump().items()
        },
        "champion": {"version": champion.version, "accuracy": champion.accuracy} if champion else None,
    }


def decide(evidence: Evidence) -> dict[str, Any]:
    """Register the adapter and decide on its alias; `Unreachable` if MLflow does not take it."""
    with told_unreachable():
        store = open_store()
        training = complete(store, evidence.adapter_hash)
        registry = Registry(store, evidence.rules.name)
        version = registry.version_of(evidence.adapter_hash) or _new_version(registry, evidence, training)
        registry.note_accuracy(version, evidence.test_hash, number(evidence.metrics, "tuned", "overall", "accuracy"))
        before = registry.aliases().get("champion")
    champion = _champion(registry, before, evidence) if before not in (None, version) else None
    against = objections(evidence.metrics, evidence.rules, champion)
    why = reason(against, evidence.metrics, _before(before, version))
    with told_unreachable():
        alias = registry.challenge(version) if against else registry.promote(version)
        registry.tag(version, "callwright.decision", why)
    return {
        "decision": "challenge" if against else "keep" if before == version else "promote",
        "model": evidence.rules.name,
        "version": version,
        "alias": alias,
        "reason": why,
        "numbers": numbers(evidence, champion),
        "champion_version": before,
        **_seals(evidence),
        "run_id": training.run_id,
        "tracking": "done",
    }


def undecided(evidence: Evidence, error: Unreachable) -> dict[str, Any]:
    """With MLflow away nobody knows the champion; the numbers against base are here all the same."""
    return {
        "decision": "undecided",
        "model": evidence.rules.name,
        "version": None,
        "alias": None,
        "reason": f"Not registered: MLflow at {shown_address()} could not be reached; callwright sync does it later.",
        "numbers": numbers(evidence, None),
        "champion_version": None,
        **_seals(evidence),
        "run_id": None,
        "tracking": "unreachable",
    }


def settled(evidence: Evidence, standing: Mapping[str, str]) -> dict[str, Any] | None:
    """The last decision, if it was about the same adapter, rows and rules, and the registry stands as it left it."""
    try:
        last: dict[str, Any] = json.loads(LAST.read_text(encoding="utf-8"))
        if any(last[name] != value for name, value in _seals(evidence).items()):
            return None
        if last["model"] != evidence.rules.name or standing.get(last["alias"]) != last["version"]:
            return None
        before = last["champion_version"] if last["champion_version"] != last["version"] else None
        champion = last["version"] if last["alias"] == "champion" else before
        return last if standing.get("champion") == champion else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_evidence() -> Evidence:
    summary, metrics = read_json(TRAIN / "summary.json"), read_json(EVALUATE / "metrics.json")
    for path, value, keys in (
        (TRAIN / "summary.json", summary, ("key", "base")),
        (EVALUATE / "metrics.json", metrics, ("test_hash", "tuned")),
    ):
        missing = [key for key in keys if key not in value]
        if missing:
            raise Fault(f"{path} has no {' and no '.join(missing)}; make it again with dvc repro")
    if not ADAPTER.is_dir():
        raise Fault(f"{ADAPTER} is missing; dvc repro makes it")
    return Evidence(folder_hash(ADAPTER), summary, metrics, read_params().register_)


def main() -> None:
    evidence = read_evidence()
    try:
        decision = settled(evidence, aliases(evidence.rules.name)) or decide(evidence)
    except Unreachable as error:
        decision = undecided(evidence, error)
        print(f"warning: {error}. The adapter is not registered yet; callwright sync does it later", file=sys.stderr)
    keep(decision)
    with whole_folder(OUT) as folder:
        (folder / "decision.json").write_text(_text(decision), encoding="utf-8")
    print(f"register: {decision['reason']}")


def keep(decision: Mapping[str, Any]) -> None:
    """Keep the decision where DVC does not remove it, once MLflow has it."""
    if decision["tracking"] == "done":
        with whole_file(LAST) as path:
            path.write_text(_text(decision), encoding="utf-8")


def _champion(registry: Registry, version: str, evidence: Evidence) -> Champion:
    """The champion's accuracy on our rows: noted when it was judged on them, or answered anew."""
    with told_unreachable():
        noted = registry.accuracy(version, evidence.test_hash)
        if noted is not None:
            return Champion(version, noted)
        its = registry.version(version)
    base, ours = its.tags.get("callwright.base", ""), _base(evidence.summary)
    if base != ours:
        return Champion(version, None, f"it was judged on other rows and stands on another base ({base}, here {ours})")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with told_unreachable():
                registry.store.fetch(its.source or "", Path(folder))
        except Unreachable as error:
            return Champion(version, None, f"it was judged on other rows and its adapter cannot be had ({error})")
        if folder_hash(Path(folder)) != its.tags.get("callwright.adapter_hash"):
            return Champion(
                version, None, "it was judged on other rows and its adapter is no longer what was registered"
            )
        from stages.evaluate import answer_adapter

        print(f"register: champion version {version} was judged on other rows; it answers these now")
        accuracy = number(answer_adapter(Path(folder)), "overall", "accuracy")
    with told_unreachable():
        registry.note_accuracy(version, evidence.test_hash, accuracy)
    return Champion(version, accuracy, "" if accuracy is not None else "it has no accuracy on these rows")


def _before(before: str | None, version: str) -> str:
    if before is None:
        return "had no champion before it"
    return "was the champion already" if before == version else f"is no worse than champion version {before}"


def _new_version(registry: Registry, evidence: Evidence, training: Completed) -> str:
    metrics = evidence.metrics
    facts = {
        "callwright.adapter_hash": evidence.adapter_hash,
        "callwright.key": str(evidence.summary["key"]),
        "callwright.base": _base(evidence.summary),
        "callwright.base_source": str(evidence.summary["base"].get("source", "")),
        "callwright.data_hash": data_hash("train", "data/formatted/native") or "",
        "callwright.test_hash": evidence.test_hash,
        "callwright.accuracy": str(number(metrics, "tuned", "overall", "accuracy")),
        "callwright.base_accuracy": str(number(metrics, "base", "overall", "accuracy")),
        "callwright.seen_accuracy": str(number(metrics, "tuned", "by_tools", "seen", "accuracy")),
        **origin(),
    }
    tags = {name: value for name, value in facts.items() if value}
    card = model_card(registry.name, evidence.summary, metrics, tags)
    return registry.add(training.adapter_uri, training.run_id, tags, card)


def _base(summary: Mapping[str, Any]) -> str:
    """`smollm2-135m@<revision>`: what an adapter fits on."""
    return f"{summary['base'].get('preset', '')}@{summary['base'].get('revision', '')}"


def _seals(evidence: Evidence) -> dict[str, str]:
    return {"adapter_hash": evidence.adapter_hash, "test_hash": evidence.test_hash, "inputs": evidence.inputs}


def _text(decision: Mapping[str, Any]) -> str:
    return to_json(decision, indent=2) + "\n"


if __name__ == "__main__":
    _entry.run(main)
