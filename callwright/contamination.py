"""Whether the requests of a test set stand in training data: any file of rows, or the data folder of BFCL.

    requests = read_test_set(Path("bfcl_eval/data"))
    found = Contamination([requests], near=0.8)
    found.by(row)                         ->  None, or Twin("simple_python_17", exact=False, similarity=0.91)
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

from callwright.duplicates import Requests, Signature, Twin, text_signature
from callwright.exchange import Row, read_rows
from callwright.faults import Fault

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

    def by(self, own: Signature) -> Twin | None:
        """The first request of any test set that the row asks too."""
        for each in self.sets:
            if twin := each.requests.twin(own):
                return twin
        return None

    def note(self, own: Signature) -> Twin | None:
        """Likewise, and counted in the report of each test set."""
        first: Twin | None = None
        for each in self.sets:
            if twin := each.requests.twin(own):
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
    """Every user turn of every question; the files that hold answers or tools have none."""
    for path in sorted(folder.glob("BFCL_v*.json")):
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    turns = [turn for conversation in row["question"] for turn in conversation]
                    said = [turn["content"] for turn in turns if turn["role"] == "user"]
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    raise Fault(f"{path}:{number}: no question of BFCL ({error!r}); give its data folder") from None
                yield from ((str(row["id"]), text) for text in said if isinstance(text, str) and text.strip())
