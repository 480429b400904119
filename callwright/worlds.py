"""The world in which a row's conversation begins, made again from the row, and what its right calls leave there.

    rebuilt = rebuild(example, pack, now)
    rebuilt.done                     ->  (Done(Call("query_database", …), {"amount": "300 萬"}, changes=False, turn=0),)
    rebuilt.state, rebuilt.as_recorded
    with rebuilt.opening.world() as world: …

A row does not hold its world. It is drawn again by chance that hangs on the row's id and its pack, from what the pack's
tools are `given`; then what the row's own results tell is put in its place, so that the calls give the same again.
`NoWorld` where no such world can be made.

Beside what the right calls find stand decoys: rows that differ in a condition that a call may leave out, so that one
that leaves it out finds them, changes them or deletes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

from callwright.backend import LISTED, Refused, World
from callwright.filling import drawn, given_rows
from callwright.pack_shape import Contains, Given, Pack, PackTool
from callwright.records import Call, Example, Split
from callwright.steps import NoWorld, Step, other_steps, steps_of
from callwright.values import same_json

State = Mapping[str, list[dict[str, Any]]]
"""The rows of each table."""


@dataclass(frozen=True, slots=True)
class Laid:
    """A row that a table has from the start."""

    id: int
    table: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opening:
    """A world before anything has happened in it. `first_id` is that of the first row that a call adds."""

    pack: Pack
    now: datetime
    laid: tuple[Laid, ...] = ()
    first_id: int = 1

    def world(self) -> World:
        """It, to be used in a `with` block."""
        world = World(self.pack, self.now, self.first_id)
        try:
            for one in self.laid:
                world.put(one.table, one.row, one.id)
        except BaseException:
            world.__exit__()
            raise
        return world


@dataclass(frozen=True, slots=True)
class Done:
    """What a right call gives in the world that was made again. `changes`: whether it leaves a mark in the tables."""

    call: Call
    result: Mapping[str, Any]
    changes: bool
    turn: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    opening: Opening
    steps: tuple[Step, ...]
    done: tuple[Done, ...]
    """The calls that are not recorded as failing, in their order."""
    state: State
    """What they leave."""
    as_recorded: bool
    """Whether their results are those that the row holds."""
    also: tuple[Rebuilt, ...] = ()
    """The same world with other calls that the row calls right."""


# A row's world


def rebuild(example: Example, pack: Pack, now: datetime) -> Rebuilt:
    """The row's world, with what its calls do there at this clock. `NoWorld` where they do not run."""
    try:
        steps, others = steps_of(example, pack), other_steps(example, pack)
        opening = _drawn(example, pack, [*steps, *(step for other in others for step in other)], now)
        for _ in range(_PASSES):
            patched = _told(opening, steps)
            if patched == opening:
                break
            opening = patched
        rebuilt = _run(opening, steps)
        crowded = _run(_with_decoys(example, opening, steps), steps)
        if crowded.done == rebuilt.done:
            rebuilt = crowded
        return replace(rebuilt, also=tuple(_run(rebuilt.opening, other) for other in others))
    except (Refused, sqlite3.Error, OverflowError, UnicodeEncodeError) as refusal:
        raise NoWorld(f"its own calls do not run: {refusal}") from refusal
    except RecursionError:
        raise NoWorld("it nests too deep to be run") from None


_PASSES = 4
"""A row that is put right may be one that another call reads too."""


def _drawn(example: Example, pack: Pack, steps: Sequence[Step], now: datetime) -> Opening:
    """The world as chance makes it. A call that stands there again, as after a failure, is given nothing again."""
    rng = Random(f"{pack.pack} {example.id}")
    draw = _drawing(example, pack, rng)
    rows, seen = list[tuple[str, dict[str, Any]]](), set[str]()
    for step in steps:
        tool, key = pack.tool(step.call.tool), json.dumps(step.call.to_json(), sort_keys=True)
        if key in seen or step.recorded == {"error": "not_found"}:
            continue
        seen.add(key)
        worked = next((s.recorded for s in steps if s.call == step.call and not s.fails), None)
        rows += given_rows(pack, tool, step.call.params, draw, partial(_count, tool, worked, rng), now)
    first = next(_added(pack, steps), None) or rng.randint(100, 9999)
    laid = tuple(Laid(first - len(rows) + i, table, row) for i, (table, row) in enumerate(rows))
    return Opening(pack, now, laid, first)


def _drawing(example: Example, pack: Pack, rng: Random) -> Callable[[str], Any]:
    """Draws a value of a slot, of the half of the pack that the row is of."""
    return lambda slot: drawn(pack, slot, example.language, example.split is Split.TEST, 0.0, rng)[1]


