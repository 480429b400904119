"""Whatever a row from outside holds, it is a row accepted or rejected, and the rows beside it go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callwright.grounding import unsaid
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, System, Tool, User
from callwright.rules import Rules, fitting
from callwright.schemas import tool_fault
from callwright.speech import numbers
from stages import validate
from tests.rows import QUERY, as_line, conversation, document_row, loop, office

GOOD = document_row()


def nested(levels: int, key: str = "allOf") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", key: [schema]}
    return schema


def with_tool(parameters: dict[str, Any]) -> Example:
    return replace(GOOD, id="odd", tools=(*GOOD.tools, Tool("odd", "", parameters)))


HOSTILE: list[Example | str] = [
    conversation(User("幫我查預算"), Reply("好。"), row_id="odd", source={"texts": 5}),
    replace(GOOD, id="odd", source={"pack": "office", "renamed": {"query_database": {"tool": "x", "params": []}}}),
    replace(GOOD, id="odd", source={"renamed": {"query_database": {"tool": "x", "params": {"query_str": [1]}}}}),
    replace(GOOD, id="odd", source={"renamed": 3, "pack": ["office"]}),
    conversation(User("查" + "9" * 5000), Calls((Call("query_database", {"query_str": "9"}),)), row_id="odd"),
    conversation(User("查" + "一" * 50_000), Calls((Call("query_database", {"query_str": "薪資"}),)), row_id="odd"),
    conversation(User("查" + "1234 " * 8000), Calls((Call("query_database", {"query_str": "薪資"}),)), row_id="odd"),
    with_tool(nested(250)),
    with_tool({"type": "object", "properties": {"a": {"default": json.loads("[" * 90 + "]" * 90)}}}),
    with_tool({"type": "object", "$ref": "#/allOf/" + "1" * 5000}),
    with_tool({"type": "object", "properties": {"a": {"pattern": "(" * 500}}}),
    as_line(GOOD).replace('"tomorrow 15:00"', "[" * 900 + "]" * 900),
    "[" * 992,
    '{"id": "' + "\\u0000" * 10 + '", "messages": []}',
    as_line(replace(GOOD, id="odd")).replace('"split": "train"', '"split": "te\\u0073t"'),
    as_line(replace(GOOD, id="odd", tools=(Tool("$\\bad{$", "", {"type": "object"}), *GOOD.tools))),
]


@pytest.mark.parametrize("odd", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_row_is_accepted_or_rejected_and_the_others_go_on(odd: Example | str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    other = conversation(User("幫我查薪資"), Reply("好。"), row_id="other")
    lines = [as_line(GOOD), odd if isinstance(odd, str) else as_line(odd), as_line(other)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    found = list(validate.validate([path], Rules(office()), 0.8, processes=1))
    assert len(found) == 3
    accepted = [one.signature.id for one in found if isinstance(one, validate.Accepted)]
    assert {"other"} <= set(accepted) <= {"other", "row-1", "odd"}
    for one in found:
        if isinstance(one, validate.Rejected):
            assert one.message
            assert one.code


def test_a_schema_that_nests_too_deep_says_so() -> None:
    assert tool_fault(Tool("t", "", nested(150))) == "parameters nests more than 100 deep"


# Values stand whole


@pytest.mark.parametrize(
    ("value", "conversation_", "stands"),
    [
        ("Tom", "Call me tomorrow", False),
        ("Tom", "Call Tom tomorrow", True),
        ("Ann", "About the planning", False),
        ("A30", "Book A301", False),
        ("A301", "幫我訂A301會議室", True),
        ("lee@example.co", "Write to bob.lee@example.com", False),
        ("bob.lee@example.com", "Write to bob.lee@example.com.", True),
        ("", "Anything", False),
        (".", "Anything", False),
        ("Quarterly layoffs", "Email 王小明 about lunch", False),
        ("monthly reports", "Find the monthly report", True),
        ("報告", "幫我找季報告", True),
        ("月球旅行", "幫我找季報告", False),
    ],
)
def test_a_value_stands_whole_and_not_inside_another_word(value: str, conversation_: str, stands: bool) -> None:
    assert (not list(unsaid("x", value, {}, conversation_))) is stands


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("set it to -18 degrees", -18),
        ("零下18度", -18),
        ("負五度", -5),
        ("minus four", -4),
        ("兩萬五", 25_000),
        ("三百五", 350),
        ("3萬5", 35_000),
        ("一點五倍", 1.5),
        ("one hundred and twenty chairs", 120),
        ("two thousand five hundred", 2500),
        ("a two-star hotel", 2),
    ],
)
def test_numbers_are_heard_as_people_say_them(text: str, number: float) -> None:
    assert number in {float(found) for found in numbers(text)}


def test_a_range_and_a_code_name_no_number_below_zero() -> None:
    assert -301 not in numbers("room A-301")
    assert -5 not in numbers("3-5 people")


def test_an_enum_whose_name_ends_like_a_moment_is_none() -> None:
    schema = {"type": "object", "properties": {"meal_time": {"type": "string", "enum": ["breakfast", "lunch"]}}}
    row = conversation(
        User("Log lunch."),
        Calls((Call("log", {"meal_time": "lunch"}),)),
        language=Language.EN,
        tools=(Tool("log", "", schema),),
    )
    assert Rules().first_failure(row) is None


# Turns


def test_marked_facts_stand_in_the_result() -> None:
    failure = Rules().first_failure(loop("預算為 500 萬。", facts=("500 萬",)))
    assert failure
    assert failure.code == "unfaithful_reply"
    assert "messages[3] marks '500 萬', which the result does not hold" in failure.message


def test_a_result_belongs_to_a_call_and_a_name_to_one_tool() -> None:
    row = loop("預算為 300 萬。")
    twice = replace(row, messages=(*row.messages[:4], row.messages[3], *row.messages[4:]))
    failure = Rules().first_failure(twice)
    assert failure
    assert (failure.code, "which no call before it waits for" in failure.message) == ("incomplete_roles", True)
    doubled = Rules().first_failure(replace(row, tools=(QUERY, QUERY)))
    assert doubled
    assert (doubled.code, "tools holds 'query_database' 2 times" in doubled.message) == ("bad_tool_schema", True)


def test_a_category_that_its_turns_do_not_have_is_pointed_out() -> None:
    row = loop("預算為 300 萬。")
    assert fitting(row) == (Category.FULL_LOOP,)
    assert [w.code for w in Rules().warnings(replace(row, category=Category.NO_TOOL))] == ["odd_category"]
    assert not list(Rules().warnings(row))
    assert isinstance(row.messages[0], System)
    assert isinstance(row.messages[3], Result)


# Schemas as pydantic writes them

PYDANTIC = {
    "type": "object",
    "properties": {
        "unit": {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]},
        "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "visit": {"$ref": "#/$defs/Visit"},
    },
    "$defs": {
        "Unit": {"enum": ["celsius"]},
        "Visit": {"type": "object", "properties": {"at": {"$ref": "#/$defs/Day"}}},
        "Day": {"type": "string", "format": "date"},
    },
}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"unit": "celsius"}, None),
        ({"when": "this friday 15:00"}, None),
        ({"visit": {"at": "this friday"}}, None),
        ({"visit": {"at": "2026-03-04"}}, "hardcoded_date"),
        ({"when": "2026-03-04T10:00"}, "hardcoded_date"),
    ],
)
def test_a_reference_and_an_optional_value_are_judged_as_what_they_stand_for(
    params: dict[str, Any], code: str | None
) -> None:
    row = conversation(
        User("Set it for Friday at 3pm."),
        Calls((Call("t", params),)),
        language=Language.EN,
        tools=(Tool("t", "", PYDANTIC),),
    )
    failure = Rules().first_failure(row)
    assert (failure.code if failure else None) == code
