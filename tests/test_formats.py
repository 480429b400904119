"""The three row formats against the document's own examples, copied here as it has them (bytes, not only values)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from callwright.formats import instruction, listed_tools, said, signature, system_text, to_alpaca, to_messages, to_pro
from callwright.records import Call, Calls, Category, Language, Message, Reply, Tool, User
from tests.rows import CALENDAR, QUERY, REQUEST, ROOM, conversation, document_row, generated, loop

# Copied from the document, sections 二 to 五.

DOCUMENT_SYSTEM = """你是一位專業助理。你可以使用以下工具:
1. query_database(query_str): 查詢數據庫
2. add_calendar_event(title, start_time): 新增行事曆
如果需要使用工具,請輸出 JSON:
{"tool": "...", "params": {...}}"""

DOCUMENT_OUTPUT = """{"tool": "query_database", "params": {"query_str": "budget"}}
{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "tomorrow 15:00"}}"""

DOCUMENT_PRO = """
{
"instruction": "幫我查一下預算表,並在明天下午三點排個審核會。",
"tools": [
{
"name": "query_database",
"description": "查詢資料庫",
"parameters": {
"type": "object",
"properties": {
"query_str": {"type": "string"}
}
}
},
{
"name": "add_calendar_event",
"description": "新增行事曆",
"parameters": {
"type": "object",
"properties": {
"title": {"type": "string"},
"start_time": {"type": "string"}
}
}
}
],
"output": [
{
"tool": "query_database",
"params": {"query_str": "budget"}
},
{
"tool": "add_calendar_event",
"params": {"title": "預算審核", "start_time": "tomorrow 15:00"}
}
]
}
"""

ROW = document_row(id="office-1")
CALLED = Calls((Call("query_database", {"query_str": "預算"}),))


def test_messages_is_the_documents_row_byte_for_byte() -> None:
    made = to_messages(ROW)
    assert made.pop("id") == "office-1"
    assert made == {
        "messages": [
            {"role": "system", "content": DOCUMENT_SYSTEM},
            {"role": "user", "content": REQUEST},
            {"role": "assistant", "content": DOCUMENT_OUTPUT},
        ]
    }
    assert [list(turn) for turn in made["messages"]] == [["role", "content"]] * 3


def test_alpaca_is_the_documents_row_byte_for_byte_with_the_tools_in_its_system_text() -> None:
    [made] = to_alpaca(ROW)
    assert list(made) == ["id", "system", "instruction", "output"]
    assert made == {
        "id": "office-1",
        "system": DOCUMENT_SYSTEM,
        "instruction": REQUEST,
        "output": DOCUMENT_OUTPUT,
    }


def test_pro_is_the_documents_row_with_its_keys_in_its_order() -> None:
    """The document's tools require nothing; only then are they its bytes."""
    expected = json.loads(DOCUMENT_PRO)
    tools = tuple(Tool(tool["name"], tool["description"], tool["parameters"]) for tool in expected["tools"])
    [made] = to_pro(replace(ROW, tools=tools))
    assert made.pop("id") == "office-1"
    assert json.dumps(made, ensure_ascii=False) == json.dumps(expected, ensure_ascii=False)


def test_the_only_key_beside_the_documents_is_an_id_or_a_reply() -> None:
    for row in generated():
        assert list(to_messages(row)) == ["id", "messages"]
        assert all(list(made) == ["id", "system", "instruction", "output"] for made in to_alpaca(row))
        for made in to_pro(row):
            keys = ["id", "instruction", "tools", "output"]
            assert list(made) == (keys if made["output"] else [*keys, "reply"])


def test_alpacas_system_text_is_that_of_messages_and_its_output_the_last_turn() -> None:
    for row in generated():
        messages = to_messages(row)["messages"]
        made = list(to_alpaca(row))
        assert {one["system"] for one in made} == {messages[0]["content"]}
        assert made[-1]["output"] == messages[-1]["content"]


# Full loops and text


def test_a_loop_in_messages_keeps_the_result_as_a_turn_of_its_tool() -> None:
    assert to_messages(loop("2026 預算為 300 萬"))["messages"][1:] == [
        {"role": "user", "content": "幫我查預算"},
        {"role": "assistant", "content": '{"tool": "query_database", "params": {"query_str": "預算"}}'},
        {"role": "tool", "name": "query_database", "content": '{"amount": "300 萬"}'},
        {"role": "assistant", "content": "2026 預算為 300 萬"},
    ]


