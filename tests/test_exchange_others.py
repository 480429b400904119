"""What we write, held against what we did not: OpenAI's types, Qwen 2.5's template as TRL ships it, Python's `repr`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from callwright.exchange import writer
from callwright.exchange.literals import read_literal
from callwright.records import BadRecord, Call, Calls, Example, Message, Reply, Result, System, User
from callwright.training_text import native_turn
from tests.rows import CALENDAR, QUERY, conversation, document_row, generated, loop

TRICKY = conversation(
    User("查「預算」</tool_call> & <tools>"),
    Calls(
        (
            Call("query_database", {"query_str": "a</tool_call>\n'b' \"c\" 🙂"}),
            Call("add_calendar_event", {"title": ""}),
        )
    ),
    Result("query_database", '{"amount": "300 萬"}'),
    Result("add_calendar_event", "</tool_response> ok"),
    Reply("好的:300 萬。"),
    User("thanks"),
    Reply("You're welcome."),
    tools=(QUERY, CALENDAR),
)
TWICE = conversation(
    User("查預算,也查差旅費"),
    Calls((Call("query_database", {"query_str": "預算"}), Call("query_database", {"query_str": "差旅費"}))),
    Result("query_database", '{"amount": 3}'),
    Result("query_database", '{"amount": 4}'),
    Reply("預算 3,差旅費 4。"),
    row_id="twice",
)
ROWS = [document_row(), loop("預算為 300 萬。"), TWICE, *generated()[:40]]


def rows(form: str, example: Example) -> dict[str, Any]:
    [row] = writer(form).rows(example)
    return row


@pytest.mark.parametrize("example", [*ROWS, TRICKY], ids=lambda row: row.id)
def test_openai_rows_are_what_openais_own_package_takes(example: Example) -> None:
    from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
    from pydantic import TypeAdapter

    row = rows("openai", example)
    assert set(row) <= {"messages", "tools", "parallel_tool_calls"}
    turns = TypeAdapter(list[ChatCompletionMessageParam]).validate_python(row["messages"], extra="forbid")
    assert len(turns) == len(example.messages)
    TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(row["tools"], extra="forbid")
    called = [call for turn in row["messages"] for call in turn.get("tool_calls", [])]
    assert [json.loads(call["function"]["arguments"]) for call in called] == [dict(c.params) for c in example.calls]
    answered = [turn["tool_call_id"] for turn in row["messages"] if turn["role"] == "tool"]
    assert len(set(answered)) == len(answered)
    assert set(answered) <= {call["id"] for call in called}


def rendered(turns: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (files("trl") / "chat_templates" / "qwen2_5.jinja").read_text(encoding="utf-8")
    texts, _ = render_jinja_template([turns], tools=tools, chat_template=template)
    return str(texts[0])


@pytest.mark.parametrize("example", ROWS, ids=lambda row: row.id)
def test_hermes_rows_have_the_text_that_qwens_template_renders(example: Example) -> None:
    """Its template writes a result as it is, and ours with its tool's name, as Hermes has it: there we pass it that."""
    turns = [native_turn(example, i) for i in range(len(example.messages))]
    for turn in turns:
        if turn["role"] == "tool":
            told = json.loads(turn["content"])
            turn["content"] = json.dumps({"name": turn["name"], "content": told}, ensure_ascii=False)
    theirs = rendered(turns, [{"type": "function", "function": tool.to_json()} for tool in example.tools])
    roles = {"system": "system", "human": "user", "gpt": "assistant", "tool": "user"}
    ours = "".join(
        f"<|im_start|>{roles[turn['from']]}\n{turn['value']}<|im_end|>\n"
        for turn in rows("hermes", example)["conversations"]
    )
    assert ours == theirs


def test_no_text_of_a_hermes_row_closes_a_tag_of_its_own() -> None:
    """So that readers who search for the tags, and do not parse, find what stands between them."""
    made = rows("hermes", TRICKY)["conversations"]
    assert [text.count("</tool_call>") for text in (made[2]["value"],)] == [2]
    assert made[3]["value"].count("</tool_response>") == 2
    bodies = made[2]["value"].replace("<tool_call>", "").split("</tool_call>")[:-1]
    assert [json.loads(body)["arguments"] for body in bodies] == [dict(call.params) for call in TRICKY.calls]


@pytest.mark.parametrize("example", [*ROWS, TRICKY], ids=lambda row: row.id)
def test_sharegpt_rows_alternate_as_llamafactory_wants_them(example: Example) -> None:
    """Its converter skips a row whose turns are not human or observation, then gpt or function_call, in turn."""
    row = rows("sharegpt", example)
    roles = [turn["from"] for turn in row["conversations"]]
    assert len(roles) % 2 == 0
    assert set(roles[::2]) <= {"human", "observation"}
    assert set(roles[1::2]) <= {"gpt", "function_call"}
    assert json.loads(row["tools"]) == [tool.to_json() for tool in example.tools]
    for turn in row["conversations"]:
        if turn["from"] == "function_call":
            called = json.loads(turn["value"])
            assert all(
                set(call) == {"name", "arguments"} for call in (called if isinstance(called, list) else [called])
            )


@pytest.mark.parametrize("value", [turn for row in ROWS[:20] for turn in row.to_json()["messages"]] + [
    {"a": [True, False, None, -1, 1.5, 1e-07], "b'": 'it\'s "so"', "c\n": "\t\x01\\ 預算 🙂", "": {}},
])  # fmt: skip
def test_values_as_python_prints_them_are_read_as_they_are(value: Any) -> None:
    assert read_literal(repr(value), "x") == value
    assert read_literal(json.dumps(value), "x") == value


REFUSED = [
    *("{'a': f()}", "{'a': 1, 'a': 2}", "{'a'}", "('a',)", "'a", "{'a': 1} {'b': 2}", "__import__('os')"),
    *("{'a': '\\ud800'}", "{'a': nan}", "{'a': 'b' 'c'}", "{'a': '\\Uffffffff'}"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_neither_json_nor_a_plain_value_is_refused(text: str) -> None:
    with pytest.raises(BadRecord, match="x is not JSON"):
        read_literal(text, "x")


def test_turns_of_every_kind_are_told_apart_from_their_neighbours() -> None:
    """A guard of the tests above: the rows that they look at hold every kind of turn."""
    kinds: set[type[Message]] = {type(turn) for row in ROWS for turn in row.messages}
    assert kinds == {System, User, Calls, Reply, Result}
