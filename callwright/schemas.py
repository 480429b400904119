"""A tool's `parameters` against JSON Schema, and a call against its tool.

    tool_fault(tool)                                     ->  None, or "parameters has type 'array'; expected object"
    schema_fault(Call("book_room", {"seats": 3}), tool)  ->  None, or ("unknown_param", "book_room has no parameter …")

Numbers are judged by value, as JSON Schema 2020-12 has it: 14.0 is an integer, 14.5 and true are not. `format` is not
judged: in a moment the grammar of `moments` stands in for it. References are looked up inside the schema and never
on the network. Making a validator and checking a schema cost more than a hundred calls do, so both are kept by the
schema's text; and writing that text costs more than a call, so what it led to is kept by the object too. A tool that
was judged is not changed in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from callwright.answers import depth
from callwright.records import Call, Tool

if TYPE_CHECKING:  # loaded when a schema is judged
    import jsonschema_rs

_CODES = {
    "additionalProperties": "unknown_param",
    "const": "not_in_enum",
    "enum": "not_in_enum",
    "required": "missing_param",
    "type": "wrong_type",
}
"""Keywords whose breach has a code of its own in design §4; any other is a `bad_value`."""


def tool_fault(tool: Tool) -> str | None:
    """Why `parameters` is not a JSON Schema object; None where it is."""
    return _schema_fault(_key(tool))


def schema_fault(call: Call, tool: Tool | None) -> tuple[str, str] | None:
    """The first way in which a call breaks its tool's schema: a code of design §4 and a sentence, or None."""
    if tool is None:
        return "unknown_tool", f"there is no tool {call.tool!r}"
    kept = _KEPT.get(id(tool.parameters)) or _keep(tool)
    try:
        if kept[1](call.params):  # most calls are right, and one look says so
            return None
    except ValueError:  # told below
        pass
    return _first_fault(call, tool)


def _first_fault(call: Call, tool: Tool) -> tuple[str, str] | None:
    """Keyword by keyword, in the order of design §4."""
    more = tool.parameters.get("additionalProperties")  # left out: names are exact all the same
    for name in call.params:
        if name not in tool.properties and more is not True and not isinstance(more, Mapping):
            known = ", ".join(tool.properties) or "none"
            return "unknown_param", f"{call.tool} has no parameter {name!r}; it has {known}"
    for name in tool.required:
        if name not in call.params:
            return "missing_param", f"{call.tool} requires {name!r}"
    if schema_broken := tool_fault(tool):
        return "bad_tool_schema", f"{call.tool}: {schema_broken}"
    try:
        fault = next(_validator(_key(tool)).iter_errors(dict(call.params)), None)
    except ValueError as error:  # half of a surrogate pair, or nested too deep
        return "bad_value", f"{call.tool}: its parameters cannot be judged ({error})"
    if fault is None:
        return None
    place = ".".join((call.tool, *map(str, fault.instance_path)))
    keyword = next((str(part) for part in reversed(fault.schema_path) if not isinstance(part, int)), "")
    return _CODES.get(keyword, "bad_value"), f"{place}: {fault.message}"


_KEPT: dict[int, tuple[Mapping[str, Any], Callable[[Any], bool]]] = {}
"""By the identity of `parameters`, which stays while it is held here: whether a call is right beyond doubt."""
_MOST_KEPT = 4096


def _keep(tool: Tool) -> tuple[Mapping[str, Any], Callable[[Any], bool]]:
    if len(_KEPT) >= _MOST_KEPT:
        _KEPT.clear()
    kept = _KEPT[id(tool.parameters)] = tool.parameters, _surely_right(_key(tool))
    return kept


@lru_cache(maxsize=4096)
def _surely_right(text: str) -> Callable[[Any], bool]:
    """True for calls that break nothing; the others, and all where that cannot be said at once, are looked at again."""
    schema = {} if _schema_fault(text) else json.loads(text)
    more = schema.get("additionalProperties", False)
    if not schema or not isinstance(more, bool) or (not more and "patternProperties" in schema):
        return lambda params: False
    return _validator(json.dumps(schema | {"additionalProperties": more})).is_valid


def _key(tool: Tool) -> str:
    """The schema as text. Rows of one file hold the same few, each time read anew."""
    import orjson

    try:
        return orjson.dumps(tool.parameters).decode()
    except TypeError:  # a number beyond 64 bits
        return json.dumps(tool.parameters)


