"""evaluate: base and tuned on the same held-out rows -> scores side by side, every answer, plots

    python -m stages.evaluate        reads data/validated/, data/formatted/native/, models/, packs/, reports/train/
                                     leaves reports/evaluate/{metrics.json,answers.jsonl,executed.jsonl,*.png}

A model is asked for the last turn of each test row, greedily. The tuned model is the base as it was in training with
the adapter merged, as it is served. It is asked three ways more: rows that are changed (`robust:…`), answers held to
the tools' schemas (`constrained`), and the loop for real (executed.jsonl). answers.jsonl holds for each model and row
the raw text, what it was read as, and the verdict; the metrics can be computed again from both files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright import executed, robustness, score
from callwright import metrics as scores
from callwright.answers import Answer, Called, Outcome, read_answer
from callwright.answers import to_json as answer_json
from callwright.faults import Fault
from callwright.formats import said
from callwright.moments import NOW
from callwright.outs import read_lines, to_json, whole_folder, write_lines
from callwright.packs import read_packs
from callwright.params import Params, TrainAs, read_params
from callwright.presets import FamilyName
from callwright.records import Category, Example, Language
from stages import _entry
from stages._engine import Complete, engine
from stages._exam import BASE, NATIVE, Exam, exam_hash, read_exam, set_aside, written
from stages._local import LocalModel, Prompt, prompts, reader
from stages._model import about, check_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stages._decode import Constraint

ADAPTER, TRAINED, OUT = Path("models/adapter"), Path("reports/train"), Path("reports/evaluate")

CONSTRAINED = "constrained"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tongue:
    """In which text a model is asked and answers."""

    tokenizer: PreTrainedTokenizerFast
    stops: list[int]
    """The first ends a turn in training."""
    read: Callable[[str], Answer]

    @classmethod
    def of(cls, train_as: TrainAs) -> Tongue:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(BASE)
        return cls(tokenizer, tokenizer.convert_tokens_to_ids(list(about(BASE).stops)), reader(BASE, train_as))


def judge(
    model: str,
    examples: Iterable[Example],
    texts: Mapping[str, str],
    seen: Mapping[str, bool],
    read: Callable[[str], Answer] = read_answer,
    setting: str = scores.PLAIN,
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
                "setting": setting,
                "id": example.id,
                "language": str(example.language),
                "category": str(example.category),
                "seen": seen[example.id],
                "offered": len(example.tools),
                "request": example.request,
                "expected": said(score.gold(example)),
                "expected_outcome": str(score.expected_outcome(example)),
                "raw": texts[example.id],
                "parsed": answer_json(score.seen(answer, example)),
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
            offered=row["offered"],
            setting=row["setting"],
        )
        for row in rows
    ]


def metrics(answers: Sequence[Row], ran: Sequence[Row] = ()) -> dict[str, Any]:
    """metrics.json, less the hash of the test set, from the rows of answers.jsonl and of executed.jsonl."""
    base, tuned = (judged(row for row in answers if row["model"] == name) for name in ("base", "tuned"))
    plain = {"base": base, "tuned": [row for row in tuned if row.setting == scores.PLAIN]}
    made: dict[str, Any] = {name: scores.metrics(rows) for name, rows in plain.items()}
    made["tuned"]["robustness"] = scores.robustness(tuned)
    constrained = [row for row in tuned if row.setting == CONSTRAINED]
    made["tuned"]["constrained"] = scores.metrics(constrained) | {"free": _freely(answers)} if constrained else None
    made["tuned"]["executed"] = executed.summary(ran) if ran else None
    return {**made, "comparison": scores.comparison(plain["base"], plain["tuned"])}


def _freely(answers: Iterable[Row]) -> int:
    """How many of the constrained answers were not held to anything: a grammar could not be made of their tools."""
    return sum(bool(row.get("free")) for row in answers if row["setting"] == CONSTRAINED)


def answer(
    complete: Complete,
    asked: Mapping[str, Prompt],
    tongue: Tongue,
    name: str,
    constraint: Callable[[Sequence[str]], Constraint] | None = None,
) -> dict[str, str]:
    """Greedy answers by id, each up to its stop token; `constraint` makes what the rows of these ids are held to.

    Where a family writes one call a turn, a model that has called is asked for its next turn, as often as the row has
    turns; all of it is the answer.
    """
    texts = dict.fromkeys(asked, "")
    left = {row_id: (prompt.tokens, prompt.between) for row_id, prompt in asked.items()}
    while left:
        held = constraint(list(left)) if constraint else None
        made = complete([tokens for tokens, _ in left.values()], tongue.stops, _watch(name, len(left)), constraint=held)
        further: dict[str, tuple[list[int], tuple[list[int], ...]]] = {}
        for (row_id, (tokens, between)), new in zip(left.items(), made, strict=True):
            texts[row_id] += tongue.tokenizer.decode(new)
            if between and isinstance(tongue.read(tongue.tokenizer.decode(new)), Called):
                link = [tongue.stops[0], *between[0]]
                texts[row_id] += tongue.tokenizer.decode(link)
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


def text_of(folder: Path) -> TrainAs:
    """The text that an adapter was trained on; `Fault` where it does not fit the base that is here."""
    said = check_adapter(BASE, folder).get("train_as", read_params().format.train_as)
    if said not in list(TrainAs):
        raise Fault(f"{folder} was trained on the text {said!r}, which this version does not know")
    return TrainAs(said)


def answer_adapter(folder: Path, test_hash: str) -> list[Row]:
    """Rows of answers.jsonl of another adapter of the same base on today's exam, in the text of its own training.

    A row that its text cannot hold has an empty answer, which is wrong: what a model cannot be asked it cannot do.
    `test_hash` is that of the exam which the others were asked.
    """
    params, train_as, exam = read_params(), text_of(folder), read_exam()
    if exam_hash(exam) != test_hash:
        made = f"{OUT / 'metrics.json'} was made on other rows than data/ holds now"
        raise Fault(f"{made}; evaluate again with dvc repro")
    asked = {setting: written(rows, train_as) for setting, rows in exam.settings.items()}
    tongue = Tongue.of(train_as)
    with engine(BASE, folder, params.evaluate) as complete:
        texts = answer(complete, {k: v for part in asked.values() for k, v in part.items()}, tongue, "champion")
    rows: list[Row] = []
    for setting, examples in exam.settings.items():
        said_ = {row.id: texts.get(row.id, "") for row in examples}
        rows += judge("champion", examples, said_, exam.seen, tongue.read, setting)
    return rows


def _tuned(complete: Complete, exam: Exam, asked: Mapping[str, Prompt], tongue: Tongue, params: Params) -> list[Row]:
    """Answers to the rows as they are and changed, then held to the tools' schemas."""
    train_as = params.format.train_as
    changed = written((row for rows in exam.changed.values() for row in rows), train_as)
    texts = answer(complete, {**asked, **changed}, tongue, "tuned")
    rows: list[Row] = []
    texts |= {row.id: "" for part in exam.changed.values() for row in part if row.id not in changed}
    for setting, examples in exam.settings.items():
        rows += judge("tuned", examples, texts, exam.seen, tongue.read, setting)
    if params.evaluate.constrained:
        rows += _constrained(complete, exam, asked, tongue, train_as)
    return rows


