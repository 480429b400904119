"""When two values are one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.records import Call, Tool
from callwright.values import same_call, same_json, same_value

LOOKALIKES = [1, True, "1", [1], {"a": 1}, None, 0, False, "", "0", [], {}, "true", "null", 1.5, "1.5"]


@pytest.mark.parametrize("a", LOOKALIKES, ids=repr)
def test_a_value_is_itself_and_none_of_its_lookalikes(a: Any) -> None:
    assert [b for b in LOOKALIKES if same_json(a, b)] == [a]
    assert all(type(b) is type(a) for b in LOOKALIKES if same_json(a, b))
    assert [b for b in LOOKALIKES if same_value(a, b, "x", {})] == [a]


@pytest.mark.parametrize(
    ("a", "b"), [(60, 60.0), (0, -0.0), (1e3, 1000), ([1, 2.0], [1.0, 2]), ({"a": {"b": 1}}, {"a": {"b": 1.0}})]
)
def test_numbers_are_compared_by_value(a: Any, b: Any) -> None:
    assert same_json(a, b)
    assert same_value(a, b, "x", {})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (2**53 + 1, float(2**53)),
        ([1], [1, 1]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"b": 1}),
        ([True], [1]),
    ],
)
def test_values_that_only_look_alike_differ(a: Any, b: Any) -> None:
    assert not same_json(a, b)
    assert not same_value(a, b, "x", {})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("臺北", "台北"),
        ("Ａ３０１", "a301"),
        ("Budget  Review", "budget review"),
        (" 預算 ", "預算"),
        ("ﾃｽﾄ", "テスト"),
    ],
)
def test_text_is_compared_as_people_do(a: str, b: str) -> None:
    assert same_value(a, b, "title", {"type": "string"})
    assert same_value([a], [b], "names", {"items": {"type": "string"}})
    assert same_value({"who": a}, {"who": b}, "deep", {"properties": {"who": {}}})
    assert not same_json(a, b)


def test_another_word_is_another_value() -> None:
    assert not same_value("預算審核", "預算審查", "title", {})


@pytest.mark.parametrize("schema", [{"enum": ["low", "LOW"]}, {"const": "low"}])
def test_a_choice_is_compared_to_the_letter(schema: dict[str, Any]) -> None:
    assert same_value("low", "low", "priority", schema)
    assert not same_value("low", "LOW", "priority", schema)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("tomorrow 15:00", "tomorrow at 3pm", True),
        ("tomorrow 15:00", "Tomorrow, 3:00 PM", True),
        ("in 2 weeks", "in 14 days", True),
        ("in 1 hour", "in 60 minutes", True),
        ("2026-03-04T15:00", "2026/3/4 15:00", True),
        ("tomorrow 15:00", "tomorrow 16:00", False),
        ("tomorrow", "tomorrow 00:00", False),
        ("tomorrow 15:00", "2026-03-04T15:00", False),
        ("this friday", "next friday", False),
        ("soon", "soon", True),
        ("soon", "Soon", False),
        ("tomorrow 15:00", "soon", False),
    ],
)
def test_moments_are_compared_by_what_they_mean(a: str, b: str, same: bool) -> None:
    assert same_value(a, b, "start_time", {"type": "string"}) is same
    assert same_value(b, a, "when", {"type": "string", "format": "date-time"}) is same
    assert same_value({"start_time": a}, {"start_time": b}, "deep", {}) is same


def test_elsewhere_a_moments_spelling_is_only_text() -> None:
    assert not same_value("tomorrow 15:00", "tomorrow at 3pm", "title", {})


@pytest.mark.parametrize("schema", [True, None, {}, {"items": True}, {"properties": {}}])
def test_a_schema_that_says_nothing_is_fine(schema: Any) -> None:
    assert same_value("臺", "台", "x", schema)
    assert same_value(["臺"], ["台"], "x", schema)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
def test_being_one_is_mutual_and_everything_is_itself(a: Any, b: Any) -> None:
    assert same_json(a, a)
    assert same_value(a, a, "start_time", {})
    assert same_json(a, b) == same_json(b, a)
    assert same_value(a, b, "x", {}) == same_value(b, a, "x", {})
    assert same_value(a, b, "x", {}) or not same_json(a, b)


TOOL = Tool("book", "", {"type": "object", "properties": {"room": {}, "kind": {"enum": ["a", "A"]}, "at_time": {}}})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Call("book", {"at_time": "tomorrow at 3pm", "kind": "a", "room": "Ａ３０１"}), True),
        (Call("book", {"room": "A301", "kind": "A", "at_time": "tomorrow 15:00"}), False),
        (Call("book", {"room": "A301", "kind": "a"}), False),
        (Call("book", {"room": "A301", "kind": "a", "at_time": "tomorrow 15:00", "more": 1}), False),
        (Call("Book", {"room": "A301", "kind": "a", "at_time": "tomorrow 15:00"}), False),
        (Call("book", {}), False),
    ],
)
def test_a_call_is_its_tool_and_its_values_in_any_order(other: Call, same: bool) -> None:
    call = Call("book", {"room": "A301", "kind": "a", "at_time": "tomorrow 15:00"})
    assert same_call(call, other, TOOL) is same
    assert same_call(other, call, TOOL) is same


def test_calls_of_a_tool_that_nobody_knows_are_compared_too() -> None:
    assert same_call(Call("x", {"a": 1}), Call("x", {"a": 1.0}), None)
    assert not same_call(Call("x", {"a": 1}), Call("x", {"a": True}), None)
