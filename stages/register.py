"""register: an adapter and its answers -> the gate's decision; a version of the MLflow model and its alias, or none

    python -m stages.register

Reads models/adapter, reports/train, reports/evaluate; leaves reports/register/decision.json. The gate (callwright/gate)
holds tuned against base and against the champion on the same rows. `promote`: it is registered and becomes `champion`.
`challenge`: it is registered as `challenger`, a person decides. `refuse`: nothing is registered, the aliases stay. Its
MLflow run is completed in any case, and one version stands for one adapter hash. With MLflow down it decides nothing
and says so: the next `callwright sync` or `dvc repro` does.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from callwright import gate, metrics
from callwright.faults import Fault
from callwright.outs import read_lines, to_json, whole_file, whole_folder
from callwright.params import Register, read_params
from stages import _entry
from stages._card import LINEAGE, base_name, lineage, model_card, opinion
from stages._completion import ADAPTER, EVALUATE, TRAIN, Completed, complete, folder_hash, read_json
from stages._incumbent import incumbent, judged_by
from stages._moves import mend, move, withdrawn
from stages._registry import Registry, alone, written
from stages._standing import Standing, standing
from stages._tracking import HOME, Unreachable, open_store, shown_address, told_unreachable

OUT = Path("reports/register")
BASE = Path("models/base")
LAST = HOME / "last-decision.json"  # DVC removes the out before a stage runs; this copy outlives it
ANSWERS = EVALUATE / "answers.jsonl"
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the decision rests on, from the files."""

    adapter_hash: str
    summary: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rules: Register
    answers_hash: str

    @property
    def test_hash(self) -> str:
        return str(self.metrics["test_hash"])

    @property
    def base(self) -> str:
        return base_name(self.summary)

    @property
    def seals(self) -> dict[str, str]:
        """With the same ones, and the same champion, the decision is the same."""
        code = [hashlib.sha256(Path(str(one.__file__)).read_bytes()).hexdigest() for one in (gate, metrics)]
        told = json.dumps([self.metrics, self.answers_hash, self.rules.model_dump(), code], sort_keys=True)
        inputs = hashlib.sha256(told.encode()).hexdigest()
        return {"adapter_hash": self.adapter_hash, "test_hash": self.test_hash, "inputs": inputs}

    @property
    def gate_rules(self) -> gate.Rules:
        rules = self.rules
        return gate.Rules(rules.significance, rules.margin, rules.least_rows, rules.floors.model_dump())


def read_evidence() -> Evidence:
    summary, scores = read_json(TRAIN / "summary.json"), read_json(EVALUATE / "metrics.json")
    for path, value, keys in (
        (TRAIN / "summary.json", summary, ("key", "base")),
        (EVALUATE / "metrics.json", scores, ("test_hash", "key", "tuned")),
    ):
        missing = [key for key in keys if key not in value]
        if missing:
            raise Fault(f"{path} has no {' and no '.join(missing)}; make it again with dvc repro")
    if scores["key"] != summary["key"]:
        theirs, ours = str(scores["key"])[:8], str(summary["key"])[:8]
        place = f"{EVALUATE / 'metrics.json'} is of the training {theirs}, and {ADAPTER} of {ours}"
        raise Fault(f"{place}; evaluate it with dvc repro")
    for path in (ADAPTER, ANSWERS):
        if not path.exists():
            raise Fault(f"{path} is missing; dvc repro makes it")
    answers_hash = hashlib.sha256(ANSWERS.read_bytes()).hexdigest()
    return Evidence(folder_hash(ADAPTER), summary, scores, read_params().register_, answers_hash)


def judge(evidence: Evidence, champion: gate.Contender | None, why_none: str = "") -> gate.Decision:
    """The gate's decision; refused too where the scores are not those of the answers."""
    tuned, base = (contender(evidence, name) for name in ("tuned", "base"))
    found = gate.decide(tuned, base, champion, evidence.gate_rules, why_no_champion=why_none)
    odd = [*_otherwise(evidence, tuned), *_otherwise(evidence, base)]
    if not odd:
        return _with_all_rows(found, evidence, tuned)
    return replace(found, decision="refuse", reasons=(*odd, *(found.reasons if found.decision == "refuse" else ())))


