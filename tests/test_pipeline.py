"""The whole pipeline on few rows, for real: the embedded model, DVC, Prefect and MLflow, in a clone of its own.

Three runs, one after another: from nothing, again at once, and with another learning rate.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FEW: dict[str, Any] = {
    "generate": {
        "rows": 24,
        "rows_per_tool_list": 4,
        "exam": {"dev": {"rows": 4}, "test": {"rows": 14}, "unseen": {"rows": 6}},
    },
    "train": {"epochs": 1, "warmup_share": 0.3, "batch_size": 8},
    "evaluate": {
        "max_new_tokens": 24,
        "robustness": {"rows": 5, "changes": ["distractors_3", "typos"]},
        "executed": {"rows": 3, "trials": 2},
    },
}


class Clone:
    """A copy of the project as git would clone it, with what is not committed, and this environment as its .venv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for name in listed:
            if (ROOT / name).is_file() and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "DVC", "GIT_"))
        } | {
            "PREFECT_HOME": str(folder / ".prefect"),
            "DO_NOT_TRACK": "1",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self.set(FEW)
        self.run("git", "init", "-q")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "clone")

    def set(self, knobs: dict[str, Any]) -> None:
        def merge(into: dict[str, Any], new: dict[str, Any]) -> None:
            for key, value in new.items():
                if isinstance(value, dict):
                    merge(into[key], value)
                else:
                    into[key] = value

        path = self.folder / "params.yaml"
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        merge(value, knobs)
        path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def run(self, *words: str) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def flow(self) -> str:
        return self.run(".venv/bin/python", "-m", "flows.pipeline")

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]

    def mlflow(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlruns/mlflow.db")

    def trainings(self) -> list[Any]:
        client = self.mlflow()
        experiment = client.get_experiment_by_name("callwright")
        return [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    clone = Clone(tmp_path_factory.mktemp("clone"))
    yield clone
    shutil.rmtree(clone.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def first(clone: Clone) -> str:
    return clone.flow()


@pytest.fixture(scope="module")
def again(clone: Clone, first: str) -> str:
    return clone.flow()


@pytest.fixture(scope="module")
def other_rate(clone: Clone, again: str) -> str:
    clone.set({"train": {"learning_rate": 0.0005}})
    return clone.run(".venv/bin/dvc", "repro")


STAGES = ["base", "generate", "validate", "format", "train", "evaluate", "register"]


def test_every_stage_runs_once(first: str) -> None:
    assert [line.split()[1] for line in first.splitlines() if line.startswith("✓")] == STAGES


def test_nothing_half_written_is_left_and_of_checkpoints_those_of_the_training_that_is_done(
    clone: Clone, first: str
) -> None:
    assert not [path for path in clone.folder.rglob(".writing-*") if ".venv" not in path.parts]
    [work] = [path for path in (clone.folder / "checkpoints").iterdir() if path.is_dir()]
    assert {path.name.partition("-")[0] for path in work.iterdir()} == {"checkpoint", "history.jsonl"}


def test_git_sees_dvc_lock_and_nothing_else(clone: Clone, first: str) -> None:
    assert clone.run("git", "status", "--porcelain").split() == ["??", "dvc.lock"]


def test_the_metrics_computed_again_from_the_answers_are_the_metrics(clone: Clone, first: str) -> None:
    from stages.evaluate import metrics

    found = clone.json("reports/evaluate/metrics.json")
    found.pop("test_hash")
    assert found.pop("set_aside") == 0
    assert found.pop("key") == clone.json("reports/train/summary.json")["key"]
    assert found.pop("now") == "2026-03-02 09:00:00"
    answers, ran = (clone.lines(f"reports/evaluate/{name}.jsonl") for name in ("answers", "executed"))
    assert json.loads(json.dumps(metrics(answers, ran))) == found
    assert found["tuned"]["robustness"].keys() == {"distractors_3", "typos"}
    assert found["tuned"]["constrained"]["overall"]["n"] == 20
    assert (found["tuned"]["executed"]["n"], len(ran)) == (3, 6)
    assert found["base"]["overall"]["n"] == found["tuned"]["overall"]["n"] == 20
    assert found["tuned"]["by_tools"]["unseen"]["n"] == 6


def test_the_base_answers_in_words_of_its_own(clone: Clone, first: str) -> None:
    """A model that was pre-trained, not random weights."""
    base = [row["raw"] for row in clone.lines("reports/evaluate/answers.jsonl") if row["model"] == "base"]
    letters = sum(sign.isalpha() or sign in ' .,"{}:_' for text in base for sign in text)
    assert letters > 0.8 * sum(map(len, base))


def test_the_loss_falls(clone: Clone, first: str) -> None:
    history = clone.lines("reports/train/history.jsonl")
    assert [line["step"] for line in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]


def test_three_steps_are_refused_and_the_run_says_why_and_what_it_came_from(clone: Clone, first: str) -> None:
    decision = clone.json("reports/register/decision.json")
    assert (decision["decision"], decision["version"]) == ("refuse", None)
    assert clone.mlflow().search_model_versions("name='callwright'") == []
    (run,) = clone.trainings()
    assert run.data.tags["callwright.decision"] == "refuse"
    assert run.data.tags["callwright.reason"] == decision["reason"]
    assert clone.run("git", "rev-parse", "HEAD").strip() in run.data.tags.values()


def test_again_at_once_only_register_runs_and_nothing_is_added(clone: Clone, again: str) -> None:
    assert [line.split()[1] for line in again.splitlines() if line.startswith("✓")] == ["register"]
    assert len(clone.trainings()) == 1
    assert clone.mlflow().search_model_versions("name='callwright'") == []


def test_another_learning_rate_runs_train_evaluate_and_register_only(other_rate: str) -> None:
    ran = [line.split("'")[1] for line in other_rate.splitlines() if line.startswith("Running stage")]
    assert ran == ["train", "evaluate", "register"]


def test_mlflow_holds_both_trainings_to_compare(clone: Clone, other_rate: str) -> None:
    client, lock = clone.mlflow(), yaml.safe_load((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    hashes = {
        data["md5"] for stage in lock["stages"].values() for data in stage["deps"] + stage["outs"] if "md5" in data
    }
    runs = clone.trainings()
    assert len(runs) == 2
    assert len({run.data.params["train.learning_rate"] for run in runs}) == 2
    for run in runs:
        assert run.info.status == "FINISHED"
        assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]
        assert "test.tuned.overall.accuracy" in run.data.metrics
        digests = {found.dataset.digest for found in run.inputs.dataset_inputs}
        assert digests
        assert digests <= hashes
        artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert any("adapter" in path for path in artifacts), artifacts
    assert client.search_model_versions("name='callwright'") == [], "three steps are refused"
