"""A call against its tool's schema, held against the library jsonschema."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from callwright.records import Call, Tool
from callwright.schemas import schema_fault
from tests.rows import ROOM

VALUES = [14, 14.0, 14.5, True, False, None, "14", "", "low", [], [1], {}, {"a": 1}, 0, -3, 51, 10**20]
SCHEMAS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "string", "minLength": 1},
    {"type": ["integer", "null"]},
    {"type": "integer", "minimum": 0, "maximum": 50},
    {"enum": ["low", 14, False]},
    {"const": 0},
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {"type": "integer"}}},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"type": "string", "format": "date-time"},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_value_is_allowed_where_the_library_allows_it(schema: dict[str, Any]) -> None:
    tool = Tool("t", "", {"type": "object", "properties": {"x": schema}})
    for value in VALUES:
        fault = schema_fault(Call("t", {"x": value}), tool)
        assert (fault is None) is jsonschema.Draft202012Validator(schema).is_valid(value), (value, fault)


@pytest.mark.parametrize(("value", "allowed"), [(14, True), (14.0, True), (14.5, False), (True, False), ("14", False)])
def test_an_integer_is_a_whole_number_of_any_spelling_and_no_truth_value(value: Any, allowed: bool) -> None:
    assert (schema_fault(Call("book_room", {"room": "x", "people": value}), ROOM) is None) is allowed


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"deep": {"b": 1}}, "unknown_param"), ({"deep": {}}, "missing_param"), ({"deep": {"a": "1"}}, "wrong_type")],
)
def test_a_fault_deep_inside_has_its_own_code_and_place(params: dict[str, Any], expected: str) -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    required = inner | ({} if "b" in params["deep"] else {"required": ["a"]})
    fault = schema_fault(Call("t", params), Tool("t", "", {"type": "object", "properties": {"deep": required}}))
    assert fault
    assert fault[0] == expected
    assert fault[1].startswith("t.deep")


def test_more_parameters_are_allowed_only_where_the_schema_says_so() -> None:
    parameters = {"type": "object", "properties": {}}
    assert schema_fault(Call("t", {"x": 1}), Tool("t", "", parameters)) == (
        "unknown_param",
        "t has no parameter 'x'; it has none",
    )
    assert schema_fault(Call("t", {"x": 1}), Tool("t", "", parameters | {"additionalProperties": True})) is None
