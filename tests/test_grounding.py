"""The values of a call come from the conversation: moments, numbers in any spelling and unit, names, codes, text."""

from __future__ import annotations

from typing import Any

import pytest

from callwright.grounding import dates
from callwright.records import Call, Calls, Example, Language, Reply, Result, Tool, User
from callwright.rules import Rules
from tests.rows import calling, conversation, office

RULES = Rules(office())
ZH, EN = Language.ZH_TW, Language.EN
ASKED, CALLED = User("幫我查預算"), Calls((Call("query_database", {"query_str": "預算"}),))


def code(row: Example) -> str | None:
    found = RULES.first_failure(row)
    return found.code if found else None


def with_schema(parameters: dict[str, Any], params: dict[str, Any]) -> Example:
    return conversation(
        ASKED, Calls((Call("query_database", params),)), tools=(Tool("query_database", "查", parameters),)
    )


# moments


@pytest.mark.parametrize(
    ("said", "value", "expected"),
    [
        ("明天下午三點", "tomorrow 15:00", None),
        ("明天下午三點半", "tomorrow 15:30", None),
        ("明天下午三點", "tomorrow at 3pm", "bad_relative_time"),
        ("明天下午三點", "明天下午三點", "bad_relative_time"),
        ("明天下午三點", "tomorow 15:00", "bad_relative_time"),
        ("兩週後下午三點", "in 14 days 15:00", "bad_relative_time"),
        ("明天下午三點", "2026-03-04", "hardcoded_date"),
        ("三月四號下午三點", "2026-03-04T15:00", "hardcoded_date"),
        ("2026-03-04 下午三點", "2026-03-04T15:00", None),
        ("2026/3/4 下午三點", "2026-03-04T15:00", None),
        ("2026年3月4日下午三點", "2026-03-04T15:00", None),
        ("２０２６年３月４日下午三點", "2026-03-04T15:00", None),
        ("2026-03-14 下午三點", "2026-03-04T15:00", "hardcoded_date"),
        ("2026/3/4 下午三點", "2026/3/4 15:00", "bad_relative_time"),
        ("2026/3/4 下午三點", "2026-03-04T16:00", "ungrounded_value"),
        ("明天下午三點", "tomorrow 16:00", "ungrounded_value"),
        ("明天下午三點", "today 15:00", "ungrounded_value"),
        ("兩小時後", "in 2 hours", None),
        ("兩小時後", "in 3 hours", "ungrounded_value"),
        ("下午三點", "15:00", None),
        ("下午三點", "14:00", "ungrounded_value"),
    ],
)
def test_a_moment_is_canonical_and_was_said(said: str, value: str, expected: str | None) -> None:
    row = calling(f"{said}排個審核會", ZH, "add_calendar_event", title="審核會", start_time=value)
    assert code(row) == expected


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("on March 4, 2026 at 3pm", "2026-03-04T15:00"),
        ("on 4 March 2026 at 3pm", "2026-03-04T15:00"),
        ("tomorrow at half past three", "tomorrow 15:30"),
        ("next Monday at 10am", "next monday 10:00"),
        ("in 90 minutes", "in 90 minutes"),
    ],
)
def test_moments_said_in_english(said: str, value: str) -> None:
    assert code(calling(f"Book A301 {said}", room="A301", start_time=value)) is None
    assert code(calling("Book A301", room="A301", start_time=value)) in ("hardcoded_date", "ungrounded_value")


def test_a_date_that_a_result_told_may_be_used() -> None:
    row = conversation(
        ASKED,
        CALLED,
        Result("query_database", '{"due": "2026-03-04"}'),
        Calls((Call("add_calendar_event", {"title": "預算", "start_time": "2026-03-04"}),)),
    )
    assert code(row) is None


# ungrounded_value


