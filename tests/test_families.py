"""Native formats, token for token as the vendors write them; answers read strictly; what cannot be said, set aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trl
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall, Tool, ToolCall
from transformers.utils.chat_template_utils import render_jinja_template

from callwright.answers import Answer, Called, Said, Unparsed
from callwright.families import NotExpressible, family
from callwright.families.mistral import call_id
from callwright.formats import to_messages
from callwright.packs import read_packs
from callwright.params import Categories, check_params
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, System, User
from callwright.training_text import Row, native_turn
from tests import vendors
from tests.rows import ROOT, conversation, loop, made, params_value

NATIVE = ["llama3.1", "mistral", "qwen2.5", "qwen3"]
TEMPLATES = {"llama3.1": "llama3_1", "llama3": "llama3", "qwen2.5": "qwen2_5", "qwen3": "qwen3"}
ENCODINGS = {"llama3": vendors.llama3, "llama3.1": vendors.llama3, "qwen2.5": vendors.qwen, "qwen3": vendors.qwen}


@cache
def every_kind() -> tuple[Example, ...]:
    """Rows of three packs: all seven categories, both languages, up to four calls at once, follow-ups, tool errors."""
    value = params_value()["generate"]
    value |= {"rows": 240, "parallel_calls": 4, "follow_ups": 0.3, "packs": ["office", "travel", "finance"]}
    shares = dict.fromkeys(Categories.model_fields, 1 / 7)
    value["categories"], value["exam"]["categories"] = shares, shares
    params = check_params({**params_value(), "generate": value}).generate
    packs = read_packs(params.packs, ROOT / "packs")
    return tuple(row for rows in made(packs, params).values() for row in rows)


def test_the_rows_are_of_every_kind() -> None:
    assert {(row.category, row.language) for row in every_kind()} == {
        (category, language) for category in Category for language in Language
    }
    assert {len(m.calls) for row in every_kind() for m in row.messages if isinstance(m, Calls)} >= {1, 2, 3, 4}
    assert any(sum(isinstance(m, User) for m in row.messages) > 1 for row in every_kind())


# Held against the vendors


def template(name: str) -> str:
    return (Path(trl.__file__).parent / f"chat_templates/{TEMPLATES[name]}.jinja").read_text(encoding="utf-8")


def rendered(name: str, turns: Sequence[Any], tools: Any, **more: Any) -> str:
    """As transformers renders it: its own filters and its own sandbox."""
    texts, _ = render_jinja_template(
        conversations=[list(turns)],
        chat_template=template(name),
        tools=tools,
        bos_token="<|begin_of_text|>",  # noqa: S106 - a token, no password
        **more,
    )
    return str(texts[0])


def as_templates_take_it(example: Example) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    turns = [native_turn(example, i) for i in range(len(example.messages))]
    return turns, [{"type": "function", "function": tool.to_json()} for tool in example.tools] or None


def in_single_calls(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Llama 3.1's template takes one call a turn: each with the result that belongs to it."""
    out: list[dict[str, Any]] = []
    for i, turn in enumerate(turns):
        calls = turn.get("tool_calls", [])
        if len(calls) < 2:
            if not (turn["role"] == "tool" and out and out[-1].get("taken", 0) > 0):
                out.append(turn)
            continue
        results = []
        for after in turns[i + 1 :]:
            if after["role"] != "tool":
                break
            results.append(after)
        for j, call in enumerate(calls):
            out.append({**turn, "tool_calls": [call]})
            out += results[j : j + 1]
        out[-1] = {**out[-1], "taken": len(results)}
    return out


def tokens(row: Row, encode: Callable[[str], list[int]]) -> list[int]:
    return [token for piece in row.pieces for token in encode(piece.text)]


@pytest.mark.parametrize("name", list(TEMPLATES)[:1] + list(TEMPLATES)[2:])
def test_the_text_is_the_vendors_template_token_for_token(name: str) -> None:
    speaks, encoding = family(name), ENCODINGS[name]()
    for example in every_kind():
        turns, tools = as_templates_take_it(example)
        rows = speaks.rows(example)
        ends = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
        if len(rows) == 1:
            ends = ends[-1:]
        assert len(rows) == len(ends)
        for row, end in zip(rows, ends, strict=True):
            upto = turns[: end + 1]
            if name == "llama3.1":
                upto = in_single_calls(upto)
            whole = rendered(name, upto, tools).removesuffix("\n")
            assert row.text == whole
            assert tokens(row, lambda text: vendors.encode(encoding, text)) == vendors.encode(encoding, whole)


