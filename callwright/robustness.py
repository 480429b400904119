"""Exam rows that are changed where their truth does not: more tools, other names, wrong descriptions, typing errors.

    changed(row, Change.RENAMED, packs=packs)         ->  the row "office-test-000042~renamed", or None
    changed_rows(rows, Change.TYPOS, packs)           ->  those rows that can be changed so, changed
    sample(rows, 80)                                  ->  80 rows, of each language and category its share

What is right stays right: calls and results follow other names, a distractor serves no request, no typing error stands
in a value that a call must hold. A change depends on the row's id and on nothing else, so that every model is asked the
same. None where a change does not apply: too few tools to distract with, one description, nothing to mistype.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from callwright.mistyping import mistyped, pack_of, texts_of
from callwright.pack_shape import Pack, PackTool
from callwright.params import Change
from callwright.records import Calls, Category, Example, Message, Result, Tool
from callwright.variation import Shown, renamed

__all__ = ["Change", "changed", "changed_rows", "sample"]

_TRIES = 20


def changed(example: Example, change: Change, *, packs: Sequence[Pack], rng: Random | None = None) -> Example | None:
    """The row changed; None where the change does not apply. `packs`: whose tools distract, the row's own among them.

    `rng`: another source of chance than the row's id and the change.
    """
    rng = rng or Random(f"{example.id}:{change}")
    match change:
        case Change.DISTRACTORS_3:
            made = _distracted(example, 3, packs, rng)
        case Change.DISTRACTORS_10:
            made = _distracted(example, 10, packs, rng)
        case Change.RENAMED:
            made = _renamed(example, packs, rng)
        case Change.SCRAMBLED_DESCRIPTIONS:
            made = _scrambled(example, rng)
        case Change.TYPOS:
            made = mistyped(example, packs, rng)
    if made is None:
        return None
    return replace(made, id=f"{example.id}~{change}", source={**made.source, "changed": str(change)})


def changed_rows(examples: Iterable[Example], change: Change, packs: Sequence[Pack]) -> list[Example]:
    """Those rows that can be changed so, changed."""
    made = (changed(example, change, packs=packs) for example in examples)
    return [row for row in made if row is not None]


def sample(
    examples: Sequence[Example], count: int, seed: int = 0, seen: Mapping[str, bool] | None = None
) -> list[Example]:
    """`count` rows, of each language and category its share, in their order; all where there are no more.

    `seen`: of each row's id whether training offered all its tools; those rows are taken first.
    """
    known = [row for row in examples if seen is None or seen[row.id]]
    if len(known) < count:
        rest = [row for row in examples if seen is not None and not seen[row.id]]
        return _in_order(examples, known + sample(rest, count - len(known), seed) if rest else known)
    cells: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for row in sorted(known, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest()):
        cells[row.language, row.category].append(row)
    # each row's place in its cell, from 0 to 1: the first places of all cells are each cell's share
    placed = [((i + 0.5) / len(cell), name, row) for name, cell in sorted(cells.items()) for i, row in enumerate(cell)]
    return _in_order(examples, [row for _, _, row in sorted(placed, key=lambda one: one[:2])[:count]])


def _in_order(examples: Sequence[Example], chosen: Iterable[Example]) -> list[Example]:
    ids = {row.id for row in chosen}
    return [row for row in examples if row.id in ids]


# Distractors


def _distracted(example: Example, count: int, packs: Sequence[Pack], rng: Random) -> Example | None:
    """The tools that the row needs and `count` that it does not: first the row's, then its pack's, then others'."""
    asked, kind = _asked(example, packs)
    needed = {call.tool for call in example.calls}
    if example.category is Category.MISSING:
        needed |= asked
        if not needed:
            return None  # which tool is asked for, nothing says
    elif example.category is Category.NO_TOOL and not kind:
        return None
    own = pack_of(example, packs)
    names = {tool.name for tool in example.tools}
    taken = names | asked | {str(example.renamed(call).get("tool", call.tool)) for call in example.calls}
    others = [tool for tool in example.tools if tool.name not in needed]
    rng.shuffle(others)
    # a tool of another pack may serve what this one calls unsupported
    near = [own] if own else []
    for group in (near, [] if kind == "unsupported" else [pack for pack in packs if pack is not own]):
        more = [tool.offered(example.language) for pack in group for tool in pack.tools if tool.name not in taken]
        others += rng.sample(more, len(more))
    if len(others) < count:
        return None
    tools = [tool for tool in example.tools if tool.name in needed] + others[:count]
    rng.shuffle(tools)
    return replace(example, tools=tuple(tools), source=_source(example, tools))


