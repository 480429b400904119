"""Scores of many verdicts: the parts of reports/evaluate/metrics.json, and two models held against each other.

metrics(rows)               ->  one model's part
comparison(base, tuned)     ->  wins, losses, McNemar's exact p-value, the categories that got worse
slices(rows)                ->  {"category:single": […], "language:zh-TW": […], "tools:seen": […], "robust:typos": […]}
mcnemar(9, 4)               ->  0.267        tango(9, 4, 160)  ->  (-0.0147, 0.0823), the 95% interval of 5 in 160 more
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from callwright.answers import Outcome
from callwright.records import Category, Language

PLAIN, CONSTRAINED, ROBUST = "plain", "constrained", "robust:"
"""Settings in which a row is asked: as it is; its answer held to the tools' schemas; changed, as `robust:typos`."""


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
    offered: int = 0
    """How many tools."""
    setting: str = PLAIN
    """How it was asked."""


def metrics(rows: Sequence[Judged]) -> dict[str, Any]:
    """One model's part of metrics.json."""
    seen = [row for row in rows if row.seen]
    unseen = [row for row in rows if not row.seen]
    by_offered = _by(rows, offered)
    return {
        "overall": accuracy(rows),
        "by_category": _by(rows, lambda row: row.category),
        "by_language": _by(rows, lambda row: row.language),
        "by_offered": {name: part for _, name in _OFFERED if (part := by_offered.get(name))},
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


def robust(row: Judged) -> bool:
    return row.setting.startswith(ROBUST)


def offered(row: Judged) -> str:
    """How many tools stood in the prompt, in groups that hold enough rows."""
    return next(name for most, name in _OFFERED if row.offered <= most)


_OFFERED = ((3, "1-3"), (5, "4-5"), (8, "6-8"), (15, "9-15"), (math.inf, "16 or more"))


def slices(rows: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Parts of the rows that a model may be worse in: `category:single`, `tools:unseen`, `robust:typos`, …"""
    found: dict[str, list[Judged]] = {}
    for row in rows:
        names = [row.setting]
        if row.setting == PLAIN:
            tools = "seen" if row.seen else "unseen"
            names = [
                *(f"category:{row.category}", f"language:{row.language}"),
                *(f"tools:{tools}", f"offered:{offered(row)}"),
            ]
        for name in names:
            found.setdefault(name, []).append(row)
    return {name: found[name] for name in sorted(found)}


def robustness(rows: Sequence[Judged]) -> dict[str, Any]:
    """By change: the score on the changed rows, and `unchanged`, that of the same rows as they were."""
    plain = {row.id: row for row in rows if row.setting == PLAIN}
    found = {}
    for name, part in slices([row for row in rows if robust(row)]).items():
        before = [plain[row.id.rpartition("~")[0]] for row in part]
        found[name.removeprefix(ROBUST)] = {**accuracy(part), "unchanged": accuracy(before)}
    return found


def comparison(base: Sequence[Judged], tuned: Sequence[Judged]) -> dict[str, Any]:
    """Tuned against base on the same rows as they are: McNemar's exact test, and the categories that got worse."""
    before = {row.id: row.correct for row in base if row.setting == PLAIN}
    rows = [row for row in tuned if row.setting == PLAIN]
    if before.keys() != {row.id for row in rows}:
        raise ValueError("base and tuned answered different rows; evaluate both again")

    def pair(rows: Sequence[Judged]) -> Paired:
        return paired((row.correct, before[row.id]) for row in rows)

    categories = sorted({row.category for row in rows})
    worse = [str(one) for one in categories if pair([row for row in rows if row.category is one]).difference < 0]
    overall = pair(rows)
    return {
        "wins": overall.wins,
        "losses": overall.losses,
        "p_value": mcnemar(overall.wins, overall.losses),
        "regressions": worse,
    }


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same `n` rows: `right` of ours, `wins` that ours alone has right, `losses` the other alone."""

    n: int
    wins: int
    losses: int
    right: int

    @property
    def difference(self) -> float:
        """Our accuracy less the other's; 0 without rows."""
        return (self.wins - self.losses) / self.n if self.n else 0.0


def paired(answers: Iterable[tuple[bool, bool]]) -> Paired:
    """Counts of rows on which ours and the other are right."""
    counts = Counter(answers)
    return Paired(counts.total(), counts[True, False], counts[False, True], counts[True, False] + counts[True, True])


def accuracy(rows: Sequence[Judged]) -> dict[str, Any]:
    """`n`, `correct`, `accuracy` and Wilson's 95% interval; accuracy and interval are null without rows."""
    n, correct = len(rows), sum(row.correct for row in rows)
    if not n:
        return {"n": 0, "correct": 0, "accuracy": None, "ci95": None}
    return {"n": n, "correct": correct, "accuracy": round(correct / n, 6), "ci95": wilson(correct, n)}


def wilson(correct: float, n: int) -> list[float]:
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


def tango(wins: int, losses: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a paired difference (wins - losses) / n (T. Tango, Statistics in Medicine 17, 1998, 891).

    All differences that the score test does not reject, found by halving: its statistic falls as they rise.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)

    def limit(bound: float) -> float:
        low, high = -1.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if _score(wins, losses, n, middle) > bound else (low, middle)
        return round((low + high) / 2, 6)

    return limit(z), limit(-z)


def below(wins: int, losses: int, n: int, margin: float) -> float:
    """P-value of the paired difference lying at -margin or above: twice the lower tail of Tango's score test.

    It is under 0.05 exactly where the 95% interval lies below -margin, and so for every other level.
    """
    return min(1.0, math.erfc(-_score(wins, losses, n, -margin) / math.sqrt(2)))  # finer than 2 cdf(z) far out


def _score(wins: int, losses: int, n: int, difference: float) -> float:
    """Tango's statistic: how far the counts lie from `difference`, in standard deviations under it.

    `lost` is the likeliest share of losses there, the larger root of 2n x² + b x - losses d (1 - d).
    """
    d = difference
    b = (2 * n - wins + losses) * d - wins - losses
    lost = (math.sqrt(max(0.0, b * b + 8 * n * losses * d * (1 - d))) - b) / (4 * n)
    variance, away = n * (2 * lost + d * (1 - d)), wins - losses - n * d
    if variance <= 1e-12 * n:  # all rows won or all lost; or none, and no difference asked about
        return 0.0 if abs(away) < 1e-9 * n else math.copysign(math.inf, away)
    return away / math.sqrt(variance)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for their number, by name (S. Holm, Scandinavian Journal of Statistics 6, 1979, 65-70).

    Where those under alpha are called findings, any false finding at all comes about in a share alpha of cases at most.
    """
    adjusted, highest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return adjusted


def _by(rows: Iterable[Judged], key: Callable[[Judged], str]) -> Mapping[str, Any]:
    groups: dict[str, list[Judged]] = {}
    for row in rows:
        groups.setdefault(str(key(row)), []).append(row)
    return {name: accuracy(groups[name]) for name in sorted(groups)}
