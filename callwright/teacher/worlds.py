"""Results of the calls in a row whose tools a pack can run.

    with Happening(plan, pack) as happening:
        happening.results((Call("find_contact", {"name": "王小明"}),))   ->  ['{"extension": "4021"}']

What the pack's `given` says is put into the world before a call, so that the tool finds something.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Self

from callwright.backend import World
from callwright.filling import drawn
from callwright.moments import NOW, read, resolve
from callwright.outs import to_json
from callwright.pack_shape import Cell, Given, Pack, PackTool
from callwright.records import Call, Category
from callwright.teacher.plans import Plan


class Happening:
    """One conversation's world. `Refused` where it does not run a call."""

    def __init__(self, plan: Plan, pack: Pack) -> None:
        self.plan, self.pack, self.rng = plan, pack, Random(plan.chance)
        self.world = World(pack, NOW, first_id=self.rng.randint(100, 9999))
        self.failed = False

    def __enter__(self) -> Self:
        self.world.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.world.__exit__(*exception)

    def results(self, calls: Sequence[Call]) -> list[str]:
        """One a call, as JSON. A row about a failing tool begins with the failure."""
        if self.plan.category is Category.TOOL_ERROR and not self.failed:
            self.failed = True
            for call in calls:
                self.world.run(call)  # that it is right in itself
            return [to_json({"error": self._error(call.tool)}) for call in calls]
        for call in calls:
            tool = self.pack.named.get(call.tool)
            for given in tool.given if tool else ():
                self._put(given, tool, call)
        return [self.world.run(call) for call in calls]

    def _error(self, tool: str) -> str:
        named = [each.error for each in self.pack.errors if each.tools is None or tool in each.tools]
        return self.rng.choice(named) if named else "timeout"

    def _put(self, given: Given, tool: PackTool | None, call: Call) -> None:
        for _ in range(self.rng.randint(given.rows.min, given.rows.max) if given.rows else 1):
            row = {}
            for column, cell in given.row.items():
                if cell.param is None or cell.param in call.params:
                    row[column] = self._cell(self.pack.tables[given.table][column], cell, call)
            self.world.put(given.table, row)

    def _cell(self, kind: str, cell: Cell, call: Call) -> Any:
        if cell.param is not None:
            value = call.params[cell.param]
        elif cell.slot is not None:
            value = drawn(self.pack, cell.slot, self.plan.language, test=False, spoken=0.0, rng=self.rng)[1]
        else:
            value = cell.value
        moment = read(value) if kind == "moment" and isinstance(value, str) else None
        return resolve(moment, NOW) if moment else value
