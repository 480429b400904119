"""callwright validate: rows of any format against the rules, for people who never run the pipeline"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from callwright.contamination import Contamination, asked_by, read_test_set
from callwright.duplicates import Requests, Signature, Twin
from callwright.exchange import Row, Unread, read_rows, read_tools
from callwright.outs import to_json, whole_file
from callwright.records import Tool
from callwright.rules import Failure, Rules
from stages._workers import in_order

NEAR = 0.8
SHOWN = 20
WARNED = 1000
"""Warnings of a code that are written down; the others are counted."""
_CHUNK = 128


class Judged(NamedTuple):
    """A row by the rules that need no other row."""

    name: int | str
    failure: Failure | None
    warnings: tuple[Failure, ...] = ()
    asked: tuple[Signature, ...] = ()
    """All that it asks, and each turn of the user; empty where it is rejected."""


def validate(
    path: Path,
    tools: Path | None = None,
    form: str | None = None,
    report: Path | None = None,
    today: date | None = None,
    against: Sequence[Path] = (),
) -> int:
    """Judge the rows of a file, print and write what is wrong; 0 where all are accepted, 1 where some are not."""
    offered = read_tools(tools) if tools else ()
    tests = Contamination([read_test_set(each, NEAR) for each in against])
    made = judge_file(path, offered, form, today, tests)
    if report:
        with whole_file(report) as aside:
            aside.write_text(to_json(made, indent=2) + "\n", encoding="utf-8")
    _print(path, made)
    return 1 if made["rejected"] else 0


def judge_file(
    path: Path,
    tools: Sequence[Tool] = (),
    form: str | None = None,
    today: date | None = None,
    tests: Contamination | None = None,
) -> dict[str, Any]:
    """The report: counts, rejects with their reasons, warnings. A row is named by its id, else by its number from 0."""
    seen, told, count = Requests(NEAR), Counter[str](), 0
    rejects, warned = list[dict[str, Any]](), list[dict[str, Any]]()
    for chunk in in_order(judged(Rules(today=today)), _chunks(read_rows(path, form, tools))):
        for row in chunk:
            count += 1
            failure = row.failure
            if failure is None:
                failure = _twin(row.asked, seen, tests)
            if failure:
                rejects.append({"row": row.name, "code": failure.code, "message": failure.message})
                continue
            seen.add(row.asked[0])
            for code, message in row.warnings:
                told[code] += 1
                if told[code] <= WARNED:
                    warned.append({"row": row.name, "code": code, "message": message})
    report = {
        "rows": count,
        "accepted": count - len(rejects),
        "rejected": len(rejects),
        "codes": dict(sorted(Counter(reject["code"] for reject in rejects).items())),
        "rejects": rejects,
        "warnings": warned,
        "warning_codes": dict(told.most_common()),
    }
    return report | ({"contamination": tests.report()} if tests and tests.sets else {})


def _chunks(rows: Iterator[Row | Unread]) -> Iterator[list[Row | Unread]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def judged(rules: Rules) -> Callable[[Sequence[Row | Unread]], list[Judged]]:
    def work(rows: Sequence[Row | Unread]) -> list[Judged]:
        return [_judge(row, rules) for row in rows]

    return work


def _judge(row: Row | Unread, rules: Rules) -> Judged:
    name: int | str = row.number if row.id == str(row.number) else row.id
    if isinstance(row, Unread):
        return Judged(name, Failure("bad_json", f"{row.place}: {row.message}"))
    failure = rules.first_failure(row.example, row.named_tools)
    if failure:
        return Judged(name, _placed(row, failure))
    notes = [Failure("reading", sentence) for sentence in row.warnings]
    if not row.named_tools and row.example.calls:
        notes.append(
            Failure("no_tools_named", "the row names no tools, so its calls are held to no schema; give --tools")
        )
    notes += rules.warnings(row.example)
    return Judged(name, None, tuple(_placed(row, note) for note in notes), asked_by(row.example))


def _placed(row: Row, failure: Failure) -> Failure:
    """With file and line, and the row's own id where it has one."""
    named = "" if row.id == str(row.number) else f" ({row.id})"
    return Failure(failure.code, f"{row.place}{named}: {failure.message.removeprefix(f'{row.example.id}: ')}")


def _twin(asked: Sequence[Signature], seen: Requests, tests: Contamination | None) -> Failure | None:
    own = asked[0]
    if tests and (twin := tests.note(asked)):
        return Failure("contaminated", _stands(own, twin))
    if twin := seen.twin(own):
        return Failure("duplicate" if twin.exact else "near_duplicate", _stands(own, twin))
    return None


def _stands(own: Signature, twin: Twin) -> str:
    how = "the same request" if twin.exact else f"nearly the same request ({twin.similarity:.2f})"
    return f"{own.id}: {how} stands in {twin.id}"


def _print(path: Path, report: dict[str, Any]) -> None:
    print(f"{path}: {report['rows']} rows, {report['accepted']} accepted, {report['rejected']} rejected")
    for code, count in sorted(report["codes"].items(), key=lambda pair: -pair[1]):
        print(f"  {count} {code}")
    for reject in report["rejects"][:SHOWN]:
        print(f"{reject['code']}: {reject['message']}")
    if (more := len(report["rejects"]) - SHOWN) > 0:
        print(f"and {more} more; --report FILE has them all")
    for code, count in report["warning_codes"].items():
        example = next(note["message"] for note in report["warnings"] if note["code"] == code)
        print(f"warning, {count} times {code}, such as {example}")
    for each in report.get("contamination", ()):
        print(f"{each['path']}: of its {each['requests']} requests some stand in {each['rows']} rows")
