"""callwright score: any model's answers against gold rows, for people who never run the pipeline

    callwright score --gold data/validated/test.jsonl --predictions answers.jsonl --report score.json

The report: {"n", "correct", "accuracy", "ci95", "outcomes": {…}, "reasons": {…}, "rows": [{"id", "correct", …}]}
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from callwright.answers import Answer, Outcome, read_answer
from callwright.exchange import read_tools
from callwright.faults import Fault
from callwright.matching import wanted_of
from callwright.metrics import wilson
from callwright.moments import NOW
from callwright.outs import to_json, whole_file
from callwright.predictions import Gold, paired, read_gold, read_predictions
from callwright.records import Calls, Category, Reply, Result
from callwright.score import Verdict, call_fault, gold, verdict

DOCUMENT = "document"


class Scored(NamedTuple):
    row: Gold
    verdict: Verdict


def score(
    gold_path: Path,
    predictions: Path,
    form: str = DOCUMENT,
    tools: Path | None = None,
    now: datetime | None = None,
    report: Path | None = None,
) -> int:
    """Judge every answer, print what came of it and write it down. 0 once it has scored."""
    for given in (gold_path, predictions, *([tools] if tools else [])):
        if report and report.exists() and given.exists() and report.samefile(given):
            raise Fault(f"--report is {report}, which is what is scored; name another file")
    read = reader(form)
    rows = read_gold(gold_path, read_tools(tools) if tools else ())
    pairs = paired(rows, read_predictions(predictions), (gold_path, predictions))
    clock = now or NOW
    for warning in warnings(rows, clock):
        print(f"warning: {warning}", file=sys.stderr)
    scored = [Scored(row, verdict(row.example, read(text), clock, named_tools=row.named_tools)) for row, text in pairs]
    made = report_of(scored)
    if report:
        with whole_file(report) as aside:
            aside.write_text(to_json(made, indent=2) + "\n", encoding="utf-8")
    _print(gold_path, predictions, made, scored, clock)
    return 0


def reader(form: str) -> Callable[[str], Answer]:
    """How a raw answer is read: in the document's form, or in a family's own."""
    if form == DOCUMENT:
        return read_answer
    from callwright.families import FAMILIES

    if form not in FAMILIES:
        raise Fault(f"--format {form!r} is no form of an answer; it is one of {', '.join((DOCUMENT, *FAMILIES))}")
    return FAMILIES[form].read


def report_of(scored: Sequence[Scored]) -> dict[str, Any]:
    """The report, as it is written; an outcome that did not occur counts 0, a reason that did not is left out."""
    verdicts = [one.verdict for one in scored]
    n, correct = len(verdicts), sum(one.correct for one in verdicts)
    outcomes = Counter(one.outcome for one in verdicts)
    reasons = Counter(one.reason for one in verdicts if one.reason)
    return {
        "n": n,
        "correct": correct,
        "accuracy": round(correct / n, 6),
        "ci95": wilson(correct, n),
        "outcomes": {str(outcome): outcomes[outcome] for outcome in Outcome},
        "reasons": dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "rows": [
            {
                "id": one.row.id,
                "correct": one.verdict.correct,
                "outcome": str(one.verdict.outcome),
                "reason": one.verdict.reason,
            }
            for one in scored
        ],
    }


def warnings(rows: Sequence[Gold], now: datetime) -> Iterator[str]:
    """What a person should know of gold that is scored all the same."""
    calling = [(row, turn) for row in rows if isinstance(turn := gold(row.example), Calls)]
    if unnamed := [row for row, _ in calling if not row.named_tools]:
        yield (
            f"{len(unnamed)} rows, such as {unnamed[0].place}, name no tools, so their calls are held to no schema and "
            "compared by value; give --tools"
        )
    loose = [row for row in rows if _unmarked(row)]
    if loose:
        yield (
            f"{len(loose)} of the rows, such as {loose[0].place}, want a text and mark neither what it must tell nor "
            "what it asks for: there any text of the right kind with the gold's own numbers is right (docs/scoring.md)"
        )
    broken = []
    for row, turn in calling:
        tools = {tool.name: tool for tool in row.example.tools} if row.named_tools else None
        wanted = [wanted_of(call, tools.get(call.tool) if tools else None) for call in turn.calls]
        if fault := call_fault(turn.calls, wanted, tools, now):
            broken.append((row, fault))
    if broken:
        row, (code, detail) = broken[0]
        yield (
            f"in {len(broken)} rows the gold breaks its own tools, such as {row.place} ({code}: {detail}), so no "
            "answer is right there; callwright validate finds them"
        )


def _unmarked(row: Gold) -> bool:
    turn = gold(row.example)
    marked = any(isinstance(message, Result) and message.facts for message in row.example.messages)
    return isinstance(turn, Reply) and not turn.asks and not marked and row.example.category is not Category.NO_TOOL


def _print(gold_path: Path, predictions: Path, made: dict[str, Any], scored: Sequence[Scored], now: datetime) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    low, high = made["ci95"]
    table = Table(title=Text(f"{predictions} against {gold_path}"), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row("rows", str(made["n"]), "")
    table.add_row("right", str(made["correct"]), f"{made['accuracy']:.1%}, 95% interval {low:.1%} to {high:.1%}")
    table.add_section()
    for outcome, count in made["outcomes"].items():
        table.add_row(outcome, str(count), "")
    table.add_section()
    for reason, count in made["reasons"].items():
        row, wrong = next(one for one in scored if one.verdict.reason == reason)
        table.add_row(reason, str(count), Text(_writable(f"{row.id}: {wrong.detail or ''}")))
    console.print(table)
    console.print(Text(f"now is {now.isoformat(timespec='minutes')}: moments are compared by what they mean then"))


def _writable(text: str) -> str:
    """On one line, short, and of signs that a terminal takes."""
    line = " ".join(text.split())
    line = line if len(line) <= 160 else line[:157] + "..."
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
