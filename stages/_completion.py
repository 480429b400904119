"""completion: what a training left in files, as one MLflow run; used by register and by callwright sync

    complete(open_store(), adapter_hash)

Params, the whole curve, metrics, plots, answers, the adapter, the data sets with DVC's hashes, and where it all comes
from. It continues the run that `Mirror` began. Another evaluation of the same adapter is a child of that run. Doing it
twice adds nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from callwright.faults import Fault
from callwright.outs import read_lines, to_json
from callwright.params import read_params
from stages._tracking import Store, finite, log_points, logged, new_points

if TYPE_CHECKING:
    from mlflow.entities import Run

ADAPTER = Path("models/adapter")
DATA = Path("reports/data")
TRAIN = Path("reports/train")
EVALUATE = Path("reports/evaluate")
TRAINED_ON = ("train", "data/formatted/native", "training")  # who read it, what, and MLflow's word for it
JUDGED_ON = ("evaluate", "data/validated", "evaluation")


@dataclass(frozen=True, slots=True)
class Completed:
    """Where a training stands in MLflow."""

    run_id: str
    adapter_uri: str


def complete(store: Store, adapter_hash: str) -> Completed:
    """Create or continue the run of the training in the files, and log what it lacks."""
    summary = read_json(TRAIN / "summary.json")
    key, evaluation = str(summary["key"]), _sha256((EVALUATE / "metrics.json").read_bytes())
    run = store.find_or_create(run_name(summary), time.time() - float(summary.get("seconds", 0)), key=key)
    run_id, tags = run.info.run_id, run.data.tags
    first = tags.get("callwright.adapter", adapter_hash)
    # The same key can give other bytes where the hardware is another: both adapters are kept, each under its name.
    folder = "adapter" if first == adapter_hash else f"adapter-{adapter_hash[:12]}"
    if tags.get("callwright.training_logged") != adapter_hash:
        store.client.set_tag(run_id, "callwright.adapter", first)
        _log_training(store, run, summary, folder)
        store.client.set_tag(run_id, "callwright.training_logged", adapter_hash)
    target = run
    if tags.get("callwright.evaluation", evaluation) != evaluation:
        name = f"evaluation-{evaluation[:8]}"
        target = store.find_or_create(name, parent=run_id, evaluation_of=key, evaluation=evaluation)
    if target.data.tags.get("callwright.evaluation_logged") != evaluation:
        store.client.set_tag(target.info.run_id, "callwright.evaluation", evaluation)
        _log_evaluation(store, target)
        store.client.set_tag(target.info.run_id, "callwright.evaluation_logged", evaluation)
    for one in {run_id: run, target.info.run_id: target}.values():
        _gather_prefect_run(store, one)
        if one.info.status != "FINISHED":
            store.client.set_terminated(one.info.run_id, "FINISHED")
    return Completed(run_id, f"{run.info.artifact_uri}/{folder}")


def run_name(summary: Mapping[str, Any]) -> str:
    return f"{summary['base']['preset']}-{str(summary['key'])[:8]}"


def origin() -> dict[str, str]:
    """Tags that say what the files come from; what git or DVC cannot say is left out."""
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        changed = _git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock")
        tags["callwright.git_dirty"] = "true" if changed else "false"
    entries = {name: entry for name, entry in _lock().items() if name != "register"}
    if entries:
        tags["callwright.lock_hash"] = _sha256(json.dumps(entries, sort_keys=True).encode())
    return tags


def data_hash(stage: str, path: str) -> str | None:
    """DVC's hash of what the stage read, from dvc.lock: of a folder 36 characters, as many as MLflow's digest takes."""
    for dep in _lock().get(stage, {}).get("deps", ()):
        if dep.get("path") == path:
            return str(dep["md5"]) if "md5" in dep else None
    return None


def folder_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files; a name that is moved is another folder."""
    whole = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{file.relative_to(folder).as_posix()}\0{_sha256(file.read_bytes())}\n".encode())
    return whole.hexdigest()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Fault(f"{path} is missing; dvc repro makes it") from None
    except ValueError as error:
        raise Fault(f"{path} is not JSON ({error}); make it again with dvc repro") from None


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `("a.b", 1)`; a pair of bounds as `.low` and `.high`; other lists as they are."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif name.endswith("ci95") and isinstance(value, list) and len(value) == 2:
        yield from zip((f"{name}.low", f"{name}.high"), value, strict=True)
    else:
        yield name, value


