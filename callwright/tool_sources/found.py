"""What a source held: the tools that can be used, what was left out and why, what a person should know.

collect([Tool("get-weather", …), LeftOut("old", "is deprecated")], Choice(include=("get*",)))
  -> Found(tools=(Tool("get_weather", …),), notes=(Note("get_weather", "is called 'get-weather' …"),), …)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from callwright.faults import Fault
from callwright.records import Tool
from callwright.schemas import tool_fault

LONG = 300
"""Characters of a description; every row that offers the tool pays for them."""
SAYABLE = re.compile(r"\w+")
"""A parameter's name as a phrasing can hold it, in braces."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tool that the source has and the pack cannot have. `why` goes on from its name."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know of a tool, or of the source where `name` is empty."""

    name: str
    what: str


Item = Tool | LeftOut | Note


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the source's tools a person wants: names by shell patterns, and at most so many."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    limit: int | None = None

    def takes(self, name: str) -> bool:
        wanted = not self.include or any(fnmatchcase(name, pattern) for pattern in self.include)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self.exclude)


@dataclass(frozen=True, slots=True)
class Found:
    tools: tuple[Tool, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[Note, ...] = ()
    not_chosen: int = 0
    """How many more the source has that `Choice` did not take."""


def collect(items: Iterable[Item], choice: Choice) -> Found:
    """The tools that were chosen and can be used: named as a pack names them, each once, its schema in order."""
    tools: dict[str, Tool] = {}
    left_out: list[LeftOut] = []
    notes: list[Note] = []
    not_chosen = 0
    for item in items:
        if item.name and not choice.takes(item.name):
            not_chosen += not isinstance(item, Note)
        elif isinstance(item, LeftOut):
            left_out.append(item)
        elif isinstance(item, Note):
            notes.append(item)
        elif choice.limit is not None and len(tools) >= choice.limit:
            not_chosen += 1
        else:
            tool = replace(item, name=valid_name(item.name), description=" ".join(item.description.split()))
            if why := _unusable(tool, tools):
                left_out.append(LeftOut(item.name, why))
                continue
            tools[tool.name] = tool
            notes += _remarks(tool, item.name)
    return Found(tuple(tools.values()), tuple(left_out), tuple(notes), not_chosen)


def valid_name(name: str) -> str:
    """A name as packs have them: letters, digits and _; empty where nothing is left of it."""
    found = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") if re.search(r"[^A-Za-z0-9_]", name) else name
    return f"_{found}" if found[:1].isdigit() else found


def _unusable(tool: Tool, known: Iterable[str]) -> str | None:
    """Why the tool cannot stand in a pack, as a sentence that goes on from its name."""
    if not tool.name:
        return "has a name without a letter of A to Z; give it one"
    if tool.name in known:
        return f"comes after another tool named {tool.name!r}; rename one of them"
    try:
        if fault := tool_fault(tool):
            return f"has no usable schema: {fault}"
    except RecursionError:
        return "has a schema that nests too deep; make it flatter"
    except ValueError as error:  # NaN, or half of a surrogate pair
        return f"has a schema that no JSON can hold: {error}"
    for param in tool.required:
        if not SAYABLE.fullmatch(param):
            return f"requires {param!r}, a name that no phrasing can hold; letters, digits and _ can be held"
    return None


def _remarks(tool: Tool, original: str) -> Iterable[Note]:
    if tool.name != original:
        yield Note(tool.name, f"is called {original!r} at its source, and packs have letters, digits and _ only")
    if len(tool.description) > LONG:
        length = f"a description of {len(tool.description)} characters"
        yield Note(tool.name, f"has {length}, and every row pays for it; shorten it in the pack")
    for param in tool.properties:
        if not SAYABLE.fullmatch(param):
            yield Note(tool.name, f"has the optional parameter {param!r}, a name that no phrasing can hold")


def an_object(value: Any, place: str) -> dict[str, Any]:
    """The value, if it is an object; else a `Fault` that says what is there."""
    if not isinstance(value, dict):
        raise Fault(f"{place}: {short(value)} stands there; an object is expected")
    return value


def short(value: Any) -> str:
    """A value as a sentence shows it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
