"""validate: generated rows and rows from outside -> accepted splits, rejects with their reasons, a report

    python -m stages.validate        reads data/generated/*.jsonl, data/sources/*.jsonl
                                     leaves data/validated/{train,dev,test,rejected}.jsonl, report.json,
                                     contamination.json, and reports/data/ with the page report.html

A reject is one line: {"code": "unknown_param", "message": "office-train-000042: …", "row": the row as it came}.
Every row comes out, once, on one side or the other.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from callwright.answers import strict_json
from callwright.blocks import LONGEST, Block, blocks, lines_of
from callwright.contamination import Contamination, asked_by, read_test_set
from callwright.data_stats import Sample, phrasings
from callwright.duplicates import Requests, Signature, Twin, signature
from callwright.outs import to_json, whole_folder
from callwright.packs import read_packs
from callwright.params import read_params
from callwright.records import BadRecord, Example, Split, read_example
from callwright.rules import Rules
from stages import _entry
from stages._data_report import Facts, write
from stages._workers import in_order

GENERATED, SOURCES, OUT = Path("data/generated"), Path("data/sources"), Path("data/validated")
REPORT = Path("reports/data")
SAMPLE, EXAMPLES = 5000, 3
"""Training rows that the data report looks at, and rejects of a code that it shows."""
ORDER = (Split.TEST, Split.DEV, Split.TRAIN)
"""A row that stands in two splits is rejected in the later one."""


class Accepted(NamedTuple):
    line: str
    """As it came."""
    split: Split
    language: str
    category: str
    called: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]
    """Code and sentence, one a code."""
    texts: tuple[str, ...]
    """The packs' texts that its requests were made from, each with its language."""
    signature: Signature
    asked: tuple[Signature, ...]
    """What is looked for in test sets, where there are any."""


class Rejected(NamedTuple):
    row: str
    """The line as it came."""
    code: str
    message: str


def validate(
    files: Sequence[Path],
    rules: Rules,
    near: float,
    processes: int | None = None,
    tests: Contamination | None = None,
) -> Iterator[Accepted | Rejected]:
    """Judge the rows of JSON-lines files: those of the test first, then dev, then train and what cannot be read.

    `tests`: test sets beside the exam, which count what they find.

    The rules are judged in several processes, what needs other rows here, in the order of the files; nothing depends on
    the number of processes.
    """
    before: list[Requests] = []  # of the splits that are done: against them values make no difference
    ids: set[str] = set()
    for split in ORDER:
        seen, exam = Requests(near), Requests(near, any_values=True)
        judge = judged(rules, split, before, held_against=bool(tests and tests.sets))
        tasks = (block for path in files for block in blocks(path))
        for block in in_order(judge, tasks, processes):
            for found in block:
                one = found if isinstance(found, Rejected) else _in_tests(found, tests) or _first(found, seen, ids)
                if isinstance(one, Accepted):
                    ids.add(one.signature.id)
                    seen.add(one.signature)
                    if split is not Split.TRAIN:
                        exam.add(one.signature)
                yield one
        before.append(exam)


def judged(
    rules: Rules, split: Split, before: Sequence[Requests], held_against: bool = False
) -> Callable[[Block], list[Accepted | Rejected]]:
    """Judges a block's rows of one split by the rules and against the splits before."""
    marks = tuple(f'"{other}"'.encode() for other in (ORDER if split is Split.TRAIN else (split,)))

    def judge(block: Block) -> list[Accepted | Rejected]:
        found: list[Accepted | Rejected] = []
        for place, raw in lines_of(block):
            if len(raw) == LONGEST and split is Split.TRAIN:
                start = raw[:1000].decode(errors="replace")
                found.append(
                    Rejected(start, "bad_json", f"{place}: the line is longer than {LONGEST >> 20} MiB; no row is")
                )
            marked = [mark in raw or b"\\u" in raw for mark in marks]
            if len(raw) == LONGEST:
                continue
            if split is not Split.TRAIN and not marked[0]:
                continue
            line = raw.decode(errors="surrogateescape").rstrip("\r\n")
            try:
                row = read(line)
            except BadRecord as error:
                if split is Split.TRAIN:
                    found.append(Rejected(line, "bad_json", f"{place}: {error}"))
                continue
            if row.split is not split and (split is not Split.TRAIN or marked[ORDER.index(row.split)]):
                continue  # of another pass
            try:
                own = signature(row)
            except (TypeError, ValueError, RecursionError) as error:
                found.append(Rejected(line, "bad_json", f"{place}: it cannot be compared with other rows: {error}"))
                continue
            found.append(
                _by_rules(row, line, rules)
                or _across(own, line, before)
                or _accepted(row, line, own, rules, held_against)
            )
        return found

    return judge


def read(line: str) -> Example:
    """A row from a line; `BadRecord` says why it is none."""
    try:
        row = read_example(strict_json(line))
    except BadRecord:
        raise
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}") from error
    if "#" in row.id:
        raise BadRecord(f"id is {row.id!r}; '#' is kept for the turns of a row")
    return row


def _by_rules(row: Example, line: str, rules: Rules) -> Rejected | None:
    failure = rules.first_failure(row)
    return Rejected(line, failure.code, failure.message) if failure else None


