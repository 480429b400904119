"""Rows of every format as they are met: the document's own, published sets' spellings, and what is wrong with a row."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from callwright.exchange import FORMATS, Row, Unread, category_of, detect, language_of, read_rows, writer
from callwright.exchange.systems import NEUTRAL
from callwright.records import Call, Calls, Category, Language, Message, Reply, Result, Split, System, Tool, User
from tests.rows import CALENDAR, QUERY, REQUEST, ROOT, document_row, generated, loop
from tests.test_formats import DOCUMENT_OUTPUT, DOCUMENT_PRO, DOCUMENT_SYSTEM

GUIDE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
CALLS = document_row().calls
TURNS = [
    {"role": "system", "content": DOCUMENT_SYSTEM},
    {"role": "user", "content": REQUEST},
    {"role": "assistant", "content": DOCUMENT_OUTPUT},
]
BMI = {
    "name": "calculate_bmi",
    "description": "Body Mass Index",
    "parameters": {
        "type": "object",
        "properties": {"weight": {"type": "number"}, "note": {"type": "string"}},
        "required": ["weight"],
    },
}
BMI_TOOL = Tool(BMI["name"], BMI["description"], BMI["parameters"])  # type: ignore[arg-type]


def read(folder: Path, *rows: Any, form: str | None = None, **given: Any) -> list[Row | Unread]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return list(read_rows(path, form, **given))


def one(folder: Path, row: Any, form: str | None = None, **given: Any) -> Row:
    [found] = read(folder, row, form=form, **given)
    assert isinstance(found, Row), found
    return found


def refused(folder: Path, row: Any, form: str) -> str:
    [found] = read(folder, row, form=form)
    assert isinstance(found, Unread), found
    print(found.message)
    return found.message


# The document's own rows


def test_the_documents_conversation_is_read_without_tools_and_with_them(tmp_path: Path) -> None:
    row = one(tmp_path, {"messages": TURNS})
    assert (row.id, row.number, row.named_tools, row.named_language) == ("0", 0, False, False)
    assert row.example.messages == (System(DOCUMENT_SYSTEM), User(REQUEST), Calls(CALLS))
    assert (row.example.tools, row.example.category, row.example.language) == ((), Category.PARALLEL, Language.ZH_TW)
    given = one(tmp_path, {"messages": TURNS}, tools=(QUERY, CALENDAR))
    assert given.named_tools
    assert given.example.tools == (QUERY, CALENDAR)
    assert given.example.messages[0] == System("你是一位專業助理。")


def test_the_documents_alpaca_row_is_read(tmp_path: Path) -> None:
    document = {"system": "你是一位專業助理。可以使用工具。", "instruction": REQUEST, "output": DOCUMENT_OUTPUT}
    row = one(tmp_path, document, tools=(QUERY, CALENDAR))
    assert row.example.messages == (System(document["system"]), User(REQUEST), Calls(CALLS))
    assert row.example.tools == (QUERY, CALENDAR)


def test_the_documents_pro_row_is_read_as_it_stands_there_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "pro.json"
    path.write_text(DOCUMENT_PRO, encoding="utf-8")
    assert detect(path) == "pro"
    [row] = read_rows(path)
    assert isinstance(row, Row)
    assert row.named_tools
    assert row.example.messages == (System(NEUTRAL[Language.ZH_TW]), User(REQUEST), Calls(CALLS))
    assert [tool.parameters.get("required") for tool in row.example.tools] == [None, None]


def test_the_documents_faulty_row_is_read_as_it_is_and_judged_elsewhere(tmp_path: Path) -> None:
    faulty = (
        '{"tool": "query_database", "params": {"query": "budget_2026"}}\n'
        '{"tool": "add_calendar_event", "params": {"title": "預算審核", "start_time": "2026-03-04T15:00"}}'
    )
    row = one(tmp_path, {"instruction": REQUEST, "output": faulty}, tools=(QUERY, CALENDAR))
    assert row.example.calls[0].params == {"query": "budget_2026"}
    assert not any(isinstance(turn, System) for turn in row.example.messages), "a missing system turn stays missing"


def test_tools_given_beside_a_list_of_them_are_those_of_the_list(tmp_path: Path) -> None:
    other = Tool("other", "", {"type": "object", "properties": {}})
    renamed = Tool("query_database", "another description", QUERY.parameters)
    row = one(tmp_path, {"messages": TURNS}, tools=(other, CALENDAR, renamed))
    assert row.example.tools == (renamed, CALENDAR)
    unknown = one(tmp_path, {"messages": TURNS}, tools=(other, CALENDAR))
    assert unknown.example.messages[0] == System(DOCUMENT_SYSTEM), "a list that names more than is known stays"
    assert unknown.example.tools == (other, CALENDAR)


# Each format is known by its rows


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "glaive"])
def test_what_we_write_is_known_by_its_rows(tmp_path: Path, form: str) -> None:
    made = writer(form)
    rows = [row for example in generated()[:60] for row in made.rows(example)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    assert detect(tmp_path / "rows.jsonl") == detect(tmp_path / "rows.json") == form


def test_the_first_row_that_fits_one_format_alone_decides(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calling = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]}
    rows = read(tmp_path, 1, chat, calling)
    assert detect(tmp_path / "rows.jsonl") == "openai"
    assert [isinstance(row, Row) for row in rows] == [False, True, True]
    read(tmp_path, chat)
    assert detect(tmp_path / "rows.jsonl") == "messages"


@pytest.mark.parametrize("form", FORMATS)
def test_the_example_in_the_guide_is_a_row_of_its_format(tmp_path: Path, form: str) -> None:
    """The blocks have rows over several lines, which a file of rows has not."""
    section = GUIDE.partition(f"\n## {form}\n")[2].partition("\n## ")[0]
    text = section.partition("```json\n")[2].partition("```")[0]
    rows, decoder = [], json.JSONDecoder()
    while text.strip():
        row, end = decoder.raw_decode(text := text.lstrip())
        rows.append(row)
        text = text[end:]
    found = read(tmp_path, *rows)
    assert len(found) == len(rows) > 0
    for one_read in found:
        assert isinstance(one_read, Row), one_read
        assert not one_read.warnings
    assert detect(tmp_path / "rows.jsonl") == form


# Published spellings


def test_openai_reads_what_the_api_and_older_files_have(tmp_path: Path) -> None:
    row = one(
        tmp_path,
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
                {"role": "user", "content": "both"},
                {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "a", "arguments": '{"x": 1}'}},
                        {"id": "2", "type": "function", "function": {"name": "b", "arguments": {"y": "預算"}}},
                    ],
                },
                {"role": "tool", "tool_call_id": "2", "content": "two"},
                {"role": "tool", "tool_call_id": "1", "content": "one"},
                {"role": "assistant", "content": None, "function_call": {"name": "c", "arguments": "{}"}},
                {"role": "function", "name": "c", "content": "three"},
                {"role": "assistant", "content": "done", "weight": 1},
            ],
            "functions": [BMI],
            "parallel_tool_calls": True,
            "seed": 7,
            "embedding": [0.1, 0.2],
        },
    )
    assert row.example.messages == (
        System("Be brief."),
        User("both"),
        Calls((Call("a", {"x": 1}), Call("b", {"y": "預算"}))),
        Result("b", "two"),
        Result("a", "one"),
        Calls((Call("c", {}),)),
        Result("c", "three"),
        Reply("done"),
    )
    assert row.example.tools == (BMI_TOOL,)
    assert row.example.source == {"seed": 7}
    assert row.warnings == (
        "text beside a turn's calls is left out",
        "the key 'embedding' is left out; only small values are kept",
    )


def test_sharegpt_reads_one_call_or_several_and_tools_as_text(tmp_path: Path) -> None:
    call = {"name": "calculate_bmi", "arguments": {"weight": 70}}
    row = one(
        tmp_path,
        {
            "conversations": [
                {"from": "human", "value": "BMI for 70 and 80?"},
                {"from": "function_call", "value": json.dumps([call, call])},
                {"from": "observation", "value": '{"bmi": 1}\n</tool_response>\n<tool_response>\n{"bmi": 2}'},
                {"from": "function_call", "value": json.dumps(call)},
                {"from": "observation", "value": '{"bmi": 3}'},
                {"from": "gpt", "value": "1, 2 and 3"},
            ],
            "system": "Be brief.",
            "tools": json.dumps([BMI]),
        },
    )
    bmi = Call("calculate_bmi", {"weight": 70})
    assert row.example.messages == (
        System("Be brief."),
        User("BMI for 70 and 80?"),
        Calls((bmi, bmi)),
        Result("calculate_bmi", '{"bmi": 1}'),
        Result("calculate_bmi", '{"bmi": 2}'),
        Calls((bmi,)),
        Result("calculate_bmi", '{"bmi": 3}'),
        Reply("1, 2 and 3"),
    )
    assert row.example.tools == (BMI_TOOL,)
    chat = one(
        tmp_path, {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hi"}], "tools": "[]"}
    )
    assert (chat.named_tools, chat.example.tools, chat.example.category) == (True, (), Category.NO_TOOL)


HERMES_SYSTEM = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags. "
    "You may call one or more functions to assist with the user query.\n<tools>\n"
    "[{'type': 'function', 'function': {'name': 'calculate_bmi', 'description': 'Body Mass Index', 'parameters': "
    "{'type': 'object', 'properties': {'weight': {'type': 'number'}, 'note': {'type': 'string'}}, "
    "'required': ['weight']}}}]\n"
    "</tools>\nFor each function call return a JSON object, with the following pydantic model json schema:\n"
    "{'title': 'FunctionCall'}\nEach function call should be enclosed within <tool_call> </tool_call> XML tags.\n"
    "<tool_call>\n{'arguments': <args-dict>, 'name': <function-name>}\n</tool_call>"
)


def test_hermes_reads_values_as_python_prints_them_and_keeps_the_opening(tmp_path: Path) -> None:
    row = one(
        tmp_path,
        {
            "id": "85f6",
            "conversations": [
                {"from": "system", "value": HERMES_SYSTEM},
                {"from": "human", "value": "My BMI?"},
                {
                    "from": "gpt",
                    "value": "<tool_call>\n"
                    "{'arguments': {'weight': 70, 'note': \"it's \\\"me\\\"\"}, 'name': 'calculate_bmi'}\n"
                    "</tool_call>\n<tool_call>\n"
                    '{"name": "calculate_bmi", "arguments": {"weight": 70.5, "note": null}}\n</tool_call>',
                },
                {
                    "from": "tool",
                    "value": "<tool_response>\n{'name': 'calculate_bmi', 'content': {'ok': True}}\n</tool_response>\n"
                    "<tool_response>\nplain text\n</tool_response>",
                },
                {"from": "gpt", "value": "Done."},
            ],
            "category": "Health",
            "task": "BMI",
        },
    )
    assert row.id == "85f6"
    assert row.example.messages == (
        System("You are a function calling AI model."),
        User("My BMI?"),
        Calls(
            (
                Call("calculate_bmi", {"weight": 70, "note": 'it\'s "me"'}),
                Call("calculate_bmi", {"weight": 70.5, "note": None}),
            )
        ),
        Result("calculate_bmi", '{"ok": true}'),
        Result("calculate_bmi", "plain text"),
        Reply("Done."),
    )
    assert row.example.tools == (BMI_TOOL,)
    assert row.example.source == {"category": "Health", "task": "BMI"}
    assert row.warnings == ("the text around <tools> in the system turn is left out",)


def test_xlam_turns_a_flat_map_into_json_schema(tmp_path: Path) -> None:
    flat = {
        "type": {"description": "Kind", "type": "str", "default": "game"},
        "page": {"type": "int, optional"},
        "tags": {"type": "List[str]"},
        "pairs": {"type": "Dict[str, int], optional", "description": "x"},
        "either": {"type": "Union[int, str]"},
        "odd": {"type": "Callable[[float], float]"},
        "any": {},
    }
    tools = [{"name": "live", "description": "Giveaways", "parameters": flat}]
    answers = [{"name": "live", "arguments": {"type": "beta", "tags": ["a"]}}]
    row = one(tmp_path, {"id": 7, "query": "Beta?", "tools": json.dumps(tools), "answers": json.dumps(answers)})
    assert row.id == "7"
    assert row.example.tools[0].parameters == {
        "type": "object",
        "properties": {
            "type": {"description": "Kind", "type": "string", "default": "game"},
            "page": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pairs": {"type": "object", "description": "x"},
            "either": {"type": ["integer", "string"]},
            "odd": {},
            "any": {},
        },
        "required": ["tags", "either", "odd", "any"],
    }
    assert row.example.messages == (
        System(NEUTRAL[Language.EN]),
        User("Beta?"),
        Calls((Call("live", {"type": "beta", "tags": ["a"]}),)),
    )
    assert row.warnings == ("a parameter's type is none that we know, so that any value is taken",)
    lists = one(tmp_path, {"query": "Beta?", "tools": tools, "answers": answers})
    assert lists.example.messages == row.example.messages
    [back] = writer("xlam").rows(row.example)
    assert json.loads(back["answers"]) == answers
    written = json.loads(back["tools"])[0]["parameters"]
    assert written["type"] == flat["type"]
    assert written["page"] == {"type": "int, optional"}
    assert written["tags"] == {"type": "List[str]"}
    assert written["either"] == {"type": "Union[int, str]"}


def test_xlam_keeps_a_json_schema_and_a_row_that_calls_nothing(tmp_path: Path) -> None:
    row = one(tmp_path, {"query": "Hi", "tools": [{"type": "function", "function": BMI}], "answers": "[]"})
    assert row.example.tools == (BMI_TOOL,)
    assert row.example.messages[1:] == (User("Hi"),)
    assert row.example.category is Category.NO_TOOL
    assert row.warnings == ("there is no call and no text to answer with",)


def test_glaive_reads_arguments_between_quotes_that_are_not_escaped(tmp_path: Path) -> None:
    row = one(
        tmp_path,
        {
            "system": "SYSTEM: You are a helpful assistant with access to the following functions. "
            "Use them if required -\n"
            + json.dumps(BMI, indent=4)
            + "\n\n"
            + json.dumps({"name": "ping", "description": ""}, indent=4)
            + "\n",
            "chat": "USER: Hi, my BMI? A USER: none. I weigh 70 kg.\n\n\n"
            'ASSISTANT: <functioncall> {"name": "calculate_bmi", "arguments": \'{"weight": 70, "note": "it\'s me"}\'} '
            '<|endoftext|>\n\n\nFUNCTION RESPONSE: {"bmi": 22.86}\n\n\nASSISTANT: It is 22.86. <|endoftext|>\n\n\n'
            "USER: Thanks. And now?\n\n\n"
            'ASSISTANT: Sure. <functioncall> {"name": "ping", "arguments": {}} <|endoftext|>\n\n\n',
        },
    )
    assert row.example.messages == (
        System("You are a helpful assistant."),
        User("Hi, my BMI? A USER: none. I weigh 70 kg."),
        Calls((Call("calculate_bmi", {"weight": 70, "note": "it's me"}),)),
        Result("calculate_bmi", '{"bmi": 22.86}'),
        Reply("It is 22.86."),
        User("Thanks. And now?"),
        Calls((Call("ping", {}),)),
    )
    assert row.example.tools == (BMI_TOOL, Tool("ping", "", {"type": "object", "properties": {}}))
    none = one(
        tmp_path,
        {
            "system": "SYSTEM: You are a helpful assistant, with no access to external functions.",
            "chat": "USER: Hi\nASSISTANT: Hello <|endoftext|>",
        },
    )
    assert (none.named_tools, none.example.tools) == (True, ())
    escaped = one(
        tmp_path, {"chat": 'USER: x ASSISTANT: <functioncall> {"name": "f", "arguments": \'{"a": "I\\\'m"}\'}'}
    )
    assert escaped.example.calls == (Call("f", {"a": "I'm"}),)


def test_alpaca_reads_input_and_history_as_llamafactory_does(tmp_path: Path) -> None:
    row = one(tmp_path, {"instruction": "Translate", "input": "預算", "output": "budget", "history": [["hi", "hello"]]})
    assert row.example.messages == (User("hi"), Reply("hello"), User("Translate\n預算"), Reply("budget"))


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("user: a\nassistant: b\nuser: c", [User("a"), Reply("b"), User("c")]),
        (
            'user: a\nb\nassistant: {"tool": "t", "params": {}}\ntool: {}',
            [User("a\nb"), Calls((Call("t", {}),)), Result("t", "{}")],
        ),
        ("user: a", None),
        ("assistant: a\nuser: b", None),
        ("user: a\nuser: b", None),
        ("user: a\nassistant: b", None),
        ("user: a\ntool: b", None),
        ('user: a\nassistant: {"tool"\nuser: b', None),
        ('user: a\nassistant: {"tool": "t", "params": {}}\n{"tool": "u", "params": {}}\ntool: 1', None),
    ],
)
def test_turns_in_an_instruction_are_read_only_where_they_are_plainly_there(
    tmp_path: Path, text: str, turns: list[Message] | None
) -> None:
    row = one(tmp_path, {"id": "x#1", "instruction": text, "output": "好"})
    assert row.id == "x#1"
    assert list(row.example.messages) == [*(turns or [User(text)]), Reply("好")]


def test_rows_of_one_record_are_joined_only_where_each_goes_on_from_the_last(tmp_path: Path) -> None:
    for form in ("alpaca", "pro"):
        first, second = writer(form).rows(loop("預算為 300 萬。"))
        whole, alone = read(tmp_path, first, second, first, form=form)
        assert isinstance(whole, Row)
        assert (whole.id, whole.number, len(whole.example.messages)) == ("row-1", 0, 5)
        assert whole.raw.count("\n") == 1
        assert isinstance(alone, Row)
        assert (alone.id, alone.number) == ("row-1#0", 2)
        other = {**second, "instruction": second["instruction"].replace("幫我", "請")}
        assert [row.id for row in read(tmp_path, first, other, form=form)] == ["row-1#0", "row-1#1"]


# What is wrong with a row


@pytest.mark.parametrize(
    ("form", "row", "reason"),
    [
        ("canonical", {**document_row().to_json(), "score": 1}, "row has the unknown key 'score'"),
        (
            "messages",
            {"messages": [*TURNS[:2], {"role": "assistant", "content": '{"tool": "x"}'}]},
            "line 1: call has no params",
        ),
        (
            "messages",
            {"messages": [*TURNS[:2], {"role": "assistant", "content": "好的\n" + DOCUMENT_OUTPUT}]},
            "neither calls nor text",
        ),
        ("messages", {"messages": [{"role": "narrator", "content": ""}]}, "messages[0].role is 'narrator'"),
        ("messages", {"messages": {}}, "messages is {}; expected a list"),
        ("messages", {"messages": [{"role": "user", "content": None}]}, "messages[0].content is null; expected text"),
        ("alpaca", {"instruction": 1, "output": "x"}, "instruction is 1; expected text"),
        ("alpaca", {"instruction": "x", "output": "x", "history": [["a"]]}, "history[0] is no pair"),
        (
            "pro",
            {"instruction": "x", "tools": [], "output": [{"tool": "t", "params": "{}"}]},
            'output[0].params is "{}"; expected an object',
        ),
        ("pro", {"instruction": "x", "tools": "[{", "output": []}, "tools is not JSON"),
        (
            "openai",
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments is not JSON",
        ),
        (
            "openai",
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}]},
            "is not JSON",
        ),
        (
            "openai",
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}]},
            "arguments is []; expected an object",
        ),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text can be kept"),
        ("openai", {"messages": [], "tools": [{"type": "function", "function": {}}]}, "tools[0].function has no name"),
        (
            "sharegpt",
            {"conversations": [{"from": "function_call", "value": "{'name': 'f'}"}]},
            "expected a name and arguments",
        ),
        ("sharegpt", {"conversations": [{"from": "bing", "value": ""}]}, "conversations[0].from is 'bing'"),
        ("hermes", {"conversations": [{"from": "gpt", "value": "<tool_call>{"}]}, "a <tool_call> that is not closed"),
        ("hermes", {"conversations": [{"from": "gpt", "value": "<tool_call>{'a': f()}</tool_call>"}]}, "is not JSON"),
        (
            "hermes",
            {"conversations": [{"from": "system", "value": "<tools>\nnone\n</tools>"}]},
            "what stands in <tools> is not JSON",
        ),
        ("xlam", {"query": "x", "answers": "[{]"}, "answers is not JSON"),
        (
            "xlam",
            {"query": "x", "answers": [], "tools": [{"name": "t", "parameters": {"a": "str"}}]},
            'tools[0].parameters.a is "str"; expected an object',
        ),
        ("glaive", {"chat": "Hello"}, "chat does not begin with USER: or ASSISTANT:"),
        ("glaive", {"chat": "USER: x ASSISTANT: <functioncall> {'name'"}, "turn 1 is not JSON"),
        ("glaive", {"system": "SYSTEM: functions -\n{oops", "chat": "USER: x"}, "after 0 functions is no JSON"),
    ],
)
def test_a_row_that_cannot_be_read_says_where_and_why(tmp_path: Path, form: str, row: Any, reason: str) -> None:
    assert reason in refused(tmp_path, row, form)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '{"a": 1e999}', '{"a":' + "[" * 10_000]
)
def test_json_inside_a_text_is_as_strict_as_the_row(tmp_path: Path, text: str) -> None:
    call = {"function": {"name": "f", "arguments": text}}
    assert "arguments is not JSON" in refused(
        tmp_path, {"messages": [{"role": "assistant", "tool_calls": [call]}]}, "openai"
    )
    refused(
        tmp_path,
        {"conversations": [{"from": "function_call", "value": f'{{"name": "f", "arguments": {text}}}'}]},
        "sharegpt",
    )
    refused(tmp_path, {"query": "x", "answers": f'[{{"name": "f", "arguments": {text}}}]'}, "xlam")


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("hermes", {"conversations": [{"from": "gpt", "value": "<tool_call>" + " " * 10**6}]}),
        ("hermes", {"conversations": [{"from": "gpt", "value": "<tool_call>" * 10**5}]}),
        ("hermes", {"conversations": [{"from": "tool", "value": "<tool_response>" * 10**5}]}),
        ("hermes", {"conversations": [{"from": "system", "value": "<tools>" * 10**5}]}),
        ("glaive", {"chat": "USER: x\nASSISTANT: <functioncall> {" + '"name": "f", "arguments": \'' * 10**4}),
        (
            "xlam",
            {
                "query": "x",
                "answers": [],
                "tools": [{"name": "t", "parameters": {"a": {"type": "List[" * 10**4 + "str" + "]" * 10**4}}}],
            },
        ),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "'" + "a\\" * 10**5}]}),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "function_call", "value": json.dumps([{"name": "f", "arguments": {}}] * 10**5)},
                    {"from": "observation", "value": "\n</tool_response>\n<tool_response>\n" * (10**5 - 1)},
                ]
            },
        ),
        ("alpaca", {"instruction": "user: a\nassistant: b\n" * 10**5, "output": "x"}),
    ],
)
def test_a_hostile_text_takes_no_longer_than_its_length(tmp_path: Path, form: str, row: Any) -> None:
    started = time.process_time()
    assert len(read(tmp_path, row, form=form)) == 1
    assert time.process_time() - started < 10, "quadratic time would be minutes"


def test_an_empty_reply_is_read_as_one_and_judged_elsewhere(tmp_path: Path) -> None:
    row = one(tmp_path, {"messages": [TURNS[1], {"role": "assistant", "content": " "}]})
    assert row.example.messages == (User(REQUEST), Reply(" "))


# Ids, extra keys, language, category


def test_an_id_of_any_scalar_names_a_row_and_a_row_without_one_has_its_number(tmp_path: Path) -> None:
    rows = [{"id": row_id, "instruction": "x", "output": "y"} for row_id in ("a", 7, 1.5, True, None, "", [1])]
    found = read(tmp_path, *rows)
    assert [row.id for row in found] == ["a", "7", "1.5", "true", "4", "5", "6"]
    assert isinstance(found[-1], Row)
    assert found[-1].warnings == ("the key 'id' is left out; only small values are kept",)


def test_small_extra_keys_are_kept_under_source(tmp_path: Path) -> None:
    row = one(
        tmp_path, {"instruction": "x", "output": "y", "uuid": "u", "score": 0.5, "note": "n" * 201, "meta": {"a": 1}}
    )
    assert row.example.source == {"uuid": "u", "score": 0.5}
    assert [warning.split("'")[1] for warning in row.warnings] == ["note", "meta"]


def test_the_callers_language_and_split_count_and_a_record_keeps_its_own(tmp_path: Path) -> None:
    row = one(tmp_path, {"instruction": "x", "output": "y"}, language=Language.ZH_TW, split=Split.DEV)
    assert (row.example.language, row.example.split, row.named_language) == (Language.ZH_TW, Split.DEV, True)
    kept = one(tmp_path, document_row().to_json(), language=Language.EN, split=Split.DEV)
    assert kept.example == document_row()


def test_language_is_told_by_what_people_and_the_assistant_say() -> None:
    chinese = Call("t", {"a": "預算"})
    assert (
        language_of([System("你是助理"), User("hi"), Calls((chinese,)), Result("t", "預算"), Reply("ok")])
        is Language.EN
    )
    assert language_of([User("book 會議室")]) is Language.ZH_TW
    assert language_of([User("x"), Reply("𠮷")]) is Language.ZH_TW
    assert language_of([]) is Language.EN


CALL = Calls((Call("t", {}),))
TWO = Calls((Call("t", {}), Call("u", {})))


@pytest.mark.parametrize(
    ("turns", "category"),
    [
        ([User("x"), CALL], Category.SINGLE),
        ([User("x"), TWO], Category.PARALLEL),
        ([User("x"), CALL, Result("t", "1"), CALL], Category.CHAINED),
        ([User("x"), CALL, Result("t", "1"), CALL, Result("t", "1"), Reply("ok")], Category.CHAINED),
        ([User("x"), CALL, Result("t", "1"), Reply("ok")], Category.FULL_LOOP),
        ([User("x"), TWO, Result("t", "1"), Result("u", "1"), Reply("ok?")], Category.FULL_LOOP),
        ([User("x"), CALL, Result("t", '{"error": "timeout"}'), Reply("ok")], Category.TOOL_ERROR),
        ([User("x"), CALL, Result("t", '{"error": null}'), Reply("ok")], Category.FULL_LOOP),
        ([User("x"), CALL, Result("t", "error"), Reply("ok")], Category.FULL_LOOP),
        ([User("x"), Reply("請問幾點？")], Category.MISSING),
        ([User("x"), Reply("When?"), User("at 3"), CALL], Category.MISSING),
        ([User("x"), Reply("When?"), User("never mind"), Reply("All right.")], Category.NO_TOOL),
        ([User("x"), Reply("沒有工具可用。")], Category.NO_TOOL),
        ([User("x")], Category.NO_TOOL),
    ],
)
def test_the_category_is_what_the_turns_show(turns: list[Message], category: Category) -> None:
    assert category_of(turns, (QUERY,)) is category
    assert category_of(turns) is category


def test_a_question_misses_nothing_where_no_tool_is_offered() -> None:
    assert category_of([User("hi"), Reply("How are you?")], ()) is Category.NO_TOOL


def test_categories_are_those_of_the_generator() -> None:
    assert [category_of(row.messages, row.tools) for row in generated()] == [row.category for row in generated()]