def value_fault(value: Any, schema: Any, root: Mapping[str, Any] | None = None) -> str | None:
    """Why a schema, a part of `root`, does not take a value; None where it does, or refers to what is not there."""
    known = dict(resolved(schema, root or {})) if isinstance(schema, Mapping) else schema
    if isinstance(known, dict) and root and "$defs" in root:
        known["$defs"] = root["$defs"]
    try:
        fault = next(_validator(json.dumps(known)).iter_errors(value), None)
    except ValueError:
        return None
    return str(fault.message) if fault else None


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a schema that is a reference inside `root` stands for; any other itself."""
    for _ in range(_MOST_REFERENCES):
        target = _target(root, schema.get("$ref"))
        if not isinstance(target, Mapping):
            return schema
        schema = target
    return schema


_MOST_REFERENCES = 20


def of_parameter(tool: Tool, name: str) -> Mapping[str, Any]:
    """The schema of one parameter; empty where the tool says nothing of it (JSON Schema's `true` says nothing)."""
    schema = tool.properties.get(name)
    return plainly(schema, tool.parameters) if isinstance(schema, Mapping) else {}


def plainly(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a schema says of a value that is there: references inside `root` followed, `X or null` as X."""
    found = resolved(schema, root)
    for keyword in ("anyOf", "oneOf"):
        some = [part for part in found.get(keyword) or () if isinstance(part, Mapping) and part.get("type") != "null"]
        if len(some) == 1:
            return plainly(some[0], root) if some[0] is not schema else found
    return found


@lru_cache(maxsize=4096)
def _schema_fault(text: str) -> str | None:
    schema = json.loads(text)
    if depth(schema) > _DEEPEST:
        return f"parameters nests more than {_DEEPEST} deep"
    if fault := next(_meta_schema().iter_errors(schema), None):
        place = ".".join(map(str, fault.instance_path))
        return f"parameters is not a JSON Schema: {f'{place}: ' if place else ''}{fault.message}"
    if schema.get("type") != "object":
        return f"parameters has type {schema.get('type')!r}; expected object"
    try:
        if circle := _circle(schema):
            return f"parameters has the reference {circle!r}, which leads back to itself"
        _validator(text)
    except RecursionError:
        return "parameters has references that lead too far"
    except ValueError as error:
        why = next(iter(str(error).splitlines()), "")
        return f"parameters refers to what is not in it: {why}"
    return None


_DEEPEST = 100


@lru_cache(maxsize=1)
def _meta_schema() -> jsonschema_rs.Draft202012Validator:
    """JSON Schema 2020-12 as a schema, from the library's own copy, whatever `$schema` a schema names."""
    import jsonschema_rs

    meta = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    return jsonschema_rs.Draft202012Validator(meta, retriever=_never_fetched, validate_formats=True)


_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""Keywords whose schemas judge the same value as the schema that they stand in."""


def _circle(schema: Any) -> str | None:
    """A reference that is followed for ever: one that leads back to itself before any part of a value is looked at."""
    done: set[int] = set()

    def follow(node: Any, on_way: tuple[int, ...]) -> str | None:
        if not isinstance(node, Mapping) or id(node) in done:
            return None
        way = (*on_way, id(node))
        target = _target(schema, node.get("$ref"))
        if target is not None and id(target) in way:
            return str(node["$ref"])
        inner = [target] if target is not None else []
        for keyword in _IN_PLACE:
            part = node.get(keyword)
            inner += part if isinstance(part, list) else [part]
        found = next((circle for part in inner if (circle := follow(part, way))), None)
        done.add(id(node))
        return found

    def everywhere(node: Any) -> str | None:
        if isinstance(node, Mapping) and (found := follow(node, ())):
            return found
        parts = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
        return next((circle for part in parts if (circle := everywhere(part))), None)

    return everywhere(schema)


def _target(schema: Any, reference: Any) -> Any:
    """What a reference inside the schema points to; None where it points nowhere or out of it."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node = schema
    for part in reference[1:].split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            node = node[int(name)] if name.isdecimal() and len(name) < 7 and int(name) < len(node) else None
        else:
            node = node.get(name) if isinstance(node, Mapping) else None
    return node


@lru_cache(maxsize=4096)
def _validator(text: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(json.loads(text), retriever=_never_fetched, validate_formats=False)


def _never_fetched(address: str) -> Any:
    raise ValueError(f"{address} lies outside the schema, and nothing is fetched")
