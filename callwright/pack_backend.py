"""The tools of packs behind the loop's `Backend`: each call goes to the world of its tool's pack.

    with PackBackend([office], now) as backend:
        backend.put("records", {"name": "預算表", "amount": "300 萬"})
        backend.run(Call("query_database", {"query_str": "預算表"}))      ->  '{"amount": "300 萬"}'
        backend.state()       ->  {"records": [{"id": 1, "name": "預算表", "amount": "300 萬"}], "events": [], …}
        changes(before, backend.state())

A world is a transaction in memory that ends with the block: nothing reaches a disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from callwright.backend import Refused, World
from callwright.faults import Fault
from callwright.pack_shape import Pack
from callwright.records import Call

State = Mapping[str, Sequence[Mapping[str, Any]]]
"""The rows of each table, in the order of their ids."""


class PackBackend:
    """Worlds of one or several packs. `own` turns a call into its pack's names, such as an example's `own`.

    `Fault` where two of the packs have a tool of the same name. Tables are named as in their pack, and `pack.table`
    where two packs have one of the name.
    """

    def __init__(
        self, packs: Sequence[Pack], now: datetime, *, first_id: int = 1, own: Callable[[Call], Call] | None = None
    ) -> None:
        self.packs, self._own = tuple(packs), own
        self._worlds: dict[str, World] = {}
        self._pack_of = _owners(self.packs)
        self._tables = tables_of(self.packs)
        self._stack = contextlib.ExitStack()
        for pack in self.packs:
            self._worlds[pack.pack] = self._stack.enter_context(World(pack, now, first_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self, call: Call) -> str:
        """The result as JSON text; `Refused` where the call is not run."""
        own = self._own(call) if self._own else call
        pack = self._pack_of.get(own.tool)
        if pack is None:
            raise Refused(f"there is no tool {call.tool!r}")
        return self._worlds[pack].run(own)

    def put(self, table: str, row: Mapping[str, Any]) -> int:
        """Add a row to a table of `state`; return its id. What a person wrote is checked by `pack_start.read_rows`."""
        pack, own = self._tables[table]
        return self._worlds[pack].put(own, row)

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """All tables as JSON could hold them; a row has its `id`."""
        states = {pack: world.state() for pack, world in self._worlds.items()}
        return {shown: states[pack][own] for shown, (pack, own) in self._tables.items()}


def _owners(packs: Sequence[Pack]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for pack in packs:
        for tool in pack.tools:
            if (owner := owners.setdefault(tool.name, pack.pack)) != pack.pack:
                both = f"packs/{owner}.yaml and packs/{pack.pack}.yaml both have a tool {tool.name!r}"
                raise Fault(f"{both}; leave one of the two packs out, or rename the tool in it")
    return owners


def tables_of(packs: Sequence[Pack]) -> dict[str, tuple[str, str]]:
    """Pack and own name of each table, by the name that is shown."""
    names = [table for pack in packs for table in pack.tables]
    return {
        table if names.count(table) == 1 else f"{pack.pack}.{table}": (pack.pack, table)
        for pack in packs
        for table in pack.tables
    }


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is there only before (`after` is None), only after (`before` is None), or in both, and differs."""

    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def changes(before: State, after: State) -> list[Change]:
    """What happened between two states, by table and id."""
    found = list[Change]()
    for table, rows in after.items():
        old, new = ({row["id"]: row for row in part} for part in (before.get(table, ()), rows))
        ids = dict.fromkeys([*old, *new])
        found += [Change(table, old.get(one), new.get(one)) for one in ids if old.get(one) != new.get(one)]
    return found
