"""Records in another format, and what it could not hold.

    made = writer("openai")
    rows = [row for example in examples for row in made.rows(example)]
    made.lost        Counter({"source": 500, "id": 500, "facts of a result": 80})
    made.unwritten   0

Each row is read back as it is written, so that what is lost is known and not guessed. Where a row would read back as
another conversation (a text that looks like a turn or a call), it is not written, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from callwright.exchange.drafts import Form, Given, parsed, unmarked
from callwright.exchange.files import Item
from callwright.exchange.reading import FORMS, Row, Unread, form_named, records
from callwright.faults import Fault
from callwright.outs import to_json
from callwright.records import BadRecord, Calls, Example, Message, Reply, Result, System, Tool, User

LOOKS_LIKE_A_TURN = "the whole row: a text in it reads as another turn"
NO_READING = "the whole row: a turn in it cannot be read back"
NO_JSON = "the whole row: JSON or UTF-8 cannot hold a value in it"

_LEFT_OUT = {User: "later requests", Calls: "later calls", Reply: "replies", Result: "tool results"}


class Writer:
    """Writes records one after another and counts what was lost, a record once for each kind of loss."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.lost: Counter[str] = Counter()
        self.unwritten = 0
        """Records of which no row was written."""

    def rows(self, example: Example) -> Iterator[dict[str, Any]]:
        """The rows of one record; none where the format cannot hold it."""
        if self.form.write is None:
            raise AssertionError(self.form.name)  # `writer` has refused it
        made = list(self.form.write(example))
        why, back = self._back(example, made)
        if back is None:
            self.unwritten += 1
            self.lost[why] += 1
            return
        self.lost.update(set(losses(example, back)))
        yield from made

    def _back(self, example: Example, made: Sequence[dict[str, Any]]) -> tuple[str, Example | None]:
        """The record as the rows are read, or why they must not be written."""
        try:
            items = [Item(i, "", "", parsed(to_json(row))) for i, row in enumerate(made)]
        except (BadRecord, ValueError):
            return NO_JSON, None
        found = list(records(self.form, items, Given(example.tools), example.split))
        if any(isinstance(one, Unread) for one in found):
            return NO_READING, None
        read = [one.example for one in found if isinstance(one, Row)]
        if len(read) == 1 and _is_part(_said(read[0]), _said(example)):
            return "", read[0]
        return LOOKS_LIKE_A_TURN, None


def writer(form: str) -> Writer:
    """`Fault` where there is no such format, or it is only read."""
    chosen = form_named(form)
    if chosen.write is None:
        out = [name for name, form in FORMS.items() if form.write]
        raise Fault(f"{form} is only read; the formats to write are {', '.join(out)}")
    return Writer(chosen)


def losses(example: Example, back: Example) -> Iterator[str]:
    """What differs in `back`, by name."""
    for name in ("id", "language", "category", "split", "source"):
        if getattr(example, name) != getattr(back, name):
            yield name
    yield from _tools_lost(example.tools, back.tools)
    for mark, name in (("facts", "facts of a result"), ("asks", "asks of a reply")):
        if any(getattr(turn, mark, ()) for turn in example.messages) and example.messages != back.messages:
            yield name
    openings, left = _systems(example), _systems(back)
    if openings[1:] and not left[1:]:
        yield "second system turn"
    if openings[:1] != left[:1]:
        yield "system text"
    said, kept = _said(example), _said(back)
    for kind, left_out in _LEFT_OUT.items():
        if sum(isinstance(turn, kind) for turn in said) > sum(isinstance(turn, kind) for turn in kept):
            yield left_out


def _tools_lost(tools: Sequence[Tool], back: Sequence[Tool]) -> Iterator[str]:
    if [tool.name for tool in tools] != [tool.name for tool in back]:
        yield "tools"
        return
    for tool, other in zip(tools, back, strict=True):
        if tool.description != other.description:
            yield "a tool's description"
        if tool.parameters != other.parameters:
            keys = sorted(key for key in tool.parameters if tool.parameters[key] != other.parameters.get(key))
            yield f"{keys[0] if keys else 'parts'} of a tool's schema"


def _systems(example: Example) -> list[str]:
    return [turn.content for turn in example.messages if isinstance(turn, System)]


def _said(example: Example) -> list[Message]:
    return unmarked(turn for turn in example.messages if not isinstance(turn, System))


def _is_part(part: Sequence[Message], whole: Sequence[Message]) -> bool:
    """Whether `part` is `whole` with turns left out."""
    left = iter(whole)
    return all(any(turn == other for other in left) for turn in part)
