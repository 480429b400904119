"""When two values of a call are one: JSON values by value, moments by their canonical spelling, text as people compare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwright.moments import canonical, is_moment, read
from callwright.records import Call, Tool
from callwright.speech import plain


def same_json(a: Any, b: Any) -> bool:
    """`1`, `true` and `"1"` are three values; 60 is 60.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_json(value, b[key]) for key, value in a.items())
    return type(a) is type(b) and bool(a == b)


def same_value(a: Any, b: Any, name: str, schema: Mapping[str, Any]) -> bool:
    """Two values of parameter `name`, whose schema is given."""
    if isinstance(a, str) and isinstance(b, str):
        if "enum" in schema:
            return a == b
        if is_moment(name, schema):
            first, second = read(a), read(b)
            return a == b if first is None or second is None else canonical(first) == canonical(second)
        return plain(a) == plain(b)
    if isinstance(a, list) and isinstance(b, list):
        items = schema.get("items", {})
        return len(a) == len(b) and all(same_value(x, y, "", items) for x, y in zip(a, b, strict=True))
    return same_json(a, b)


def same_call(a: Call, b: Call, tool: Tool | None) -> bool:
    """Same tool, same parameters, each of the same value."""
    if a.tool != b.tool or a.params.keys() != b.params.keys():
        return False
    known = tool.properties if tool else {}
    return all(same_value(value, b.params[name], name, known.get(name, {})) for name, value in a.params.items())
