"""What the gate sees and what it takes for chance: decisions on simulated champions and challengers.

    python -m benchmarks.gate

The rows are the default exam's 160 (reports/evaluate/answers.jsonl of a run). The champion is the tuned model; the
other one differs from it on about as many rows as two seeds of the default training do (docs/lab-notes.md), and loses
so many points more, in all rows or in one slice. Shares of 400 draws. Not part of `make bench`: it has no peer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from callwright.gate import Contender, Rules, decide
from callwright.metrics import PLAIN, Judged
from callwright.outs import read_lines
from callwright.params import read_params
from stages.evaluate import judged

ANSWERS = Path("reports/evaluate/answers.jsonl")
DRAWS, FLIPS = 400, 0.08

Part = Callable[[Judged], bool]


def other(rows: Sequence[Judged], loss: float, part: Part, rng: Random) -> list[Judged]:
    """A model that flips some verdicts by chance and loses `loss` of the rows of a part for good."""
    made = []
    right = sum(row.correct for row in rows if part(row)) / max(1, sum(map(part, rows)))
    for row in rows:
        correct = row.correct
        if rng.random() < FLIPS * (0.5 / (right if correct else max(1e-9, 1 - right))):
            correct = not correct
        if part(row) and correct and rng.random() < loss / right:
            correct = False
        made.append(replace(row, correct=correct))
    return made


def main() -> None:
    knobs = read_params().register_
    rules = Rules(knobs.significance, knobs.margin, knobs.least_rows, knobs.floors.model_dump())
    answers = [row for row in read_lines(ANSWERS) if row["setting"] == PLAIN]
    base, champion = (
        Contender(name, "", judged(row for row in answers if row["model"] == model))
        for name, model in (("base", "base"), ("champion", "tuned"))
    )
    parts: dict[str, Part] = {
        "all rows": lambda row: True,
        "zh-TW": lambda row: row.language == "zh-TW",
        "single": lambda row: row.category == "single",
    }
    print("| lost | in | rows | promote | challenge | refuse |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    for where, losses in (
        ("all rows", (0.0, 0.03, 0.05, 0.1, 0.15)),
        ("zh-TW", (0.1, 0.2, 0.3)),
        ("single", (0.2, 0.3)),
    ):
        for loss in losses:
            rng, found = Random(7), Counter[str]()
            for _ in range(DRAWS):
                tuned = Contender("tuned", "", other(champion.rows, loss, parts[where], rng))
                found[decide(tuned, base, champion, rules).decision] += 1
            shares = " | ".join(f"{found[word] / DRAWS:.0%}" for word in ("promote", "challenge", "refuse"))
            print(
                f"| {100 * loss:g} points | {where} | {sum(map(parts[where], champion.rows))} | {shares} |", flush=True
            )


if __name__ == "__main__":
    main()
