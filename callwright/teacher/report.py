"""What came of a run: counts, tokens, money, and every reject with its reason.

data/sources/teacher-qwen3.report.json
{"model": "qwen3", "planned": 100, "before": 0, "accepted": 81, "rejected": 19, "codes": {"ungrounded_value": 12, …}, …}
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callwright.outs import to_json, whole_file
from callwright.teacher.budget import Budget
from callwright.teacher.questions import Tally


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that made no row. The row may still have come, of a later try."""

    row: str
    attempt: int
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {"row": self.row, "attempt": self.attempt, "code": self.code, "message": self.message}


@dataclass(slots=True)
class Report:
    """Of one run; `before` rows stood in the file already."""

    model: str
    address: str
    out: str
    planned: int
    before: int
    accepted: Counter[str] = field(default_factory=Counter)
    """Rows by category."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Planned rows that no try made, by the code of the last."""
    refusals: list[Refusal] = field(default_factory=list)
    stopped: str | None = None
    """Why the run ended before its plan; None where it did not."""

    @property
    def left(self) -> int:
        """Planned rows that were not come to."""
        return self.planned - self.before - self.accepted.total() - self.rejected.total()

    def to_json(self, tally: Tally, budget: Budget) -> dict[str, Any]:
        tried = Counter(refusal.code for refusal in self.refusals)
        return {
            "model": self.model,
            "address": self.address,
            "out": self.out,
            "planned": self.planned,
            "before": self.before,
            "accepted": self.accepted.total(),
            "accepted_by_category": dict(sorted(self.accepted.items())),
            "rejected": self.rejected.total(),
            "codes": dict(sorted(self.rejected.items())),
            "left": self.left,
            "stopped": self.stopped,
            "answers_rejected": dict(sorted(tried.items())),
            "requests": {
                "sent": tally.sent,
                "answered": tally.answered,
                "retried": tally.retried,
                "from_cache": tally.from_cache,
            },
            "tokens": {"in": budget.tokens_in, "out": budget.tokens_out, "estimated_requests": tally.estimated},
            "cost_usd": float(budget.cost) if budget.caps.price_in is not None else None,
            "notes": tally.notes,
            "rejects": [refusal.to_json() for refusal in self.refusals],
        }

    def write(self, path: Path, tally: Tally, budget: Budget) -> None:
        with whole_file(path) as aside:
            aside.write_text(to_json(self.to_json(tally, budget), indent=2) + "\n", encoding="utf-8")