@pytest.mark.parametrize("name", ["llama3.1", "qwen2.5", "qwen3"])
def test_what_is_asked_is_the_vendors_prompt_for_an_answer(name: str) -> None:
    for example in every_kind():
        turns, tools = as_templates_take_it(example)
        if name == "llama3.1" and any(len(turn.get("tool_calls", [])) > 1 for turn in turns):
            continue
        last = family(name).rows(example)[-1]
        prompt = rendered(name, turns[:-1], tools, add_generation_prompt=True, enable_thinking=False)
        assert "".join(piece.text for piece in last.pieces[:-1]) == prompt


def test_mistrals_row_is_what_its_own_encoder_makes() -> None:
    speaks = family("mistral")
    for example in every_kind():
        rows = iter(speaks.rows(example))
        messages: list[Any] = []
        ids: list[tuple[str, str]] = []
        place = -1
        for message in example.messages:
            place += not isinstance(message, System)
            match message:
                case System(text):
                    messages.append(SystemMessage(content=text))
                case User(text):
                    messages.append(UserMessage(content=text))
                case Reply(text):
                    messages.append(AssistantMessage(content=text))
                case Result(tool, text):
                    one = next(pair for pair in ids if pair[0] == tool)
                    ids.remove(one)
                    messages.append(ToolMessage(content=text, tool_call_id=one[1], name=tool))
                case Calls(calls):
                    ids = [(call.tool, call_id(example.id, place, j)) for j, call in enumerate(calls)]
                    made_calls = [
                        ToolCall(
                            id=one[1],
                            function=FunctionCall(
                                name=call.tool, arguments=json.dumps(dict(call.params), ensure_ascii=False)
                            ),
                        )
                        for call, one in zip(calls, ids, strict=True)
                    ]
                    messages.append(AssistantMessage(content=None, tool_calls=made_calls))
            if isinstance(message, Calls | Reply):
                row = next(rows)
                assert tokens(row, vendors.encode_mistral) == encoded_by_mistral(example, messages)
        assert next(rows, None) is None


def encoded_by_mistral(example: Example, messages: list[Any]) -> list[int]:
    """The prompt by its encoder for requests, the answer by its encoder for turns."""
    inner: Any = vendors.mistral().instruct_tokenizer
    tools = [Tool(function=Function(**tool.to_json())) for tool in example.tools]
    request: Any = ChatCompletionRequest(messages=messages[:-1], tools=tools or None)
    prompt: list[int] = vendors.mistral().encode_chat_completion(request).tokens
    return [*prompt, *inner.encode_assistant_message(messages[-1], False)]


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_the_messages_text_is_the_vendors_plain_chat(name: str) -> None:
    encoding = ENCODINGS[name]()
    plain = [row for row in every_kind() if not any(isinstance(m, Result) for m in row.messages)]
    assert {row.category for row in plain} >= {Category.SINGLE, Category.PARALLEL, Category.MISSING, Category.NO_TOOL}
    for example in plain:
        turns = to_messages(example)["messages"]
        last = family(name).messages(example.id, turns)[-1]
        whole = rendered(name, turns, None).removesuffix("\n")
        assert last.text == whole
        assert tokens(last, lambda text: vendors.encode(encoding, text)) == vendors.encode(encoding, whole)


def test_mistrals_messages_text_is_what_its_own_encoder_makes() -> None:
    for example in every_kind():
        if any(isinstance(m, Result) for m in example.messages):
            continue
        kinds: dict[str, Any] = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
        turns = to_messages(example)["messages"]
        messages = [kinds[turn["role"]](content=turn["content"]) for turn in turns]
        last = family("mistral").messages(example.id, turns)[-1]
        assert tokens(last, vendors.encode_mistral) == encoded_by_mistral(
            conversation(*example.messages, tools=()), messages
        )


# Labels


@pytest.mark.parametrize("name", NATIVE)
def test_what_is_labelled_is_the_assistants_turns_through_the_stop_token_and_nothing_else(name: str) -> None:
    speaks = family(name)
    stop = speaks.stops[0]
    for example in every_kind():
        answers = [m for m in example.messages if isinstance(m, Calls | Reply)]
        rows = speaks.rows(example)
        labelled = [piece.text for row in rows for piece in row.pieces if piece.labelled]
        assert all(text.endswith(stop) and stop not in text.removesuffix(stop) for text in labelled)
        read = [speaks.read(text.removesuffix(stop)) for text in labelled]
        calls = [call for one in read if isinstance(one, Called) for call in one.calls]
        assert calls == [call for m in answers if isinstance(m, Calls) for call in m.calls]
        replies = [one.text for one in read if isinstance(one, Said)]
        assert replies == [m.content.strip() for m in answers if isinstance(m, Reply)]
        assert len(calls) + len(replies) == sum(len(m.calls) if isinstance(m, Calls) else 1 for m in answers)


