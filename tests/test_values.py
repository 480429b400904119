"""When two values are one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.moments import NOW
from callwright.records import Call, Tool
from callwright.speech import plain
from callwright.values import format_fault, free_text, same_call, same_json, same_value

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


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("預算審核。", "預算審核"),
        ("預算、審核", "預算審核"),
        ("預算,審核", "預算，審核"),
        ("「預算」審核", "預算審核"),
        ("《紅樓夢》的書評", "紅樓夢的書評"),
        ("2026 預算 報告", "2026預算報告"),
        ("好嗎？", "好嗎"),
        ("約翰·史密斯", "約翰‧史密斯"),
        ("主題:預算", "主題：預算"),
        ("會議在 A301,請準時", "會議在 A301 請準時"),
        ("Budget review.", "budget review"),
        ("Hello, world!", "hello world"),
        ('"Budget review"', "Budget review"),
        ("“Budget review”", "'budget review'"),
        ("Don’t forget", "don't forget"),
        ("Really?!", "really"),
        ("Wait...", "wait…"),
        ("No. 5", "no 5"),
        ("10–12", "10-12"),
    ],
)
def test_a_sentences_marks_change_no_meaning(a: str, b: str) -> None:
    assert same_value(a, b, "title", {"type": "string"})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("預算審核", "預算審查"),
        ("3.5", "35"),
        ("3.5 萬", "35 萬"),
        ("-5", "5"),
        ("10,000", "10 000"),
        ("10:30", "1030"),
        ("5!", "5"),
        ("50%", "50"),
        ("1, 2", "12"),
        ("C++", "C"),
        ("C#", "C"),
        (".NET", "NET"),
        ("a@b.c", "a@bc"),
        ("a-b", "ab"),
        ("報告.pdf", "報告pdf"),
        ("foo、bar", "foobar"),
        ("../secret", "/secret"),
        ("cd ..", "cd"),
        ("...", "?"),
        ("https://a.example/查詢?頁=1", "https://a.example/查詢頁=1"),
        ("name = 'x'", "name = x"),
        ("a b", "ab"),
    ],
)
def test_what_changes_the_meaning_is_kept(a: str, b: str) -> None:
    assert not same_value(a, b, "title", {})


@given(st.text() | st.text("王小aA1 .,;:!?'\"。、「」·-"))
def test_text_never_becomes_nothing_and_its_width_says_nothing(text: str) -> None:
    assert bool(free_text(text)) is bool(plain(text))
    assert free_text(normalize("NFKC", text)) == free_text(text)
    assert free_text(f"  {text}\n") == free_text(text)


FORMATTED = [
    ("email", "amy@a.example", "amy at a"),
    ("uri", "https://a.example/x", "a b"),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
    ("ipv4", "10.0.0.1", "10.0.0.256"),
    ("ipv6", "::1", "10.0.0.1"),
    ("hostname", "a.example", "-a-"),
]


@pytest.mark.parametrize(("form", "good", "bad"), FORMATTED)
def test_a_format_is_kept_to_the_letter(form: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": form}
    assert format_fault("to", good, schema) is None
    assert format_fault("to", bad, schema) == f"to is {bad!r}, which is no {form}"
    assert format_fault("to", [good, bad], {"items": schema}) == f"to.1 is {bad!r}, which is no {form}"
    assert format_fault("to", {"x": bad}, {"properties": {"x": {"$ref": "#/$defs/f"}}}, {"$defs": {"f": schema}})
    assert not same_value(good, good.upper() if good.upper() != good else good + "0", "to", schema)
    assert same_value(good, good, "to", schema)


@pytest.mark.parametrize("form", ["date-time", "date", "time", "phone", 5, None])
def test_moments_have_a_grammar_and_other_formats_say_nothing(form: Any) -> None:
    assert format_fault("when", "tomorrow 15:00", {"format": form}) is None


def test_a_default_is_as_good_as_left_out() -> None:
    schema = {"properties": {"n": {"default": 10}, "deep": {"properties": {"x": {"default": "Low"}}}}}
    assert same_value({"n": 10.0}, {}, "", schema)
    assert same_value({"deep": {"x": "low"}}, {"deep": {}}, "", schema)
    assert not same_value({"n": 11}, {}, "", schema)
    assert not same_value({"n": "10"}, {}, "", schema)


def test_references_are_followed() -> None:
    root = {"$defs": {"kind": {"enum": ["a", "A"]}}}
    schema = {"properties": {"kind": {"$ref": "#/$defs/kind"}}}
    assert not same_value({"kind": "a"}, {"kind": "A"}, "", schema, root)
    assert same_value({"kind": "a"}, {"kind": "A"}, "", {"properties": {"kind": {}}}, root)


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
        ("this friday", "in 4 days", True),  # the clock is on Monday, March 2, 2026, at 9
        ("next monday", "in 1 week", True),
        ("in 2 hours", "today 11:00", True),
        ("15:00", "today at 3pm", True),
        ("tomorrow 15:00", "2026-03-03T15:00", True),
        ("in 2 months", "2026-05-02", True),
        ("tomorrow 15:00", "tomorrow 16:00", False),
        ("tomorrow", "tomorrow 00:00", False),
        ("tomorrow 15:00", "2026-03-04T15:00", False),
        ("this friday", "next friday", False),
        ("soon", "Soon.", True),
        ("tomorrow 15:00", "soon", False),
    ],
)
def test_moments_are_compared_by_what_they_mean(a: str, b: str, same: bool) -> None:
    assert same_value(a, b, "start_time", {"type": "string"}) is same
    assert same_value(b, a, "when", {"type": "string", "format": "date-time"}) is same
    assert same_value({"start_time": a}, {"start_time": b}, "deep", {}) is same


def test_what_a_moment_means_depends_on_the_clock() -> None:
    tuesday = NOW + timedelta(days=1)
    assert same_value("this friday", "in 4 days", "due_date", {}, now=NOW)
    assert not same_value("this friday", "in 4 days", "due_date", {}, now=tuesday)
    assert same_value("this friday", "in 3 days", "due_date", {}, now=tuesday)


def test_an_offset_is_the_same_everywhere_and_is_read_only_by_a_clock_with_a_zone() -> None:
    taipei = NOW.replace(tzinfo=timezone(timedelta(hours=8)))
    here, utc, plain = "2026-03-03T15:00+08:00", "2026-03-03T07:00Z", "tomorrow 15:00"
    assert same_value(here, utc, "start_time", {}, now=NOW)
    assert same_value(here, utc, "start_time", {}, now=taipei)
    assert same_value(here, plain, "start_time", {}, now=taipei)
    assert not same_value(here, plain, "start_time", {}, now=NOW)


def test_a_moment_beyond_the_calendar_is_itself() -> None:
    late = datetime(9999, 12, 31, 23, 0)  # noqa: DTZ001 - a clock on a wall
    assert same_value("in 14 days", "in 2 weeks", "due_date", {}, now=late)
    assert not same_value("in 14 days", "in 3 weeks", "due_date", {}, now=late)
    assert same_value("0001-01-01T00:00+14:00", "0001-01-01 00:00+14:00", "due_at", {}, now=NOW)


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