def _across(own: Signature, line: str, before: Sequence[Requests]) -> Rejected | None:
    for split, requests in zip(ORDER, before, strict=False):
        if twin := requests.twin(own):
            code = "contaminated" if split is Split.TEST else "duplicate" if twin.exact else "near_duplicate"
            return Rejected(line, code, _stands(own.id, twin))
    return None


def _accepted(row: Example, line: str, own: Signature, rules: Rules, held_against: bool) -> Accepted:
    return Accepted(
        line,
        row.split,
        str(row.language),
        str(row.category),
        tuple(row.own(call).tool for call in row.calls),
        tuple({warning.code: warning.message for warning in rules.warnings(row)}.items()),
        tuple(f"{row.language}/{text}" for text in _texts(row)),
        own,
        asked_by(row) if held_against else (),
    )


def _in_tests(row: Accepted, tests: Contamination | None) -> Rejected | None:
    twin = tests.note(row.asked) if tests and row.asked else None
    return Rejected(row.line, "contaminated", _stands(row.signature.id, twin)) if twin else None


def _texts(row: Example) -> list[str]:
    texts = row.source.get("texts")
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def _first(row: Accepted, seen: Requests, ids: set[str]) -> Accepted | Rejected:
    """The row, or that its request or its id stands already in its split."""
    own = row.signature
    if twin := seen.twin(own):
        return Rejected(row.line, "duplicate" if twin.exact else "near_duplicate", _stands(own.id, twin))
    if own.id in ids:  # answers are told apart by id
        sentence = f"{own.id}: another row has this id, with another request; give it one of its own"
        return Rejected(row.line, "duplicate", sentence)
    return row


def _stands(row_id: str, twin: Twin) -> str:
    how = "the same request" if twin.exact else f"nearly the same request ({twin.similarity:.2f})"
    return f"{row_id}: {how} stands in {twin.id}"


@dataclass(slots=True)
class Counts:
    """What a person wants to see before training."""

    rejects: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Some sentences of each code, with their rows."""
    warnings: Counter[str] = field(default_factory=Counter)
    warned: dict[str, str] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    sample: Sample = field(default_factory=lambda: Sample(SAMPLE))
    splits: dict[Split, dict[str, Counter[str]]] = field(
        default_factory=lambda: {
            split: {name: Counter() for name in ("by_category", "by_language", "tools_called")} for split in Split
        }
    )

    def add(self, row: Accepted | Rejected) -> None:
        if isinstance(row, Rejected):
            self.rejects[row.code] += 1
            some = self.examples.setdefault(row.code, [])
            if len(some) < EXAMPLES:
                some.append((row.message, row.row[:2000]))
            return
        for code, sentence in row.warnings:
            self.warnings[code] += 1
            self.warned.setdefault(code, sentence)
        if row.split is Split.TRAIN:
            self.texts.update(row.texts)
            self.sample.add(row.signature.fingerprint, row.line)
        counts = self.splits[row.split]
        counts["by_category"][row.category] += 1
        counts["by_language"][row.language] += 1
        counts["tools_called"].update(row.called)

    def accepted(self, split: Split) -> int:
        return self.splits[split]["by_category"].total()

    def report(self) -> dict[str, Any]:
        accepted = sum(map(self.accepted, Split))
        return {
            "rows": accepted + self.rejects.total(),
            "accepted": accepted,
            "rejected": self.rejects.total(),
            "codes": dict(sorted(self.rejects.items())),
            "warnings": dict(sorted(self.warnings.items())),
            "splits": {
                str(split): {
                    "rows": self.accepted(split),
                    **{name: dict(sorted(counter.items())) for name, counter in counts.items()},
                }
                for split, counts in self.splits.items()
            },
        }


def main() -> None:
    params = read_params()
    packs = read_packs(params.generate.packs)
    rules = Rules(packs)
    near = params.validate_.near_duplicate
    tests = Contamination([read_test_set(Path(path), near) for path in params.validate_.test_sets])
    files = [path for folder in (GENERATED, SOURCES) for path in sorted(folder.glob("*.jsonl"))]
    counts = Counts()
    with whole_folder(OUT) as folder, contextlib.ExitStack() as stack:
        outs = {
            name: stack.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8", errors="backslashreplace"))
            for name in (*Split, "rejected")
        }
        for row in validate(files, rules, near, tests=tests):
            counts.add(row)
            if isinstance(row, Accepted):
                outs[row.split].write(row.line + "\n")
            else:
                outs["rejected"].write(to_json(row._asdict() | {"row": row.row}) + "\n")
        stack.close()  # before the folder is put in its place
        (folder / "report.json").write_text(to_json(counts.report(), indent=2) + "\n", encoding="utf-8")
        (folder / "contamination.json").write_text(to_json(tests.report(), indent=2) + "\n", encoding="utf-8")
    report = counts.report()
    usable = phrasings(packs, frozenset(params.generate.held_out_tools), frozenset(params.generate.held_out_packs))
    facts = Facts(
        report, counts.sample.examples(), counts.examples, counts.warned, (len(counts.texts & usable), len(usable))
    )
    with whole_folder(REPORT) as folder:
        write(folder, facts)
    print(f"validate: {report['accepted']} rows accepted, {report['rejected']} rejected (in {OUT / 'rejected.jsonl'})")
    for code, count in counts.rejects.most_common():
        print(f"  {count} {code}, such as {counts.examples[code][0][0]}")
    print(f"  what they are like: {REPORT / 'report.html'}")


if __name__ == "__main__":
    _entry.run(main)
