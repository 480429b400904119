"""When two values of a call are one.

JSON values by value, moments by their canonical spelling, text as people compare it (NFKC, case, 臺 as 台).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callwright.moments import canonical, is_moment, read
from callwright.records import Call, Tool
from callwright.schemas import plainly
from callwright.speech import plain


def leaves(
    name: str, value: Any, schema: Any, place: str = "", root: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, str, Mapping[str, Any], Any]]:
    """The scalars in the value of parameter `name`: (place, name, schema, scalar); an item of a list has no name.

    References are those inside `root`, the tool's parameters.
    """
    known = plainly(schema, root or {}) if isinstance(schema, Mapping) else {}
    place = place or name
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves("", item, known.get("items"), f"{place}.{i}", root)
    elif isinstance(value, Mapping):
        parts = known.get("properties", {})
        for key, item in value.items():
            yield from leaves(key, item, parts.get(key), f"{place}.{key}", root)
    else:
        yield place, name, known, value


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


def same_value(a: Any, b: Any, name: str, schema: Any) -> bool:
    """Two values of parameter `name`, whose schema is given."""
    known = schema if isinstance(schema, Mapping) else {}
    if isinstance(a, str) and isinstance(b, str):
        if "enum" in known or "const" in known:
            return a == b
        if is_moment(name, known):
            first, second = read(a), read(b)
            return a == b if first is None or second is None else canonical(first) == canonical(second)
        return plain(a) == plain(b)
    if isinstance(a, list) and isinstance(b, list):
        items = known.get("items")
        return len(a) == len(b) and all(same_value(x, y, "", items) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        parts = known.get("properties", {})
        return a.keys() == b.keys() and all(same_value(a[key], b[key], key, parts.get(key)) for key in a)
    return same_json(a, b)


def same_call(a: Call, b: Call, tool: Tool | None) -> bool:
    """Same tool, same parameters, each of the same value."""
    if a.tool != b.tool:
        return False
    return same_value(a.params, b.params, "", tool.parameters if tool else None)