def _constrained(
    complete: Complete, exam: Exam, asked: Mapping[str, Prompt], tongue: Tongue, train_as: TrainAs
) -> list[Row]:
    from stages._constrained import DOCUMENT, Constrained, Held

    family = about(BASE).family
    native = train_as is TrainAs.NATIVE and family is not FamilyName.TEMPLATE
    grammars = Constrained(BASE, str(family) if native else DOCUMENT, tongue.stops)
    tools = {row.id: row.tools for row in exam.rows}
    rounds: list[tuple[list[str], Held]] = []

    def held(ids: Sequence[str]) -> Held:
        rounds.append((list(ids), grammars.for_tools([tools[row_id] for row_id in ids])))
        return rounds[-1][1]

    texts = answer(complete, asked, tongue, "tuned, held to the schemas", held)
    free = {f"{ids[number]}~{CONSTRAINED}": why for ids, one in rounds for number, why in one.free.items()}
    rows = [replace(row, id=f"{row.id}~{CONSTRAINED}") for row in exam.rows]
    named = {f"{row_id}~{CONSTRAINED}": text for row_id, text in texts.items()}
    seen = {row.id: exam.seen[row.id.rpartition("~")[0]] for row in rows}
    judged_rows = judge("tuned", rows, named, seen, tongue.read, CONSTRAINED)
    return [row | {"free": free.get(row["id"])} for row in judged_rows]


def _executed(complete: Complete, exam: Exam, params: Params) -> list[Row]:
    """The whole loop on a sample of the rows, each several times at a temperature."""
    knobs = params.evaluate.executed
    if not knobs.rows:
        return []
    model = LocalModel(
        BASE,
        ADAPTER,
        max_new_tokens=params.evaluate.max_new_tokens,
        batch_size=params.evaluate.batch_size,
        train_as=params.format.train_as,
        complete=complete,
    )
    sample = robustness.sample(exam.rows, knobs.rows, knobs.seed, exam.seen)
    print(f"evaluate: tuned: the loop on {len(sample)} rows, {knobs.trials} times each", flush=True)
    packs = read_packs(params.generate.packs)
    return executed.executed(model, sample, packs, trials=knobs.trials, temperature=knobs.temperature, seed=knobs.seed)


def main() -> None:
    params = read_params()
    from stages import _plots

    exam, tongue = read_exam(), Tongue.of(params.format.train_as)
    asked = prompts(read_lines(NATIVE / "test.jsonl"))
    asked = {row.id: asked[row.id] for row in exam.rows if row.id in asked}
    with engine(BASE, None, params.evaluate) as complete:
        answers = judge("base", exam.rows, answer(complete, asked, tongue, "base"), exam.seen, tongue.read)
    with engine(BASE, ADAPTER, params.evaluate) as complete:
        answers += _tuned(complete, exam, asked, tongue, params)
        ran = _executed(complete, exam, params)
    trained = json.loads((TRAINED / "summary.json").read_text(encoding="utf-8"))["key"]
    told = {"test_hash": exam_hash(exam), "key": trained, "set_aside": set_aside(), "now": str(NOW)}
    found = metrics(answers, ran) | told
    with whole_folder(OUT) as folder:
        write_lines(folder / "answers.jsonl", answers)
        write_lines(folder / "executed.jsonl", ran)
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
