"""MLflow as a view of the files: the mirror while a training runs, its completion afterwards, outages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from callwright.params import read_params
from stages._completion import complete, data_hash, flat, folder_hash, origin
from stages._tracking import Mirror, Store, open_store, shown_address
from tests.tracked_project import KEY, ROOT, TEST_HASH, TRAIN_HASH, metrics, write_metrics, write_training

pytest_plugins = ["tests.tracked_project"]


def runs() -> list[Any]:
    store = open_store()
    return list(store.client.search_runs([store.experiment_id], order_by=["attributes.start_time ASC"]))


def curve(run: Any, name: str = "loss") -> list[tuple[int, float]]:
    history = open_store().client.get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in history)


def mirrored(first: int, last: int) -> None:
    """Log steps as train does, and wait until the mirror has shown them."""
    with Mirror(KEY, "run") as mirror:
        for step in range(first, last + 1):
            mirror.log(step, {"loss": 2 / step, "learning_rate": 1e-3})
        mirror._points.put(None)  # the end, without the deadline of leaving the block
        assert mirror._done.wait(30)


def leave(code: str, address: str, folder: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a training's end in a process of its own; how long the block and the exit took, less its start."""
    whole = "import time\nfrom stages._tracking import Mirror\n" + code + "\nprint(time.time())"
    settings = {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", whole], cwd=folder, env=settings, capture_output=True, text=True, timeout=60, check=True
    )
    return time.time() - float(done.stdout.splitlines()[0]), done


