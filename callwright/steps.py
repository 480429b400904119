"""A row's calls as its pack's backend takes them: under the pack's names, with defaults, and what came of each.

steps_of(example, pack)   ->  [Step(Call("query_database", {"query_str": "預算"}), {"amount": "300 萬"}, turn=0)]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callwright.moments import read
from callwright.pack_shape import Pack, PackTool
from callwright.records import Call, Calls, Example, Result
from callwright.schemas import plainly


class NoWorld(ValueError):
    """The row cannot be played; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call of the row, under its pack's names. `recorded`: its result in the row, where it has one."""

    call: Call
    recorded: Mapping[str, Any] | None
    turn: int
    """Which of the row's turns of calls it stands in."""

    @property
    def fails(self) -> bool:
        return self.recorded is not None and "error" in self.recorded


def steps_of(example: Example, pack: Pack) -> list[Step]:
    """The row's calls, each with the result that stands for it. `NoWorld` where the pack cannot run one of them."""
    found, turn = list[Step](), 0
    for i, message in enumerate(example.messages):
        if isinstance(message, Calls):
            found += _turn(example, pack, message.calls, list(_results(example, i)), turn)
            turn += 1
    return found


def other_steps(example: Example, pack: Pack) -> list[list[Step]]:
    """The same with another set of calls for the last turn, for each set that the row calls right (`also`)."""
    last = example.messages[-1] if example.messages else None
    if not isinstance(last, Calls):
        return []
    steps = steps_of(example, pack)
    turn = max(step.turn for step in steps) if last.calls else 0
    before = [step for step in steps if step.turn != turn]
    return [[*before, *_turn(example, pack, calls, [], turn)] for calls in last.also]


def _results(example: Example, turn: int) -> Iterator[Result]:
    for message in example.messages[turn + 1 :]:
        if not isinstance(message, Result):
            return
        yield message


def _turn(example: Example, pack: Pack, calls: Sequence[Call], results: list[Result], turn: int) -> Iterator[Step]:
    for call in calls:
        own = example.own(call)
        tool = pack.named.get(own.tool)
        if tool is None or tool.action is None:
            lacks = "has no tool" if tool is None else "cannot run"
            raise NoWorld(f"packs/{pack.pack}.yaml {lacks} {own.tool!r}")
        result = next((each for each in results if each.tool == call.tool), None)
        if result:
            results.remove(result)
        yield Step(with_defaults(own, tool), _content(result), turn)


def _content(result: Result | None) -> Mapping[str, Any] | None:
    try:
        value = json.loads(result.content) if result else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def with_defaults(call: Call, tool: PackTool) -> Call:
    """A call with what it leaves out: a default that is given and one that is left out are the same call.

    A moment whose default names none (`now`) is left out either way, as a world takes only moments.
    """
    params = _filled(call.params, tool.parameters, tool.parameters)
    usual = {name: part.get("default") for name, part in tool.properties.items() if tool.is_moment(name)}
    odd = {name for name, value in usual.items() if isinstance(value, str) and read(value) is None}
    return Call(call.tool, {n: value for n, value in params.items() if n not in odd or value != usual[n]})


def _filled(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    known = plainly(schema, root) if isinstance(schema, Mapping) else {}
    if isinstance(value, list):
        return [_filled(item, known.get("items"), root) for item in value]
    if not isinstance(value, Mapping):
        return value
    parts = known.get("properties")
    parts = parts if isinstance(parts, Mapping) else {}
    usual = {name: part["default"] for name, part in parts.items() if isinstance(part, Mapping) and "default" in part}
    return {name: _filled(item, parts.get(name), root) for name, item in {**usual, **value}.items()}