def test_several_calls_of_llama_are_turns_one_after_another_each_with_its_result() -> None:
    two = Calls((Call("query_database", {"query_str": "預算"}), Call("query_database", {"query_str": "薪資"})))
    last = conversation(User("查預算和薪資"), two)
    [row] = family("llama3.1").rows(last)
    assert row.turns == 2
    assert [piece.labelled for piece in row.pieces] == [False, True, False, True]
    assert row.pieces[2].text == "<|start_header_id|>assistant<|end_header_id|>\n\n"
    results = (Result("query_database", "300 萬"), Result("query_database", "五萬"))
    [row] = family("llama3.1").rows(conversation(User("查預算和薪資"), two, *results, Reply("預算 300 萬,薪資五萬。")))
    assert row.turns == 1
    assert [piece.text for piece in row.pieces if piece.labelled][2] == "預算 300 萬,薪資五萬。<|eot_id|>"
    first, second = (row.text.index(text) for text in ('"300 萬"', '"薪資"'))
    assert first < second, "a call stands behind the result of the one before it"
    with pytest.raises(NotExpressible, match=r"a turn has 2 calls, and one of Llama 3\.1 holds one"):
        family("llama3.1").rows(last, consecutive=False)


# There and back

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcß臺_{}\"'\\\n", max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
calls = st.lists(
    st.builds(
        Call,
        st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True),
        st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", NATIVE)
@settings(max_examples=150, deadline=None)
@given(calls=calls)
def test_calls_that_are_written_are_the_calls_that_are_read(name: str, calls: list[Call]) -> None:
    speaks = family(name)
    text = speaks.said(Calls(tuple(calls)))
    if any(control in json.dumps(call.to_json(), ensure_ascii=False) for call in calls for control in speaks.controls):
        return
    read = speaks.read(text)
    assert isinstance(read, Called), read
    assert json.dumps([call.to_json() for call in read.calls]) == json.dumps([call.to_json() for call in calls])


# Read strictly


def call_texts(name: str) -> tuple[str, str, str]:
    """A family's call as text, the key of its arguments, and what stands around the JSON."""
    return {
        "llama3.1": ("{}", "parameters", ""),
        "mistral": ("[TOOL_CALLS] [{}]", "arguments", ""),
        "qwen2.5": ("<tool_call>\n{}\n</tool_call>", "arguments", ""),
        "qwen3": ("<tool_call>\n{}\n</tool_call>", "arguments", ""),
    }[name]


def reads(name: str, inner: str) -> Answer:
    around, key, _ = call_texts(name)
    return family(name).read(around.replace("{}", inner.replace("KEY", key), 1))


@pytest.mark.parametrize("name", NATIVE)
def test_a_call_is_read_and_a_text_is_said(name: str) -> None:
    assert reads(name, '{"name": "find_contact", "KEY": {"name": "王小明"}}') == Called(
        (Call("find_contact", {"name": "王小明"}),)
    )
    assert family(name).read(" 請問要排在什麼時間? ") == Said("請問要排在什麼時間?")
    assert isinstance(family(name).read("  \n"), Unparsed)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        ('{"name": "x", "KEY": {"a": 1}', ""),
        ('{"name": "x", "KEY": {"a": 1, "a": 2}}', "a key stands twice"),
        ('{"name": "x", "KEY": {"a": NaN}}', "NaN is not JSON"),
        ('{"name": "x", "KEY": "{\\"a\\": 1}"}', ""),
        ('{"name": "x", "KEY": [1]}', ""),
        ('{"name": "x", "KEY": {}, "more": 1}', "'more' is no key of a call"),
        ('{"name": "x"}', "the call has no"),
        ('{"KEY": {}}', "the call has no 'name'"),
        ('{"name": "", "KEY": {}}', ""),
        ('{"name": 3, "KEY": {}}', ""),
        ('{"name": "x", "KEY": {}} and more', ""),
        ('{"name": "x", "KEY": {}}\n{"name": "y", "KEY": {}}', ""),
        ("{'name': 'x', 'KEY': {}}", ""),
        ('__import__("os").system("true")', ""),
        ('{"name": "x", "KEY": ' + '{"a": ' * 1000 + "1" + "}" * 1001, ""),
        ('{"name": "x", "KEY": ' + "[" * 100_000, ""),
        ('{"name": "x", "KEY": {"a": 1e999}}', "Out of range"),
        ('{"name": "x", "KEY": {"a": "\\ud800"}}', ""),
        ("", ""),
        ("null", ""),
    ],
)
def test_what_is_nearly_a_call_is_none(name: str, inner: str, reason: str) -> None:
    read = reads(name, inner)
    if name == "llama3.1" and not inner.lstrip().startswith("{"):
        assert not isinstance(read, Called)
        return
    assert isinstance(read, Unparsed), read
    assert reason in read.reason


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama3.1", '<|python_tag|>x.call(a="1")'),
        ("llama3.1", 'Sure: {"name": "x", "parameters": {}}'),
        ("llama3.1", '{"name": "x", "parameters": {}}<|eot_id|>'),
        ("mistral", '[{"name": "x", "arguments": {}}]'),
        ("mistral", 'Sure [TOOL_CALLS] [{"name": "x", "arguments": {}}]'),
        ("mistral", "[TOOL_CALLS] []"),
        ("mistral", '[TOOL_CALLS] {"name": "x", "arguments": {}}'),
        ("qwen2.5", '<tool_call>{"name": "x", "arguments": {}}'),
        ("qwen2.5", '{"name": "x", "arguments": {}}</tool_call>'),
        ("qwen2.5", '<tool_call>{"name": "x", "arguments": {}}</tool_call> done.'),
        (
            "qwen2.5",
            '<tool_call>{"name": "x", "arguments": {}}</tool_call>a<tool_call>{"name": "y", "arguments": {}}</tool_call>',  # noqa: E501
        ),
        ("qwen2.5", '<tool_call><tool_call>{"name": "x", "arguments": {}}</tool_call>'),
        ("qwen3", '<think>\nhm <tool_call>{"name": "x", "arguments": {}}</tool_call>'),
        ("qwen3", 'hm</think><tool_call>{"name": "x", "arguments": {}}</tool_call>'),
    ],
)
def test_a_call_in_another_place_than_the_format_has_it_is_none(name: str, text: str) -> None:
    assert isinstance(family(name).read(text), Unparsed)


