"""What is right, why an answer is wrong, and the numbers made of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import Called, Outcome, Unparsed, read_answer, write_calls
from callwright.matching import Wanted, wanted_of
from callwright.metrics import Judged, accuracy, comparison, mcnemar, metrics, wilson
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, Tool, User
from callwright.score import call_fault, expected_outcome, gold, turns_fault, verdict
from tests.rows import REQUEST, ROOM, ROOT, calling, conversation, document_row, generated, loop

A, B = Call("query_database", {"query_str": "budget"}), Call("book_room", {"room": "A301", "people": 14})


def at(start_time: str) -> Call:
    return Call("add_calendar_event", {"title": "預算審核", "start_time": start_time})


AT = at("tomorrow 15:00")


def asked(*calls: Call) -> Example:
    return conversation(User(REQUEST), Calls(calls))


def reason(row: Example, text: str) -> str | None:
    found = verdict(row, read_answer(text))
    assert found.correct is (found.reason is None) is (found.detail is None)
    return found.reason


def detail(row: Example, *calls: Call) -> str | None:
    return verdict(row, Called(calls)).detail


# Calls


def test_the_gold_answer_of_every_generated_row_is_right() -> None:
    for row in generated():
        turn = gold(row)
        text = write_calls(turn.calls) if isinstance(turn, Calls) else turn.content
        found = verdict(row, read_answer(text))
        assert found.correct, (row.id, found)
        assert found.outcome is expected_outcome(row)


def test_calls_are_a_multiset() -> None:
    row = asked(A, B, A)
    assert all(verdict(row, Called(calls)).correct for calls in ((A, B, A), (B, A, A), (A, A, B)))
    assert verdict(row, Called((A, B))).reason == "wrong_count"
    assert verdict(row, Called((A, B, B))).reason == "wrong_tool"
    assert verdict(row, Called((A, B, A, A))).reason == "wrong_count"


@pytest.mark.parametrize(
    "call",
    [
        Call("book_room", {"people": 14.0, "room": "A301"}),
        Call("book_room", {"room": "Ａ３０１", "people": 14}),
        Call("book_room", {"room": "a301", "people": 14}),
    ],
)
def test_a_value_that_is_the_same_by_schema_is_right(call: Call) -> None:
    assert verdict(asked(B), Called((call,))).correct


@pytest.mark.parametrize(
    ("call", "expected", "sentence"),
    [
        (Call("book_rooms", {}), "unknown_tool", "there is no tool 'book_rooms'"),
        (
            Call("book_room", {"room": "A301", "seats": 14}),
            "unknown_param",
            "book_room has no parameter 'seats'; it has room, start_time, people, names, priority, hybrid",
        ),
        (Call("book_room", {"people": 14}), "missing_param", "book_room requires 'room'"),
        (Call("book_room", {"room": "A301", "people": "14"}), "wrong_type", 'book_room.people: "14" is not of type'),
        (Call("book_room", {"room": "A301", "people": True}), "wrong_type", "book_room.people: true is not of type"),
        (Call("book_room", {"room": "A301", "people": 14.5}), "wrong_type", "book_room.people: 14.5 is not of type"),
        (Call("book_room", {"room": "A301", "names": [1]}), "wrong_type", "book_room.names.0: 1 is not of type"),
        (Call("book_room", {"room": "A301", "priority": "mid"}), "not_in_enum", 'book_room.priority: "mid" is not one'),
        (Call("book_room", {"room": "A301", "people": 99}), "bad_value", "book_room.people: 99 is greater than"),
        (Call("query_database", {"query_str": "A301"}), "wrong_tool", "query_database is called; expected book_room"),
        (Call("book_room", {"room": "A301"}), "wrong_params", "book_room: people is left out"),
        (
            Call("book_room", {"room": "A301", "people": 14, "hybrid": True}),
            "wrong_params",
            "book_room: hybrid is not asked for",
        ),
        (
            Call("book_room", {"room": "A302", "people": 14}),
            "wrong_value",
            "book_room: room is 'A302'; expected 'A301'",
        ),
        (Call("book_room", {"room": "A301", "people": 15}), "wrong_value", "book_room: people is 15; expected 14"),
    ],
)
def test_a_wrong_call_has_its_first_reason_and_a_sentence(call: Call, expected: str, sentence: str) -> None:
    found = verdict(asked(B), Called((call,)))
    assert (found.correct, found.outcome, found.reason) == (False, Outcome.CALL, expected)
    assert found.detail
    assert found.detail.startswith(sentence)


def test_the_reason_is_that_of_the_call_that_fits_none() -> None:
    wrong = at("tomorrow 16:00")
    assert (
        detail(asked(A, AT), wrong, A)
        == "add_calendar_event: start_time is 'tomorrow 16:00'; expected 'tomorrow 15:00'"
    )
    assert verdict(asked(A, AT), Called((A, A))).reason == "wrong_tool"


def test_a_moment_in_another_spelling_is_right_and_a_date_is_not() -> None:
    assert reason(asked(AT), write_calls((at("tomorrow at 3pm"),))) is None
    assert reason(asked(AT), write_calls((at("2026-03-04T15:00"),))) == "hardcoded_date"


@pytest.mark.parametrize("start_time", ["2026-03-03T15:00", "2026/3/3 15:00", "2026-03-03", " 2026-03-03 15:00"])
def test_a_date_that_nobody_said_is_hard_coded_even_where_it_means_the_same(start_time: str) -> None:
    found = verdict(asked(AT), Called((at(start_time),)))
    assert (found.correct, found.reason) == (False, "hardcoded_date")
    assert found.detail == (
        f"add_calendar_event.start_time is {start_time!r}, a date nobody said; "
        "expected a moment such as 'tomorrow 15:00'"
    )


def test_a_date_that_the_conversation_holds_is_the_moment_that_it_means() -> None:
    row = conversation(User("三月三日下午三點排預算審核"), Calls((AT,)))
    assert verdict(row, Called((at("2026-03-03T15:00"),))).correct
    assert verdict(row, Called((at("2026-03-04T15:00"),))).reason == "hardcoded_date"
    told = conversation(
        User("排在到期日"), Calls((A,)), Result("query_database", '{"due": "2026-03-03"}'), Calls((at("2026-03-03"),))
    )
    assert verdict(told, Called((at("tomorrow"),))).correct
    assert verdict(told, Called((at("2026-03-03"),))).correct


def test_a_date_that_the_row_itself_writes_is_not_held_against_an_answer() -> None:
    row = asked(at("2026-05-01T15:00"))
    assert verdict(row, Called((at("2026-05-01 15:00"),))).correct
    assert verdict(row, Called((at("2026-05-02 15:00"),))).reason == "hardcoded_date"


def test_relative_times_are_compared_at_the_clock_that_is_given() -> None:
    row, answer = asked(at("this friday")), Called((at("in 4 days"),))
    assert verdict(row, answer).correct  # on a Monday
    assert verdict(row, answer, datetime(2026, 3, 3, 9)).reason == "wrong_value"  # noqa: DTZ001 - on a wall


@pytest.mark.parametrize("start_time", ["明天下午三點", "soon", "tomorrow 25:00", "next week", ""])
def test_what_is_no_moment_where_one_is_right_is_a_bad_relative_time(start_time: str) -> None:
    found = verdict(asked(AT), Called((at(start_time),)))
    assert (found.correct, found.reason) == (False, "bad_relative_time")
    assert found.detail == f"add_calendar_event: start_time is {start_time!r}; expected 'tomorrow 15:00'"
    assert verdict(asked(at("soon")), Called((at("later"),))).reason == "wrong_value"


def test_a_text_has_the_format_that_its_schema_names() -> None:
    mail = Tool(
        "send",
        "",
        {"type": "object", "properties": {"to": {"type": "string", "format": "email"}, "cc": {"type": "string"}}},
    )
    row = conversation(User("寄信"), Calls((Call("send", {"to": "amy@a.example"}),)), tools=(mail,))
    found = verdict(row, Called((Call("send", {"to": "Amy"}),)))
    assert (found.reason, found.detail) == ("bad_value", "send.to is 'Amy', which is no email")
    assert verdict(row, Called((Call("send", {"to": "AMY@a.example"}),))).reason == "wrong_value"
    assert verdict(row, Called((Call("send", {"to": "amy@a.example"}),))).correct


def test_a_default_given_or_left_out_is_the_same_call() -> None:
    find = Tool(
        "find", "", {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer", "default": 10}}}
    )
    short, long = Call("find", {"q": "a"}), Call("find", {"n": 10, "q": "a"})
    for one, other in ((short, long), (long, short)):
        assert verdict(conversation(User("a"), Calls((one,)), tools=(find,)), Called((other,))).correct
    other = Call("find", {"q": "a", "n": 11})
    row = conversation(User("a"), Calls((short,)), tools=(find,))
    assert verdict(row, Called((other,))).reason == "wrong_value"
    assert detail(row, other) == "find: n is 11; expected 10"


def test_the_nearest_of_the_calls_that_are_left_says_what_is_wrong() -> None:
    first, second = Call("book_room", {"room": "A301", "people": 3}), Call("book_room", {"room": "B202", "people": 5})
    row = asked(first, second)
    assert detail(row, first, Call("book_room", {"room": "B202", "people": 6})) == "book_room: people is 6; expected 5"
    assert detail(row, Call("book_room", {"room": "B202", "people": 6}), second) is not None


def test_any_of_several_right_answers_is_right() -> None:
    row = conversation(User("查"), Calls((A,), also=((B,), (A, AT))))
    assert all(verdict(row, Called(calls)).correct for calls in ((A,), (B,), (AT, A)))
    assert verdict(row, Called((A, B))).reason == "wrong_count"
    wrong = Call("query_database", {"query_str": "x"})
    assert detail(row, wrong) == "query_database: query_str is 'x'; expected 'budget'"


def test_a_turn_of_no_calls_wants_none() -> None:
    row = asked()
    assert expected_outcome(row) is Outcome.ANSWER
    assert reason(row, "好的。") is None
    assert reason(row, write_calls((A,))) == "needless_call"
    assert reason(row, "") == "unparsed"


# Chains


def test_in_a_chained_row_the_order_of_calls_counts() -> None:
    row = replace(asked(A, B), category=Category.CHAINED)
    assert verdict(row, Called((A, B))).correct
    found = verdict(row, Called((B, A)))
    assert found.reason == "wrong_order"
    assert found.detail == "call 1 is book_room too early or too late; the order counts here"
    assert verdict(replace(row, category=Category.PARALLEL), Called((B, A))).correct


TOOLS = {tool.name: tool for tool in document_row().tools} | {ROOM.name: ROOM}


def turns(*called: Sequence[Call]) -> str | None:
    """The reason against the chain A, then B and AT in any order, then A."""
    wanted = [[wanted_of(call, TOOLS[call.tool]) for call in turn] for turn in ((A,), (B, AT), (A,))]
    found = turns_fault(called, wanted, TOOLS)
    return found[0] if found else None


def test_the_turns_of_a_chain_come_in_their_order_and_the_calls_of_a_turn_in_any() -> None:
    assert turns([A], [B, AT], [A]) is None
    assert turns([A], [AT, B], [A]) is None
    assert turns([A], [AT], [B], [A]) is None
    assert turns([B, AT], [A], [A]) == "wrong_order"
    assert turns([A], [A], [B, AT]) == "wrong_order"
    assert turns([A], [B, AT]) == "wrong_count"
    assert turns([A], [B, AT], [A], [A]) == "wrong_count"
    assert turns([A], [B, B], [A]) == "wrong_tool"
    assert turns([A], [B, AT], [Call("nothing", {})]) == "unknown_tool"


def test_a_call_that_needs_a_result_is_not_made_beside_the_call_that_gives_it() -> None:
    assert turns([A, B, AT], [A]) == "wrong_order"
    assert turns([A], [AT, B, A]) == "wrong_order"
    wanted = [[wanted_of(A, None)], [wanted_of(B, None)]]
    assert turns_fault([[A, B]], wanted, None) == (
        "wrong_order",
        "query_database, book_room are called in one answer, where a later one needs the result of an earlier",
    )
    assert turns_fault([], [], None) is None
    assert turns_fault([[], [A], []], [[], [wanted_of(A, None)]], None) is None


# Without tools, and with alternatives, as others call it


def test_without_tools_calls_are_compared_by_their_values_alone() -> None:
    row = conversation(User(REQUEST), Calls((A, AT)), tools=())
    assert verdict(row, Called((AT, A))).reason == "unknown_tool"
    assert verdict(row, Called((at("tomorrow at 3pm"), A)), named_tools=False).correct
    wrong = Call("query_database", {"query": "budget"})
    assert verdict(row, Called((wrong, AT)), named_tools=False).reason == "wrong_params"


def test_alternatives_are_told() -> None:
    wanted = [Wanted("book_room", {"room": ("A301", "B202"), "people": (14,)}, frozenset({"people"}))]
    assert call_fault([Call("book_room", {"room": "b202"})], wanted, TOOLS) is None
    assert call_fault([Call("book_room", {"room": "C"})], wanted, TOOLS) == (
        "wrong_value",
        "book_room: room is 'C'; expected one of ['A301', 'B202']",
    )
    assert call_fault([], wanted, TOOLS) == ("wrong_count", "0 calls where 1 is right")
    dated = [Wanted("add_calendar_event", {"title": ("x",), "start_time": ("2026-05-01",)})]
    day = Call("add_calendar_event", {"title": "x", "start_time": "2026-05-01"})
    assert call_fault([day], dated, TOOLS) is None
    assert call_fault([day], dated, TOOLS, said="May 2") is None


def test_a_broken_call_is_not_an_empty_call() -> None:
    no_params = Tool("list_rooms", "", {"type": "object", "properties": {}})
    row = conversation(User("A301"), Calls((Call("list_rooms", {}),)), tools=(no_params,))
    assert reason(row, '{"tool": "list_rooms", "params": {}}') is None
    for broken in (
        '{"tool": "list_rooms", "params": }',
        '{"tool": "list_rooms"}',
        '{"tool": "list_rooms", "params": "{}"}',
    ):
        assert reason(row, broken) == "unparsed"


TEXT_ROWS = [
    conversation(User("排個審核會"), Reply("請問幾點?", asks=("幾點", "時間")), category=Category.MISSING),
    conversation(User("天氣如何"), Reply("我沒有查天氣的工具。"), category=Category.NO_TOOL),
    loop("預算為 300 萬。"),
    replace(loop("系統忙碌中。", facts=(), content="busy"), category=Category.TOOL_ERROR),
]
CALL_ROWS = [
    asked(A),
    replace(asked(A, AT), category=Category.PARALLEL),
    conversation(User("查"), Calls((A,)), Result("query_database", "A301"), Calls((B,)), category=Category.CHAINED),
]


@pytest.mark.parametrize("row", [*TEXT_ROWS, *CALL_ROWS], ids=lambda row: str(row.category))
def test_unparsable_is_never_right(row: Example) -> None:
    found = verdict(row, Unparsed("{", "line 1: …"))
    assert (found.correct, found.outcome, found.reason, found.detail) == (
        False,
        Outcome.MALFORMED,
        "unparsed",
        "line 1: …",
    )


@pytest.mark.parametrize("row", TEXT_ROWS, ids=lambda row: str(row.category))
def test_a_call_where_text_is_right_is_needless(row: Example) -> None:
    assert reason(row, write_calls((A,))) == "needless_call"


@pytest.mark.parametrize("row", CALL_ROWS, ids=lambda row: str(row.category))
def test_text_where_a_call_is_right_is_no_call(row: Example) -> None:
    assert reason(row, "好的,馬上辦。") == "no_call"
    turn = gold(row)
    assert isinstance(turn, Calls)
    assert reason(row, write_calls(turn.calls)) is None


# Bad input

HOSTILE = [
    ('{"tool": "query_database", "params": {"query_str": "bud', "cut off"),
    ('{"tool": "query_database", "params": {"query_str": "budget"}', "cut off at the end"),
    ('Sure: {"tool": "query_da', "cut off in prose"),
    (f"好的,馬上查。\n{write_calls((A,))}", "a call behind prose"),
    (f"{write_calls((A,))}\n查好了。", "prose behind a call"),
    (f"```json\n{write_calls((A,))}\n```", "in a fence"),
    (f"```\n{write_calls((A,))}\n```", "in a plain fence"),
    ('<tool_call>{"name": "query_database", "arguments": {"query_str": "budget"}}</tool_call>', "as Qwen does"),
    ('<tool_call>\n{"name": "query_database", "arguments": {"query_str": "budget"}}\n</tool_call>', "in three lines"),
    ("<tool_call>query_database</tool_call>", "a mark and a name"),
    ('[TOOL_CALLS] [{"name": "query_database", "arguments": {"query_str": "budget"}}]', "as Mistral does"),
    ("<|python_tag|>query_database.call(query_str=budget)", "as Llama does"),
    ('<function=query_database>{"query_str": "budget"}</function>', "as Llama's other form"),
    ('{"name": "query_database", "parameters": {"query_str": "budget"}}', "as Llama's JSON"),
    ('I call {"name": "query_database", "parameters": {"query_str": "budget"}} now.', "JSON of another form in prose"),
    ("{'tool': 'query_database', 'params': {'query_str': 'budget'}}", "as Python prints it"),
    ("好的 {'tool': 'query_database', 'params': {'query_str': 'budget'}}", "as Python prints it, in prose"),
    ('query_database(query_str="budget")', "as Python calls"),
    ('print(query_database(query_str="budget"))', "as Python prints"),
    ("query_database(query_str=budget)", "without quotes"),
    ('query_database("budget")', "by place"),
    ("[query_database(query_str='budget')]", "in a list, as BFCL asks"),
    ("我會呼叫 query_database(query_str='budget') 來查。", "as Python, in prose"),
    ("Thought: 要查\nAction: query_database\nAction Input: budget", "in steps"),
    ("tool: query_database\nparams:\n  query_str: budget", "as YAML"),
    ('<invoke name="query_database"><parameter name="query_str">budget</parameter></invoke>', "as XML"),
    ('{"tool": "query_database", "params": ' + '{"a": ' * 1000 + "1" + "}" * 1001, "nested 1,000 deep"),
    ('{"tool": "query_database", "params": {"query_str": ' + "[" * 100_000, "brackets"),
    ('{"tool": "query_database", "params": {"query_str": NaN}}', "NaN"),
    ('{"tool": "query_database", "params": {"query_str": 1e999}}', "beyond a float"),
    ('{"tool": "query_database", "params": {"query_str": ' + "9" * 5000 + "}}", "beyond an int's digits"),
    ('{"tool": "query_database", "params": {"query_str": "\\ud83d"}}', "half of a sign, written"),
    ('{"tool": "query_database", "params": {"query_str": "\ud83d"}}', "half of a sign"),
    ("", "nothing"),
    ("\n \t", "white space"),
]


@pytest.mark.parametrize("text", [text for text, _ in HOSTILE], ids=[name for _, name in HOSTILE])
@pytest.mark.parametrize("row", [*TEXT_ROWS, *CALL_ROWS], ids=lambda row: str(row.category))
def test_a_call_that_is_broken_or_in_another_form_is_malformed_and_right_nowhere(row: Example, text: str) -> None:
    found = verdict(row, read_answer(text))
    assert (found.correct, found.outcome, found.reason) == (False, Outcome.MALFORMED, "unparsed")
    (found.detail or "").encode()


@pytest.mark.parametrize(
    "text",
    [
        'In Python:\nprint("hello")',
        "我沒有查天氣的工具,只有 query_database。",
        'There is no "tool" for that.',
        "The function takes a name and parameters: none of them fits.",
        "query_database(query_str) 只能查資料庫。",
        "Sure (I think).",
        "會議室(A301)可容納 14 人。",
        "Meeting(s)",
        "a < b, and f(x) = 3",
        "Use the <b> tag.",
        "行動:先等一等。",
        "Action: none.",
        "1 == 1",
    ],
)
def test_prose_is_prose_though_it_names_a_tool(text: str) -> None:
    found = verdict(TEXT_ROWS[1], read_answer(text))
    assert (found.correct, found.outcome) == (True, Outcome.ANSWER)
    assert reason(asked(A), text) == "no_call"


@pytest.mark.parametrize(
    "value",
    [
        "'; DROP TABLE budgets; --",
        "SELECT * FROM budgets WHERE name = 'x' OR 1=1",
        "../../etc/passwd",
        "__import__('os').system('ls')",
        "{{ 7*7 }} ${HOME} %s {0}",
        "\x00\x1b[31m",
    ],
)
def test_whatever_stands_in_a_value_is_a_value(value: str) -> None:
    call = Call("query_database", {"query_str": value})
    assert reason(asked(call), write_calls((call,))) is None
    assert reason(asked(A), write_calls((call,))) == "wrong_value"


def test_params_nested_beyond_reason_are_a_wrong_call() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    found = verdict(asked(A), Called((Call("query_database", {"query_str": deep}),)))
    assert (found.correct, found.outcome, found.reason) == (False, Outcome.CALL, "bad_value")
    found = verdict(asked(A), Called((Call("query_database", {"query_str": deep}),)), named_tools=False)
    assert (found.correct, found.reason, found.detail) == (False, "bad_value", "it nests too deep to be judged")


def test_a_value_of_any_size_fits_into_a_sentence() -> None:
    for value in ("長" * 100_000, 10**5000, "\ud83d"):
        found = verdict(asked(A), Called((Call("query_database", {"query_str": value}),)), named_tools=False)
        assert found.reason == "wrong_value"
        assert len(found.detail or "") < 400
        (found.detail or "").encode()
    found = verdict(asked(A), Called((Call("長" * 100_000, {}),)), named_tools=False)
    assert found.reason == "wrong_tool"
    assert len(found.detail or "") < 400


def test_ten_thousand_calls_are_judged_at_once() -> None:
    calls = tuple(Call("book_room", {"room": f"A{i}", "people": i % 50 + 1}) for i in range(10_000))
    began = time.process_time()
    assert verdict(asked(A), Called(calls)).reason == "wrong_count"
    assert verdict(asked(A), read_answer(write_calls(calls))).reason == "wrong_count"
    assert time.process_time() - began < 2
    assert verdict(asked(*calls), Called(calls[::-1])).correct
    assert verdict(asked(*calls), Called((*calls[1:], A))).reason == "wrong_tool"


@pytest.mark.parametrize(
    "text",
    [
        '"name": ' * 50_000,
        "a(b=1)" * 50_000,
        "{" * 50_000,
        "?" * 50_000,
        "x. " * 50_000,
        "action: " * 50_000,
        "a\n" * 50_000,
    ],
    ids=lambda text: text[:8],
)
def test_long_nonsense_is_judged_in_no_time(text: str) -> None:
    began = time.process_time()
    for row in (TEXT_ROWS[1], asked(A)):
        verdict(row, read_answer(f"好 {text}"))
    assert time.process_time() - began < 1


def test_scoring_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "prefect", "mlflow", "dvc", "numpy", "scipy", "pydantic", "rich", "jsonschema_rs")
    code = f"import sys, callwright.score, callwright.predictions; print([n for n in {heavy} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert ran.stdout.strip() == "[]"


# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("請問幾點?", None),
        ("請問幾點？", None),
        ("什麼時間好呢﹖", None),
        ("請問要訂哪一間?", "not_asked"),
        ("請告訴我時間。", "not_asked"),
        ("好的。", "not_asked"),
    ],
)
def test_missing_is_right_if_the_reply_asks_for_the_missing_value(text: str, expected: str | None) -> None:
    assert reason(TEXT_ROWS[0], text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("沒有這種工具。", None),
        ("抱歉 3 次", None),
        ("您要查哪裡?", "needless_question"),
        ("哪裡？", "needless_question"),
    ],
)
def test_no_tool_is_right_if_nothing_is_called_and_nothing_asked(text: str, expected: str | None) -> None:
    assert reason(TEXT_ROWS[1], text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("預算為 300 萬。", None),
        ("預算為３００ 萬。", None),
        ("預算是 3,000,000 元。", None),
        ("It is 3M.", None),
        ("預算為 301 萬。", "fact_left_out"),
        ("預算為 300。", "fact_left_out"),
        ("預算查好了。", "fact_left_out"),
        ("預算為 300 萬,共 4 筆。", "invented_number"),
        ("2026 預算為 300 萬。", "invented_number"),
    ],
)
def test_a_loop_is_right_if_every_fact_is_told_and_no_other_number(text: str, expected: str | None) -> None:
    assert reason(TEXT_ROWS[2], text) == expected


def test_the_documents_own_reply_is_right_for_its_own_result() -> None:
    assert reason(loop("", facts=("2026", "3M"), content="2026 budget = 3M"), "2026 預算為 300 萬") is None


def test_a_number_inside_a_longer_one_is_not_told_and_a_code_is_told_to_the_letter() -> None:
    assert reason(loop("", facts=("14",)), "編號 1441。") == "fact_left_out"
    assert reason(loop("", facts=("0912",)), "分機 912。") == "fact_left_out"
    assert reason(loop("", facts=("0912",)), "分機 0912。") is None
    assert reason(loop("", facts=("臺北", "1.5")), "台北,1.5 倍") is None
    assert reason(loop("", facts=("1,441",)), "編號 1441，謝謝。") is None


def test_a_run_of_digits_that_is_no_number_is_told_to_the_letter() -> None:
    code = "7" * 60
    assert reason(loop("", facts=(code,), content=code), f"編號 {code}。") is None
    assert reason(loop("", facts=(code,), content=code), f"編號 {code}7。") == "invented_number"
    assert reason(loop("", facts=(code,), content=code), f"編號 {code[1:]}。") == "fact_left_out"
    assert reason(TEXT_ROWS[3], f"忙碌中 {code}") == "invented_number"
    assert reason(TEXT_ROWS[3], "忙碌中 " + "9" * 5000) == "invented_number"
    assert reason(TEXT_ROWS[2], "預算為 300 萬 3." + "9" * 60) == "invented_number"


@pytest.mark.parametrize(
    "run", ["億" * 100_000, " million" * 30_000, "三" * 100_000, "百千" * 50_000, "1,1" * 9_000], ids=range(5)
)
def test_a_model_that_does_not_stop_counting_is_judged_in_no_time(run: str) -> None:
    began = time.process_time()
    for row in TEXT_ROWS:
        for number in ("1.5", "1", "one"):
            found = verdict(row, read_answer(f"預算為 300 萬 {number}{run}?"))
            assert found.outcome is Outcome.ASK
            assert len(found.detail or "") <= 500
    assert time.process_time() - began < 5


@given(st.text() | st.text("0123456789.,%百千萬億kmM三半十 -+½²٣"))
def test_whatever_a_model_says_has_a_verdict(text: str) -> None:
    for row in (*TEXT_ROWS, *CALL_ROWS):
        assert verdict(row, read_answer(text)).outcome in Outcome


def test_a_row_that_marks_nothing_is_judged_by_what_can_be_known() -> None:
    asks = conversation(User("排個會"), Reply("請問幾點?"), category=Category.MISSING)
    assert [reason(asks, text) for text in ("哪一天?", "好的。")] == [None, "not_asked"]
    hello = conversation(User("你好"), Reply("您好,需要什麼?"), category=Category.NO_TOOL)
    assert [reason(hello, text) for text in ("您好!", "要查什麼?")] == [None, None]
    unmarked = loop("2026 預算為 300 萬,共 4 筆。", facts=(), content='{"amount": "300 萬"}')
    assert reason(unmarked, "預算為 300 萬。") is None
    assert reason(unmarked, "2026 預算為 300 萬,共 4 筆。") is None
    assert reason(unmarked, "預算為 301 萬。") == "fact_left_out"
    assert reason(unmarked, "預算為 300 萬,共 5 筆。") == "invented_number"
    assert reason(unmarked, "我不知道。") == "fact_left_out"


def test_a_number_that_the_gold_reply_tells_may_be_told() -> None:
    row = loop("2026 預算為 300 萬。")
    assert reason(row, "2026 預算為 300 萬。") is None
    assert reason(row, "2027 預算為 300 萬。") == "invented_number"


def test_a_row_that_does_not_end_with_the_assistant_cannot_be_asked() -> None:
    with pytest.raises(ValueError, match="row-1: the last turn is User, not the assistant's"):
        gold(conversation(User("查")))


# Numbers


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # scipy 1.17.1: binomtest(correct, n).proportion_ci(method="wilson")
        (0, 1, 0.0, 0.793451),
        (1, 1, 0.206549, 1.0),
        (0, 200, 0.0, 0.018845),
        (3, 200, 0.005114, 0.043166),
        (100, 200, 0.431361, 0.568639),
        (200, 200, 0.981155, 1.0),
        (55, 80, 0.579322, 0.778496),
        (29, 48, 0.463104, 0.729792),
    ],
)
def test_the_interval_is_wilsons(correct: int, n: int, low: float, high: float) -> None:
    assert wilson(correct, n) == [low, high]


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    low, high = wilson(correct, n)
    assert 0 <= low <= round(correct / n, 6) <= high <= 1


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        # scipy 1.17.1: binomtest(min(wins, losses), wins + losses, 0.5).pvalue
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (8, 2, 0.109375),
        (2, 8, 0.109375),
        (10, 10, 1.0),
        (84, 1, 4.446095792472524e-24),
        (30, 12, 0.007915897334896727),
        (12, 30, 0.007915897334896727),
        (6000, 4000, 1.7404316412268293e-89),  # 2**10000 is beyond a float
    ],
)
def test_the_p_value_is_mcnemars_exact_one(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p, rel=1e-9, abs=0)


def one(
    row_id: str,
    correct: bool,
    got: Outcome = Outcome.CALL,
    *,
    category: Category = Category.SINGLE,
    language: Language = Language.EN,
    seen: bool = True,
    expected: Outcome = Outcome.CALL,
) -> Judged:
    why = None if correct else "wrong_value" if got is Outcome.CALL else "no_call"
    return Judged(row_id, category, language, seen, correct, got, expected, why)


ROWS = [
    one("1", True),
    one("2", False),
    one("3", False, Outcome.ANSWER, language=Language.ZH_TW),
    one("4", False, language=Language.ZH_TW, seen=False),
    one("5", True, Outcome.ASK, category=Category.MISSING, language=Language.ZH_TW, expected=Outcome.ASK),
]


def test_metrics_have_the_shape_of_the_design() -> None:
    made = metrics(ROWS)
    assert list(made) == ["overall", "by_category", "by_language", "by_offered", "by_tools", "decision", "errors"]
    assert made["overall"] == {"n": 5, "correct": 2, "accuracy": 0.4, "ci95": wilson(2, 5)}
    assert {name: part["n"] for name, part in made["by_category"].items()} == {"missing": 1, "single": 4}
    assert {name: part["correct"] for name, part in made["by_language"].items()} == {"en": 1, "zh-TW": 1}
    assert made["errors"] == {"wrong_value": 2, "no_call": 1}


def test_seen_and_unseen_tools_are_counted_apart() -> None:
    seen, unseen = metrics(ROWS)["by_tools"]["seen"], metrics(ROWS)["by_tools"]["unseen"]
    assert (seen["n"], seen["correct"], unseen["n"], unseen["correct"]) == (4, 2, 1, 0)
    assert seen["by_language"]["zh-TW"] == accuracy([ROWS[2], ROWS[4]])
    assert unseen["by_category"] == {"single": accuracy([ROWS[3]])}


def test_decision_counts_what_was_done_where_what_was_right() -> None:
    assert metrics(ROWS)["decision"] == {
        "call": {"call": 3, "ask": 0, "answer": 1, "malformed": 0},
        "ask": {"call": 0, "ask": 1, "answer": 0, "malformed": 0},
        "answer": {"call": 0, "ask": 0, "answer": 0, "malformed": 0},
    }


def test_without_rows_there_is_no_accuracy() -> None:
    assert accuracy([]) == {"n": 0, "correct": 0, "accuracy": None, "ci95": None}
    assert metrics([])["by_tools"]["unseen"] == accuracy([]) | {"by_language": {}, "by_category": {}}


def better(rows: Sequence[Judged], *right: str) -> list[Judged]:
    return [replace(row, correct=row.id in right) for row in rows]


def test_a_comparison_counts_the_rows_on_which_two_models_differ() -> None:
    assert comparison(better(ROWS, "1", "5"), better(ROWS, "1", "2", "3")) == {
        "wins": 2,
        "losses": 1,
        "p_value": 1.0,
        "regressions": ["missing"],
    }
    same = comparison(ROWS, list(reversed(ROWS)))
    assert (same["wins"], same["losses"], same["regressions"]) == (0, 0, [])


def test_models_that_answered_other_rows_are_not_compared() -> None:
    with pytest.raises(ValueError, match="base and tuned answered different rows; evaluate both again"):
        comparison(ROWS, ROWS[:-1])


def test_what_is_expected_is_call_ask_or_answer() -> None:
    rows = [calling("Book A301", room="A301"), *TEXT_ROWS[:3], document_row()]
    assert [str(expected_outcome(row)) for row in rows] == ["call", "ask", "answer", "answer", "call"]