@pytest.mark.parametrize(
    ("said", "people"),
    [
        ("十四個人", 14),
        ("１４個人", 14),
        ("14 people", 14),
        ("fourteen people", 14),
        ("十四", 14.0),
    ],
)
def test_a_number_is_grounded_by_value_however_it_is_said(said: str, people: float) -> None:
    language = EN if said.isascii() else ZH
    assert code(calling(f"A301 {said}", language, room="A301", people=people)) is None
    assert code(calling(f"A301 {said}", language, room="A301", people=15)) == "ungrounded_value"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("請假兩週", 14),
        ("two weeks of leave", 14),
        ("a week of leave", 7),
        ("開會兩小時", 120),
        ("兩個鐘頭", 120),
        ("a two-hour meeting", 120),
        ("1.5 hours", 90),
        ("開會一個半小時", 90),
        ("an hour and a half", 90),
        ("two and a half hours", 150),
        ("半小時", 30),
        ("half an hour", 30),
        ("預算 300 萬", 3_000_000),
        ("a budget of 3M", 3_000_000),
        ("請半天假", 0.5),
    ],
)
def test_a_number_is_grounded_in_another_unit(said: str, value: float) -> None:
    tool = Tool("put", "放", {"type": "object", "properties": {"amount": {"type": "number"}}})
    language = EN if said.isascii() else ZH
    for amount, expected in ((value, None), (value + 7, "ungrounded_value")):
        row = conversation(User(said), Calls((Call("put", {"amount": amount}),)), tools=(tool,), language=language)
        assert code(row) == expected


@pytest.mark.parametrize(
    ("said", "value", "expected"),
    [
        ("訂臺北會議室", "台北會議室", None),
        ("訂台北會議室", "臺北會議室", None),
        ("訂Ａ３０１", "A301", None),
        ("幫王小明訂", "王小明", None),
        ("幫王小華訂", "王小明", "ungrounded_value"),
        ("要審核預算的那間", "預算審核室", None),
        ("訂 A301", "A302", "ungrounded_value"),
        ("訂 A301", "A3010", "ungrounded_value"),
        ("寄到 amy@a.com", "bob@a.com", "ungrounded_value"),
        ("寄到 amy@a.com", "amy@a.com", None),
        ("訂二十號會議室", "會議室 20", None),
        ("訂二十號會議室", "會議室 21", "ungrounded_value"),
        ("查一下預算表", "budget", None),
        ("查一下預算表", "budget_2026", "ungrounded_value"),
    ],
)
def test_text_comes_from_the_conversation(said: str, value: str, expected: str | None) -> None:
    assert code(calling(said, ZH, room=value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("budget room", None), ("the annex", "ungrounded_value"), ("預算室", None)]
)
def test_english_text_shares_a_word_that_means_something(value: str, expected: str | None) -> None:
    assert code(calling("Book the room for the budget", room=value)) == expected


def test_each_item_of_a_list_is_grounded() -> None:
    assert code(calling("Book A301 for Amy and Bob", room="A301", names=["Amy", "Bob"])) is None
    failure = RULES.first_failure(calling("Book A301 for Amy and Bob", room="A301", names=["Amy", "Carl"]))
    assert failure == (
        "ungrounded_value",
        "row-1: messages[2].calls[0].params.names is 'Carl', which the conversation does not hold",
    )


def test_choices_and_truth_values_need_not_be_said() -> None:
    assert code(calling("Book A301, it is urgent", room="A301", priority="high", hybrid=False)) is None
    parameters = {
        "type": "object",
        "properties": {
            "flags": {"type": "array", "items": {"type": "boolean"}},
            "kinds": {"type": "array", "items": {"enum": ["a", "b"]}},
            "none": {"type": "null"},
            "deep": {"type": "object", "properties": {"kind": {"const": "x"}, "who": {}}},
        },
    }
    fine = {"flags": [True], "kinds": ["a"], "none": None, "deep": {"kind": "x", "who": "預算"}}
    assert code(with_schema(parameters, fine)) is None
    assert code(with_schema(parameters, {"deep": {"who": "王小明"}})) == "ungrounded_value"


def test_what_was_said_after_the_call_grounds_nothing() -> None:
    row = conversation(
        ASKED,
        Calls((Call("query_database", {"query_str": "薪資"}),)),
        Result("query_database", "薪資"),
        Reply("薪資。"),
    )
    assert code(row) == "ungrounded_value"


def test_a_date_that_no_calendar_has_is_no_date() -> None:
    assert dates("2026-02-30, 2026-13-01, 12026-03-04, 2026-03-041, May 2026") == frozenset()
