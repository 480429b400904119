"""register: the gate's decision carried out in the registry of a real MLflow on SQLite."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from callwright.faults import Fault
from callwright.params import Register
from stages import evaluate, register
from stages._moves import put_into_service, roll_back
from stages._registry import Registry, aliases
from stages._tracking import open_store
from tests.tracked_project import (
    ROOT,
    answers,
    metrics,
    write_evaluation,
    write_lock,
    write_metrics,
    write_training,
)

pytest_plugins = ["tests.tracked_project"]


def decision() -> dict[str, Any]:
    """Run the stage as DVC does, with its out removed before, and read what it left."""
    file = Path("reports/register/decision.json")
    file.unlink(missing_ok=True)
    register.main()
    value: dict[str, Any] = json.loads(file.read_text())
    return value


def another(weights: str, tuned: int, **evaluation: Any) -> dict[str, Any]:
    """Train another adapter, evaluate it, and register it."""
    write_training(key=f"{weights:0<64}"[:64], weights=weights.encode())
    write_evaluation(tuned=tuned, **evaluation)
    return decision()


def registry() -> Registry:
    return Registry(open_store(), "callwright")


def versions() -> int:
    return len(registry().versions())


def with_floor(category: str, floor: float) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    changed = text.replace(f"{category}: 0.5", f"{category}: {floor}")
    assert changed != text
    Path("params.yaml").write_text(changed, encoding="utf-8")


class TestPromote:
    def test_a_good_adapter_becomes_champion_with_all_that_made_it(self, evaluated: Path) -> None:
        made = decision()
        assert [made[key] for key in ("decision", "alias", "version", "tracking", "champion_version")] == [
            *("promote", "champion", "1", "done"),
            None,
        ]
        assert made["numbers"]["base"]["wins"] == 166
        assert made["reason"].startswith("Champion: tuned is right on 85.0% of 200 rows, base on 2.0%")
        version = registry().version("1")
        tags = version.tags
        assert tags["callwright.adapter_hash"] == made["adapter_hash"]
        assert tags["callwright.base"] == "smollm2-135m@abc"
        assert tags["callwright.data_hash"].startswith("0123")
        assert tags["callwright.validated_hash"].startswith("fedc")
        assert (tags["callwright.accuracy"], tags["callwright.base_accuracy"]) == ("0.85", "0.02")
        assert (tags["callwright.decision"], tags["callwright.reason"]) == ("promote", made["reason"])
        assert json.loads(tags["callwright.promoted"])["action"] == "register"
        run = registry().store.client.get_run(made["run_id"])
        assert version.run_id == made["run_id"]
        assert version.source == f"{run.info.artifact_uri}/model-{made['adapter_hash'][:12]}"
        assert run.data.tags["callwright.decision"] == "promote"

    def test_its_files_are_a_model_for_mlflow_with_the_adapter_in_it(self, evaluated: Path, tmp_path: Path) -> None:
        decision()
        (tmp_path / "fetched").mkdir()
        adapter = registry().fetch_adapter("1", tmp_path / "fetched")
        assert (adapter / "adapter_model.safetensors").read_bytes() == b"weights"
        told = yaml.safe_load((tmp_path / "fetched/MLmodel").read_text(encoding="utf-8"))
        assert told["metadata"]["callwright.base"] == "smollm2-135m@abc"

    def test_its_card_tells_scores_slices_limits_licence_and_lineage(self, evaluated: Path) -> None:
        decision()
        card = next(Path("mlruns/artifacts").rglob("MODEL_CARD.md")).read_text(encoding="utf-8")
        assert registry().version("1").description == card
        assert "| all rows | 2.0% of 200 | 85.0% of 200 |" in card
        assert "## The gate: promote" in card
        assert "| category:single | 80 | " in card
        assert "- Floor of no_tool on seen tools: 50%; it is at " in card
        assert "SmolLM2-135M-Instruct (Apache-2.0, Hugging Face)" in card
        assert "- `callwright.base`: smollm2-135m@abc" in card

    def test_a_better_one_takes_over_and_the_old_champion_is_previous(self, evaluated: Path) -> None:
        decision()
        made = another("b", 180)
        assert (made["decision"], made["version"], made["champion_version"]) == ("promote", "2", "1")
        assert (made["numbers"]["champion"]["wins"], made["numbers"]["champion"]["losses"]) == (10, 0)
        assert aliases("callwright") == made["aliases"] == {"champion": "2", "previous": "1"}
        another("c", 190)
        assert aliases("callwright") == {"champion": "3", "previous": "2"}

    def test_an_equal_one_takes_over_too(self, evaluated: Path) -> None:
        decision()
        assert another("b", 170)["decision"] == "promote"
        assert aliases("callwright") == {"champion": "2", "previous": "1"}

    def test_registering_twice_makes_one_version_and_the_same_bytes(self, evaluated: Path) -> None:
        decision()
        before = Path("reports/register/decision.json").read_bytes()
        decision()
        assert Path("reports/register/decision.json").read_bytes() == before
        Path("mlruns/last-decision.json").unlink()
        again = decision()
        assert (again["decision"], again["version"]) == ("promote", "1")
        assert again["reason"].startswith("Champion already, and it stays: tuned is right on")
        assert versions() == 1


class TestChallenge:
    def test_fewer_right_rows_that_may_be_chance_leave_it_to_a_person(self, evaluated: Path) -> None:
        decision()
        made = another("b", 166)
        assert (made["decision"], made["alias"], made["version"]) == ("challenge", "challenger", "2")
        assert "champion 1 on 85.0%" in made["reason"]
        assert aliases("callwright") == {"champion": "1", "challenger": "2"}

    def test_a_challenger_that_passes_later_loses_that_alias(self, evaluated: Path) -> None:
        decision()
        another("b", 166)
        write_evaluation(tuned=171)
        assert decision()["version"] == "2"
        assert aliases("callwright") == {"champion": "2", "previous": "1"}

    def test_what_a_person_took_out_of_service_comes_back_by_hand_only(self, evaluated: Path) -> None:
        decision()
        another("b", 180)
        roll_back(registry(), "2 invents 城市")
        made = decision()
        assert (made["decision"], made["version"]) == ("challenge", "2")
        assert "version 2 was taken out of service by hand (" in made["reason"]
        assert "rollback: 2 invents 城市); callwright promote 2 --why … puts it back" in made["reason"]
        assert aliases("callwright")["champion"] == "1"
        put_into_service(registry(), "2", "the prompt was at fault")
        assert decision()["decision"] == "promote"
        assert aliases("callwright")["champion"] == "2"


class TestRefuse:
    @pytest.mark.parametrize(
        ("evaluation", "why"),
        [
            ({"tuned": 40, "base": 40}, "tuned is right on 20.0% of 200 rows, base on 20.0%"),
            ({"tuned": 30, "base": 40}, "tuned is right on 15.0% of 200 rows, base on 20.0%"),
            ({"tuned": 43, "base": 40}, "may be chance (3 rows won, 0 lost, McNemar p = 0.25)"),
            ({"wrong": "no_tool"}, "no_tool on seen tools is at 0.0%, under its floor of 50%"),
        ],
    )
    def test_no_version_stands_for_it_and_the_run_tells_why(
        self, evaluated: Path, evaluation: dict[str, Any], why: str
    ) -> None:
        write_evaluation(**evaluation)
        made = decision()
        assert [made[key] for key in ("decision", "version", "alias", "aliases")] == ["refuse", None, None, {}]
        assert made["reason"].startswith("Refused: ")
        assert any(why in reason for reason in made["reasons"])
        run = registry().store.client.get_run(made["run_id"])
        assert run.info.status == "FINISHED"
        assert (run.data.tags["callwright.decision"], run.data.tags["callwright.reason"]) == ("refuse", made["reason"])
        assert versions() == 0

    def test_one_that_is_worse_than_the_champion_changes_nothing(self, evaluated: Path) -> None:
        decision()
        another("b", 180)
        before, tags = registry().standing(), [one.tags for one in registry().versions()]
        made = another("c", 120)
        assert (made["decision"], made["version"], made["champion_version"]) == ("refuse", None, "2")
        assert "champion 2 on 90.0%, and that is no chance" in made["reason"]
        assert registry().standing() == before
        assert [one.tags for one in registry().versions()] == tags

    @pytest.mark.parametrize(
        ("model", "accuracy"),
        [("tuned", math.nan), ("base", math.nan), ("tuned", None), ("tuned", "0.85"), ("base", 0.01)],
    )
    def test_a_score_that_is_not_that_of_the_answers_is_refused(
        self, evaluated: Path, model: str, accuracy: Any
    ) -> None:
        file = Path("reports/evaluate/metrics.json")
        broken = json.loads(file.read_text())
        broken[model]["overall"]["accuracy"] = accuracy
        file.write_text(json.dumps(broken))
        made = decision()
        assert made["decision"] == "refuse"
        assert f"reports/evaluate/metrics.json says that {model} is right on" in made["reasons"][0]
        assert f"accuracy {accuracy}, and the rows of answers.jsonl " in made["reasons"][0]
        assert versions() == 0

    def test_other_rows_of_base_and_rows_twice_are_refused(self, evaluated: Path) -> None:
        file = Path("reports/evaluate/answers.jsonl")
        lines = file.read_text().splitlines()
        file.write_text("\n".join(lines[1:]) + "\n")
        assert any("base has no verdict on office-000000" in reason for reason in decision()["reasons"])
        file.write_text("\n".join([*lines, lines[0]]) + "\n")
        assert any("base has two verdicts on office-000000" in reason for reason in decision()["reasons"])

    def test_a_champion_that_fails_under_new_rules_stays_and_the_way_out_is_told(self, evaluated: Path) -> None:
        decision()
        with_floor("no_tool", 0.99)
        made = decision()
        assert (made["decision"], made["version"], made["champion_version"]) == ("refuse", None, "1")
        assert made["reason"].startswith("Version 1 is in service, and would be refused today: no_tool on seen tools")
        assert made["reason"].endswith("It stays; callwright promote VERSION --why … puts another one into service.")
        assert aliases("callwright") == {"champion": "1"}
        before = Path("reports/register/decision.json").read_bytes()
        decision()
        assert Path("reports/register/decision.json").read_bytes() == before

    def test_with_a_previous_the_way_out_is_a_rollback(self, evaluated: Path) -> None:
        decision()
        another("b", 180)
        write_evaluation(tuned=180, wrong="missing")
        assert decision()["reason"].endswith("It stays; callwright rollback --why … puts version 1 back.")
        assert aliases("callwright") == {"champion": "2", "previous": "1"}


class TestQuickly:
    @pytest.mark.parametrize("tuned", [170, 3])
    def test_nothing_changed_ends_in_two_seconds_without_mlflow(self, evaluated: Path, tuned: int) -> None:
        write_evaluation(tuned=tuned)
        decision()
        code = "import sys, stages.register as r; r.main(); assert 'mlflow' not in sys.modules"
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})
        assert time.monotonic() - started < 2

    def test_a_move_that_a_crash_left_undone_is_not_quick(self, evaluated: Path) -> None:
        decision()
        another("b", 180)
        registry().tag_model("callwright.settled", "another")
        registry().store.client.set_registered_model_alias("callwright", "previous", "2")
        decision()
        assert aliases("callwright") == {"champion": "2", "previous": "1"}

    def test_other_floors_and_other_answers_are_another_decision(self) -> None:
        def inputs(floor: float, answers_hash: str = "a") -> str:
            rules = {"name": "m", "significance": 0.05, "margin": 0.05, "least_rows": 50}
            read = Register.model_validate(rules | {"floors": {"missing": floor, "no_tool": 0.5}})
            return register.Evidence("hash", {}, metrics(), read, answers_hash).seals["inputs"]

        assert inputs(0.5) == inputs(0.5)
        assert len({inputs(0.5), inputs(0.6), inputs(0.5, "b")}) == 3

    def test_an_adapter_that_was_not_evaluated_is_not_judged_by_anothers_answers(self, evaluated: Path) -> None:
        write_metrics(json.loads(Path("reports/evaluate/metrics.json").read_text()), key="of another training")
        with pytest.raises(Fault, match=r"metrics\.json is of the training of anoth, and models/adapter of "):
            register.read_evidence()

    def test_where_many_rows_could_not_be_asked_a_person_decides(self, evaluated: Path) -> None:
        answers_ = Path("reports/evaluate/answers.jsonl").read_text()
        for aside, word in ((10, "promote"), (11, "challenge")):
            write_metrics(json.loads(Path("reports/evaluate/metrics.json").read_text()), set_aside=aside)
            Path("reports/evaluate/answers.jsonl").write_text(answers_)
            assert register.judge(register.read_evidence(), None).decision == word


class TestIncumbent:
    """The champion is compared on the same rows, judged by the same code; else it answers anew."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The adapters that were asked anew; each has 176 rows right."""
        asked: list[bytes] = []

        def answer_adapter(folder: Path, test_hash: str) -> list[dict[str, Any]]:
            asked.append((folder / "adapter_model.safetensors").read_bytes())
            return answers("champion", 176)

        monkeypatch.setattr(evaluate, "answer_adapter", answer_adapter)
        return asked

    def test_judged_on_the_same_rows_it_is_not_asked_again(self, evaluated: Path, asked: list[bytes]) -> None:
        decision()
        assert another("b", 180)["numbers"]["champion"]["other"] == 0.85
        assert asked == []

    def test_judged_on_other_rows_it_answers_these_once(self, evaluated: Path, asked: list[bytes]) -> None:
        decision()
        made = another("b", 174, test_hash="rows-2")
        assert asked == [b"weights"]
        assert made["decision"] == "challenge"
        assert made["numbers"]["champion"]["other"] == 0.88
        write_evaluation(tuned=178, test_hash="rows-2")
        assert decision()["decision"] == "promote"
        assert len(asked) == 1, "what it answered is kept"

    def test_judged_by_other_code_it_answers_again(self, evaluated: Path, asked: list[bytes]) -> None:
        decision()
        write_lock(code="2")
        another("b", 180)
        assert asked == [b"weights"]

    @pytest.mark.parametrize("kept", ['{"id": "of an older shape"}\n', "no JSON"])
    def test_kept_answers_that_changed_are_made_again(self, evaluated: Path, asked: list[bytes], kept: str) -> None:
        decision()
        for file in Path("mlruns/artifacts").rglob("answers/*/answers.jsonl"):
            file.write_text(kept)
        another("b", 180)
        assert asked == [b"weights"]

    def test_a_champion_whose_adapter_is_gone_is_not_replaced(self, evaluated: Path, asked: list[bytes]) -> None:
        decision()
        for file in Path("mlruns/artifacts").rglob("adapter_model.safetensors"):
            file.write_bytes(b"changed")
        made = another("b", 180, test_hash="rows-2")
        assert made["decision"] == "challenge"
        assert "champion 1 was not judged on these rows and its adapter cannot be asked: version 1" in made["reason"]
        assert "holds no adapter with the hash that was registered" in made["reason"]
        assert aliases("callwright") == {"champion": "1", "challenger": "2"}

    def test_a_champion_on_another_base_is_not_replaced(self, evaluated: Path, asked: list[bytes]) -> None:
        decision()
        registry().tag("1", "callwright.base", "qwen3-8b@1")
        made = another("b", 180, test_hash="rows-2")
        assert "stands on another base (qwen3-8b@1, here smollm2-135m@abc)" in made["reason"]
        assert made["decision"] == "challenge"
        assert asked == []

    def test_if_another_comes_into_service_meanwhile_it_is_held_against_that(
        self, evaluated: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decision()
        another("b", 180)
        right = iter([160, 173])

        def answer_adapter(folder: Path, test_hash: str) -> list[dict[str, Any]]:
            if aliases("callwright")["champion"] == "2":
                roll_back(registry(), "while the third is judged")
            return answers("champion", next(right))

        monkeypatch.setattr(evaluate, "answer_adapter", answer_adapter)
        made = another("c", 170, test_hash="rows-2")
        assert (made["decision"], made["champion_version"]) == ("challenge", "1")
        assert "champion 1 on 86.5%" in made["reason"]
        assert aliases("callwright") == {"champion": "1", "previous": "2", "challenger": "3"}


class TestOutage:
    def test_mlflow_down_is_a_warning_and_sync_makes_up_for_it(
        self,
        evaluated: Path,
        refused: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from typer import Exit

        from commands.sync import sync

        monkeypatch.setenv("MLFLOW_TRACKING_URI", refused)
        made = decision()
        assert (made["decision"], made["tracking"], made["version"]) == ("undecided", "unreachable", None)
        assert made["numbers"]["base"]["tuned"] == 0.85
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
        evaluated: Path,
        black_hole: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", black_hole)
        monkeypatch.setattr("stages._standing.PROBE_SECONDS", 0.3)
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


class TestBadFiles:
    def test_metrics_without_their_rows(self, bare: Path) -> None:
        Path("reports/evaluate/metrics.json").write_text("{}")
        with pytest.raises(Fault, match=r"metrics.json has no test_hash and no key and no tuned; make it again with"):
            register.read_evidence()

    def test_no_answers(self, bare: Path) -> None:
        Path("reports/evaluate/answers.jsonl").unlink()
        with pytest.raises(Fault, match=r"reports/evaluate/answers.jsonl is missing; dvc repro makes it"):
            register.read_evidence()

    def test_answers_of_another_shape(self, project: Path) -> None:
        with pytest.raises(Fault, match=r"answers.jsonl has a row that evaluate did not write \(KeyError\('model'\)\)"):
            register.main()
