"""Whether the requests of a test set stand in training data: any file of rows, or the data folder of BFCL.

    requests = read_test_set(Path("bfcl_eval/data"))
    found = Contamination([requests], near=0.8)
    found.note(asked_by(row))             ->  None, or Twin("simple_python_17", exact=False, similarity=0.91)
    found.report()                        ->  [{"path": …, "requests": 4951, "rows": 1, "examples": [...]}]

BFCL (Berkeley Function-Calling Leaderboard, the package bfcl-eval) keeps questions as JSON lines in files named
BFCL_v*_*.json, each with `question`: conversations of turns with `role` and `content`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callwright.duplicates import Requests, Signature, Twin, signature, text_signature
from callwright.exchange import Row, read_rows
from callwright.faults import Fault
from callwright.records import Example, User

_EXAMPLES = 20


@dataclass(slots=True)
class TestSet:
    path: Path
    requests: Requests
    count: int
    rows: int = 0
    """Rows that hold one of its requests."""
    examples: list[dict[str, Any]] = field(default_factory=list)

    __test__ = False  # for pytest


class Contamination:
    """Several test sets, and which rows hold what of them."""

    def __init__(self, sets: Sequence[TestSet]) -> None:
        self.sets = sets

    def note(self, asked: Sequence[Signature]) -> Twin | None:
        """The first request of any test set that a row asks too, counted for the report; `asked` is of `asked_by`."""
        own, first = asked[0], None
        for each in self.sets:
            if twin := next((twin for one in asked if (twin := each.requests.twin(one))), None):
                first = first or twin
                each.rows += 1
                if len(each.examples) < _EXAMPLES:
                    how = "the same request" if twin.exact else f"nearly the same request ({twin.similarity:.2f})"
                    each.examples.append({"row": own.id, "stands_in": twin.id, "how": how})
        return first

    def report(self) -> list[dict[str, Any]]:
        return [
            {"path": str(each.path), "requests": each.count, "rows": each.rows, "examples": each.examples}
            for each in self.sets
        ]


def asked_by(row: Example) -> tuple[Signature, ...]:
    """What a row asks: all of it, and each turn of the user alone where there are several."""
    turns = [turn.content for turn in row.messages if isinstance(turn, User)]
    return signature(row), *(text_signature(row.id, turn) for turn in turns if len(turns) > 1)


def read_test_set(path: Path, near: float) -> TestSet:
    """The requests of a test set; `Fault` where there are none."""
    requests, count = Requests(near, any_values=True), 0
    for name, text in _bfcl(path) if path.is_dir() else _rows(path):
        requests.add(text_signature(name, text))
        count += 1
    if not count:
        raise Fault(f"{path} holds no request that could be read; give a file of rows or the data folder of BFCL")
    return TestSet(path, requests, count)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    for row in read_rows(path):
        if isinstance(row, Row):
            yield row.id, row.example.request


def _bfcl(folder: Path) -> Iterator[tuple[str, str]]:
    """Every user turn of every question. A file whose first line is no question holds something else, and is passed."""
    for path in sorted(folder.glob("BFCL_v*.json")):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    found = _question(line)
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    if number == 1:
                        break
                    raise Fault(f"{path}:{number}: no question of BFCL ({error!r}); give its data folder") from None
                yield from found


def _question(line: bytes) -> list[tuple[str, str]]:
    """The row's id with each turn of its user."""
    row = json.loads(line.decode("utf-8-sig"))
    turns = [turn for conversation in row["question"] for turn in conversation]
    said = [str(turn["content"]) for turn in turns if turn["role"] == "user"]
    "".join(said).encode()  # half of a surrogate pair could not be compared
    return [(str(row["id"]), text) for text in said if text.strip()]