def test_a_loop_is_one_alpaca_row_and_one_pro_row_for_each_assistant_turn() -> None:
    row = loop("2026 預算為 300 萬")
    history = """user: 幫我查預算
assistant: {"tool": "query_database", "params": {"query_str": "預算"}}
tool: {"amount": "300 萬"}"""
    first, second = to_alpaca(row)
    assert (first["id"], first["instruction"], first["output"]) == ("row-1#0", "幫我查預算", said(CALLED))
    assert (second["id"], second["instruction"], second["output"]) == ("row-1#1", history, "2026 預算為 300 萬")
    calling, telling = to_pro(row)
    assert (calling["id"], calling["instruction"], calling["output"]) == (
        "row-1#0",
        "幫我查預算",
        [CALLED.calls[0].to_json()],
    )
    assert "reply" not in calling
    assert (telling["id"], telling["instruction"]) == ("row-1#1", history)
    assert (telling["output"], telling["reply"]) == ([], "2026 預算為 300 萬")


def test_a_question_for_a_missing_value_is_text_in_alpaca_and_a_reply_in_pro() -> None:
    row = conversation(User("排個審核會"), Reply("請問幾點?", asks=("幾點",)), category=Category.MISSING)
    [alpaca], [pro] = to_alpaca(row), to_pro(row)
    assert alpaca["output"] == "請問幾點?"
    assert (pro["output"], pro["reply"]) == ([], "請問幾點?")
    assert "asks" not in to_messages(row)["messages"][-1]


def test_nothing_that_marks_a_row_for_scoring_reaches_a_format() -> None:
    for row in generated():
        made = json.dumps([to_messages(row), list(to_alpaca(row)), list(to_pro(row))])
        assert not any(word in made for word in ('"asks"', '"facts"', '"source"', '"split"', '"seed"'))


@pytest.mark.parametrize("turns", [[User("a"), Reply("b"), User("c")], [Reply("b")]])
def test_more_turns_than_a_request_stand_one_a_line_with_their_role(turns: list[Message]) -> None:
    assert instruction(turns) == "\n".join(
        f"{'user' if isinstance(t, User) else 'assistant'}: {said_of(t)}" for t in turns
    )


def said_of(turn: Message) -> str:
    assert isinstance(turn, User | Reply)
    return turn.content


# Tools as text


def test_a_signature_tells_types_choices_and_what_is_optional() -> None:
    assert signature(QUERY) == "query_database(query_str)"
    assert signature(CALENDAR) == "add_calendar_event(title, start_time)"
    assert signature(ROOM) == (
        "book_room(room, start_time?, people?: integer, names?: array, priority?: low|high, hybrid?: boolean)"
    )
    odd = {"type": "object", "properties": {"a": True, "b": {"type": ["string", "null"], "description": "why"}}}
    assert signature(Tool("odd", "", odd)) == "odd(a?, b?: string|null (why))"
    assert signature(Tool("none", "", {"type": "object"})) == "none()"


def test_the_system_text_is_written_in_the_rows_language() -> None:
    assert system_text("You are an assistant.", (QUERY,), Language.EN) == (
        "You are an assistant. You can use these tools:\n"
        "1. query_database(query_str): 查詢數據庫\n"
        "If a tool is needed, output JSON:\n"
        '{"tool": "...", "params": {...}}'
    )


@pytest.mark.parametrize("language", list(Language))
def test_the_names_of_tools_come_back_from_the_system_text(language: Language) -> None:
    text = system_text("一。\n二", (QUERY, ROOM, CALENDAR), language)
    assert listed_tools(text) == ("一。\n二", ("query_database", "book_room", "add_calendar_event"))
    lines = Tool("odd", "1. x(\n2. y(", {"type": "object"})
    assert listed_tools(system_text("", (lines, QUERY), language))[0] == ""


def test_the_documents_system_text_lists_its_tools() -> None:
    assert listed_tools(DOCUMENT_SYSTEM) == ("你是一位專業助理。", ("query_database", "add_calendar_event"))


@pytest.mark.parametrize(
    "text",
    ["", "你是一位專業助理。可以使用工具。", DOCUMENT_SYSTEM + "\n請簡短回答。", DOCUMENT_SYSTEM.replace("{", "(")],
)
def test_a_text_that_is_more_than_a_list_of_tools_stays_whole(text: str) -> None:
    assert listed_tools(text) == (text, ())


def test_without_tools_the_system_text_offers_none() -> None:
    assert to_messages(replace(ROW, tools=()))["messages"][0]["content"] == "你是一位專業助理。"