def test_prose_before_qwens_block_and_a_thought_before_that_are_left_out() -> None:
    block = '<tool_call>\n{"name": "x", "arguments": {}}\n</tool_call>'
    assert family("qwen2.5").read(f"好的,馬上查。\n{block}") == Called((Call("x", {}),))
    assert family("qwen3").read(f"<think>\nwhich tool?\n</think>\n\n{block}") == Called((Call("x", {}),))
    assert family("qwen3").read("<think>\n\n</think>\n\n你好。") == Said("你好。")


@pytest.mark.parametrize("name", NATIVE)
def test_ten_thousand_calls_are_read_in_a_moment(name: str) -> None:
    many = tuple(Call("x", {"i": i}) for i in range(10_000))
    assert family(name).read(family(name).said(Calls(many))) == Called(many)


# What cannot be said


@pytest.mark.parametrize("name", NATIVE)
def test_a_text_with_a_control_token_is_set_aside_wherever_it_stands(name: str) -> None:
    speaks = family(name)
    control = speaks.stops[0]
    for place, row in (
        (r"messages\[1\]", conversation(User(f"寫 {control}"), Reply("好。"))),
        (r"messages\[2\]", conversation(User("寫"), Reply(f"好{control}。"))),
        (
            r"messages\[2\].calls\[0\]",
            conversation(User("寫"), Calls((Call("query_database", {"query_str": control}),))),
        ),
        (r"messages\[3\]", loop("300 萬", content=f"300 萬 {control}")),
    ):
        with pytest.raises(NotExpressible, match=place):
            speaks.rows(row)
    turns = to_messages(conversation(User(f"寫 {control}"), Reply("好。")))["messages"]
    with pytest.raises(NotExpressible, match=r"messages\[1\] holds"):
        speaks.messages("r", turns)


def test_a_reply_that_reads_as_a_call_is_set_aside() -> None:
    row = conversation(User("寫 JSON"), Reply('{"name": "x", "parameters": {}}'))
    with pytest.raises(NotExpressible, match=r"messages\[2\] is a reply that reads as no text"):
        family("llama3.1").rows(row)


def test_llama_3_has_no_tool_format() -> None:
    with pytest.raises(NotExpressible, match="no tool format of its own"):
        family("llama3").rows(loop("300 萬"))