def _with_decoys(example: Example, opening: Opening, steps: Sequence[Step]) -> Opening:
    """Before the rows that a call finds those that it would find too, did it leave out a condition that it may."""
    pack = opening.pack
    draw = _drawing(example, pack, Random(f"{pack.pack} {example.id} decoys"))
    rows = list[tuple[str, dict[str, Any]]]()
    for call in (step.call for step in steps if not step.fails):
        tool = pack.tool(call.tool)
        for param in (name for name in _tests(tool).values() if name in call.params and name not in tool.required):
            others = (draw(tool.slot_of(param)) for _ in range(_TRIES))
            other = next((value for value in others if value != call.params[param]), None)
            if other is not None:
                rows += given_rows(pack, tool, {**call.params, param: other}, draw, lambda _: 1, opening.now)
    begin = min((one.id for one in opening.laid), default=opening.first_id) - len(rows)
    decoys = tuple(Laid(begin + i, table, row) for i, (table, row) in enumerate(rows))
    return replace(opening, laid=(*decoys, *opening.laid))


_TRIES = 5


def _tests(tool: PackTool) -> dict[str, str]:
    """The parameter that each column is compared with."""
    where = tool.action.where if tool.action else {}
    return {column: test.contains if isinstance(test, Contains) else test for column, test in where.items()}


def _added(pack: Pack, steps: Sequence[Step]) -> Iterator[int]:
    """The ids of rows that calls have added, as recorded."""
    for step in steps:
        action, told = pack.tool(step.call.tool).action, (step.recorded or {}).get("id")
        if action and action.insert and isinstance(told, int) and abs(told) < _LARGEST:
            yield told


_LARGEST = 2**53


def _count(tool: PackTool, recorded: Mapping[str, Any] | None, rng: Random, given: Given) -> int:
    """How many rows: what the recorded result counts, where one `given` decides it; else as chance has it."""
    if given.rows is None:
        return 1
    by_chance = rng.randint(given.rows.min, given.rows.max)
    told = next((recorded[name] for name in ("count", "deleted") if name in recorded), None) if recorded else None
    many = [other for other in tool.given if other.rows]
    if not isinstance(told, int) or len(many) > 1:
        return by_chance
    return min(max(told - (len(tool.given) - 1), given.rows.min), given.rows.max)


def _told(opening: Opening, steps: Sequence[Step]) -> Opening:
    """The opening with what recorded results tell in the cells that they were read from."""
    laid = {one.id: one for one in opening.laid}
    with opening.world() as world:
        for step in steps:
            if step.fails:
                continue
            found = world.fitting(step.call)
            result = json.loads(world.run(step.call))
            if step.recorded is not None and not same_json(result, step.recorded):
                _put_right(laid, opening.pack, step, found)
    return replace(opening, laid=tuple(laid.values()))


def _put_right(laid: dict[int, Laid], pack: Pack, step: Step, found: list[int]) -> None:
    """Cells that the call itself names, or sets, stay."""
    action, recorded = pack.tool(step.call.tool).action, step.recorded or {}
    if action is None:
        return
    tests = _tests(pack.tool(step.call.tool))
    named = {column for column, param in {**tests, **action.set}.items() if param in step.call.params}
    told: list[Any] = recorded["items"] if isinstance(recorded.get("items"), list) else [recorded]
    for row_id, item in zip(found[: LISTED if action.list else 1], told, strict=False):
        if row_id not in laid:
            continue  # a row that one of the calls before has added
        cells = item if isinstance(item, dict) else dict.fromkeys(action.columns[:1], item)
        more = {c: cells[c] for c in action.columns if c in cells and c not in named}
        own_id = more.pop("id", row_id)
        free = isinstance(own_id, int) and abs(own_id) < _LARGEST and all(own_id != one.id for one in laid.values())
        one = laid[row_id]
        laid[row_id] = Laid(own_id if free else one.id, one.table, {**one.row, **more})


def _run(opening: Opening, steps: Sequence[Step]) -> Rebuilt:
    done, same = list[Done](), True
    with opening.world() as world:
        before = world.state()
        for step in steps:
            if step.fails:
                continue
            result = json.loads(world.run(step.call))
            after = world.state()
            done.append(Done(step.call, result, after != before, step.turn))
            same = same and (step.recorded is None or same_json(result, step.recorded))
            before = after
    return Rebuilt(opening, tuple(steps), tuple(done), before, same)