def _with_all_rows(found: gate.Decision, evidence: Evidence, tuned: gate.Contender) -> gate.Decision:
    """Rows that this model's text cannot hold are asked of nobody: with many of them a person decides."""
    aside, asked = int(evidence.metrics.get("set_aside") or 0), sum(row.setting == metrics.PLAIN for row in tuned.rows)
    if found.decision != "promote" or aside <= evidence.rules.margin * (asked + aside):
        return found
    why = f"{aside} of {asked + aside} test rows could not be asked (data/formatted/set_aside.jsonl)"
    return replace(found, decision="challenge", reasons=(f"{why}; callwright promote decides otherwise",))


def contender(evidence: Evidence, name: str) -> gate.Contender:
    from stages import evaluate

    try:
        rows = evaluate.judged(row for row in read_lines(ANSWERS) if row["model"] == name)
    except (KeyError, ValueError, TypeError) as error:
        raise Fault(
            f"{ANSWERS} has a row that evaluate did not write ({error!r}); make it again with dvc repro"
        ) from error
    return gate.Contender(name, evidence.test_hash, rows)


def decide(evidence: Evidence) -> dict[str, Any]:
    """Have the gate decide, and do what it says; `Unreachable` if MLflow does not take it."""
    with told_unreachable(), alone():
        registry = Registry(open_store(), evidence.rules.name)
        mend(registry)
        training = written(lambda: complete(registry.store, evidence.adapter_hash))
    for _ in range(ROUNDS):
        with told_unreachable():
            before, own = registry.aliases().get("champion"), registry.version_of(evidence.adapter_hash)
        champion, why_none = None, ""
        if before not in (None, own):
            champion, why_none = incumbent(registry, str(before), contender(evidence, "tuned"), evidence.base)
        found = judge(evidence, champion, why_none)
        with told_unreachable(), alone():
            mend(registry)
            if registry.aliases().get("champion") == before:  # it took a while: another may have come into service
                return _act(registry, evidence, training, found)
    raise Fault(f"the champion of {registry.name} changed {ROUNDS} times while this adapter was judged; run it again")


def undecided(evidence: Evidence) -> dict[str, Any]:
    """With MLflow away nobody knows the champion; the numbers against base are here all the same."""
    return {
        "decision": "undecided",
        "model": evidence.rules.name,
        "version": None,
        "alias": None,
        "reason": f"Not registered: MLflow at {shown_address()} could not be reached; callwright sync does it later.",
        "reasons": [],
        "numbers": judge(evidence, None).numbers,
        "champion_version": None,
        "aliases": {},
        **evidence.seals,
        "run_id": None,
        "tracking": "unreachable",
    }


