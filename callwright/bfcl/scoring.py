"""Is an answer to BFCL right, and how many are, by category; never over all, as BFCL's overall is mostly of others.

    verdict(entry, Called((Call("math.factorial", {"number": 5}),)))    ->  Verdict(correct=True, outcome=call)
    report({"simple_python": judged})    ->  {"categories": {"simple_python": {"n": 400, "correct": 168, …}}, …}

Calls are judged as everywhere here (callwright.score), which is not in all ways as BFCL's own checker does it:
docs/bfcl.md lists how. Where nothing is to be called, an answer that cannot be read is wrong; BFCL takes it for text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callwright.answers import Answer, Called, Outcome, Said, Unparsed, call_in_another_form, outcome
from callwright.bfcl.categories import LIVE, wants_any_call, wants_no_call
from callwright.bfcl.reading import Entry
from callwright.metrics import wilson
from callwright.score import Verdict, call_fault

TOO_LONG = "not_asked"
"""The reason of an entry that the model could not be asked, as it is too long for it: wrong, and told."""

LIVE_CALLS = LIVE[:4]


def verdict(entry: Entry, answer: Answer, *, asked: bool = True) -> Verdict:
    """Judge one answer; the first reason that makes it wrong is named.

    A text that is a call in another form than the asked one is malformed, as everywhere here.
    """
    if isinstance(answer, Said) and (why := call_in_another_form(answer.text, {tool.name for tool in entry.tools})):
        answer = Unparsed(answer.text, why)
    if not asked:
        why = answer.reason if isinstance(answer, Unparsed) else "the model was not asked"
        return Verdict(False, Outcome.MALFORMED, TOO_LONG, why)
    try:
        fault = _fault(entry, answer)
    except RecursionError:
        fault = "bad_value", "it nests too deep to be judged"
    return Verdict(fault is None, outcome(answer), *(fault or (None, None)))


def _fault(entry: Entry, answer: Answer) -> tuple[str, str] | None:
    if isinstance(answer, Unparsed):
        return "unparsed", answer.reason
    if wants_no_call(entry.category):
        if isinstance(answer, Called):
            return "needless_call", f"{answer.calls[0].tool} is called where nothing fits"
        return None
    if isinstance(answer, Said):
        return "no_call", "text where calls are right"
    if wants_any_call(entry.category):
        return None
    return call_fault(answer.calls, entry.wanted, entry.judged_by)


@dataclass(frozen=True, slots=True)
class Judged:
    id: str
    verdict: Verdict
    year_unsaid: bool

    @property
    def correct(self) -> bool:
        return self.verdict.correct


def judge(entry: Entry, answer: Answer, *, asked: bool = True) -> Judged:
    return Judged(entry.id, verdict(entry, answer, asked=asked), entry.year_unsaid)


def score(rows: Sequence[Judged]) -> dict[str, Any]:
    """`n`, `correct`, `accuracy` and Wilson's 95% interval; null where there are no rows."""
    n, correct = len(rows), sum(row.correct for row in rows)
    if not n:
        return {"n": 0, "correct": 0, "accuracy": None, "ci95": None}
    return {"n": n, "correct": correct, "accuracy": round(correct / n, 6), "ci95": wilson(correct, n)}


def report(judged: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """Each category's score, without and with the rows whose right year nobody says; then every row."""
    return {
        "categories": {category: _category(rows) for category, rows in judged.items()},
        **live_summary(judged),
        "rows": [
            {
                "id": row.id,
                "category": category,
                "correct": row.correct,
                "outcome": str(row.verdict.outcome),
                "reason": row.verdict.reason,
                "detail": row.verdict.detail,
                "year_unsaid": row.year_unsaid,
            }
            for category, rows in judged.items()
            for row in rows
        ],
    }


def _category(rows: Sequence[Judged]) -> dict[str, Any]:
    reasons: dict[str, int] = {}
    for row in rows:
        if row.verdict.reason:
            reasons[row.verdict.reason] = reasons.get(row.verdict.reason, 0) + 1
    return {
        **score(rows),
        "outcomes": {str(each): sum(row.verdict.outcome is each for row in rows) for each in Outcome},
        "reasons": dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "year_said": score([row for row in rows if not row.year_unsaid]),
        "year_unsaid": score([row for row in rows if row.year_unsaid]),
    }


def live_summary(judged: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """BFCL's own number for live calls, where all four categories are there: their rows together.

    bfcl_eval.eval_checker.eval_runner_helper weighs the four live call categories by their rows. Its non-live number is
    a mean of which one part is the mean of Python, Java and JavaScript: it is not to be had from Python alone.
    """
    if any(category not in judged for category in LIVE_CALLS):
        return {}
    return {"live_calls": score([row for category in LIVE_CALLS for row in judged[category]])}
