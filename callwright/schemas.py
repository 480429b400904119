"""A tool's `parameters` against JSON Schema, and a call against its tool.

    tool_fault(tool)                                     ->  None, or "parameters has type 'array'; expected object"
    schema_fault(Call("book_room", {"seats": 3}), tool)  ->  None, or ("unknown_param", "book_room has no parameter …")

Numbers are judged by value, as JSON Schema 2020-12 has it: 14.0 is an integer, 14.5 and true are not. `format` is not
judged: in a moment the grammar of `moments` stands in for it. References are looked up inside the schema and never
on the network. Making a validator and checking a schema cost more than a hundred calls do, so both are kept by the
schema's text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from callwright.records import Call, Tool

if TYPE_CHECKING:  # loading jsonschema takes longer than the rest of callwright; it is loaded when a schema is judged
    from jsonschema import Draft202012Validator

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
    return _schema_fault(json.dumps(tool.parameters))


def schema_fault(call: Call, tool: Tool | None) -> tuple[str, str] | None:
    """The first way in which a call breaks its tool's schema: a code of design §4 and a sentence, or None."""
    from referencing.exceptions import Unresolvable

    if tool is None:
        return "unknown_tool", f"there is no tool {call.tool!r}"
    for name in call.params:
        if name not in tool.properties and tool.parameters.get("additionalProperties") is not True:
            known = ", ".join(tool.properties) or "none"
            return "unknown_param", f"{call.tool} has no parameter {name!r}; it has {known}"
    for name in tool.required:
        if name not in call.params:
            return "missing_param", f"{call.tool} requires {name!r}"
    try:
        fault = next(_validator(json.dumps(tool.parameters)).iter_errors(dict(call.params)), None)
    except (Unresolvable, RecursionError) as error:
        return "bad_tool_schema", f"{call.tool}: parameters refers to what is not in it, or to itself ({error})"
    if fault is None:
        return None
    place = ".".join((call.tool, *map(str, fault.absolute_path)))
    return _CODES.get(str(fault.validator), "bad_value"), f"{place}: {fault.message}"


def of_parameter(tool: Tool, name: str) -> Mapping[str, Any]:
    """The schema of one parameter; empty where the tool says nothing of it (JSON Schema's `true` says nothing)."""
    schema = tool.properties.get(name)
    return schema if isinstance(schema, Mapping) else {}


@lru_cache(maxsize=4096)
def _schema_fault(text: str) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError

    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)  # also that Python can compile its patterns
    except SchemaError as error:
        return f"parameters is not a JSON Schema: {error.message}"
    if schema.get("type") != "object":
        return f"parameters has type {schema.get('type')!r}; expected object"
    return None


@lru_cache(maxsize=4096)
def _validator(text: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(json.loads(text), registry=Registry())
