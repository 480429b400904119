"""evaluate: base and tuned on the same held-out rows -> scores side by side, every answer, plots

    python -m stages.evaluate        reads data/validated/, data/formatted/native/, models/, reports/train/
                                     leaves reports/evaluate/{metrics.json,answers.jsonl,{accuracy,decision,loss}.png}

A model is asked for the last turn of each test row, greedily. The tuned model is the base as it was in training with
the adapter merged, as it is served. answers.jsonl holds for each model and row the raw text, what it was read as, and
the verdict; the metrics can be computed again from it.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright import metrics as scores
from callwright import score
from callwright.answers import Answer, Called, Outcome, read_answer
from callwright.answers import to_json as answer_json
from callwright.families import family
from callwright.faults import Fault
from callwright.formats import said
from callwright.outs import read_lines, to_json, whole_folder, write_lines
from callwright.params import Evaluate, TrainAs, read_params
from callwright.presets import FamilyName
from callwright.records import Category, Example, Language, Split, read_example
from stages import _entry
from stages._model import about

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATED, NATIVE, BASE = Path("data/validated"), Path("data/formatted/native"), Path("models/base")
ASIDE = Path("data/formatted/set_aside.jsonl")
ADAPTER, TRAINED, OUT = Path("models/adapter"), Path("reports/train"), Path("reports/evaluate")

Row = dict[str, Any]


def judge(
    model: str,
    examples: Iterable[Example],
    texts: Mapping[str, str],
    seen: Mapping[str, bool],
    read: Callable[[str], Answer] = read_answer,
) -> list[Row]:
    """One row of answers.jsonl an example. A lost answer raises: it is not a wrong one."""
    rows = []
    for example in examples:
        if example.id not in texts:
            lost = f"{model} gave no answer for {example.id}; a lost answer is not a wrong one, so nothing is scored"
            raise Fault(f"{lost}. Run evaluate again")
        answer = read(texts[example.id])
        found = score.verdict(example, answer)
        rows.append(
            {
                "model": model,
                "id": example.id,
                "language": str(example.language),
                "category": str(example.category),
                "seen": seen[example.id],
                "request": example.request,
                "expected": said(score.gold(example)),
                "expected_outcome": str(score.expected_outcome(example)),
                "raw": texts[example.id],
                "parsed": answer_json(answer),
                "outcome": str(found.outcome),
                "correct": found.correct,
                "reason": found.reason,
                "detail": found.detail,
            }
        )
    return rows


def judged(rows: Iterable[Row]) -> list[scores.Judged]:
    """Rows of answers.jsonl as the metrics count them."""
    return [
        scores.Judged(
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
    comparison = scores.comparison(base, tuned)
    return {"base": scores.metrics(base), "tuned": scores.metrics(tuned), "comparison": comparison}


def seen_rows(test: Sequence[Example], train: Iterable[Example]) -> dict[str, bool]:
    """Whether training offered every tool of a test row."""
    known = {tool.name for row in train for tool in row.tools}
    return {row.id: all(tool.name in known for tool in row.tools) for row in test}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to go on from, in token ids."""

    tokens: list[int]
    between: tuple[list[int], ...] = ()
    """What stands between the turns in which the family writes one message: its calls, where a turn holds one."""


def prompts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Prompt]:
    """Token ids up to the last message of each example, which is its last labelled run, or its last `turns` of them."""
    out: dict[str, Prompt] = {}
    for row in rows:
        ids, labels, ends = row["input_ids"], row["labels"], list[tuple[int, int]]()
        end = len(labels)
        for _ in range(row.get("turns", 1)):
            while end and labels[end - 1] == -100:
                end -= 1
            last = end
            while end and labels[end - 1] != -100:
                end -= 1
            ends.append((end, last))
        runs = ends[::-1]
        between = tuple(ids[last:begin] for (_, last), (begin, _) in pairwise(runs))
        out[str(row["id"]).partition("#")[0]] = Prompt(ids[:end], between)  # the last row of an example stands last
    return out


def reader() -> Callable[[str], Answer]:
    """How an answer of the base's family is read, in the text that it was trained on."""
    told = about(BASE)
    native = read_params().format.train_as is TrainAs.NATIVE and told.family is not FamilyName.TEMPLATE
    return family(told.family).read if native else read_answer


