r"""A model's answers to rows of gold, read and brought together.

    gold.jsonl           {"id": "office-1", "instruction": "幫我查預算", "tools": […], "output": […]}   any format
    predictions.jsonl    {"id": "office-1", "text": "{\"tool\": \"query_database\", \"params\": {…}}"}

    paired(read_gold(Path("gold.jsonl")), read_predictions(Path("predictions.jsonl")))   ->  [(Gold(…), "…"), …]

A row of gold is named by its `id`, or by its number from 0. Each has one answer: a lost answer is not a wrong answer,
so a row without one is a `Fault`, as is an answer too many. What a model said is a value, whatever it holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from callwright.exchange.drafts import Given
from callwright.exchange.files import read_items
from callwright.exchange.reading import Row, Unread, detect, form_named, records
from callwright.faults import Fault
from callwright.records import Calls, Example, Reply, Tool
from callwright.score import right_calls

_TOLD = 5
"""Faults of one kind that are told one by one."""
_LINE = '{"id": …, "text": "the raw answer"}'


@dataclass(frozen=True, slots=True)
class Gold:
    """A row whose last turn is what a model was asked for."""

    id: str | int
    """As it stands in the file; its number from 0 where it has none."""
    place: str
    """FILE:LINE."""
    example: Example
    named_tools: bool
    """Whether the row, or the caller, says which tools there are."""


@dataclass(frozen=True, slots=True)
class Prediction:
    id: str | int
    place: str
    text: str


def _format_of(path: Path) -> str:
    try:
        return detect(path)
    except Fault as fault:
        told = str(fault).replace(
            "with --format", "to callwright import --format, and score the records that it leaves"
        )
        raise Fault(told) from None


def read_gold(path: Path, tools: Sequence[Tool] = ()) -> list[Gold]:
    """Rows of any format that `callwright validate` reads; `Fault` where one has nothing that could be asked for.

    Each row stands for itself: rows `id#0`, `id#1`, … are not joined to one conversation, as they are elsewhere.
    """
    rows, faults, seen = list[Gold](), list[str](), dict[str, str]()
    for row in records(replace(form_named(_format_of(path)), join=None), read_items(path), Given(tuple(tools))):
        if isinstance(row, Unread):
            faults.append(f"{row.place}: {row.message}; callwright validate says what is wrong with a file of rows")
        elif fault := _no_gold(row):
            faults.append(f"{row.place}: {fault}")
        elif row.id in seen:
            faults.append(f"{row.place}: the id {row.id!r} stands in {seen[row.id]} too; give each row one of its own")
        else:
            seen[row.id] = row.place
            rows.append(Gold(_own_id(row), row.place, row.example, row.named_tools))
    if faults:
        raise Fault(_some(faults))
    return rows


def _no_gold(row: Row) -> str | None:
    """Why nothing can be asked for: the last turn is not the assistant's, or calls what the row does not offer."""
    last = row.example.messages[-1] if row.example.messages else None
    if not isinstance(last, Calls | Reply):
        return "its last turn is not the assistant's, so there is no right answer; end the row with it"
    offered = {tool.name for tool in row.example.tools}
    called = (call.tool for calls in right_calls(last) for call in calls) if isinstance(last, Calls) else ()
    if row.named_tools and (odd := next((name for name in called if name not in offered), None)):
        known = ", ".join(sorted(offered)) or "none"
        what = f"its right answer calls {odd!r}, which is none of the tools it offers ({known})"
        return f"{what}; give the row, or --tools, the tools that it is for"
    return None


def _own_id(row: Row) -> str | int:
    if not row.id.isdecimal():
        return row.id
    own = json.loads(row.raw).get("id", row.number)
    return own if isinstance(own, int) and not isinstance(own, bool) else row.id


def read_predictions(path: Path) -> list[Prediction]:
    """Lines of `{"id": …, "text": …}`; other keys are passed over. `Fault` where a line is none."""
    rows, faults = list[Prediction](), list[str]()
    for number, line in _lines(path):
        row = _object(line)
        row_id, text = (row.get("id"), row.get("text")) if isinstance(row, Mapping) else (None, None)
        if not isinstance(row_id, str | int) or isinstance(row_id, bool):
            what = row if isinstance(row, str) else "it has no id, which is a text or a whole number"
            faults.append(f"{path}:{number}: {what}; a line of predictions is {_LINE}")
        elif not isinstance(text, str):
            faults.append(f"{path}:{number}: the answer to {row_id!r} has no text; a line of predictions is {_LINE}")
        else:
            rows.append(Prediction(row_id, f"{path}:{number}", text))
    if faults:
        raise Fault(_some(faults))
    if not rows:
        raise Fault(f"{path} is empty; it holds an answer a line, {_LINE}")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        raise Fault(f"{path} is missing; name a file of answers, each a line {_LINE}") from None
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise Fault(f"{path} cannot be read: {why}; name a file of answers, each a line {_LINE}") from error


def _object(line: bytes) -> Mapping[str, Any] | str:
    """The line's object, or what is wrong with it. A text may hold half of a surrogate pair: a model's answer can."""
    try:
        value = json.loads(line.decode(), object_pairs_hook=_no_doubles)
    except UnicodeDecodeError as error:
        return f"not UTF-8 (0x{line[error.start]:02x} at byte {error.start} of the line)"
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    return value if isinstance(value, dict) else "not a JSON object"


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def paired(rows: Sequence[Gold], predictions: Sequence[Prediction], where: tuple[Path, Path]) -> list[tuple[Gold, str]]:
    """Each row with its answer. `where` are the files of gold and of predictions; `Fault` says what does not pair."""
    gold, answered = where
    named = {str(row.id): row for row in rows}
    if not any(isinstance(row.id, int) or row.id.isdecimal() for row in rows):  # else a number could be another's id
        named |= {str(number): row for number, row in enumerate(rows)}
    answers, faults = dict[str, Prediction](), list[str]()
    for one in predictions:
        row = named.get(str(one.id))
        if row is None:
            faults.append(f"{one.place}: {gold} has no row {one.id!r}; take the answer out, or name the gold it is of")
        elif before := answers.get(str(row.id)):
            faults.append(f"{one.place}: row {one.id!r} is answered in {before.place} too; keep one answer a row")
        else:
            answers[str(row.id)] = one
    if lost := [repr(row.id) for row in rows if str(row.id) not in answers]:
        names = ", ".join(lost[:_TOLD]) + (", …" if len(lost) > _TOLD else "")
        faults.insert(
            0,
            f"{answered} has no answer to {len(lost)} of the {len(rows)} rows of {gold}: {names}. A lost answer is "
            'not a wrong one, so nothing is scored; ask the model again, or give "" as the text where it said nothing',
        )
    if faults:
        raise Fault(_some(faults))
    return [(row, answers[str(row.id)].text) for row in rows]


def _some(faults: Sequence[str]) -> list[str]:
    more = len(faults) - _TOLD
    return [*faults[:_TOLD], *([f"and {more} more like these"] if more > 0 else [])]
