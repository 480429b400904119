r"""xlam: Salesforce's xLAM / APIGen (https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k).

    {"id": 7, "query": "Where can I find live giveaways for beta access?", "tools": "[{\"name\": …}]",
     "answers": "[{\"name\": \"live_giveaways_by_type\", \"arguments\": {\"type\": \"beta\"}}]"}

One request and its calls; the lists are JSON text there, and read as lists too. Parameters are no JSON Schema but a
flat map:

    {"type": {"description": "The type of giveaways.", "type": "str", "default": "game"},
     "page": {"type": "int, optional"}}

A parameter is required unless its type says `optional` or it has a default. Keywords that only JSON Schema has (enum,
minimum, …) are written beside `type`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from callwright.exchange.drafts import Draft, Form, Given, Row, list_of, maybe_parsed, object_of, text_of, written
from callwright.exchange.tools import read_function_call, read_tool
from callwright.records import Calls, Example, Tool, User

NO_ANSWER = "there is no call and no text to answer with"
UNKNOWN_TYPE = "a parameter's type is none that we know, so that any value is taken"

_TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "array": "array",
    "tuple": "array",
    "set": "array",
    "dict": "object",
    "object": "object",
    "none": "null",
}
_NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict"}
_NULL = "None"
_DEEPEST_TYPE = 20
_GENERIC = re.compile(r"(?i:(list|set|dict|tuple|union|optional)\[(.*)\])", re.DOTALL)


def fits(row: Row) -> bool:
    return "query" in row and "answers" in row


def read(row: Row, given: Given) -> Draft:
    draft = Draft([User(text_of(row.get("query"), "query"))], no_place_for_system=True)
    draft.known = frozenset({"query", "tools", "answers"})
    if row.get("tools") is not None:
        listed = list_of(maybe_parsed(row["tools"], "tools"), "tools")
        draft.tools = tuple(_tool(tool, f"tools[{i}]", draft.warnings) for i, tool in enumerate(listed))
    answers = list_of(maybe_parsed(row.get("answers"), "answers"), "answers")
    calls = tuple(read_function_call(call, f"answers[{i}]") for i, call in enumerate(answers))
    if calls:
        draft.messages.append(Calls(calls))
    else:
        draft.warnings.append(NO_ANSWER)
    return draft


def _tool(value: Any, place: str, warnings: list[str]) -> Tool:
    tool = read_tool(value, place)
    schema = tool.parameters
    if isinstance(schema.get("type"), str) or isinstance(schema.get("$schema"), str):
        return tool
    return Tool(tool.name, tool.description, _schema(schema, f"{place}.parameters", warnings))


def _schema(flat: Mapping[str, Any], place: str, warnings: list[str]) -> dict[str, Any]:
    """A flat map as JSON Schema."""
    properties: dict[str, Any] = {}
    required = []
    for name, value in flat.items():
        entry = dict(object_of(value, f"{place}.{name}"))
        said, *more = _parts(text_of(entry.pop("type", "any"), f"{place}.{name}.type"))
        typed = _typed(said)
        if typed is None:
            warnings.append(UNKNOWN_TYPE)
        properties[name] = {**(typed or {}), **entry}
        optional = "optional" in (part.lower() for part in more) or said.lower().startswith("optional[")
        if not optional and "default" not in entry:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | {"required": required} if required else schema


def _parts(text: str) -> list[str]:
    """At commas outside brackets: `Dict[str, int], optional` is two."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _typed(said: str) -> dict[str, Any] | None:
    """`List[str]` as {"type": "array", "items": {"type": "string"}}; None for what is not known."""
    if said.lower() in ("any", ""):
        return {}
    if said.count("[") > _DEEPEST_TYPE:
        return None
    if generic := _GENERIC.fullmatch(said):
        kind, inner = generic[1].lower(), [_typed(part) for part in _parts(generic[2])]
        if kind == "optional":
            return inner[0]
        if kind == "union":
            types = [one.get("type") for one in inner if one is not None and one.keys() == {"type"}]
            return {"type": types} if len(types) == len(inner) else None
        if kind in ("list", "set") and inner[0] is not None:
            return {"type": "array", "items": inner[0]}
        said = kind
    known = _TYPES.get(said.lower())
    return {"type": known} if known else None


def write(example: Example) -> Iterator[dict[str, Any]]:
    """The first request and what was called for it."""
    turns = iter(example.messages)
    query = next((turn.content for turn in turns if isinstance(turn, User)), "")
    after = next(turns, None)
    calls = after.calls if isinstance(after, Calls) else ()
    tools = [{**tool.to_json(), "parameters": _flat(tool)} for tool in example.tools]
    answers = [{"name": call.tool, "arguments": dict(call.params)} for call in calls]
    yield {"id": example.id, "query": query, "tools": written(tools), "answers": written(answers)}


def _flat(tool: Tool) -> dict[str, Any]:
    return {name: _entry(schema, name in tool.required) for name, schema in tool.properties.items()}


def _entry(schema: Any, required: bool) -> dict[str, Any]:
    entry = dict(schema) if isinstance(schema, Mapping) else {}
    said = "Any"
    kind = entry.pop("type", None)
    if isinstance(kind, str):
        said = _NAMES.get(kind, _NULL)
        items = entry.get("items")
        if kind == "array" and isinstance(items, Mapping) and items.keys() == {"type"} and items["type"] in _NAMES:
            said = f"List[{_NAMES[entry.pop('items')['type']]}]"
    elif isinstance(kind, list):
        said = f"Union[{', '.join(_NAMES.get(one, _NULL) for one in kind)}]"
    described = {"description": entry.pop("description")} if "description" in entry else {}
    return {**described, "type": said if required or "default" in entry else f"{said}, optional", **entry}


FORM = Form("xlam", fits, read, write)