def answer(model: PreTrainedModel, asked: Mapping[str, Prompt], params: Evaluate, name: str) -> dict[str, str]:
    """Greedy answers by id, each up to its stop token.

    Where a family writes one call a turn, a model that has called is asked for its next turn, as often as the row has
    turns; all of it is the answer.
    """
    from transformers import AutoTokenizer

    from stages import _decode

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    stops, read = tokenizer.convert_tokens_to_ids(list(about(BASE).stops)), reader()
    texts = dict.fromkeys(asked, "")
    left = {row_id: (prompt.tokens, prompt.between) for row_id, prompt in asked.items()}
    while left:
        watch = _watch(name, len(left))
        made = _decode.greedy(
            model, [tokens for tokens, _ in left.values()], stops, params.max_new_tokens, params.batch_size, watch
        )
        further: dict[str, tuple[list[int], tuple[list[int], ...]]] = {}
        for (row_id, (tokens, between)), new in zip(left.items(), made, strict=True):
            texts[row_id] += tokenizer.decode(new)
            if between and isinstance(read(tokenizer.decode(new)), Called):
                link = [stops[0], *between[0]]
                texts[row_id] += tokenizer.decode(link)
                further[row_id] = ([*tokens, *new, *link], between[1:])
        left = further
    return texts


def _watch(name: str, rows: int) -> Callable[[int], None]:
    began = told = time.monotonic()

    def watch(done: int) -> None:
        nonlocal began, told
        if not done:  # the first prompts are read: answers are made from now on
            began = told = time.monotonic()
            print(f"evaluate: {name}: prompts read, {rows} to answer", flush=True)
        elif (now := time.monotonic()) - told >= 10 or done == rows:
            told = now
            left = round((now - began) / done * (rows - done))
            print(f"evaluate: {name}: {done}/{rows} answers, {left // 60}:{left % 60:02d} left", flush=True)

    return watch


def answer_adapter(folder: Path) -> dict[str, Any]:
    """Scores of another adapter for the same base on today's test rows, in the shape of metrics["tuned"]."""
    from stages import _model

    test, seen, asked = _exam()
    model = _model.load_with_adapter(BASE, folder, _model.number_format())
    texts = answer(model, asked, read_params().evaluate, "champion")
    return scores.metrics(judged(judge("champion", test, texts, seen, reader())))


def test_hash() -> str:
    """SHA-256 of the test rows and of their prompts."""
    rows, prompted = (folder / "test.jsonl" for folder in (VALIDATED, NATIVE))
    return hashlib.sha256(rows.read_bytes() + prompted.read_bytes()).hexdigest()


def _exam() -> tuple[list[Example], dict[str, bool], dict[str, Prompt]]:
    """The test rows that can be asked, whether their tools were seen, and their prompts."""
    test = [read_example(row) for row in read_lines(VALIDATED / "test.jsonl")]
    aside = {row["id"].partition("#")[0] for row in read_lines(ASIDE) if row["split"] == Split.TEST}
    test = [row for row in test if row.id not in aside]
    if not test:
        raise Fault(f"{VALIDATED / 'test.jsonl'} has no rows; raise generate.exam.test.rows in params.yaml")
    train = (read_example(row) for row in read_lines(VALIDATED / "train.jsonl"))
    asked = prompts(read_lines(NATIVE / "test.jsonl"))
    return test, seen_rows(test, train), {row.id: asked[row.id] for row in test if row.id in asked}


def set_aside() -> int:
    """Test rows that format could not write for this model; nobody is asked them."""
    return len({row["id"].partition("#")[0] for row in read_lines(ASIDE) if row["split"] == Split.TEST})


def main() -> None:
    params = read_params().evaluate
    from stages import _model, _plots

    test, seen, asked = _exam()
    dtype = _model.number_format()
    loads: dict[str, Callable[[], PreTrainedModel]] = {
        "base": lambda: _model.load_to_answer(BASE, dtype),
        "tuned": lambda: _model.load_with_adapter(BASE, ADAPTER, dtype),
    }
    answers: list[Row] = []
    for name, load in loads.items():
        answers += judge(name, test, answer(load(), asked, params, name), seen, reader())
        gc.collect()  # before the next one is loaded
    found = metrics(answers) | {"test_hash": test_hash(), "set_aside": set_aside()}
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
