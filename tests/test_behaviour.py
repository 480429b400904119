"""How scoring behaves as a whole: what may change without changing a verdict, what must change it, and the least of it.

Invariance, direction and minimum, as Ribeiro et al. (CheckList, ACL 2020) name them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from callwright.answers import Called, Outcome, read_answer, write_calls
from callwright.exchange import read_tools
from callwright.moments import Days, OnDay, is_moment, read
from callwright.predictions import Gold, read_gold
from callwright.records import Call, Calls, Category, Example, Reply, User
from callwright.score import Verdict, gold, verdict
from tests.rows import CALENDAR, QUERY, REQUEST, calling, generated

CALLING = [row for row in generated() if isinstance(gold(row), Calls)]


def calls_of(row: Example) -> tuple[Call, ...]:
    turn = gold(row)
    assert isinstance(turn, Calls)
    return turn.calls


# Invariance: another writing of the same calls keeps the verdict, whether it was right or wrong


def in_strings(change: Callable[[str, str], str]) -> Callable[[Call], Call]:
    """Change every text of a call that is no choice: `change` is given the parameter's name and the text."""

    def changed(call: Call) -> Call:
        return Call(call.tool, {name: _changed(name, value) for name, value in call.params.items()})

    def _changed(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [_changed("", item) for item in value]
        return change(name, value) if isinstance(value, str) else value

    return changed


def other_spelling(name: str, text: str) -> str:
    """A moment as someone else would write it."""
    moment = read(text) if is_moment(name, {}) else None
    if not isinstance(moment, OnDay):
        return text
    day, _, hour = text.rpartition(" ") if moment.time else (text, "", "")
    day = "In 1 day" if moment.day == Days(1) else "in 0 days" if moment.day == Days(0) else day.title()
    return f"{day} at {moment.time:%I:%M %p}" if moment.time and hour else day


def wide(text: str) -> str:
    """Full width, as some keyboards write it."""
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


def choices(row: Example) -> set[str]:
    """Values that are to the letter."""
    found = set()
    for tool in row.tools:
        for schema in tool.properties.values():
            found |= {value for value in schema.get("enum", ()) if isinstance(value, str)}
            found |= {value for value in schema.get("items", {}).get("enum", ()) if isinstance(value, str)}
    return found


def rewritten(row: Example, name: str) -> tuple[Call, ...]:
    calls, rng, exact = calls_of(row), Random(7), choices(row)
    if name == "order of calls":
        return tuple(rng.sample(calls, len(calls)))
    if name == "order of parameters":
        return tuple(Call(call.tool, dict(reversed([*call.params.items()]))) for call in calls)
    if name == "floats":
        return tuple(
            Call(call.tool, {key: float(v) if type(v) is int else v for key, v in call.params.items()})
            for call in calls
        )
    change: Callable[[str, str], str] = {
        "width": lambda key, text: text if is_moment(key, {}) else wide(text),
        "case": lambda _, text: text.upper(),
        "marks": lambda key, text: text if is_moment(key, {}) else f"「{text}」。",
        "moments": other_spelling,
    }[name]
    return tuple(in_strings(lambda key, text: text if text in exact else change(key, text))(call) for call in calls)


WRITINGS = ("order of calls", "order of parameters", "floats", "width", "case", "marks", "moments")


@pytest.mark.parametrize("name", WRITINGS)
def test_another_writing_of_the_same_calls_is_right(name: str) -> None:
    changed = 0
    for row in CALLING:
        calls = rewritten(row, name)
        found = verdict(row, Called(calls))
        assert found.correct, (row.id, calls, found)
        changed += write_calls(calls) != write_calls(calls_of(row))
    assert changed


def spoilt(row: Example) -> tuple[Call, ...] | None:
    """The row's calls with another value in the first; None where it has only choices."""
    first, *others = calls_of(row)
    exact = choices(row)
    for name, value in first.params.items():
        if isinstance(value, str) and value not in exact:
            other = "in 9 days 07:10" if is_moment(name, {}) else "something else"
            return (Call(first.tool, {**first.params, name: other}), *others)
    return None


@pytest.mark.parametrize("name", WRITINGS)
def test_a_wrong_call_stays_wrong_in_another_writing(name: str) -> None:
    wrong = [(row, calls) for row in CALLING if (calls := spoilt(row))]
    assert len(wrong) > len(CALLING) / 2
    for row, calls in wrong:
        as_gold = replace(row, messages=(*row.messages[:-1], Calls(calls)))
        for written in (calls, rewritten(as_gold, name)):
            assert verdict(row, Called(written)).reason == "wrong_value"


@pytest.mark.parametrize(("a", "b"), [("台北", "臺北"), ("臺大醫院", "台大醫院")])
def test_two_ways_to_write_tai_are_one(a: str, b: str) -> None:
    row = calling("訂台北", room=a)
    assert verdict(row, Called((Call("book_room", {"room": b}),))).correct


WRONG = Call("no_such_tool", {"text": "台北", "n": 3})


def test_a_paraphrase_of_the_request_keeps_the_verdict() -> None:
    """What is right is the row's calls, however the user asked for them."""
    for row in CALLING:
        other = tuple(
            User(f"麻煩一下,{turn.content} 謝謝!") if isinstance(turn, User) else turn for turn in row.messages
        )
        paraphrase = replace(row, messages=other)
        for calls in (calls_of(row), (*calls_of(row)[1:], WRONG), (*calls_of(row), calls_of(row)[0])):
            assert verdict(paraphrase, Called(calls)) == verdict(row, Called(calls))


# Direction: without the tool that fits, the former call is wrong and a refusal is right


def test_without_the_fitting_tool_the_call_is_wrong_and_a_refusal_right() -> None:
    refusals = {"zh-TW": "抱歉,我沒有可以辦這件事的工具。", "en": "Sorry, I have no tool for that."}
    for row in CALLING:
        called = {call.tool for call in calls_of(row)}
        refusal = refusals[row.language]
        without = replace(
            row,
            category=Category.NO_TOOL,
            tools=tuple(tool for tool in row.tools if tool.name not in called),
            messages=(*row.messages[:-1], Reply(refusal)),
        )
        answer = read_answer(write_calls(calls_of(row)))
        assert verdict(row, answer).correct
        assert verdict(row, read_answer(refusal)).reason == "no_call"
        assert verdict(without, answer).reason == "needless_call"
        assert verdict(without, read_answer(refusal)) == Verdict(correct=True, outcome=Outcome.ANSWER)
        still_wanted = replace(without, messages=row.messages)  # as if the gold had not changed
        assert verdict(still_wanted, answer).reason == "unknown_tool"


def test_more_tools_on_offer_change_no_verdict() -> None:
    every = {tool.name: tool for row in generated() for tool in row.tools}
    for row in CALLING:
        known = {tool.name for tool in row.tools}
        offered = replace(row, tools=(*row.tools, *(tool for name, tool in every.items() if name not in known)))
        assert verdict(offered, Called(calls_of(row))).correct


# Minimum: the document's own example, in its three formats, as it stands there

RIGHT = """{"tool": "query_database", "params": {"query_str": "budget"}}
{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "tomorrow 15:00"}}"""
SYSTEM = """你是一位專業助理。你可以使用以下工具:
1. query_database(query_str): 查詢數據庫
2. add_calendar_event(title, start_time): 新增行事曆
如果需要使用工具,請輸出 JSON:
{"tool": "...", "params": {...}}"""


def bare(name: str, description: str, *params: str) -> dict[str, Any]:
    """A tool of the document's section 四, which requires nothing."""
    properties = {param: {"type": "string"} for param in params}
    return {"name": name, "description": description, "parameters": {"type": "object", "properties": properties}}


DOCUMENT = {
    "messages": {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": REQUEST},
            {"role": "assistant", "content": RIGHT},
        ]
    },
    "alpaca": {"system": "你是一位專業助理。可以使用工具。", "instruction": REQUEST, "output": RIGHT},
    "pro": {
        "instruction": REQUEST,
        "tools": [
            bare("query_database", "查詢資料庫", "query_str"),
            bare("add_calendar_event", "新增行事曆", "title", "start_time"),
        ],
        "output": [json.loads(line) for line in RIGHT.split("\n")],
    },
}


