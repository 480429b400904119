"""Lists of tools in JSON: OpenAI's two shapes, bare definitions, an MCP server's tools/list result.

    [{"type": "function", "function": {"name", "description", "parameters", "strict"}}]   chat completions
    [{"type": "function", "name", "description", "parameters", "strict"}]                 responses
    [{"name", "description", "parameters"}]     {"tools": […]}     {"result": {"tools": […]}}
    [{"name", "description", "inputSchema"}]                                              MCP

https://platform.openai.com/docs/guides/function-calling, https://modelcontextprotocol.io/specification (tools)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from callwright.faults import Fault
from callwright.records import Tool
from callwright.tool_sources.dialects import standing_alone
from callwright.tool_sources.found import Item, LeftOut, Note, short
from callwright.tool_sources.json_schema import BadReference

_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema")


def tool_list(document: Any) -> list[Any] | None:
    """The list of tools that a document holds, or None."""
    found = document
    for key in ("result", "tools"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    if isinstance(found, dict) and (isinstance(found.get("function"), dict) or isinstance(found.get("name"), str)):
        found = [found]  # one tool alone
    return found if isinstance(found, list) else None


def read_tool_list(document: Any, place: str) -> Iterator[Item]:
    """Each tool of the list. `Fault` where there is none."""
    found = tool_list(document)
    if found is None:
        raise Fault(f"{place}: {short(document)} is no list of tools; write [{{name, description, parameters}}, …]")
    for number, value in enumerate(found):
        yield from read_tool(value, f"tools[{number}]")


def read_tool(value: Any, place: str) -> Iterator[Item]:
    """One tool of any of the shapes; `place` names it where it has no name."""
    if not isinstance(value, dict):
        yield LeftOut(place, f"is {short(value)}; an object is expected")
        return
    inner = value.get("function", value)
    name = inner.get("name") if isinstance(inner, dict) else None
    label = name if isinstance(name, str) and name else place
    kind = value.get("type", "function")
    if kind != "function" and not any(key in inner for key in _SCHEMA_KEYS):
        yield LeftOut(label, f"is of type {short(kind)}; only functions have a schema")
        return
    if not isinstance(name, str) or not name:
        yield LeftOut(label, f"has the name {short(name)}; a name is a text")
        return
    described = inner.get("description")
    if described is not None and not isinstance(described, str):
        yield LeftOut(label, f"has the description {short(described)}; a description is a text")
        return
    given = next((inner[key] for key in _SCHEMA_KEYS if inner.get(key) is not None), None)
    yield from _tool(name, described or "", given)


def _tool(name: str, description: str, given: Any) -> Iterator[Item]:
    if given in (
        None,
        {},
    ):  # no parameters; OpenAI: "Omitting parameters defines a function with an empty parameter list"
        given = {"type": "object", "properties": {}, "additionalProperties": False}
    if not isinstance(given, dict):
        yield LeftOut(name, f"has the parameters {short(given)}; a JSON Schema object is expected")
        return
    try:
        parameters = standing_alone(given)
    except BadReference as error:
        yield LeftOut(name, f"has a reference that cannot be followed: {error}")
        return
    except RecursionError:
        yield LeftOut(name, "has a schema that nests too deep; make it flatter")
        return
    if "type" not in parameters and isinstance(parameters.get("properties"), dict):
        parameters = {"type": "object", **parameters}
        yield Note(name, "has parameters without a type; they are an object, as a call's always are")
    yield Tool(name, description, parameters)
