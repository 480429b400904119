"""callwright show: base against tuned as tables, the register's decision, ten requests with both models' answers

Reads reports/evaluate/{metrics.json,answers.jsonl} and reports/register/decision.json.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callwright.faults import Fault
from callwright.outs import read_lines

METRICS = Path("reports/evaluate/metrics.json")
ANSWERS = Path("reports/evaluate/answers.jsonl")
DECISION = Path("reports/register/decision.json")

SHOWN = 10
CUT = 240
"""Cells (a Chinese character takes two) of a raw answer that are shown."""

Row = Mapping[str, Any]


def show() -> None:
    """Print it all; `Fault` where nothing was evaluated yet."""
    metrics, answers = _read(METRICS), list(_read_answers(ANSWERS))
    decision = _read(DECISION) if DECISION.exists() else None
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    try:
        console.print(scores(metrics))
        console.print(Text(sentence(decision)))
        console.print()
        console.print(samples(choose(answers)))
    except (KeyError, TypeError, AttributeError) as error:
        raise Fault(f"{METRICS.parent} is not in the shape that evaluate writes ({error!r}); run dvc repro") from error


def scores(metrics: Row) -> Table:
    """A line each for all rows, tools, categories and languages; sections apart."""
    table = Table(title="Right answers on the test rows", title_justify="left")
    table.add_column("")
    table.add_column("rows", justify="right")
    for model in ("base", "tuned"):
        table.add_column(f"{model}, 95% interval", justify="right")
    for section in _sections(metrics["base"], metrics["tuned"]):
        for label, base, tuned in section:
            table.add_row(label, str(tuned["n"]), _score(base), _score(tuned))
        table.add_section()
    return table


def _sections(base: Row, tuned: Row) -> Iterator[list[tuple[str, Row | None, Row]]]:
    yield [("all", base["overall"], tuned["overall"])]
    before, after = base["by_tools"], tuned["by_tools"]
    languages = before["seen"].get("by_language", {})
    yield [
        ("tools seen in training", before["seen"], after["seen"]),
        *((f"  {name}", score, after["seen"]["by_language"][name]) for name, score in languages.items()),
        ("tools never seen", before["unseen"], after["unseen"]),
    ]
    for group in ("by_category", "by_language"):
        yield [(name, score, tuned[group][name]) for name, score in base[group].items()]
    yield [
        (f"{name} tools offered", base["by_offered"].get(name), score) for name, score in tuned["by_offered"].items()
    ]
    for name, score in tuned["robustness"].items():
        yield [(f"changed: {name}", None, score), ("  the same rows as they are", None, score["unchanged"])]
    if tuned["constrained"]:
        yield [("held to the tools' schemas", None, tuned["constrained"]["overall"])]
    if played := tuned["executed"]:
        yield [
            (f"the loop, run for real, {played['trials']} times each", None, played["correct"]),
            ("  state as it should be", None, played["state"]),
            ("  reply as it should be", None, played["reply"]),
        ]


def _score(score: Row | None) -> str:
    if score is None or not score["n"]:
        return "–"
    low, high = score["ci95"]
    return f"{score['accuracy']:>6.1%}  {100 * low:>3.0f} to {100 * high:>3.0f}%"


def sentence(decision: Row | None) -> str:
    """The register's decision in one sentence."""
    if decision is None:
        return "Not registered yet; dvc repro does it."
    version, alias = decision.get("version"), decision.get("alias")
    name = f"Version {version} of {decision.get('model')}, {alias}. " if version and alias else ""
    return f"{name}{decision.get('reason') or decision['decision']}"


def choose(answers: Sequence[Row], count: int = SHOWN) -> list[tuple[Row, Row]]:
    """Pairs of base and tuned, the same ones every time: in turn one of each category and language, by id."""
    tuned = {row["id"]: row for row in answers if row["model"] == "tuned"}
    groups: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for row in sorted(answers, key=lambda row: str(row["id"])):
        if row["model"] == "base" and row["id"] in tuned:
            groups.setdefault((row["category"], row["language"]), []).append((row, tuned[row["id"]]))
    rounds = itertools.zip_longest(*(groups[key] for key in sorted(groups)))
    return [pair for pair in itertools.chain.from_iterable(rounds) if pair is not None][:count]


def samples(pairs: Iterable[tuple[Row, Row]]) -> Table:
    """Request, right answer, and what each model said, ✓ or ✗."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=1)
    table.add_column(overflow="fold")
    for number, (base, tuned) in enumerate(pairs, start=1):
        kind = f"{base['category']}, {base['language']}" + ("" if base["seen"] else ", tool never seen")
        table.add_row(Text(f"{number}", style="bold"), "", Text(kind, style="dim"))
        table.add_row("request", "", Text(_cut(base["request"])))
        table.add_row("right", "", Text(_cut(base["expected"])))
        for row in (base, tuned):
            mark = Text("✓", style="green") if row["correct"] else Text("✗", style="red")
            why = "" if row["correct"] or not row["reason"] else f"  ({row['reason']})"
            table.add_row(row["model"], mark, Text(_cut(row["raw"]) + why))
        table.add_row("", "", "")
    return table


def _cut(text: str) -> str:
    """On one line, and not longer than `CUT` cells."""
    line = Text(" ⏎ ".join(part.strip() for part in text.strip().splitlines() if part.strip()) or "(nothing)")
    line.truncate(CUT, overflow="ellipsis")
    return line.plain


def _read(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _nothing_yet(path) from None
    except ValueError as error:
        raise Fault(f"{path} is not JSON ({error}); dvc checkout brings it back") from error
    if not isinstance(value, dict):
        raise Fault(f"{path} is not a JSON object; dvc checkout brings it back")
    return value


def _read_answers(path: Path) -> Iterator[Row]:
    if not path.exists():
        raise _nothing_yet(path)
    yield from read_lines(path)


def _nothing_yet(path: Path) -> Fault:
    return Fault(f"{path} is missing: nothing was evaluated yet; make run (or dvc repro) does it")
