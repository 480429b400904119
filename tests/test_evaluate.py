"""stages.evaluate without a model: judging answers, making the metrics again from them, prompts and pictures."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callwright.faults import Fault
from callwright.formats import said
from callwright.outs import read_lines, write_lines
from callwright.records import Calls, Category, Example, Language, Reply, Split, User
from callwright.score import gold
from stages import _exam, _local, _plots, evaluate
from tests.rows import QUERY, conversation, generated, loop

TEST = [row for row in generated() if row.split is Split.TEST]
TRAIN = [row for row in generated() if row.split is Split.TRAIN]
SEEN = _exam.seen_rows(TEST, TRAIN)


def answer(row: Example, i: int) -> str:
    """Right for two rows in three, else text, a broken call or a question."""
    return said(gold(row)) if i % 3 else ("好的。", '{"tool": ', "What?", '{"tool": "x", "params": {}}')[i // 3 % 4]


RIGHT = {row.id: said(gold(row)) for row in TEST}
MIXED = {row.id: answer(row, i) for i, row in enumerate(TEST)}


def answers() -> list[evaluate.Row]:
    return evaluate.judge("base", TEST, MIXED, SEEN) + evaluate.judge("tuned", TEST, RIGHT, SEEN)


def test_right_answers_are_all_right() -> None:
    assert all(row["correct"] for row in evaluate.judge("tuned", TEST, RIGHT, SEEN))


def test_a_row_of_answers_holds_what_was_said_what_it_was_read_as_and_the_verdict() -> None:
    row = loop("預算為 300 萬。", facts=("300 萬",))
    [made] = evaluate.judge("tuned", [row], {"row-1": "預算為 400 萬。"}, {"row-1": False})
    assert made == {
        "model": "tuned",
        "setting": "plain",
        "id": "row-1",
        "language": "zh-TW",
        "category": "full_loop",
        "seen": False,
        "offered": 3,
        "request": "幫我查預算",
        "expected": "預算為 300 萬。",
        "expected_outcome": "answer",
        "raw": "預算為 400 萬。",
        "parsed": {"text": "預算為 400 萬。"},
        "outcome": "answer",
        "correct": False,
        "reason": "fact_left_out",
        "detail": "the reply does not tell '300 萬'",
    }


def test_a_lost_answer_raises_and_is_not_counted_as_wrong() -> None:
    lost = TEST[3].id
    with pytest.raises(Fault) as fault:
        evaluate.judge("tuned", TEST, {row_id: text for row_id, text in RIGHT.items() if row_id != lost}, SEEN)
    assert str(fault.value) == (
        f"tuned gave no answer for {lost}; a lost answer is not a wrong one, so nothing is scored. Run evaluate again"
    )


def test_an_empty_answer_is_not_lost_but_wrong() -> None:
    [made] = evaluate.judge("tuned", TEST[:1], {TEST[0].id: ""}, SEEN)
    assert (made["correct"], made["reason"], made["parsed"]) == (False, "unparsed", {"unparsed": "the answer is empty"})


def test_the_metrics_computed_again_from_answers_are_the_metrics(tmp_path: Path) -> None:
    made = evaluate.metrics(answers())
    write_lines(tmp_path / "answers.jsonl", answers())
    assert evaluate.metrics(list(read_lines(tmp_path / "answers.jsonl"))) == made
    assert json.loads(json.dumps(made)) == made


def test_the_metrics_are_those_of_the_answers() -> None:
    made = evaluate.metrics(answers())
    right = sum(i % 3 > 0 for i in range(len(TEST)))
    assert made["tuned"]["overall"]["correct"] == len(TEST)
    assert right <= made["base"]["overall"]["correct"] < len(TEST)
    assert made["comparison"]["wins"] == len(TEST) - made["base"]["overall"]["correct"]
    assert made["comparison"]["losses"] == 0
    assert made["comparison"]["regressions"] == []
    assert sum(made["base"]["errors"].values()) == made["comparison"]["wins"]
    assert sum(sum(row.values()) for row in made["base"]["decision"].values()) == len(TEST)


def test_a_row_is_seen_if_training_offered_all_its_tools() -> None:
    known = {tool.name for row in TRAIN for tool in row.tools}
    assert {SEEN[row.id] for row in TEST} == {True, False}
    assert all(SEEN[row.id] is ({tool.name for tool in row.tools} <= known) for row in TEST)
    odd = conversation(User("x"), Reply("y"), tools=(QUERY, replace(QUERY, name="new")))
    assert _exam.seen_rows([odd], [replace(odd, tools=(QUERY,))]) == {"row-1": False}


def test_a_prompt_ends_right_before_the_last_assistant_turn() -> None:
    loop_row = {"id": "a", "input_ids": [1, 2, 3, 4, 5, 6, 7, 8], "labels": [-100, -100, 3, 4, -100, -100, 7, 8]}
    single = {"id": "b", "input_ids": [1, 2, 3], "labels": [-100, 2, -100]}
    first = {"id": "c#0", "input_ids": [1, 2], "labels": [-100, 2]}
    second = {"id": "c#1", "input_ids": [1, 2, 9, 5], "labels": [-100, -100, -100, 5]}
    in_turns = {"id": "d", "input_ids": [1, 5, 6, 7, 8, 9], "labels": [-100, 5, -100, -100, 8, 9], "turns": 2}
    made = _local.prompts([loop_row, single, first, second, in_turns])
    asked = {row_id: prompt.tokens for row_id, prompt in made.items()}
    assert asked == {"a": [1, 2, 3, 4, 5, 6], "b": [1], "c": [1, 2, 9], "d": [1]}
    assert {row_id: prompt.between for row_id, prompt in made.items()} == {"a": (), "b": (), "c": (), "d": ([6, 7],)}


# Pictures


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are whole."""
    data, at, kinds = path.read_bytes(), 8, []
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        assert zlib.crc32(body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        kinds.append(body[:4])
        at += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def draw(made: dict[str, Any], history: list[dict[str, Any]], folder: Path) -> list[tuple[int, int]]:
    _plots.accuracy(made, folder / "accuracy.png")
    _plots.decision(made, folder / "decision.png")
    _plots.loss(history, folder / "loss.png")
    return [size(folder / f"{name}.png") for name in ("accuracy", "decision", "loss")]


def test_the_pictures_are_whole_and_wide_enough_to_read(tmp_path: Path) -> None:
    history = [{"step": i, "loss": 2 / i} for i in range(1, 50)]
    assert all(width > 1000 and height > 400 for width, height in draw(evaluate.metrics(answers()), history, tmp_path))


def test_groups_without_rows_have_no_bar_and_no_crash(tmp_path: Path) -> None:
    rows = [
        row for row in TEST if row.language is Language.EN and row.category is not Category.MISSING and SEEN[row.id]
    ]
    some = evaluate.judge("base", rows, MIXED, SEEN) + evaluate.judge("tuned", rows, RIGHT, SEEN)
    made = evaluate.metrics(some)
    assert made["base"]["by_tools"]["unseen"]["accuracy"] is None
    assert len(draw(made, [{"step": 1, "loss": 2.0}], tmp_path)) == 3
    assert len(draw(evaluate.metrics([]), [], tmp_path)) == 3


def test_the_loss_curve_skips_lines_that_hold_no_step(tmp_path: Path) -> None:
    _plots.loss([{"step": 1, "loss": 2.0}, {"step": 1, "dev_loss": 0.5}], tmp_path / "loss.png")
    assert size(tmp_path / "loss.png")


def test_the_expected_turn_of_every_test_row_is_the_assistants() -> None:
    assert all(isinstance(gold(row), Calls | Reply) for row in TEST)
