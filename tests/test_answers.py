"""What a model said is calls, text, or neither: a broken answer is never taken for an empty call."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import (
    Called,
    Outcome,
    Said,
    Unparsed,
    is_question,
    outcome,
    read_answer,
    strict_json,
    to_json,
    write_calls,
)
from callwright.records import Call

QUERY = '{"tool": "query_database", "params": {"query_str": "budget"}}'
EVENT = '{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "tomorrow 15:00"}}'


@pytest.mark.parametrize(
    "text",
    [
        "[台北市政府](https://example.com) 有資料。",
        "`print()` prints.",
        "[1] open it\n[2] read it",
        "Use {name} for the name.",
        "可以這樣寫:\n```python\nprint(1)\n```",
    ],
)
def test_prose_with_brackets_links_and_code_is_text(text: str) -> None:
    assert read_answer(text) == Said(text)


@pytest.mark.parametrize(
    "text",
    [
        "{name} is",
        "[finance.gdp()]",
        "```json",
        "[f(x='a')]",
        "`f(x='a')`",
        "{tool: f}",
        "好的\n{'tool': 'f'}",
        "[",
        "[[[[",
    ],
)
def test_what_begins_as_json_or_a_call_is_no_text(text: str) -> None:
    assert isinstance(read_answer(text), Unparsed)


def test_one_json_call_a_line_is_calls() -> None:
    assert read_answer(f"{QUERY}\n{EVENT}") == Called(
        (
            Call("query_database", {"query_str": "budget"}),
            Call("add_calendar_event", {"title": "預算審核", "start_time": "tomorrow 15:00"}),
        )
    )


@pytest.mark.parametrize("text", [f"  {QUERY}\n\n", f"\r\n{QUERY}\r\n", QUERY.replace(" ", ""), f"\n \n{QUERY}"])
def test_white_space_around_a_call_is_nothing(text: str) -> None:
    assert read_answer(text) == Called((Call("query_database", {"query_str": "budget"}),))


@pytest.mark.parametrize(
    "text", ["2026 預算為 300 萬", "Done, {really}.", "查好了\n共 3 筆", "the tool is broken", "3"]
)
def test_text_without_a_call_is_text(text: str) -> None:
    assert read_answer(f" {text}\n") == Said(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        (" \n\t", "the answer is empty"),
        ('{"tool": "query_database", ', "line 1: not one JSON call a line ("),
        ('{"tool": "query_database", "params": {"query_str": "bud', "line 1: not one JSON call a line ("),
        (f"{QUERY} {EVENT}", "line 1: not one JSON call a line (Extra data"),
        (f"{QUERY},", "line 1: not one JSON call a line ("),
        (f"{QUERY}\n好了", "line 2: not one JSON call a line ("),
        (f"好的:\n{QUERY}", "line 1: not one JSON call a line ("),
        (f"好的: {QUERY}", "line 1: not one JSON call a line ("),
        (f"```json\n{QUERY}\n```", "line 1: not one JSON call a line ("),
        (f"[{QUERY}, {EVENT}]", "line 1: call is [{"),
        (f"[{QUERY}]", "line 1: call is [{"),
        ("{}", "line 1: call has no params, tool"),
        ('{"tool": "query_database"}', "line 1: call has no params"),
        ('{"params": {}}', "line 1: call has no tool"),
        ('{"name": "query_database", "arguments": {}}', "line 1: call has no params, tool"),
        (QUERY[:-1] + ', "id": 1}', "line 1: call has the unknown key 'id'"),
        ('{"tool": "q", "params": "{\\"query_str\\": \\"budget\\"}"}', 'line 1: call.params is "{'),
        ('{"tool": "q", "params": null}', "line 1: call.params is null; expected an object"),
        ('{"tool": "q", "params": []}', "line 1: call.params is []; expected an object"),
        ('{"tool": 5, "params": {}}', "line 1: call.tool is 5; expected text"),
        ('{"tool": "q", "tool": "p", "params": {}}', "line 1: not one JSON call a line (a key stands twice)"),
        ('{"tool": "q", "params": {"a": 1, "a": 2}}', "line 1: not one JSON call a line (a key stands twice)"),
        ('{"tool": "q", "params": {"a": NaN}}', "line 1: not one JSON call a line (NaN is not JSON)"),
        ('{"tool": "q", "params": {"a": -Infinity}}', "line 1: not one JSON call a line (-Infinity is not JSON)"),
        ('{"tool": "q", "params": {"a": 1e999}}', "line 1: not one JSON call a line (Out of range float"),
        ('{"tool": "q", "params": {"a": "\\ud83d"}}', "line 1: not one JSON call a line ('utf-8' codec"),
        ("{'tool': 'q', 'params': {}}", "line 1: not one JSON call a line ("),
        ('{"tool": "q", "params": {"a": ' + "9" * 5000 + "}}", "line 1: not one JSON call a line ("),
        ("[" * 100_000, "line 1: not one JSON call a line ("),
    ],
    ids=range(30),
)
def test_what_is_neither_is_unparsed_with_its_line_and_reason(text: str, reason: str) -> None:
    answer = read_answer(text)
    assert isinstance(answer, Unparsed)
    assert answer.text == text
    assert answer.reason.startswith(reason)
    assert outcome(answer) is Outcome.MALFORMED
    assert to_json(answer) == {"unparsed": answer.reason}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
calls = st.builds(Call, st.text(), st.dictionaries(st.text(), json_values, max_size=4))


@given(st.lists(calls, min_size=1, max_size=4).map(tuple))
def test_calls_that_are_written_are_read_again(made: tuple[Call, ...]) -> None:
    answer = read_answer(write_calls(made))
    assert answer == Called(made)
    assert json.loads(json.dumps(to_json(answer))) == {"calls": [call.to_json() for call in made]}


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\n"])
def test_a_line_separator_inside_a_value_ends_no_line(sign: str) -> None:
    """str.splitlines() would cut a written call at the first three."""
    made = (Call("q", {"a": f"one{sign}two"}),)
    assert read_answer(write_calls(made)) == Called(made)


@given(st.text())
def test_any_text_is_read_as_something_that_can_be_written(text: str) -> None:
    answer = read_answer(text)
    json.dumps(to_json(answer), ensure_ascii=False, allow_nan=False).encode()
    assert isinstance(answer, Called | Said | Unparsed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What time?", True),
        ("請問幾點？", True),
        ("請問幾點﹖謝謝", True),
        ("Which one?\nA or B.", True),
        ("Shall I open https://a.example?", True),
        ("好的。", False),
        ("See https://a.example/search?q=1", False),
        ("網址是 https://a.example/?q=1&r=2。", False),
        ("", False),
    ],
)
def test_a_question_is_known_by_its_mark_of_any_width(text: str, expected: bool) -> None:
    assert is_question(text) is expected


def test_text_with_a_question_asks_and_other_text_answers() -> None:
    assert outcome(read_answer("請問要排在什麼時間？")) is Outcome.ASK
    assert outcome(read_answer("2026 預算為 300 萬")) is Outcome.ANSWER
    assert outcome(read_answer(QUERY)) is Outcome.CALL


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, true, null, "臺北"]}', "14.0", '"\\ud83d\\ude00"'])
def test_strict_json_reads_what_is_json(text: str) -> None:
    assert strict_json(text) == json.loads(text)
