"""A pack skeleton: tools and slots as their schemas tell them, everything that people say left empty.

    made = make_pack("weather", (Tool("get_weather", …),))
    made.pack         ->  {"pack": "weather", "tools": [{"name": "get_weather", "phrasings": {"zh-TW": …}, …}], …}
    made.left_out     ->  tools that no pack can have, and why

What is made can be read: `callwright pack check` lists what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from callwright.faults import Fault, found
from callwright.moments import is_moment
from callwright.pack_checks import check
from callwright.pack_shape import Pack
from callwright.records import Language, Tool
from callwright.tool_sources.found import LeftOut
from callwright.tool_sources.slots import HAN, MadeSlot, slot_of

_SYSTEM = {"zh-TW": ["你是一位專業助理。"], "en": ["You are a professional assistant."]}


@dataclass(frozen=True, slots=True)
class MadePack:
    pack: dict[str, Any]
    remarks: dict[str, str]
    """What belongs into a slot that is empty, by its name."""
    left_out: tuple[LeftOut, ...] = ()


def make_pack(name: str, tools: Sequence[Tool]) -> MadePack:
    """A skeleton of all tools that a pack can have. `Fault` where none is left."""
    left = list(tools)
    left_out: list[LeftOut] = []
    while left:
        made = _made(name, left)
        refused = _refused(made.pack)
        if not refused:
            return replace(made, left_out=tuple(left_out))
        left_out += [_left_out(left[i], why) for i, why in sorted(refused.items())]
        left = [tool for i, tool in enumerate(left) if i not in refused]
    raise Fault([f"{tool.name} {tool.why}" for tool in left_out] + ["no tool is left to make a pack of"])


def _left_out(tool: Tool, why: str) -> LeftOut:
    return LeftOut(tool.name, f"cannot stand in a pack: it {why.removeprefix(f'tool {tool.name!r} ')}")


def _refused(pack: dict[str, Any]) -> dict[int, str]:
    """Tools that a pack cannot have, by their number, each with the first reason."""
    faults: list[tuple[tuple[Any, ...], str]] = []
    try:
        faults += check(Pack.model_validate(pack))
    except ValidationError as error:
        faults += [(fault["loc"], f"{'.'.join(map(str, fault['loc']))} {found(fault)}") for fault in error.errors()]
    refused: dict[int, str] = {}
    for place, why in faults:
        if len(place) < 2 or place[0] != "tools":
            raise Fault(f"a pack of these tools cannot be read: {why}")
        refused.setdefault(place[1], why)
    return refused


def _made(name: str, tools: Sequence[Tool]) -> MadePack:
    slots = _Slots()
    listed = [_tool(tool, slots) for tool in tools]
    empty: dict[str, Any] = {str(language): {"train": [], "test": []} for language in Language}
    pack = {
        "pack": name,
        "system": _SYSTEM,
        "tables": {},
        "slots": slots.slots,
        "tools": listed,
        "chains": [],
        "errors": [],
        **{key: dict(empty) for key in ("joiners", "answers", "declines", "unsupported", "chat")},
    }
    return MadePack(pack, slots.remarks)


def _tool(tool: Tool, slots: _Slots) -> dict[str, Any]:
    taken = {param: slots.name(tool.name, param, slot_of(param, schema)) for param, schema in tool.properties.items()}
    moments = [
        param
        for param, schema in tool.properties.items()
        if "moment" in slots.slots[taken[param]] and not is_moment(param, schema)
    ]
    other = {param: slot for param, slot in taken.items() if slot != param}
    empty: dict[str, list[str]] = {"train": [], "test": []}
    asks = {**empty, "questions": [], "words": []}
    return {
        "name": tool.name,
        "description": _description(tool.description),
        "parameters": dict(tool.parameters),
        **({"slots": other} if other else {}),
        **({"moments": moments} if moments else {}),
        **{key: {str(language): dict(empty) for language in Language} for key in ("phrasings", "clauses")},
        "missing": {param: {str(language): dict(asks) for language in Language} for param in tool.required},
    }


def _description(text: str) -> dict[str, str]:
    """In the language it is written in; the other is left empty."""
    written = Language.ZH_TW if HAN.search(text) else Language.EN
    return {str(language): text if language is written else "" for language in Language}


@dataclass(slots=True)
class _Slots:
    """The slots of a pack: parameters of one name share one, as long as their schemas give the same."""

    slots: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    _made: dict[str, MadeSlot] = field(default_factory=dict)

    def name(self, tool: str, param: str, made: MadeSlot) -> str:
        names = [param, f"{tool}_{param}", *(f"{tool}_{param}_{number}" for number in range(2, 100))]
        for name in names:
            if self._made.setdefault(name, made) != made:
                continue
            if name not in self.slots:
                slot = dict(made.slot)
                self.slots[name] = slot
                if made.items is not None:
                    slot["list"] = self.name(tool, f"{name}_item", made.items)
                if made.remark:
                    self.remarks[name] = made.remark
            return name
        raise Fault(f"tool {tool!r} has too many parameters like {param!r}; rename some")