def _log_training(store: Store, run: Run, summary: Mapping[str, Any], folder: str) -> None:
    start, seconds, points = run.info.start_time / 1000, 0.0, []
    for row in read_lines(TRAIN / "history.jsonl"):
        seconds = finite(row.get("seconds")) or seconds
        values = {name: value for name, value in row.items() if name not in ("step", "epoch")}
        points.append((int(row["step"]), start + seconds, values))
    log_points(store, run.info.run_id, new_points(points, logged(store, run)))
    _log_params(store, run)
    _log_once(store, run, flat(summary, "train"))
    _log_input(store, run, *TRAINED_ON)
    store.put(ADAPTER, run.info.artifact_uri, folder)
    store.put(TRAIN, run.info.artifact_uri, "reports/train")
    if DATA.is_dir():  # what validate says of the rows
        store.put(DATA, run.info.artifact_uri, "reports/data")


def _log_evaluation(store: Store, run: Run) -> None:
    _log_params(store, run)
    _log_once(store, run, flat(read_json(EVALUATE / "metrics.json"), "test"))
    _log_input(store, run, *JUDGED_ON)
    store.put(EVALUATE, run.info.artifact_uri, "reports/evaluate")


def _log_params(store: Store, run: Run) -> None:
    """Params and origin that the run lacks; the first ones stand, MLflow lets no param change.

    Where params.yaml says `preset`, the value that stood for it in the training is logged.
    """
    from mlflow.entities import Param, RunTag

    params = read_params().model_dump(mode="json", by_alias=True)
    params["train"] |= read_json(TRAIN / "summary.json").get("knobs", {})
    new = [
        Param(name, (value if isinstance(value, str) else to_json(value))[:6000])
        for name, value in flat(params)
        if name not in run.data.params
    ]
    tags = [RunTag(name, value) for name, value in origin().items() if name not in run.data.tags]
    for start in range(0, len(new), 100):
        store.client.log_batch(run.info.run_id, params=new[start : start + 100])
    store.client.log_batch(run.info.run_id, tags=tags)


_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_\-. :/]")
"""Signs that MLflow takes in no metric's name: pass^1 is logged as pass_1."""


def _log_once(store: Store, run: Run, values: Iterable[tuple[str, Any]]) -> None:
    named = ((_NOT_IN_A_NAME.sub("_", name)[:250], value) for name, value in values)
    new = {name: value for name, value in named if name not in run.data.metrics}
    log_points(store, run.info.run_id, new_points([(0, time.time(), new)], set()))


def _log_input(store: Store, run: Run, stage: str, path: str, context: str) -> None:
    """What the stage read, as MLflow's data set: its digest is DVC's hash, so either finds the other's."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = data_hash(stage, path)
    if digest is None:
        return  # the stage was run by hand: there is no hash to be honest with
    dataset = Dataset(name=path, digest=digest, source_type="local", source=json.dumps({"uri": path}))
    tags = [InputTag("mlflow.data.context", context)]
    store.client.log_inputs(run.info.run_id, datasets=[DatasetInput(dataset, tags)])


def _gather_prefect_run(store: Store, run: Run) -> None:
    flow_run = os.environ.get("CALLWRIGHT_PREFECT_RUN")
    known = [one for one in run.data.tags.get("callwright.prefect_runs", "").split(",") if one]
    if flow_run and flow_run not in known:
        store.client.set_tag(run.info.run_id, "callwright.prefect_runs", ",".join([*known, flow_run]))


def _lock() -> dict[str, Any]:
    """The stages of dvc.lock; none where it is missing or, after a kill, cut off."""
    try:
        return dict(yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"])
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError):
        return {}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
