"""register: the gate in numbers, then the registry of a real MLflow on SQLite."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from callwright.faults import Fault
from callwright.params import Register
from stages import register
from stages._registry import Registry, aliases
from stages._tracking import open_store
from stages.register import Champion, objections
from tests.tracked_project import ROOT, metrics, score, write_metrics, write_training

pytest_plugins = ["tests.tracked_project"]

RULES = Register.model_validate({"name": "m", "significance": 0.05, "floors": {"missing": 0.5, "no_tool": 0.5}})


def decision() -> dict[str, Any]:
    """Run the stage as DVC does, with its out removed before, and read what it left."""
    file = Path("reports/register/decision.json")
    file.unlink(missing_ok=True)
    register.main()
    value: dict[str, Any] = json.loads(file.read_text())
    return value


def registry() -> Registry:
    return Registry(open_store(), "callwright")


def versions() -> int:
    return len(registry().store.client.search_model_versions("name='callwright'"))


class TestGate:
    def test_better_than_base_with_its_floors_held_is_champion(self) -> None:
        assert objections(metrics(), RULES, None) == []

    def test_no_better_than_base_is_not(self) -> None:
        assert objections(metrics(tuned=40, base=40), RULES, None) == [
            "tuned is right on 40.0% of the rows and base on 40.0%"
        ]

    def test_a_lead_that_may_be_chance_is_not(self) -> None:
        (why,) = objections(metrics(p_value=0.05), RULES, None)
        assert "may be chance (McNemar p = 0.05)" in why

    def test_a_floor_that_is_not_held_is_told_with_both_numbers(self) -> None:
        (why,) = objections(metrics(no_tool=score(49)), RULES, None)
        assert why == "no_tool on seen tools is at 49.0%, under its floor of 50%"

    def test_a_floor_that_is_just_held_is_held(self) -> None:
        assert objections(metrics(no_tool=score(50)), RULES, None) == []

    @pytest.mark.parametrize("accuracy", [math.nan, math.inf, None, True, "0.9"])
    def test_what_is_no_number_is_never_champion(self, accuracy: Any) -> None:
        broken = metrics()
        broken["tuned"]["overall"]["accuracy"] = accuracy
        assert "missing or no number" in objections(broken, RULES, None)[0]

    def test_a_slice_without_rows_is_never_champion(self) -> None:
        (why,) = objections(metrics(no_tool=score(0, 0)), RULES, None)
        assert "no_tool on seen tools has no accuracy" in why

    def test_a_missing_slice_is_never_champion(self) -> None:
        broken = metrics()
        del broken["tuned"]["by_tools"]["seen"]["by_category"]["missing"]
        del broken["comparison"]
        assert len(objections(broken, RULES, None)) == 2

    def test_equal_to_the_champion_is_enough_and_one_row_less_is_not(self) -> None:
        assert objections(metrics(tuned=85), RULES, Champion("3", 0.85)) == []
        (why,) = objections(metrics(tuned=84), RULES, Champion("3", 0.85))
        assert why == "84.0% is worse than champion version 3's 85.0% on the same rows"

    def test_a_champion_that_cannot_be_compared_with_stays(self) -> None:
        (why,) = objections(metrics(), RULES, Champion("3", None, "it has no accuracy"))
        assert why == "champion version 3 cannot be compared with: it has no accuracy"


class TestRegistry:
    def test_a_good_adapter_becomes_champion_with_all_that_made_it(self, project: Path) -> None:
        made = decision()
        assert (made["decision"], made["alias"], made["version"], made["tracking"]) == (
            "promote",
            "champion",
            "1",
            "done",
        )
        assert made["champion_version"] is None
        assert made["numbers"]["floors"]["no_tool"] == {"floor": 0.5, "accuracy": 0.7}
        assert made["reason"].startswith("Champion: tuned is right on 85.0% of the rows, base on 2.0%")
        version = registry().version("1")
        assert version.tags["callwright.adapter_hash"] == made["adapter_hash"]
        assert version.tags["callwright.base"] == "smollm2-135m@abc"
        assert version.tags["callwright.data_hash"].endswith(".dir")
        assert "| zh-TW | 2.0% of 100 | 85.0% of 100 |" in str(version.description)
        run = registry().store.client.get_run(made["run_id"])
        assert version.run_id == made["run_id"]
        assert version.source == f"{run.info.artifact_uri}/adapter"
        assert "MODEL_CARD.md" in [one.path for one in registry().store.client.list_artifacts(made["run_id"])]

    def test_registering_twice_makes_one_version_and_the_same_bytes(self, project: Path) -> None:
        decision()
        before = Path("reports/register/decision.json").read_bytes()
        decision()
        assert Path("reports/register/decision.json").read_bytes() == before
        Path("mlruns/last-decision.json").unlink()
        again = decision()
        assert (again["decision"], again["version"]) == ("keep", "1")
        assert versions() == 1

    def test_nothing_changed_ends_in_two_seconds_without_mlflow(self, project: Path) -> None:
        decision()
        code = "import sys, stages.register as r; r.main(); assert 'mlflow' not in sys.modules"
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})
        assert time.monotonic() - started < 2

    def test_a_better_one_takes_over_and_the_old_champion_is_previous(self, project: Path) -> None:
        decision()
        write_training(key="b" * 64, weights=b"better")
        write_metrics(metrics(tuned=90))
        made = decision()
        assert (made["decision"], made["version"], made["champion_version"]) == ("promote", "2", "1")
        assert made["numbers"]["champion"] == {"version": "1", "accuracy": 0.85}
        assert aliases("callwright") == {"champion": "2", "previous": "1"}
        write_training(key="c" * 64, weights=b"best")
        write_metrics(metrics(tuned=95))
        decision()
        assert aliases("callwright") == {"champion": "3", "previous": "2"}

    def test_a_worse_one_is_the_challenger_and_the_champion_stays(self, project: Path) -> None:
        decision()
        write_training(key="b" * 64, weights=b"worse")
        write_metrics(metrics(tuned=80))
        made = decision()
        assert (made["decision"], made["alias"], made["champion_version"]) == ("challenge", "challenger", "1")
        assert aliases("callwright") == {"champion": "1", "challenger": "2"}

    def test_a_challenger_that_passes_later_loses_that_alias(self, project: Path) -> None:
        write_metrics(metrics(p_value=0.5))
        decision()
        assert aliases("callwright") == {"challenger": "1"}
        write_metrics(metrics())
        decision()
        assert aliases("callwright") == {"champion": "1"}

    def test_a_champion_that_fails_under_new_rules_is_no_champion(self, project: Path) -> None:
        decision()
        params = Path("params.yaml").read_text()
        Path("params.yaml").write_text(params.replace("no_tool: 0.5", "no_tool: 0.9"))
        made = decision()
        assert "under its floor of 90%" in made["reason"]
        assert aliases("callwright") == {"challenger": "1"}
        before = Path("reports/register/decision.json").read_bytes()
        decision()
        assert Path("reports/register/decision.json").read_bytes() == before

    def test_a_champion_judged_on_other_rows_answers_these(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked = []

        def answer_adapter(folder: Path) -> dict[str, Any]:
            asked.append((folder / "adapter_model.safetensors").read_bytes())
            return {"overall": score(88)}

        evaluate = ModuleType("stages.evaluate")
        evaluate.answer_adapter = answer_adapter  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stages.evaluate", evaluate)
        decision()
        write_training(key="b" * 64, weights=b"other")
        write_metrics(metrics(tuned=87), test_hash="rows-2")
        made = decision()
        assert asked == [b"weights"]
        assert made["alias"] == "challenger"
        assert made["numbers"]["champion"] == {"version": "1", "accuracy": 0.88}
        write_metrics(metrics(tuned=89), test_hash="rows-2")
        assert decision()["alias"] == "champion"
        assert len(asked) == 1, "what it scored on these rows is noted"

    def test_a_champion_whose_adapter_is_gone_is_not_replaced(self, project: Path) -> None:
        decision()
        for file in Path("mlruns/artifacts").rglob("adapter_model.safetensors"):
            file.write_bytes(b"changed")
        write_training(key="b" * 64, weights=b"other")
        write_metrics(test_hash="rows-2")
        made = decision()
        assert "no longer what was registered" in made["reason"]
        assert aliases("callwright")["champion"] == "1"


class TestOutage:
    def test_mlflow_down_is_a_warning_and_sync_makes_up_for_it(
        self,
        project: Path,
        refused: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from typer import Exit

        from commands.sync import sync

        monkeypatch.setenv("MLFLOW_TRACKING_URI", refused)
        made = decision()
        assert (made["decision"], made["tracking"], made["version"]) == ("undecided", "unreachable", None)
        assert made["numbers"]["tuned"] == 0.85
        assert capsys.readouterr().err.count("\n") == 1
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        sync()
        assert "version 1 (champion)" in capsys.readouterr().out
        assert decision()["tracking"] == "done"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", refused)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(Exit) as exit_:
            sync()
        assert exit_.value.exit_code == 1
        assert "run callwright sync again" in capsys.readouterr().err

    def test_a_server_that_never_answers_costs_seconds(
        self,
        project: Path,
        black_hole: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", black_hole)
        monkeypatch.setattr("stages._registry.PROBE_SECONDS", 0.3)
        started = time.monotonic()
        assert decision()["tracking"] == "unreachable"
        assert time.monotonic() - started < 2

    def test_sync_before_any_training_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from typer import Exit

        from commands.sync import sync

        monkeypatch.chdir(tmp_path)
        with pytest.raises(Exit) as exit_:
            sync()
        assert exit_.value.exit_code == 2
        assert capsys.readouterr().err == "reports/train/summary.json is missing; dvc repro makes it\n"


def test_metrics_without_their_rows_are_refused(bare: Path) -> None:
    Path("reports/evaluate/metrics.json").write_text("{}")
    with pytest.raises(Fault, match=r"metrics.json has no test_hash and no tuned; make it again with dvc repro"):
        register.read_evidence()


def test_other_floors_are_another_decision() -> None:
    def inputs(floor: float) -> str:
        rules = Register.model_validate(
            {"name": "m", "significance": 0.05, "floors": {"missing": floor, "no_tool": 0.5}}
        )
        return register.Evidence("hash", {}, metrics(), rules).inputs

    assert inputs(0.5) == inputs(0.5) != inputs(0.6)
