"""A row goes to JSON and comes back the same; what is no record cannot be built, and a sentence says where and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.records import (
    BadRecord,
    Call,
    Calls,
    Category,
    Example,
    Language,
    Reply,
    Result,
    Split,
    System,
    Tool,
    User,
    read_call,
    read_example,
    read_line,
)

text = st.text(max_size=12)
texts = st.lists(text, max_size=3).map(tuple)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(text, values, max_size=3)
calls = st.builds(Call, text, objects)
messages = st.one_of(
    st.builds(System, text),
    st.builds(User, text),
    st.builds(Calls, st.lists(calls, max_size=2).map(tuple)),
    st.builds(Reply, text, texts),
    st.builds(Result, text, text, texts),
)
examples = st.builds(
    Example,
    id=text,
    language=st.sampled_from(Language),
    category=st.sampled_from(Category),
    split=st.sampled_from(Split),
    tools=st.lists(st.builds(Tool, text, text, objects), max_size=2).map(tuple),
    messages=st.lists(messages, max_size=3).map(tuple),
    source=objects,
)

ROW: dict[str, Any] = {
    "id": "office-000042",
    "language": "zh-TW",
    "category": "full_loop",
    "split": "train",
    "tools": [
        {
            "name": "query_database",
            "description": "查詢資料庫",
            "parameters": {
                "type": "object",
                "properties": {"query_str": {"type": "string"}},
                "required": ["query_str"],
            },
        }
    ],
    "messages": [
        {"role": "system", "content": "你是一位專業助理。"},
        {"role": "user", "content": "幫我查一下預算表。"},
        {"role": "assistant", "calls": [{"tool": "query_database", "params": {"query_str": "預算表"}}]},
        {"role": "tool", "tool": "query_database", "content": '{"amount": "300 萬"}', "facts": ["300 萬"]},
        {"role": "assistant", "content": "預算為 300 萬。"},
    ],
    "source": {"pack": "office", "generator": "grammar", "seed": 7},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """ROW with a value at a dotted place; `...` takes the place away."""
    row: Any = json.loads(json.dumps(ROW))
    *path, last = (int(part) if part.isdigit() else part for part in place.split("."))
    node = row
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    whole: dict[str, Any] = row
    return whole


@given(examples)
def test_any_row_comes_back_from_its_line_the_same_to_the_byte(example: Example) -> None:
    line = json.dumps(example.to_json(), ensure_ascii=False)
    again = read_line(line)
    assert again == example
    assert json.dumps(again.to_json(), ensure_ascii=False) == line


def test_a_row_gives_its_request_its_calls_and_what_its_tools_take() -> None:
    row = read_example(ROW)
    assert row.to_json() == ROW
    assert row.request == "幫我查一下預算表。"
    assert row.calls == (Call("query_database", {"query_str": "預算表"}),)
    assert row.tools[0].required == ("query_str",)
    assert list(row.tools[0].properties) == ["query_str"]


def test_one_true_and_a_text_of_one_stay_three_values() -> None:
    row = read_line(json.dumps(changed("messages.2.calls.0.params", {"a": 1, "b": True, "c": "1", "d": 1.0})))
    assert [type(value) for value in row.calls[0].params.values()] == [int, bool, str, float]


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("id", 42, "id is 42; expected text"),
        ("language", "zh-CN", 'language is "zh-CN"; expected one of zh-TW, en'),
        ("category", ["single"], 'category is ["single"]; expected one of single, parallel, chained, missing'),
        ("split", ..., "row has no split"),
        ("extra", 1, "row has the unknown key 'extra'"),
        ("tools", {}, "tools is {}; expected a list"),
        ("tools.0.parameters", "{}", 'tools[0].parameters is "{}"; expected an object'),
        ("tools.0.required", [], "tools[0] has the unknown key 'required'"),
        ("messages.0", "hello", 'messages[0] is "hello"; expected an object'),
        ("messages.1.role", "human", "messages[1].role is 'human'; expected system, user, assistant or tool"),
        ("messages.1.content", None, "messages[1].content is null; expected text"),
        ("messages.2.content", "…", "messages[2] has the unknown key 'content'"),
        (
            "messages.2.calls.0.params",
            '{"query_str": "預算表"}',
            r'messages[2].calls[0].params is "{\"query_str\": \"預算表\"}"; expected an object',
        ),
        ("messages.2.calls.0.name", "x", "messages[2].calls[0] has the unknown key 'name'"),
        ("messages.3.facts", ["a", 1], "messages[3].facts[1] is 1; expected text"),
        ("messages.3.tool", ..., "messages[3] has no tool"),
        ("source", [], "source is []; expected an object"),
    ],
)
def test_what_breaks_the_shape_is_told_with_its_place_and_value(place: str, value: Any, sentence: str) -> None:
    with pytest.raises(BadRecord) as error:
        read_example(changed(place, value))
    assert str(error.value).startswith(sentence)


def test_a_long_value_is_cut_short_in_the_sentence() -> None:
    with pytest.raises(BadRecord) as error:
        read_example(changed("tools", "x" * 500))
    assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "not JSON: "),
        ("", "not JSON: "),
        ('{"id": NaN}', "not JSON: NaN is no number"),
        ('{"id": -Infinity}', "not JSON: -Infinity is no number"),
        ('{"id": "\\ud800"}', "not text: it holds half of a surrogate pair"),
        ("[" * 100_000, "not JSON: "),
        ("[]", "row is []; expected an object"),
        ("null", "row is null; expected an object"),
    ],
)
def test_a_line_that_is_no_row_is_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(BadRecord) as error:
        read_line(line)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("value", [{"tool": "x"}, {"name": "x", "params": {}}, {"tool": 1, "params": {}}, "x", None])
def test_only_a_tool_with_params_is_a_call(value: Any) -> None:
    with pytest.raises(BadRecord):
        read_call(value)
