"""Scores of many verdicts: the parts of reports/evaluate/metrics.json.

metrics(rows)               ->  one model's part
comparison(base, tuned)     ->  wins, losses, McNemar's exact p-value, the categories that got worse
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callwright.answers import Outcome
from callwright.records import Category, Language


@dataclass(frozen=True, slots=True)
class Judged:
    """One row's verdict, with what it is counted by."""

    id: str
    category: Category
    language: Language
    seen: bool
    correct: bool
    outcome: Outcome
    expected: Outcome
    reason: str | None


def metrics(rows: Sequence[Judged]) -> dict[str, Any]:
    """One model's part of metrics.json."""
    seen = [row for row in rows if row.seen]
    unseen = [row for row in rows if not row.seen]
    return {
        "overall": accuracy(rows),
        "by_category": _by(rows, lambda row: row.category),
        "by_language": _by(rows, lambda row: row.language),
        "by_tools": {
            name: {
                **accuracy(part),
                "by_language": _by(part, lambda row: row.language),
                "by_category": _by(part, lambda row: row.category),
            }
            for name, part in (("seen", seen), ("unseen", unseen))
        },
        "decision": {
            str(expected): {str(got): sum(r.expected is expected and r.outcome is got for r in rows) for got in Outcome}
            for expected in (Outcome.CALL, Outcome.ASK, Outcome.ANSWER)
        },
        "errors": dict(
            sorted(Counter(row.reason for row in rows if row.reason).items(), key=lambda kv: (-kv[1], kv[0]))
        ),
    }


def comparison(base: Sequence[Judged], tuned: Sequence[Judged]) -> dict[str, Any]:
    """Tuned against base on the same rows: McNemar's exact test, and the categories that got worse."""
    before = {row.id: row for row in base}
    if before.keys() != {row.id for row in tuned}:
        raise ValueError("base and tuned answered different rows; evaluate both again")
    wins = sum(row.correct and not before[row.id].correct for row in tuned)
    losses = sum(before[row.id].correct and not row.correct for row in tuned)
    worse = []
    for category in sorted({row.category for row in tuned}):
        rows = [row for row in tuned if row.category is category]
        if sum(row.correct for row in rows) < sum(before[row.id].correct for row in rows):
            worse.append(str(category))
    return {"wins": wins, "losses": losses, "p_value": mcnemar(wins, losses), "regressions": worse}


def accuracy(rows: Sequence[Judged]) -> dict[str, Any]:
    """`n`, `correct`, `accuracy` and Wilson's 95% interval; accuracy and interval are null without rows."""
    n, correct = len(rows), sum(row.correct for row in rows)
    if not n:
        return {"n": 0, "correct": 0, "accuracy": None, "ci95": None}
    return {"n": n, "correct": correct, "accuracy": round(correct / n, 6), "ci95": wilson(correct, n)}


def wilson(correct: int, n: int) -> list[float]:
    """The 95% score interval of a share (E. B. Wilson, JASA 22, 1927)."""
    z = 1.959963984540054
    share = correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [round(max(0.0, middle - half), 6), round(min(1.0, middle + half), 6)]


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided exact p-value of McNemar's test: a fair coin over the rows on which two models differ."""
    n, ways, tail = wins + losses, 1, 0  # ways is n over k, in whole numbers: 2**n is beyond a float
    for k in range(min(wins, losses) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return float(min(1.0, 2 * tail / 2**n))


def _by(rows: Iterable[Judged], key: Callable[[Judged], str]) -> Mapping[str, Any]:
    groups: dict[str, list[Judged]] = {}
    for row in rows:
        groups.setdefault(str(key(row)), []).append(row)
    return {name: accuracy(groups[name]) for name in sorted(groups)}
