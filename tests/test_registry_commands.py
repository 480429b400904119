"""callwright models, promote, rollback: what they print, what they refuse with which sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from commands.registry import models, promote, rollback
from stages._moves import move
from stages._registry import Registry, aliases
from stages._tracking import open_store

pytest_plugins = ["tests.tracked_project"]

NOTHING = r"mlflow.db has no version of callwright yet; make run \(or dvc repro\) trains and registers one$"


@pytest.fixture
def two(project: Path) -> Registry:
    """Version 1 is champion, with all that register knows of it; 2 is of an earlier Callwright."""
    made = Registry(open_store(), "callwright")
    run = made.store.find_or_create("run", key="k")
    known = {
        "callwright.adapter_hash": "aaaa",
        "callwright.base": "smollm2-135m@abc",
        "callwright.data_hash": "0123456789abcdef.dir",
        "callwright.validated_hash": "fedcba9876543210.dir",
        "callwright.test_hash": "rows-1",
        "callwright.rows": "200.0",
        "callwright.accuracy": "0.85",
        "callwright.base_accuracy": "0.02",
        "callwright.seen_accuracy": "0.9",
        "callwright.unseen_accuracy": "None",
        "callwright.decision": "promote",
        "callwright.reason": "Champion: 比原來好 [bold]better[/bold].",
        "mlflow.source.git.commit": "c0ffee" * 6,
        "callwright.git_dirty": "true",
    }
    made.add("file:///1", run.info.run_id, known)
    made.add("file:///2", run.info.run_id, {"callwright.adapter_hash": "bbbb"})
    move(made, "register", "1", "the first")
    return made


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


class TestModels:
    def test_a_table_tells_scores_lineage_and_decision(self, two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
        assert models() == 0
        out = capsys.readouterr().out
        for text in (
            *("champion", "base   2.0%", "tuned  85.0%", "200 rows", "seen   90.0%", "unseen ?", "smollm2-135m@abc"),
            *("data 0123456789a…", "git c0ffeec0ff + changes", "Champion: 比原來好 [bold]better[/bold]."),
            "an earlier Callwright",
        ):
            assert text in out
        assert out.index("│ 2 ") < out.index("│ 1 "), "the newest first"

    def test_json_has_what_the_table_has(self, two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
        promote("2", "why not")
        capsys.readouterr()
        models(as_json=True)
        newer, older = printed(capsys)
        assert (newer["version"], newer["aliases"], newer["tuned"]) == (2, ["champion"], None)
        assert (older["aliases"], older["rows"], older["tuned"], older["unseen"]) == (["previous"], 200, 0.85, None)
        assert (older["git_dirty"], older["validated_hash"]) == (True, "fedcba9876543210.dir")
        assert older["withdrawn"].endswith("promote: why not")

    def test_the_history_tells_who_moved_what_and_why(self, two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
        promote("2", "快一倍")
        rollback("它會編造城市")
        capsys.readouterr()
        models(as_json=True, moves=True)
        told = printed(capsys)
        assert [(one["action"], one["version"], one["why"]) for one in told] == [
            ("register", "1", "the first"),
            ("promote", "2", "快一倍"),
            ("rollback", "1", "它會編造城市"),
        ]
        assert models(moves=True) == 0
        out = capsys.readouterr().out
        assert "rollback 1" in out
        assert "2 → 1" in out
        assert "它會編造城市" in out

    def test_what_a_crash_left_is_put_right_first(self, two: Registry, capsys: pytest.CaptureFixture[str]) -> None:
        promote("2", "better")
        two.tag_model("callwright.settled", "another")
        two.store.client.set_registered_model_alias("callwright", "champion", "1")
        models(as_json=True)
        assert aliases("callwright") == {"champion": "2", "previous": "1"}


class TestByHand:
    def test_promote_and_rollback_say_what_is_in_service_and_the_way_back(
        self, two: Registry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert promote("02", "better") == 0
        back = "is now `previous`, and comes back with callwright rollback --why …."
        assert capsys.readouterr().out == f"Version 2 is the champion; version 1 {back}\n"
        assert promote("2", "better") == 0
        assert capsys.readouterr().out == "Version 2 is the champion already; nothing was moved.\n"
        assert rollback("worse") == 0
        assert capsys.readouterr().out == f"Version 1 is the champion; version 2 {back}\n"
        assert aliases("callwright") == {"champion": "1", "previous": "2"}

    @pytest.mark.parametrize("version", ["", "three", "0", "-1", "1.0", "３", "1; DROP TABLE x", "9" * 30])
    def test_what_is_no_number_of_a_version(self, two: Registry, version: str) -> None:
        with pytest.raises(Fault, match=r"is no number of a version, such as 3; callwright models lists them$"):
            promote(version, "better")

    def test_a_version_that_is_not_there(self, two: Registry) -> None:
        with pytest.raises(Fault, match=r"^callwright has no version 7; callwright models lists those that it has$"):
            promote("7", "better")

    @pytest.mark.parametrize("why", ["", "  \n", "　"])
    def test_without_a_reason_nothing_moves(self, two: Registry, why: str) -> None:
        with pytest.raises(Fault, match=r"^callwright promote 2: --why is empty; say in a few words why"):
            promote("2", why)
        with pytest.raises(Fault, match=r"^callwright rollback: --why is empty"):
            rollback(why)
        assert aliases("callwright") == {"champion": "1"}

    def test_with_nothing_to_roll_back_to(self, two: Registry) -> None:
        with pytest.raises(
            Fault, match=r"has nothing to roll back to: no version is its `previous`; callwright promote"
        ):
            rollback("worse")


class TestNoRegistry:
    @pytest.mark.parametrize("ask", [models, lambda: promote("1", "x"), lambda: rollback("x")])
    def test_an_empty_one_is_told(self, project: Path, ask: Any) -> None:
        with pytest.raises(Fault, match=NOTHING):
            ask()

    def test_one_that_is_not_there_is_not_made(self, bare: Path) -> None:
        with pytest.raises(Fault, match=NOTHING):
            models()
        assert not list(Path("mlruns").iterdir())

    def test_one_that_does_not_answer_is_told(
        self, project: Path, refused: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", refused)
        with pytest.raises(
            Fault, match=r"does not answer \(.*\); start it \(make up does\), or name another one in MLFL"
        ):
            rollback("worse")

    def test_one_that_is_no_database_is_told(self, project: Path) -> None:
        Path("mlruns/mlflow.db").write_bytes(b"no database" * 100)
        with pytest.raises(Fault, match=r"refused: .*not a database"):
            models()