def document(folder: Path, form: str, *, with_tools: bool) -> Gold:
    path, tools = folder / "gold.json", folder / "tools.json"
    path.write_text(json.dumps([DOCUMENT[form]], ensure_ascii=False), encoding="utf-8")
    tools.write_text(json.dumps([QUERY.to_json(), CALENDAR.to_json()]), encoding="utf-8")
    (row,) = read_gold(path, read_tools(tools) if with_tools else ())
    assert row.example.source == {}
    return row


def reason(row: Gold, text: str) -> str | None:
    return verdict(row.example, read_answer(text), named_tools=row.named_tools).reason


@pytest.mark.parametrize("form", DOCUMENT)
@pytest.mark.parametrize("with_tools", [True, False])
def test_the_documents_own_answer_is_right_and_its_faulty_ones_wrong(
    tmp_path: Path, form: str, *, with_tools: bool
) -> None:
    row = document(tmp_path, form, with_tools=with_tools)
    assert row.named_tools is (with_tools or form == "pro")
    named = row.named_tools
    query = '{"tool": "query_database", "params": {"query": "budget_2026"}}'
    dated = '{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "2026-03-04T15:00"}}'
    budget, event = RIGHT.split("\n")
    assert reason(row, RIGHT) is None
    assert reason(row, f"{event}\n{budget}") is None
    assert reason(row, RIGHT.replace("tomorrow 15:00", "tomorrow at 3pm")) is None
    assert reason(row, f"{query}\n{event}") == ("unknown_param" if named else "wrong_params")
    assert reason(row, f"{budget}\n{dated}") == "hardcoded_date"
    assert reason(row, f"{query}\n{dated}") == ("unknown_param" if named else "hardcoded_date")
    assert reason(row, RIGHT.replace("tomorrow 15:00", "明天下午三點")) == "bad_relative_time"
    assert reason(row, budget) == "wrong_count"
    assert reason(row, "好的,馬上辦。") == "no_call"
