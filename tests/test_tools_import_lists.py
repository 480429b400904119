"""Tools in JSON lists, in each shape that OpenAI and MCP give them; schemas of older drafts."""

from __future__ import annotations

from typing import Any

import pytest

from callwright.faults import Fault
from callwright.records import Call, Tool
from callwright.schemas import schema_fault, tool_fault
from callwright.tool_sources.dialects import standing_alone
from callwright.tool_sources.found import Item, LeftOut, Note
from callwright.tool_sources.json_schema import BadReference, Schemas
from callwright.tool_sources.tool_lists import read_tool_list

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "查詢天氣", "parameters": PARAMETERS}
TOOL = Tool("get_weather", "查詢天氣", PARAMETERS)


def read(document: Any) -> list[Item]:
    return list(read_tool_list(document, "tools.json"))


@pytest.mark.parametrize(
    "document",
    [
        [{"type": "function", "function": {**WEATHER, "strict": True}}],
        [{"type": "function", **WEATHER, "strict": True}],
        [WEATHER],
        {"tools": [WEATHER]},
        WEATHER,
        {"type": "function", "function": WEATHER},
        [{"name": "get_weather", "description": "查詢天氣", "inputSchema": PARAMETERS, "annotations": {}}],
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [WEATHER], "nextCursor": None}},
        [{"name": "get_weather", "description": "查詢天氣", "input_schema": PARAMETERS}],
    ],
)
def test_every_shape_of_a_list_gives_the_same_tool(document: Any) -> None:
    assert read(document) == [TOOL]


@pytest.mark.parametrize("given", [{}, {"parameters": None}, {"parameters": {}}])
def test_a_tool_without_parameters_takes_none(given: dict[str, Any]) -> None:
    found = read([{"name": "ping", **given}])
    assert found == [Tool("ping", "", {"type": "object", "properties": {}, "additionalProperties": False})]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", LeftOut("tools[0]", 'is "text"; an object is expected')),
        ({"type": "web_search"}, LeftOut("tools[0]", 'is of type "web_search"; only functions have a schema')),
        ({"name": ""}, LeftOut("tools[0]", 'has the name ""; a name is a text')),
        ({"name": 5}, LeftOut("tools[0]", "has the name 5; a name is a text")),
        ({"type": "function", "function": {}}, LeftOut("tools[0]", "has the name null; a name is a text")),
        ({"name": "x", "description": 1}, LeftOut("x", "has the description 1; a description is a text")),
        ({"name": "x", "parameters": []}, LeftOut("x", "has the parameters []; a JSON Schema object is expected")),
    ],
)
def test_what_is_no_function_is_left_out_with_its_place(value: Any, told: LeftOut) -> None:
    assert read([value, WEATHER]) == [told, TOOL]


def test_parameters_without_a_type_are_an_object_and_that_is_told() -> None:
    tool, note = sorted(
        read([{"name": "x", "parameters": {"properties": {}}}]), key=lambda item: isinstance(item, Note)
    )
    assert isinstance(tool, Tool)
    assert tool.parameters["type"] == "object"
    assert note == Note("x", "has parameters without a type; they are an object, as a call's always are")


@pytest.mark.parametrize("document", ["text", 5, {"a": 1}, {"tools": "x"}, None])
def test_what_holds_no_list_is_a_fault(document: Any) -> None:
    with pytest.raises(Fault, match=r"tools\.json: .* is no list of tools; write \["):
        read(document)


# Schemas that stand for themselves


def test_references_are_put_in_place() -> None:
    day = {"type": "string", "description": "a day"}
    given = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/Day"}, "b": {"$ref": "#/$defs/Day", "description": "another"}},
        "$defs": {"Day": day},
    }
    assert standing_alone(given) == {"type": "object", "properties": {"a": day, "b": {**day, "description": "another"}}}


