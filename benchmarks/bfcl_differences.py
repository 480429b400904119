"""Where our verdict on an answer to BFCL is another than its own checker's: its right answers, and many changed ones.

    python -m benchmarks.bfcl_differences --data /somewhere/bfcl-eval [--every 8] [--seed 7]

The folder holds the package bfcl_eval, whose checker is imported. Every entry's own right answer is judged by both, as
is the answer changed in each way of `bfcl_mutants`, and some texts. A way in which the two differ stands in
`bfcl_listed` with the reason for ours; a difference that does not is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.bfcl_listed import LISTED, Listed, find
from benchmarks.bfcl_mutants import first_values, mutants, other_right
from benchmarks.bfcl_official import Official, gold_by_id, load
from callwright.answers import Answer, Called, read_answer, write_calls
from callwright.bfcl.categories import KNOWN, wants_any_call, wants_no_call
from callwright.bfcl.reading import Data, Entry, find_data, read_entries
from callwright.bfcl.results import python_calls, result_text
from callwright.bfcl.scoring import verdict
from callwright.loop import Spoken
from callwright.records import Call

GOLD = "its own right answer"


@dataclass(slots=True)
class Comparison:
    judged: dict[str, int] = field(default_factory=dict)
    """Answers by the way in which they were made."""
    gold: int = 0
    gold_right: int = 0
    differ: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    """By the way, and whether such an answer is right for us: the answers."""

    def note(self, way: str, ours: bool, theirs: bool, shown: str) -> None:
        self.judged[way] = self.judged.get(way, 0) + 1
        if way == GOLD:
            self.gold += 1
            self.gold_right += ours
        if ours is not theirs:
            self.differ.setdefault((way, ours), []).append(shown)

    @property
    def gold_differs(self) -> list[str]:
        return [shown for (way, _), some in self.differ.items() if way == GOLD for shown in some]

    @property
    def unlisted(self) -> dict[tuple[str, bool], list[str]]:
        return {key: some for key, some in self.differ.items() if find(key[0], ours=key[1]) is None}

    def of(self, listed: Listed) -> list[str]:
        return [shown for (way, ours), some in self.differ.items() if find(way, ours=ours) is listed for shown in some]


def compare(data: Data, official: Official, every: int, seed: int) -> Comparison:
    """Every right answer, and the changed ones of each `every`th entry."""
    made = Comparison()
    for category in KNOWN:
        with data.questions(category).open(encoding="utf-8") as lines:
            functions = {row["id"]: row["function"] for row in map(json.loads, lines)}
        free = wants_no_call(category) or wants_any_call(category)
        gold = {} if free else gold_by_id(data.answers(category))
        for number, entry in enumerate(read_entries(data, category)):
            right = gold.get(entry.id)
            for way, spoken in _answers(entry, right, Random(f"{seed} {entry.id}"), whole=number % every == 0):
                text = result_text(category, spoken)
                theirs = official.right(functions[entry.id], category, text, right)
                made.note(way, verdict(entry, spoken.answer).correct, theirs, f"{entry.id}: {text}")
    return made


def _answers(
    entry: Entry, right: Sequence[Mapping[str, Any]] | None, rng: Random, *, whole: bool
) -> Iterator[tuple[str, Spoken]]:
    """Each answer, with the way in which it was made."""
    tools = {tool.name: tool for tool in entry.tools}
    calls = first_values(right, tools) if right else (Call(entry.tools[0].name if entry.tools else "none", {}),)
    if right:
        yield GOLD, _spoken(Called(calls))
    if not whole:
        return
    if right:
        for way, changed in mutants(calls, tools, rng):
            yield way, _spoken(Called(changed))
        if other := other_right(calls, right, tools, rng):
            yield "another right value", _spoken(Called(other))
    else:
        yield "a call", _spoken(Called(calls))
    for way, text in _texts(calls).items():
        yield way, Spoken(text, read_answer(text))


def _texts(calls: tuple[Call, ...]) -> dict[str, str]:
    return {
        "a text": "I am sorry, but I cannot do that.",
        "a question": "Which city do you mean?",
        "a text in Chinese": "抱歉,沒有適合的工具。",
        "nothing": "",
        "half a call": write_calls(calls)[:-4],
        "calls in another form": python_calls(calls),
    }


def _spoken(answer: Answer) -> Spoken:
    return Spoken("", answer)


def table(made: Comparison, version: str) -> Iterator[str]:
    """The list as Markdown."""
    agreed = f"{made.gold - len(made.gold_differs):,} of {made.gold:,}"
    yield f"bfcl-eval {version}. Of BFCL's own right answers both judge {agreed} alike ({made.gold_right:,} as right)."
    yield f"Of {sum(made.judged.values()):,} answers {sum(map(len, made.differ.values())):,} are judged otherwise."
    yield ""
    yield "| way | here | answers | example | why |"
    yield "| --- | --- | ---: | --- | --- |"
    for listed in LISTED:
        if some := made.of(listed):
            shortest = min(some, key=lambda shown: (len(shown), shown)).replace("|", "\\|")
            verdict_here = "right" if listed.ours else "wrong"
            yield f"| {listed.way} | {verdict_here} | {len(some):,} | `{shortest}` | {listed.why} |"
    for (way, ours), some in made.unlisted.items():
        yield f"NOT LISTED: {way}, {'right' if ours else 'wrong'} here, {len(some):,} answers, such as {some[0]}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds bfcl_eval")
    parser.add_argument("--every", type=int, default=1, help="change the answers of each so-manieth entry only")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    data = find_data(given.data)
    with tempfile.TemporaryDirectory() as scratch:
        official = load(data.folder.parents[1], Path(scratch))
        made = compare(data, official, given.every, given.seed)
    print("\n".join(table(made, official.version)))
    return 1 if made.unlisted else 0


if __name__ == "__main__":
    sys.exit(main())
