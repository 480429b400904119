"""evaluate: base and tuned on the same held-out rows -> scores side by side, every answer, plots

    python -m stages.evaluate        reads data/validated/, data/formatted/native/, models/, reports/train/
                                     leaves reports/evaluate/{metrics.json,answers.jsonl,{accuracy,decision,loss}.png}

A model is asked for the last turn of each test row, greedily. The tuned model is the base as it was in training with
the adapter merged, as it is served. answers.jsonl holds for each model and row the raw text, what it was read as, and
the verdict; the metrics can be computed again from it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright import scoring
from callwright.answers import Outcome, read_answer
from callwright.answers import to_json as answer_json
from callwright.faults import Fault
from callwright.formats import said
from callwright.outs import read_lines, to_json, whole_folder, write_lines
from callwright.params import Evaluate, read_params
from callwright.records import Category, Example, Language, read_example
from stages import _entry

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATED, NATIVE, BASE = Path("data/validated"), Path("data/formatted/native"), Path("models/base")
ADAPTER, TRAINED, OUT = Path("models/adapter"), Path("reports/train"), Path("reports/evaluate")

Row = dict[str, Any]


def judge(model: str, examples: Iterable[Example], texts: Mapping[str, str], seen: Mapping[str, bool]) -> list[Row]:
    """One row of answers.jsonl an example. A lost answer raises: it is not a wrong one."""
    rows = []
    for example in examples:
        if example.id not in texts:
            lost = f"{model} gave no answer for {example.id}; a lost answer is not a wrong one, so nothing is scored"
            raise Fault(f"{lost}. Run evaluate again")
        answer = read_answer(texts[example.id])
        found = scoring.verdict(example, answer)
        rows.append(
            {
                "model": model,
                "id": example.id,
                "language": str(example.language),
                "category": str(example.category),
                "seen": seen[example.id],
                "request": example.request,
                "expected": said(scoring.gold(example)),
                "expected_outcome": str(scoring.expected_outcome(example)),
                "raw": texts[example.id],
                "parsed": answer_json(answer),
                "outcome": str(found.outcome),
                "correct": found.correct,
                "reason": found.reason,
                "detail": found.detail,
            }
        )
    return rows


def judged(rows: Iterable[Row]) -> list[scoring.Judged]:
    """Rows of answers.jsonl as the metrics count them."""
    return [
        scoring.Judged(
            id=row["id"],
            category=Category(row["category"]),
            language=Language(row["language"]),
            seen=row["seen"],
            correct=row["correct"],
            outcome=Outcome(row["outcome"]),
            expected=Outcome(row["expected_outcome"]),
            reason=row["reason"],
        )
        for row in rows
    ]


def metrics(answers: Sequence[Row]) -> dict[str, Any]:
    """metrics.json, less the hash of the test set, from the rows of answers.jsonl."""
    base, tuned = (judged(row for row in answers if row["model"] == name) for name in ("base", "tuned"))
    comparison = scoring.comparison(base, tuned)
    return {"base": scoring.metrics(base), "tuned": scoring.metrics(tuned), "comparison": comparison}


def seen_rows(test: Sequence[Example], train: Iterable[Example]) -> dict[str, bool]:
    """Whether training offered every tool of a test row."""
    known = {tool.name for row in train for tool in row.tools}
    return {row.id: all(tool.name in known for tool in row.tools) for row in test}


def prompts(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Token ids up to the last labelled run of each example: what a model is asked to go on from."""
    out: dict[str, list[int]] = {}
    for row in rows:
        labels = row["labels"]
        end = len(labels)
        while end and labels[end - 1] == -100:
            end -= 1
        while end and labels[end - 1] != -100:
            end -= 1
        out[str(row["id"]).partition("#")[0]] = row["input_ids"][:end]  # the last row of an example stands last
    return out


def answer(model: PreTrainedModel, asked: Mapping[str, list[int]], params: Evaluate, name: str) -> dict[str, str]:
    """Greedy answers by id, each up to its stop token."""
    from transformers import AutoTokenizer

    from stages import _decode

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    began = told = time.monotonic()

    def watch(done: int) -> None:
        nonlocal began, told
        if not done:  # the first prompts are read: answers are made from now on
            began = told = time.monotonic()
            print(f"evaluate: {name}: prompts read, {len(asked)} to answer", flush=True)
        elif (now := time.monotonic()) - told >= 10 or done == len(asked):
            told = now
            left = round((now - began) / done * (len(asked) - done))
            print(f"evaluate: {name}: {done}/{len(asked)} answers, {left // 60}:{left % 60:02d} left", flush=True)

    stop = tokenizer.convert_tokens_to_ids(stop_token())
    made = _decode.greedy(model, list(asked.values()), stop, params.max_new_tokens, params.batch_size, watch)
    return {row_id: tokenizer.decode(tokens) for row_id, tokens in zip(asked, made, strict=True)}


def answer_adapter(folder: Path) -> dict[str, Any]:
    """Scores of another adapter for the same base on today's test rows, in the shape of metrics["tuned"]."""
    from stages import _model

    test, seen, asked = _exam()
    model = _model.load_with_adapter(BASE, folder, _model.number_format())
    texts = answer(model, asked, read_params().evaluate, "champion")
    return scoring.metrics(judged(judge("champion", test, texts, seen)))


def test_hash() -> str:
    """SHA-256 of the test rows and of their prompts."""
    rows, prompted = (folder / "test.jsonl" for folder in (VALIDATED, NATIVE))
    return hashlib.sha256(rows.read_bytes() + prompted.read_bytes()).hexdigest()


def _exam() -> tuple[list[Example], dict[str, bool], dict[str, list[int]]]:
    test = [read_example(row) for row in read_lines(VALIDATED / "test.jsonl")]
    if not test:
        raise Fault(f"{VALIDATED / 'test.jsonl'} has no rows; raise generate.exam.test.rows in params.yaml")
    train = (read_example(row) for row in read_lines(VALIDATED / "train.jsonl"))
    return test, seen_rows(test, train), prompts(read_lines(NATIVE / "test.jsonl"))


def stop_token() -> str:
    stop: str = json.loads((BASE / "callwright.json").read_text(encoding="utf-8"))["stop"]
    return stop


def main() -> None:
    params = read_params().evaluate
    from stages import _model, _plots

    test, seen, asked = _exam()
    dtype = _model.number_format()
    loads: dict[str, Callable[[], PreTrainedModel]] = {
        "base": lambda: _model.load(BASE, dtype),
        "tuned": lambda: _model.load_with_adapter(BASE, ADAPTER, dtype),
    }
    answers: list[Row] = []
    for name, load in loads.items():
        answers += judge(name, test, answer(load(), asked, params, name), seen)
    found = metrics(answers) | {"test_hash": test_hash()}
    with whole_folder(OUT) as folder:
        write_lines(folder / "answers.jsonl", answers)
        (folder / "metrics.json").write_text(to_json(found, indent=2) + "\n", encoding="utf-8")
        _plots.accuracy(found, folder / "accuracy.png")
        _plots.decision(found, folder / "decision.png")
        _plots.loss(list(read_lines(TRAINED / "history.jsonl")), folder / "loss.png")
    base, tuned = found["base"]["overall"], found["tuned"]["overall"]
    print(
        f"evaluate: base {base['correct']}/{base['n']} right, tuned {tuned['correct']}/{tuned['n']}; reports in {OUT}"
    )


if __name__ == "__main__":
    _entry.run(main)
