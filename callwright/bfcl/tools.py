"""A function of BFCL as a tool: its types are Python's, a tool's are JSON Schema's.

    tool_of({"name": "math.hypot", "description": "…", "parameters": {"type": "dict", "properties":
             {"x": {"type": "float"}}, "required": ["x"]}})
      -> Tool("math.hypot", "…", {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]})

Names keep their dots: a call here is JSON, where any name stands. The official handlers write `math_hypot` for servers
that take no dots (`underscore_to_dot`); so does `dotless`, and `dotted` finds the way back among the entry's own names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from callwright.records import Call, Tool

_TYPES = {
    "dict": "object",
    "object": "object",
    "float": "number",
    "number": "number",
    "integer": "integer",
    "string": "string",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
}
"""`any` takes everything: it becomes no type at all."""

_KEPT = ("description", "enum", "default", "format", "minimum", "maximum", "minItems", "maxItems")


class UnknownType(ValueError):
    """A function that is no tool; the sentence says where."""


def tool_of(function: Any) -> Tool:
    """`UnknownType` where the function is no function of BFCL."""
    if not isinstance(function, Mapping):
        raise UnknownType("a function is no object")
    name, told, parameters = (function.get(key) for key in ("name", "description", "parameters"))
    if not isinstance(name, str) or not name or not isinstance(told, str):
        raise UnknownType("a function has no name or no description")
    if not isinstance(parameters, Mapping):
        raise UnknownType(f"{name}: parameters is no object")
    schema = _schema(parameters, name)
    if schema.get("type") != "object":
        raise UnknownType(f"{name}: parameters has type {parameters.get('type')!r}; expected dict")
    return Tool(name, told, {"type": "object", "properties": {}, **schema})


def _schema(given: Any, place: str, deep: int = 0) -> dict[str, Any]:
    if not isinstance(given, Mapping) or deep > _DEEPEST:
        raise UnknownType(f"{place}: its schema is no object" if deep <= _DEEPEST else f"{place}: nested too deep")
    made: dict[str, Any] = {}
    kind = given.get("type", "any")
    if kind != "any":
        if not isinstance(kind, str) or kind not in _TYPES:
            known = ", ".join((*_TYPES, "any"))
            raise UnknownType(f"{place} has type {kind!r}, which is none of BFCL's Python types ({known})")
        made["type"] = _TYPES[kind]
    made |= {key: given[key] for key in _KEPT if key in given}
    if "properties" in given:
        parts = given["properties"]
        if not isinstance(parts, Mapping):
            raise UnknownType(f"{place}.properties is no object")
        made["properties"] = {str(key): _schema(part, f"{place}.{key}", deep + 1) for key, part in parts.items()}
        required = given.get("required") or ()
        if not isinstance(required, Sequence) or isinstance(required, str):
            raise UnknownType(f"{place}.required is no list")
        made["required"] = [key for key in required if key in made["properties"]]
    if "items" in given:
        made["items"] = _schema(given["items"], f"{place}[]", deep + 1)
    if made.get("type") == "array" and not all(isinstance(one, list) for one in made.get("enum", ())):
        made.setdefault("items", {})["enum"] = made.pop("enum")  # BFCL writes the enum of a list's items beside them
    return made


_DEEPEST = 50


def dotless(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Names that an OpenAI-compatible server takes: letters, digits, `_` and `-`."""
    return tuple(replace(tool, name=_dotless(tool.name)) for tool in tools)


def dotted(call: Call, tools: Sequence[Tool]) -> Call:
    """The call under the entry's own name; as it is where no tool of the entry, or several, would be written so."""
    own = [tool.name for tool in tools if _dotless(tool.name) == call.tool]
    return replace(call, tool=own[0]) if len(own) == 1 else call


def _dotless(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
