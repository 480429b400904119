"""callwright show, on reports as evaluate and register write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from commands import show
from commands.main import app

LANGUAGES = ("zh-TW", "en")
CATEGORIES = ("single", "parallel", "missing", "no_tool", "full_loop")


def score(correct: int, n: int) -> dict[str, Any]:
    return {"n": n, "correct": correct, "accuracy": correct / n if n else 0.0, "ci95": [0.01, 0.97]}


def scores_of(correct: int) -> dict[str, Any]:
    by_language = {language: score(correct, 70 + i) for i, language in enumerate(LANGUAGES)}
    return {
        "overall": score(correct, 200),
        "by_category": {category: score(correct, 40) for category in CATEGORIES},
        "by_language": by_language,
        "by_offered": {"4-5": score(correct, 200)},
        "robustness": {"typos": {**score(correct - 1, 80), "unchanged": score(correct, 80)}},
        "constrained": {"overall": score(correct + 2, 200)},
        "executed": {"trials": 4, **dict.fromkeys(("correct", "state", "reply"), score(correct, 40))},
        "by_tools": {"seen": {**score(correct, 140), "by_language": by_language}, "unseen": score(correct, 60)},
    }


def answer(model: str, number: int, category: str, language: str, **changes: Any) -> dict[str, Any]:
    row = {
        "model": model,
        "id": f"office-{number:04}",
        "language": language,
        "category": category,
        "seen": True,
        "request": f"請查詢第 {number} 份預算表",
        "raw": '{"tool": "query_database", "params": {"query_str": "[red]預算表[/red]"}}',
        "parsed": {"calls": []},
        "outcome": "call",
        "correct": model == "tuned",
        "reason": None if model == "tuned" else "unknown_tool",
        "expected": '{"tool": "query_database", "params": {"query_str": "預算表"}}',
    }
    return row | changes


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    kinds = [(category, language) for category in CATEGORIES for language in LANGUAGES] * 3
    rows = [answer(model, i, *kind) for i, kind in enumerate(kinds) for model in ("base", "tuned")]
    write(show.METRICS, json.dumps({"base": scores_of(3), "tuned": scores_of(36), "test_hash": "0"}))
    write(show.ANSWERS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write(
        show.DECISION, json.dumps({"decision": "promote", "model": "callwright", "version": "3", "reason": "Better."})
    )
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_it_prints_scores_decision_and_ten_requests(reports: Path) -> None:
    result = CliRunner().invoke(app, ["show"])
    assert result.exit_code == 0, result.output
    for word in ("tools seen in training", "tools never seen", "full_loop", "zh-TW", "Better.", "18.0%", "200"):
        assert word in result.output
    assert result.output.count("請查詢第") == show.SHOWN
    assert result.output.count("✓") == result.output.count("✗") == show.SHOWN
    assert "[red]預算表[/red]" in result.output, "an answer is text, not rich's markup"


def test_the_requests_shown_are_varied_and_the_same_every_time(reports: Path) -> None:
    rows = [json.loads(line) for line in show.ANSWERS.read_text(encoding="utf-8").splitlines()]
    chosen = show.choose(rows)
    assert {(base["category"], base["language"]) for base, _ in chosen} == {
        (c, n) for c in CATEGORIES for n in LANGUAGES
    }
    assert chosen == show.choose(rows[::-1])


def test_a_long_answer_is_cut_by_its_width_on_the_screen(reports: Path) -> None:
    assert cell_len(show._cut("預" * 1000)) <= show.CUT
    assert "\n" not in show._cut("one\n\ntwo")


@pytest.mark.parametrize("missing", [show.METRICS, show.ANSWERS])
def test_nothing_evaluated_is_one_sentence_and_exit_2(reports: Path, missing: Path) -> None:
    missing.unlink()
    result = CliRunner().invoke(app, ["show"])
    assert result.exit_code == 2
    assert str(missing) in result.stderr
    assert "make run" in result.stderr
    assert result.stdout == ""


def test_metrics_of_another_shape_are_one_sentence_and_exit_2(reports: Path) -> None:
    write(show.METRICS, json.dumps({"base": {}}))
    result = CliRunner().invoke(app, ["show"])
    assert result.exit_code == 2
    assert "dvc repro" in result.stderr


def test_without_a_decision_the_scores_are_shown_all_the_same(reports: Path) -> None:
    show.DECISION.unlink()
    result = CliRunner().invoke(app, ["show"])
    assert result.exit_code == 0
    assert "Not registered yet" in result.output


def test_what_only_tuned_is_asked_stands_beside_a_dash(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show.show()
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.replace("│", " ").splitlines()}
    for expected in (
        "4-5 tools offered 200 1.5% 1 to 97% 18.0% 1 to 97%",
        "changed: typos 80 – 43.8% 1 to 97%",
        "the same rows as they are 80 – 45.0% 1 to 97%",
        "held to the tools' schemas 200 – 19.0% 1 to 97%",
        "the loop, run for real, 4 times each 40 – 90.0% 1 to 97%",
    ):
        assert any(expected in line for line in lines), (expected, sorted(lines))
