"""The exam: the test rows, those of them that are asked once more, changed, and their prompts.

exam = read_exam()                   what a model is asked, by setting: plain, robust:typos, …
exam_hash(exam)                      other rows, other prompts: another hash
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from callwright import robustness, score
from callwright.families import NotExpressible
from callwright.faults import Fault
from callwright.loop import Asked
from callwright.metrics import PLAIN, ROBUST
from callwright.outs import read_lines, to_json
from callwright.packs import read_packs
from callwright.params import TrainAs, read_params
from callwright.records import Calls, Example, Split, read_example
from stages._local import Prompt, Prompter, prompter

VALIDATED, NATIVE, BASE = Path("data/validated"), Path("data/formatted/native"), Path("models/base")
ASIDE = Path("data/formatted/set_aside.jsonl")


@dataclass(frozen=True, slots=True)
class Exam:
    """What a model is asked. Ids of changed rows are those of the rows they come from, with `~` and the change."""

    rows: Sequence[Example]
    changed: Mapping[str, Sequence[Example]]
    """By the change."""
    seen: Mapping[str, bool]
    """Of each id, whether training offered every tool of the row as it was."""

    @property
    def settings(self) -> dict[str, Sequence[Example]]:
        """All rows that are answered freely, by their setting."""
        return {PLAIN: self.rows, **{f"{ROBUST}{change}": rows for change, rows in self.changed.items()}}


def read_exam() -> Exam:
    """The test rows that can be asked, and those of them that are asked once more, changed."""
    test = [read_example(row) for row in read_lines(VALIDATED / "test.jsonl")]
    aside = {row["id"].partition("#")[0] for row in read_lines(ASIDE) if row["split"] == Split.TEST}
    test = [row for row in test if row.id not in aside]
    if not test:
        raise Fault(f"{VALIDATED / 'test.jsonl'} has no rows; raise generate.exam.test.rows in params.yaml")
    params = read_params()
    seen = seen_rows(test, (read_example(row) for row in read_lines(VALIDATED / "train.jsonl")))
    asked = params.evaluate.robustness
    sample = robustness.sample(test, asked.rows, seen=seen)
    packs = read_packs(params.generate.packs)
    changed = {str(change): robustness.changed_rows(sample, change, packs) for change in asked.changes}
    for row in (row for rows in changed.values() for row in rows):
        seen[row.id] = seen[row.id.rpartition("~")[0]]
    return Exam(test, changed, seen)


def seen_rows(test: Sequence[Example], train: Iterable[Example]) -> dict[str, bool]:
    """Whether training offered every tool of a test row."""
    known = {tool.name for row in train for tool in row.tools}
    return {row.id: all(tool.name in known for tool in row.tools) for row in test}


def written(examples: Iterable[Example], train_as: TrainAs) -> dict[str, Prompt]:
    """The prompts of rows, in the text of a model that was trained as this; rows that it cannot hold are left out."""
    makers: dict[int, Prompter] = {}
    made: dict[str, Prompt] = {}
    for example in examples:
        last = score.gold(example)
        calls = len(last.calls) if isinstance(last, Calls) else 1
        if calls not in makers:
            makers[calls] = prompter(BASE, train_as, calls)
        try:
            made[example.id] = makers[calls](Asked(example.language, example.tools, example.messages[:-1]), example.id)
        except NotExpressible:
            continue
    return made


def exam_hash(exam: Exam) -> str:
    """SHA-256 of the test rows, of their prompts and of the changed rows."""
    whole = hashlib.sha256()
    for folder in (VALIDATED, NATIVE):
        whole.update((folder / "test.jsonl").read_bytes())
    for row in (row for rows in exam.changed.values() for row in rows):
        whole.update(to_json(row.to_json()).encode())
    return whole.hexdigest()


def set_aside() -> int:
    """Test rows that format could not write for this model; nobody is asked them."""
    return len({row["id"].partition("#")[0] for row in read_lines(ASIDE) if row["split"] == Split.TEST})
