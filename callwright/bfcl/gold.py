"""BFCL's right answers as `Wanted` calls.

    {"f": {"city": ["NYC", "New York"], "body": [{"size": ["L"], "milk": ["oat", ""]}], "days": [7, ""]}}
      -> Wanted("f", {"city": ("NYC", "New York"), "body": ({"size": "L", "milk": "oat"}, {"size": "L"}), "days": (7,)},
                optional={"days"})

Every parameter has the list of its right values; "" among them says that it may be left out (and is itself right where
the parameter is text). In an object, or the objects of a list, each key has such a list; deeper values stand for
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from callwright.matching import Wanted
from callwright.records import Tool
from callwright.schemas import value_fault

_MOST = 5_000
"""Right values of one parameter: so many at most, when the alternatives of its parts are multiplied out."""


class BadGold(ValueError):
    """An answer that is not in BFCL's shape."""


def wanted_of(answer: Any, tools: Mapping[str, Tool]) -> Wanted:
    """One right call; `BadGold` where it is not in BFCL's shape or calls what the entry does not offer."""
    if not isinstance(answer, Mapping) or len(answer) != 1:
        raise BadGold("a right call is an object with one key, the function's name")
    ((name, given),) = answer.items()
    tool = tools.get(name)
    if tool is None:
        raise BadGold(f"{name!r} is called, which is none of the entry's functions")
    if not isinstance(given, Mapping) or not all(isinstance(values, list) for values in given.values()):
        raise BadGold(f"{name}: each parameter needs the list of its right values")
    params, optional = {}, set()
    for key, values in given.items():
        schema = tool.properties.get(key, {})
        params[key] = tuple(_values(values, schema, f"{name}.{key}"))
        if any(map(_is_left_out, values)):
            optional.add(key)
            params[key] += _default(schema)  # to give it is as good
    return Wanted(name, params, frozenset(optional))


def _is_left_out(value: Any) -> bool:
    return isinstance(value, str) and value == ""


def _may_be_empty(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and "" in schema.get("enum", ("",))


def _values(values: Sequence[Any], schema: Mapping[str, Any], place: str) -> Iterator[Any]:
    """Each right value once; "" only where a text may be empty."""
    for value in values:
        if _is_left_out(value):
            if _may_be_empty(schema):
                yield value
        elif isinstance(value, Mapping):
            yield from _some(_objects(value, schema, place), place)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            items = schema.get("items", {})
            choices = [list(_some(_objects(item, items, place), place)) for item in value]
            yield from _some(map(list, product(*choices)), place)
        else:
            yield value


def _objects(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """All objects that choose one value, or none where that is allowed, for each key."""
    parts = schema.get("properties", {})
    choices: list[list[tuple[str, ...] | tuple[str, Any]]] = []
    for key, values in value.items():
        if not isinstance(values, list):
            raise BadGold(f"{place}.{key} needs the list of its right values")
        empty = _may_be_empty(parts.get(key, {}))
        some: list[tuple[str, ...] | tuple[str, Any]] = [(key, one) for one in values if empty or not _is_left_out(one)]
        choices.append([*some, *([()] if any(map(_is_left_out, values)) else [])])
    for chosen in product(*choices):
        yield dict(pair for pair in chosen if pair)  # type: ignore[misc]


def _some(values: Iterator[Any], place: str) -> Iterator[Any]:
    found = list(islice(values, _MOST + 1))
    if len(found) > _MOST:
        raise BadGold(f"{place} has more than {_MOST:,} right values")
    yield from found


def _default(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """The default, if it is one: null, or what the schema takes. Some of BFCL's are not ("False" for a boolean)."""
    if "default" not in schema or (schema["default"] is not None and value_fault(schema["default"], schema)):
        return ()
    return (schema["default"],)


def takes_gold(tool: Tool, wanted: Sequence[Wanted]) -> Tool:
    """The tool, each parameter taking also what BFCL's own answers give it against its schema, and a null default."""
    properties = {}
    for name, given in tool.properties.items():
        usual = _default(given)
        schema = given if usual else {key: value for key, value in given.items() if key != "default"}
        values = [value for each in wanted if each.tool == tool.name for value in each.params.get(name, ())]
        odd = [value for value in (*values, *usual) if value_fault(value, schema) is not None]
        if odd:
            exact = "enum" in schema or "enum" in schema.get("items", {})
            more = {"enum": odd} if exact else {"type": sorted({_type(value) for value in odd})}
            schema = {"anyOf": [schema, more], **({"default": usual[0]} if usual else {})}
        properties[name] = schema
    return Tool(tool.name, tool.description, {**tool.parameters, "properties": properties})


def _type(value: Any) -> str:
    """JSON Schema's name for it."""
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