def _source(example: Example, tools: Iterable[Tool]) -> dict[str, Any]:
    """The row's source, with other names only of the tools that are still offered."""
    source, offered = dict(example.source), {tool.name for tool in tools}
    if isinstance(names := source.get("renamed"), Mapping):
        source["renamed"] = {shown: own for shown, own in names.items() if shown in offered}
    return source


def _asked(example: Example, packs: Sequence[Pack]) -> tuple[set[str], str]:
    """The pack's tools that the requests are about, and where their texts come from: `unsupported`, `chat`, a tool."""
    own, kind = pack_of(example, packs), ""
    found: set[str] = set()
    for place in texts_of(example):
        kind = place.partition(".")[0]
        if own and kind in own.named:
            found.add(kind)
    return found, kind


# Names and descriptions


def _renamed(example: Example, packs: Sequence[Pack], rng: Random) -> Example | None:
    if example.source.get("renamed") or not example.tools:
        return None
    known = {tool.name: tool for pack in packs for tool in pack.tools}
    shown: dict[str, Shown] = {}
    for tool in example.tools:
        if set(tool.parameters) - _ONLY_NAMED_IN_PROPERTIES:
            return None  # its parameters may be named elsewhere too
        one = _other_names(tool, known.get(tool.name), {other.tool.name for other in shown.values()}, rng)
        if one is None:
            return None
        shown[tool.name] = one

    def follow(message: Message) -> Message:
        if isinstance(message, Result) and message.tool in shown:
            return replace(message, tool=shown[message.tool].tool.name)
        if isinstance(message, Calls):
            calls = [
                replace(call, tool=shown[call.tool].tool.name, params=shown[call.tool].names(call.params))
                for call in message.calls
            ]
            return Calls(tuple(calls))
        return message

    if any(call.tool not in shown for call in example.calls):
        return None
    names = {one.tool.name: {"tool": one.name, "params": dict(one.params)} for one in shown.values()}
    return replace(
        example,
        tools=tuple(one.tool for one in shown.values()),
        messages=tuple(map(follow, example.messages)),
        source={**example.source, "renamed": names},
    )


_ONLY_NAMED_IN_PROPERTIES = frozenset(
    ("type", "properties", "required", "additionalProperties", "minProperties", "maxProperties", "description", "title")
)


def _other_names(tool: Tool, of_pack: PackTool | None, taken: set[str], rng: Random) -> Shown | None:
    """The tool under names that no other tool has: its own and those of its parameters, of some at least."""
    # of a tool that no pack has, what makes a parameter a moment is its name and its schema
    known = of_pack or PackTool.model_construct(name=tool.name, parameters=dict(tool.parameters), moments=[])
    for _ in range(_TRIES):
        one = renamed(tool, known, rng)
        if one.tool.name not in taken | {tool.name} and (one.params or not tool.properties):
            return one
    return None


def _scrambled(example: Example, rng: Random) -> Example | None:
    """Each tool with another one's description; one alone has the words of its own in disorder."""
    texts = [tool.description for tool in example.tools]
    if len(texts) == 1:
        mixed = [_disordered(texts[0], rng)]
    else:
        turned = rng.randrange(1, len(texts)) if len(texts) > 1 else 0
        mixed = texts[turned:] + texts[:turned]
    if mixed == texts:
        return None
    tools = [replace(tool, description=text) for tool, text in zip(example.tools, mixed, strict=True)]
    return replace(example, tools=tuple(tools))


def _disordered(text: str, rng: Random) -> str:
    """English by words, Chinese by signs."""
    parts = text.split() if " " in text.strip() else list(text)
    for _ in range(_TRIES):
        mixed = rng.sample(parts, len(parts))
        if mixed != parts:
            return (" " if " " in text.strip() else "").join(mixed)
    return text
