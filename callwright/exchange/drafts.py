"""What a format's reader gives and its writer takes: a row before it is a record.

    read({"instruction": "幫我查預算", "output": "…"}, Given())  ->  Draft(messages=[User(…), Calls(…)], tools=None, …)

A reader raises `BadRecord` where a row cannot be read; it neither judges nor repairs what it reads.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from callwright.answers import strict_json
from callwright.records import BadRecord, Calls, Example, Language, Message, Reply, Result, Tool

Row = Mapping[str, Any]

DEEPEST = 200
"""Levels of nesting in a row. Python's own limit depends on who calls, and a schema needs some twenty."""

LONGEST_SMALL = 200
"""Characters of a text that is kept under `source`."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller knows and the rows do not say."""

    tools: tuple[Tool, ...] = ()
    language: Language | None = None


@dataclass(slots=True)
class Draft:
    messages: list[Message]
    tools: tuple[Tool, ...] | None = None
    """None: the row names no tools. `()`: it says that there are none."""
    no_place_for_system: bool = False
    """The format has none, so that the record gets a neutral one."""
    known: frozenset[str] = frozenset()
    """Keys of the row that were read; the others are extra."""
    warnings: list[str] = field(default_factory=list)
    example: Example | None = None
    """The whole record, where the format holds it."""


@dataclass(frozen=True, slots=True)
class Form:
    """A format."""

    name: str
    fits: Callable[[Row], bool]
    """Whether a row could be one of this format; several may fit."""
    read: Callable[[Row, Given], Draft]
    write: Callable[[Example], Iterator[dict[str, Any]]] | None = None
    join: Callable[[Sequence[Row], Given], Draft | None] | None = None
    """Rows `id#0`, `id#1`, … of one record; None where they are not."""


def parsed(text: str, place: str = "") -> Any:
    """Strict JSON; `BadRecord` says what is wrong with it."""
    lead = f"{place} is not JSON" if place else "not JSON"
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(text):
        raise BadRecord(f"{lead} that can be read: it nests more than {DEEPEST} deep")
    try:
        return strict_json(text)
    except UnicodeEncodeError:
        raise BadRecord(f"{lead}: it holds half of a surrogate pair, which no file can hold") from None
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{lead}: {error}") from None


_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _too_deep(text: str) -> bool:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


def maybe_parsed(value: Any, place: str) -> Any:
    """A value, or the JSON text of one."""
    return parsed(value, place) if isinstance(value, str) else value


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def text_of(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"{place} is {short(value)}; expected text")
    return value


def list_of(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRecord(f"{place} is {short(value)}; expected a list")
    return value


def object_of(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"{place} is {short(value)}; expected an object")
    return value


def short(value: Any) -> str:
    text = written(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Names:
    """Names of tools for results that do not carry one: in the order of the calls before them."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._last = ""

    def called(self, turn: Calls) -> None:
        self._waiting = deque(call.tool for call in turn.calls)
        self._last = self._waiting[-1] if self._waiting else ""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def next(self) -> str:
        return self._waiting.popleft() if self._waiting else self._last

    def of(self, name: Any) -> str:
        """A name that the result carries; its call waits no longer."""
        if not isinstance(name, str) or not name:
            return self.next()
        if name in self._waiting:
            self._waiting.remove(name)
        return name


def unmarked(turns: Iterable[Message]) -> list[Message]:
    """Turns without what marks them for scoring, which no other format holds."""
    return [
        Result(turn.tool, turn.content)
        if isinstance(turn, Result)
        else Reply(turn.content)
        if isinstance(turn, Reply)
        else Calls(turn.calls)
        if isinstance(turn, Calls)
        else turn
        for turn in turns
    ]