def settled(evidence: Evidence, now: Standing) -> dict[str, Any] | None:
    """The last decision, if it was about the same adapter, rows and rules, and the registry stands as it left it."""
    try:
        last: dict[str, Any] = json.loads(LAST.read_text(encoding="utf-8"))
        sealed = {name: last[name] for name in evidence.seals} == evidence.seals and last[
            "model"
        ] == evidence.rules.name
        same = now.aliases.get("champion") == last["aliases"].get("champion")
        held = last["alias"] is None or now.aliases.get(last["alias"]) == last["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return last if sealed and same and held and now.settled else None


def main() -> None:
    evidence = read_evidence()
    try:
        decision = settled(evidence, standing(evidence.rules.name)) or decide(evidence)
    except Unreachable as error:
        decision = undecided(evidence)
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


def _act(registry: Registry, evidence: Evidence, training: Completed, found: gate.Decision) -> dict[str, Any]:
    """Register and move the aliases as the gate decided, and tell MLflow's run of it."""
    own = registry.version_of(evidence.adapter_hash)
    before = registry.aliases()
    in_service = own is not None and before.get("champion") == own
    if found.decision == "promote" and own is not None and not in_service:
        found = _not_against_a_hand(found, own, registry.version(own).tags)
    why = _reason(found, own if in_service else None, before)
    version = alias = None
    if found.decision != "refuse":
        alias = "champion" if found.decision == "promote" else "challenger"
        version = _registered(registry, evidence, training, found, why)
        if registry.aliases().get(alias) != version:
            move(registry, "register", version, why, alias=alias)
    decision = {
        "decision": found.decision,
        "model": registry.name,
        "version": version,
        "alias": alias,
        "reason": why,
        "reasons": list(found.reasons),
        "numbers": found.numbers,
        "champion_version": before.get("champion"),
        "aliases": dict(registry.aliases()),
        **evidence.seals,
        "run_id": training.run_id,
        "tracking": "done",
    }
    _tell_the_run(registry, training.run_id, decision)
    return decision


def _registered(registry: Registry, evidence: Evidence, training: Completed, found: gate.Decision, why: str) -> str:
    """The version of this adapter, made if there is none, with its card, its scores and its answers."""
    version = registry.version_of(evidence.adapter_hash)
    thought = opinion(evidence.metrics, found.decision, why)
    if version is None:
        made_from = lineage(evidence.summary, evidence.adapter_hash)
    else:  # what it was made from stands; what is thought of it changes
        made_from = {name: value for name, value in registry.version(version).tags.items() if name in LINEAGE}
    card = model_card(registry.name, evidence.summary, evidence.metrics, made_from | thought, found)
    if version is None:
        source = _model_of(registry, evidence, training.run_id, card, made_from | thought)
        version = registry.add(source, training.run_id, made_from | thought)
    elif not (registry.version(version).source or "").rstrip("/").rpartition("/")[2].startswith("model-"):
        _put_model(registry, registry.version(version).source or "", card, made_from | thought)  # made by older code
    registry.describe(version, thought, card)
    answers = (row for row in read_lines(ANSWERS) if row["model"] == "tuned")
    registry.keep_answers(version, evidence.test_hash, judged_by(), answers)
    return version


def _model_of(registry: Registry, evidence: Evidence, run_id: str, card: str, facts: Mapping[str, str]) -> str:
    """Where the version's files lie, beside its run: an MLflow model that can be served, the adapter in it."""
    place = f"{registry.store.client.get_run(run_id).info.artifact_uri}/model-{evidence.adapter_hash[:12]}"
    _put_model(registry, place, card, facts)
    return place


def _put_model(registry: Registry, place: str, card: str, facts: Mapping[str, str]) -> None:
    from stages import _agent

    with tempfile.TemporaryDirectory() as folder:
        _agent.save(Path(folder) / "model", ADAPTER, BASE, card=card, name=registry.name, facts=facts)
        registry.store.put(Path(folder) / "model", place)


def _not_against_a_hand(found: gate.Decision, version: str, tags: Mapping[str, str]) -> gate.Decision:
    """A version that a person took out of service comes back by hand only."""
    out = withdrawn(tags)
    if out is None:
        return found
    stays = f"version {version} was taken out of service by hand ({out.told})"
    return replace(
        found, decision="challenge", reasons=(f"{stays}; callwright promote {version} --why … puts it back",)
    )


def _reason(found: gate.Decision, in_service: str | None, aliases: Mapping[str, str]) -> str:
    """One sentence; `in_service` is the adapter's own version, if that is the champion."""
    why = "; ".join(found.reasons)
    if in_service is None:
        return f"{ {'promote': 'Champion', 'challenge': 'Challenger', 'refuse': 'Refused'}[found.decision] }: {why}."
    if found.decision == "promote":
        return f"Champion already, and it stays: {why}."
    way = (
        f"callwright rollback --why … puts version {aliases['previous']} back"
        if "previous" in aliases
        else ("callwright promote VERSION --why … puts another one into service")
    )
    return f"Version {in_service} is in service, and would be refused today: {why}. It stays; {way}."


def _otherwise(evidence: Evidence, one: gate.Contender) -> Iterator[str]:
    """What metrics.json says of a model that its rows do not."""
    plain = metrics.accuracy([row for row in one.rows if row.setting == metrics.PLAIN])
    part = evidence.metrics.get(one.name)
    told = part.get("overall") if isinstance(part, Mapping) else None
    told = {key: told.get(key) if isinstance(told, Mapping) else None for key in ("n", "correct", "accuracy")}
    if any(told[key] != plain[key] for key in told):
        rows = f"the rows of {ANSWERS.name} {plain['correct']} of {plain['n']}, {plain['accuracy']}"
        yield (
            f"{EVALUATE / 'metrics.json'} says that {one.name} is right on {told['correct']} of {told['n']} rows, "
            f"accuracy {told['accuracy']}, and {rows}; evaluate again"
        )


def _tell_the_run(registry: Registry, run_id: str, decision: Mapping[str, Any]) -> None:
    client = registry.store.client
    for name, value in (("decision", decision["decision"]), ("reason", decision["reason"][:5000])):
        written(lambda name=name, value=value: client.set_tag(run_id, f"callwright.{name}", value))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "decision.json").write_text(_text(decision), encoding="utf-8")
        registry.store.put(Path(folder), client.get_run(run_id).info.artifact_uri, "reports/register")


def _text(decision: Mapping[str, Any]) -> str:
    return to_json(decision, indent=2) + "\n"


if __name__ == "__main__":
    _entry.run(main)