def test_a_reference_and_a_demand_beside_it_both_hold() -> None:
    given = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/N", "minimum": 5}},
        "$defs": {"N": {"type": "integer", "minimum": 1, "maximum": 9}},
    }
    tool = Tool("t", "", standing_alone(given))
    verdicts = [schema_fault(Call("t", {"a": value}), tool) is None for value in (4, 5, 9, 10)]
    assert verdicts == [False, True, True, False]


def test_what_refers_to_itself_stays_a_reference() -> None:
    node = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}
    given = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    tool = Tool("t", "", standing_alone(given))
    assert tool.parameters["$defs"] == {"Node": node}
    assert tool_fault(tool) is None
    assert schema_fault(Call("t", {"tree": {"kids": [{"kids": []}]}}), tool) is None
    assert schema_fault(Call("t", {"tree": {"kids": [{"kids": 1}]}}), tool) is not None


def test_schemas_that_refer_to_each_other_do_not_grow_for_ever() -> None:
    """Each holds the next one twice: put in place, that would be 2^40 schemas."""
    refs = [{"$ref": f"#/$defs/S{i + 1}"} for i in range(40)]
    ring = {f"S{i}": {"anyOf": [ref, {"type": "array", "items": ref}]} for i, ref in enumerate(refs)}
    given = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/S0"}},
        "$defs": {**ring, "S40": {"type": "string"}},
    }
    tool = Tool("t", "", standing_alone(given))
    assert tool_fault(tool) is None
    assert len(str(tool.parameters)) < 50_000
    assert schema_fault(Call("t", {"x": "a"}), tool) is None
    assert schema_fault(Call("t", {"x": 1}), tool) is not None


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("https://example.com/a.json", "lies outside the document, and nothing is fetched"),
        ("other.json#/a", "lies outside the document, and nothing is fetched"),
        ("file:///etc/passwd", "lies outside the document, and nothing is fetched"),
        ("#/$defs/None", "refers to what is not in the document"),
        ("#/$defs/A", "refers to itself and to nothing else"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_and_never_fetched(ref: str, told: str) -> None:
    given = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}, "properties": {"x": {"$ref": ref}}}
    with pytest.raises(BadReference, match=told):
        standing_alone(given)
    [left] = read([{"name": "x", "parameters": {"type": "object", **given}}])
    assert isinstance(left, LeftOut)
    assert told in left.why


def test_pointers_are_read_as_the_standard_escapes_them() -> None:
    document = {"a/b": {"c~d": [{"type": "integer"}]}}
    assert Schemas(document).whole({"$ref": "#/a~1b/c~0d/0"}) == {"type": "integer"}
    assert Schemas(document).whole({"$ref": "#/a~1b/c%7E0d/0"}) == {"type": "integer"}


def test_names_of_properties_and_values_of_enums_are_no_schemas() -> None:
    given = {
        "type": "object",
        "properties": {"$ref": {"type": "string"}, "items": {"enum": [{"$ref": "https://example.com"}]}},
        "default": {"$ref": "nowhere"},
    }
    assert standing_alone(given) == given


def test_what_uses_anchors_stays_as_it_is() -> None:
    given = {
        "type": "object",
        "properties": {"x": {"$ref": "#day"}},
        "$defs": {"D": {"$anchor": "day", "type": "string"}},
    }
    tool = Tool("t", "", standing_alone(given))
    assert tool.parameters == given
    assert schema_fault(Call("t", {"x": 1}), tool) is not None


def test_a_schema_of_draft_7_is_read_as_it_was_meant() -> None:
    """zod-to-json-schema, which most MCP servers in TypeScript use, writes draft 7."""
    given = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False},
            "n": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        },
        "dependencies": {"n": ["pair"]},
    }
    tool = Tool("t", "", standing_alone(given))
    assert tool_fault(tool) is None
    good = {"pair": ["a", 1], "n": 1}
    assert schema_fault(Call("t", good), tool) is None
    for wrong in ({"pair": [1, "a"]}, {"pair": ["a", 1, 2]}, {**good, "n": 0}, {"n": 1}):
        assert schema_fault(Call("t", wrong), tool) is not None, wrong