class TestMirror:
    def test_it_shows_the_curve_in_the_run_of_its_key(self, project: Path) -> None:
        mirrored(1, 3)
        (run,) = runs()
        assert run.data.tags["callwright.key"] == KEY
        assert run.info.status == "FINISHED"
        assert curve(run) == [(1, 2.0), (2, 1.0), (3, 2 / 3)]

    def test_resuming_continues_the_run_and_doubles_no_point(self, project: Path) -> None:
        mirrored(1, 4)
        mirrored(3, 6)
        (run,) = runs()
        assert [step for step, _ in curve(run)] == [1, 2, 3, 4, 5, 6]

    def test_what_is_no_number_is_left_out(self, project: Path) -> None:
        with Mirror(KEY, "run") as mirror:
            mirror.log(1, {"loss": float("nan"), "learning_rate": 0.1, "words": "x"})
            mirror._points.put(None)
            assert mirror._done.wait(30)
        assert set(runs()[0].data.metrics) == {"learning_rate"}

    def test_an_interrupted_training_is_killed_and_a_failed_one_failed(self, project: Path) -> None:
        for error, status in ((KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")):
            mirror = Mirror(KEY, "run")
            with pytest.raises(error), mirror:
                raise error
            mirror._thread.join(30)
            assert runs()[0].info.status == status

    def test_it_catches_up_when_mlflow_comes_back(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        answers: list[Exception] = [OSError("down"), ConnectionError("still down")]

        def sometimes() -> Store:
            if answers:
                raise answers.pop()
            return open_store()

        monkeypatch.setattr("stages._tracking.open_store", sometimes)
        monkeypatch.setattr("stages._tracking.RETRY_SECONDS", 0.01)
        with Mirror(KEY, "run") as mirror:
            for step in range(1, 4):
                mirror.log(step, {"loss": 2 / step})
                deadline = time.monotonic() + 10
                while len(answers) > max(0, 2 - step) and time.monotonic() < deadline:
                    time.sleep(0.01)
            mirror._points.put(None)
            assert mirror._done.wait(30)
        assert [step for step, _ in curve(runs()[0])] == [1, 2, 3]
        assert capsys.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize("hole", ["black_hole", "refused"])
    def test_an_outage_is_one_line_and_no_delay(
        self, hole: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        address = request.getfixturevalue(hole)
        code = (
            "with Mirror('k', 'n') as mirror:\n"
            "    for step in range(1000): mirror.log(step, {'loss': 1.0})\n"
            "    time.sleep(3)\n"  # so that mlflow is imported and asks
            "    print(time.time())"
        )
        took, done = leave(code, address, tmp_path)
        assert took < 3.5, "1.5 s of it are waited for MLflow, the rest is a busy machine"
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"warning: MLflow at {address} does not show the curve of this training: ")

    def test_a_training_that_ends_at_once_leaves_no_half_made_database(self, tmp_path: Path) -> None:
        code = "with Mirror('k', 'n') as mirror:\n    mirror.log(1, {'loss': 1.0})\n    print(time.time())"
        path = tmp_path / "mlruns" / "mlflow.db"
        took, done = leave(code, f"sqlite:///{path}", tmp_path)
        assert took < 3.5, "1.5 s of it are waited for MLflow, the rest is a busy machine"
        assert done.stderr.count("\n") <= 1
        assert not path.exists() or path.stat().st_size > 500_000

    def test_a_password_in_the_address_is_not_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@host:5000")
        assert shown_address() == "http://host:5000"


class TestCompletion:
    def test_the_files_alone_make_the_whole_run(self, project: Path) -> None:
        done = complete(open_store(), "hash-1")
        (run,) = runs()
        assert run.info.status == "FINISHED"
        assert float(run.data.params["train.learning_rate"]) == read_params().train.learning_rate
        assert run.data.params["generate.packs"] == '["office"]'
        assert run.data.metrics["test.tuned.overall.accuracy"] == 0.85
        assert run.data.metrics["test.base.by_language.zh-TW.accuracy"] == 0.02
        assert run.data.metrics["test.tuned.overall.ci95.low"] == 0.1
        assert run.data.metrics["test.comparison.p_value"] == 1e-9
        assert run.data.metrics["dev_loss"] == 0.5
        assert [step for step, _ in curve(run)] == [1, 2, 3, 4]
        assert done.adapter_uri == f"{run.info.artifact_uri}/adapter"
        assert {"adapter/adapter_model.safetensors", "reports/evaluate/loss.png", "reports/evaluate/answers.jsonl",
                "reports/train/history.jsonl"} <= artifacts(open_store(), run)  # fmt: skip

    def test_a_name_that_mlflow_refuses_is_logged_under_one_that_it_takes(self, project: Path) -> None:
        made = metrics()
        made["tuned"]["executed"] = {"pass^1": 0.7, "set_aside": {"reasons": {"no pack; 沒有": 2}}}
        write_metrics(made)
        complete(open_store(), "hash-1")
        found = runs()[0].data.metrics
        assert found["test.tuned.executed.pass_1"] == 0.7
        assert found["test.tuned.executed.set_aside.reasons.no pack_ __"] == 2

    def test_the_data_report_stands_beside_the_training(self, project: Path) -> None:
        Path("reports/data").mkdir(parents=True)
        Path("reports/data/report.html").write_text("<h1>The data</h1>", encoding="utf-8")
        complete(open_store(), "hash-1")
        assert "reports/data/report.html" in artifacts(open_store(), runs()[0])

    def test_the_digests_are_the_hashes_of_dvc(self, project: Path) -> None:
        complete(open_store(), "hash-1")
        inputs = runs()[0].inputs.dataset_inputs
        assert {(one.tags[0].value, one.dataset.digest) for one in inputs} == {
            ("training", TRAIN_HASH),
            ("evaluation", TEST_HASH),
        }
        assert len(TRAIN_HASH) == 36

    def test_the_data_sets_lead_back_to_the_folders(self, project: Path) -> None:
        import mlflow.data

        Path("data/validated").mkdir(parents=True)
        complete(open_store(), "hash-1")
        sources = [mlflow.data.get_source(one.dataset) for one in runs()[0].inputs.dataset_inputs]
        assert {source.to_dict()["uri"] for source in sources} == {"data/validated", "data/formatted/native"}

    def test_doing_it_twice_adds_nothing(self, project: Path) -> None:
        complete(open_store(), "hash-1")
        before = runs()[0].to_dictionary()
        complete(open_store(), "hash-1")
        assert [run.to_dictionary() for run in runs()] == [before]

    def test_it_adds_only_what_the_mirror_missed(self, project: Path) -> None:
        mirrored(1, 2)
        complete(open_store(), "hash-1")
        (run,) = runs()
        assert curve(run) == [(1, 2.0), (2, 1.0), (3, 2 / 3), (4, 0.5)]

    def test_it_goes_on_after_an_outage_in_the_middle(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def down(*_: object) -> None:
            raise OSError("down")

        with monkeypatch.context() as patch:
            patch.setattr("stages._tracking.Store.put", down)
            with pytest.raises(OSError, match="down"):
                complete(open_store(), "hash-1")
        complete(open_store(), "hash-1")
        (run,) = runs()
        assert [step for step, _ in curve(run)] == [1, 2, 3, 4]
        assert "adapter/adapter_config.json" in artifacts(open_store(), run)

    def test_another_evaluation_of_the_adapter_is_a_child_of_its_run(self, project: Path) -> None:
        done = complete(open_store(), "hash-1")
        write_metrics(metrics(tuned=90), test_hash="rows-2")
        complete(open_store(), "hash-1")
        complete(open_store(), "hash-1")
        parent, child = runs()
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id == done.run_id
        assert parent.data.metrics["test.tuned.overall.accuracy"] == 0.85
        assert child.data.metrics["test.tuned.overall.accuracy"] == 0.9
        assert child.info.status == "FINISHED"

    def test_another_training_is_another_run(self, project: Path) -> None:
        complete(open_store(), "hash-1")
        write_training(key="b" * 64)
        complete(open_store(), "hash-2")
        assert [run.data.tags["callwright.key"] for run in runs()] == [KEY, "b" * 64]

    def test_other_bytes_under_the_same_key_do_not_replace_the_first(self, project: Path) -> None:
        complete(open_store(), "hash-1")
        write_training(weights=b"other")
        uri = complete(open_store(), "hash-2").adapter_uri
        assert uri.endswith("/adapter-hash-2")
        (run,) = runs()
        assert {"adapter/adapter_config.json", "adapter-hash-2/adapter_config.json"} <= artifacts(open_store(), run)

    def test_runs_of_prefect_gather_in_one_tag(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for flow_run in ("one", "two", "two", "one"):
            monkeypatch.setenv("CALLWRIGHT_PREFECT_RUN", flow_run)
            complete(open_store(), "hash-1")
        assert runs()[0].data.tags["callwright.prefect_runs"] == "one,two"

    def test_a_run_made_through_a_local_server_is_read_without_it(self, project: Path) -> None:
        store = open_store()
        served = Store(store.client, store.client.create_experiment("served", artifact_location="mlflow-artifacts:/7"))
        uri = complete(served, "hash-1").adapter_uri
        assert uri.startswith("mlflow-artifacts:/7/")
        Path("fetched").mkdir()
        served.fetch(uri, Path("fetched"))
        assert folder_hash(Path("fetched")) == folder_hash(Path("models/adapter"))
        assert list(Path("mlruns/artifacts/7").rglob("adapter_config.json"))


class TestOrigin:
    def test_it_is_dirty_but_for_the_lock(self, bare: Path) -> None:
        def git(*words: str) -> None:
            who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
            subprocess.run(["git", *who, *words], check=True, capture_output=True)

        git("init")
        git("add", ".")
        git("commit", "-m", "all")
        Path("dvc.lock").write_text(Path("dvc.lock").read_text() + "\n")
        assert origin()["callwright.git_dirty"] == "false"
        assert len(origin()["mlflow.source.git.commit"]) == 40
        Path("params.yaml").write_text("x: 1")
        assert origin()["callwright.git_dirty"] == "true"

    def test_the_hash_of_the_lock_leaves_register_out(self, bare: Path) -> None:
        before = origin()["callwright.lock_hash"]
        lock = Path("dvc.lock").read_text()
        Path("dvc.lock").write_text(lock + "  register: {cmd: x}\n")
        assert origin()["callwright.lock_hash"] == before
        Path("dvc.lock").write_text(lock.replace(TRAIN_HASH, TEST_HASH))
        assert origin()["callwright.lock_hash"] != before

    @pytest.mark.parametrize("text", ["", "stages:\n  train: {deps: [", "stages: null"])
    def test_a_lock_cut_off_by_a_kill_has_no_hashes(self, bare: Path, text: str) -> None:
        Path("dvc.lock").write_text(text)
        assert data_hash("train", "data/formatted/native") is None
        assert "callwright.lock_hash" not in origin()


def test_a_moved_file_is_another_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = folder_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_hash(tmp_path) != before


def test_nested_values_get_dotted_names() -> None:
    value = {"a": {"b": 1, "ci95": [0.1, 0.2]}, "c": ["x"]}
    assert dict(flat(value)) == {"a.b": 1, "a.ci95.low": 0.1, "a.ci95.high": 0.2, "c": ["x"]}
    assert json.dumps(dict(flat({}, "empty"))) == "{}"


def artifacts(store: Store, run: Any, below: str | None = None) -> set[str]:
    """Every file of the run."""
    files: set[str] = set()
    for one in store.client.list_artifacts(run.info.run_id, below):
        files |= artifacts(store, run, one.path) if one.is_dir else {one.path}
    return files
