"""The backend of one conversation that holds no world open: each call runs in the world that those before it made anew.

    backend = Replayed(example, rebuilt, owners)
    backend.run(Call("query_database", {"query_str": "預算表"}))     ->  '{"amount": "300 萬"}'
    backend.state()                                                 ->  {"office": {"records": […], …}}

So thousands of conversations go on at a time in one database a pack, and none can see another's rows. The tools of
other packs that a row offers act on worlds of their own, which begin empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from callwright.backend import Refused
from callwright.pack_shape import Pack
from callwright.records import Call, Example
from callwright.steps import Step, with_defaults
from callwright.worlds import Opening, Rebuilt, State


@dataclass(frozen=True, slots=True)
class Ran:
    """A call under its pack's names, with defaults, and its result."""

    call: Call
    result: str


class Replayed:
    """The loop's `Backend` for a row. `owners`: the pack of each tool, by the packs' own names."""

    def __init__(self, example: Example, rebuilt: Rebuilt, owners: Mapping[str, Pack]) -> None:
        self.example, self.rebuilt, self.owners = example, rebuilt, owners
        self.ran: list[Ran] = []
        """All that came to a result, in their order."""
        self._changes: dict[str, list[Call]] = {}
        """By pack, the calls that may have changed something."""
        self._failures = _failures(rebuilt.steps)
        self._tried: dict[str, int] = {}

    def run(self, call: Call) -> str:
        """The result as JSON text; `Refused` where the call is not run."""
        own = self.example.own(call)
        pack = self.owners.get(own.tool)
        if pack is None:
            raise Refused(f"there is no tool {call.tool!r}")
        tool = pack.tool(own.tool)
        own = with_defaults(own, tool)
        result = self._failure(own.tool)
        if result is None:
            with self._opening(pack).world() as world:
                for before in self._changes.get(pack.pack, ()):
                    world.run(before)
                result = world.run(own)
            if tool.action and not tool.action.reads:
                self._changes.setdefault(pack.pack, []).append(own)
        self.ran.append(Ran(own, result))
        return result

    def state(self) -> dict[str, State]:
        """The tables by pack: the row's own, and those of others that something was called of."""
        found: dict[str, State] = {}
        packs = {self.owners[one.call.tool].pack: self.owners[one.call.tool] for one in self.ran}
        for name, pack in {self.rebuilt.opening.pack.pack: self.rebuilt.opening.pack, **packs}.items():
            with self._opening(pack).world() as world:
                for call in self._changes.get(name, ()):
                    world.run(call)
                found[name] = world.state()
        return found

    def _opening(self, pack: Pack) -> Opening:
        own = self.rebuilt.opening
        return own if pack.pack == own.pack.pack else Opening(pack, own.now)

    def _failure(self, tool: str) -> str | None:
        """The failure that the row has for this call of the tool; after the last of its calls all are as that one."""
        failures = self._failures.get(tool)
        if failures is None:
            return None
        place = self._tried.get(tool, 0)
        self._tried[tool] = place + 1
        return failures[min(place, len(failures) - 1)]


def _failures(steps: tuple[Step, ...]) -> dict[str, list[str | None]]:
    """For each tool that fails in the row the failures of its calls one after another, None where one works."""
    found: dict[str, list[str | None]] = {}
    for step in steps:
        failure = json.dumps(step.recorded, ensure_ascii=False) if step.fails else None
        found.setdefault(step.call.tool, []).append(failure)
    return {tool: failures for tool, failures in found.items() if any(failures)}
