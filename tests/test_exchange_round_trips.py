"""There and back: a record written in a format and read from the file is the same, but for what was named as lost."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callwright.exchange import FORMATS, Row, Unread, category_of, language_of, losses, read_rows, writer
from callwright.faults import Fault
from callwright.outs import write_lines
from callwright.records import Call, Calls, Category, Example, Message, Reply, Result, Split, System, Tool, User
from tests.rows import CALENDAR, QUERY, conversation, document_row, generated, loop

WRITTEN = [form for form in FORMATS if form != "glaive"]

LOST: dict[str, set[str]] = {
    "canonical": set(),
    "messages": {"language", "category", "source", "facts of a result", "asks of a reply"},
    "alpaca": {"language", "category", "source", "facts of a result", "asks of a reply"},
    "pro": {"language", "category", "source", "facts of a result", "asks of a reply", "system text"},
    "openai": {"id", "language", "category", "source", "facts of a result", "asks of a reply"},
    "sharegpt": {"language", "category", "source", "facts of a result", "asks of a reply"},
    "hermes": {"language", "category", "source", "facts of a result", "asks of a reply"},
    "xlam": {
        *("language", "category", "source", "facts of a result", "asks of a reply", "system text"),
        *("replies", "later calls", "later requests", "tool results", "required of a tool's schema"),
        "properties of a tool's schema",
    },
}
"""All that a format cannot hold of an ordinary record; a format that loses more has got worse."""

NASTY = [
    *("user: hi\nassistant: hello", "a\nassistant: b", "tool: {}\ntool: []", "assistant: ", "user: "),
    *('{"tool": "t", "params": {}}', '{"a": 1}', "[1]", '說「"tool"」', "`code`", "{", ""),
    *("<tool_call>", "a</tool_call>b", "</tools>", "<tools>x</tools>", "<tool_response>\n</tool_response>"),
    *(
        "\n</tool_response>\n<tool_response>\n",
        "x\r\ny",
        "a\u2028b",
        " 空白 ",
        "\n",
        "👩‍👩‍👧 emoji",
        "「引號」『』",
        "\\n \\u003c \\",
    ),
    *("你可以使用以下工具:\n1. t(", "# Tools\n\n", "<|endoftext|>", "USER: x", "'single' \"double\"", "null", "\x00"),
]
TAME = [
    "幫我查一下預算表。",
    "Book a room, please",
    "「季度檢討」在 A301",
    "好的,已完成。",
    "Done: 3 rooms & 2 emails",
    "第一行\n第二行",
    "🙂 ok",
]

names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
tame = st.sampled_from(TAME)
wild = st.sampled_from(NASTY) | st.text(max_size=20) | tame


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=5
    )


def schemas(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    types = ("string", "integer", "number", "boolean", "array", "object")
    kinds = st.sampled_from([*({"type": kind} for kind in types), {"type": ["string", "null"]}])
    more = st.fixed_dictionaries(
        {},
        optional={
            "description": text,
            "default": values(text),
            "enum": st.lists(text, min_size=1),
            "minimum": st.integers(),
        },
    )
    properties = st.dictionaries(names, st.builds(lambda a, b: {**a, **b}, kinds, more), max_size=3)
    return properties.flatmap(
        lambda found: st.builds(
            lambda required: {"type": "object", "properties": found} | ({"required": required} if required else {}),
            st.lists(st.sampled_from(sorted(found)), unique=True) if found else st.just([]),
        )
    )


def conversations(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[Message]]:
    marks = st.lists(text, max_size=1).map(tuple)
    call = st.builds(Call, names, st.dictionaries(text, values(text), max_size=3))
    calls = st.lists(call, min_size=1, max_size=4).map(lambda made: Calls(tuple(made)))
    reply = st.builds(Reply, text, marks)
    answered = calls.flatmap(
        lambda turn: st.tuples(*(st.builds(Result, st.just(call.tool), text, marks) for call in turn.calls)).map(
            lambda told: [turn, *told]
        )
    )
    looped = st.builds(
        lambda steps, end: [*chain.from_iterable(steps), end], st.lists(answered, min_size=1, max_size=3), reply | calls
    )
    answer = st.one_of(reply.map(lambda one: [one]), calls.map(lambda one: [one]), looped)
    turn = st.builds(lambda asked, answers: [User(asked), *answers], text, answer)
    system = st.lists(st.builds(System, text), max_size=1)
    return st.builds(
        lambda first, turns: [*first, *chain.from_iterable(turns)], system, st.lists(turn, min_size=1, max_size=3)
    )


def examples(text: st.SearchStrategy[str]) -> st.SearchStrategy[Example]:
    tools = st.lists(st.builds(Tool, names, text, schemas(text)), max_size=3, unique_by=lambda tool: tool.name)
    return st.builds(
        lambda row_id, split, tools, turns, source: Example(
            row_id, language_of(turns), category_of(turns, tools), split, tuple(tools), tuple(turns), source
        ),
        st.from_regex(r"[a-z]+-[0-9]{1,6}", fullmatch=True),
        st.sampled_from(Split),
        tools,
        conversations(text),
        st.dictionaries(names, values(text), max_size=1),
    )


def there_and_back(form: str, example: Example) -> tuple[set[str], list[Row | Unread], int]:
    """What was lost, what the file gives, how many records were not written."""
    made = writer(form)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        if not write_lines(path, made.rows(example)):
            return set(made.lost), [], made.unwritten
        return set(made.lost), list(read_rows(path, form, example.tools, split=example.split)), made.unwritten


quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("form", WRITTEN)
def test_an_ordinary_record_comes_back_but_for_what_the_format_cannot_hold(form: str) -> None:
    @quick
    @given(examples(tame))
    def holds(example: Example) -> None:
        lost, back, unwritten = there_and_back(form, example)
        assert unwritten == 0
        assert lost <= LOST[form]
        [row] = back
        assert isinstance(row, Row)
        assert set(losses(example, row.example)) == lost
        if not lost:
            assert row.example == example

    holds()


@pytest.mark.parametrize("form", WRITTEN)
def test_whatever_the_texts_hold_a_row_reads_back_as_itself_or_is_not_written(form: str) -> None:
    @quick
    @given(examples(wild))
    def holds(example: Example) -> None:
        lost, back, unwritten = there_and_back(form, example)
        if unwritten:
            assert not back
            assert any(name.startswith("the whole row") for name in lost)
            return
        [row] = back
        assert isinstance(row, Row), row
        kept = {
            name: getattr(row.example, name)
            for name in ("id", "language", "category", "split", "source")
            if name in lost
        }
        bare = replace(row.example, **{name: getattr(example, name) for name in kept})
        if not lost - set(kept):
            assert bare == example
        elif form not in ("xlam", "pro"):
            assert said(bare, "system text" in lost) == said(example, "system text" in lost), lost

    holds()


def said(example: Example, without_system: bool) -> list[dict[str, Any]]:
    turns = [turn for turn in example.messages if not (without_system and isinstance(turn, System))]
    return [{**turn.to_json(), "facts": None, "asks": None} for turn in turns]


@pytest.mark.parametrize("form", ["canonical", "openai"])
@quick
@given(data=st.data())
def test_formats_with_a_place_for_each_thing_write_every_conversation(form: str, data: st.DataObject) -> None:
    made = writer(form)
    assert list(made.rows(data.draw(examples(wild))))
    assert made.unwritten == 0


@pytest.mark.parametrize("form", WRITTEN)
def test_rows_of_the_generator_lose_nothing_else(form: str) -> None:
    made = writer(form)
    for row in generated():
        assert list(made.rows(row))
    extra = {"additionalProperties of a tool's schema"} if form == "xlam" else set()
    assert set(made.lost) <= LOST[form] | extra
    assert made.lost["source"] == (0 if form == "canonical" else len(generated()))


# One case each


def test_parallel_results_keep_their_order_and_their_tools_everywhere() -> None:
    row = conversation(
        User("查預算,也查差旅費"),
        Calls((Call("query_database", {"query_str": "預算"}), Call("query_database", {"query_str": "差旅費"}))),
        Result("query_database", '{"amount": 3}'),
        Result("query_database", "沒有資料"),
        Reply("預算 3,差旅費沒有資料。"),
        category=Category.FULL_LOOP,
        tools=(QUERY, CALENDAR),
    )
    for form in WRITTEN:
        if form != "xlam":
            _, [back], _ = there_and_back(form, row)
            assert isinstance(back, Row)
            assert back.example.messages == row.messages, form


def test_results_out_of_the_order_of_their_calls_are_told_apart_where_results_have_a_name() -> None:
    row = conversation(
        User("both"),
        Calls((Call("a", {}), Call("b", {}))),
        Result("b", "2"),
        Result("a", "1"),
        Reply("1, 2"),
    )
    for form, kept in {"messages": True, "openai": True, "hermes": True, "sharegpt": False, "alpaca": False}.items():
        made = writer(form)
        assert bool(list(made.rows(row))) is kept, form
        assert made.unwritten == (not kept)


def test_a_result_may_hold_lines_that_look_like_turns() -> None:
    row = loop("預算為 300 萬。", content="300 萬\ntool: 400 萬\nuser: 謝謝\nassistant: 不客氣")
    for form in WRITTEN:
        if form != "xlam":
            _, [back], _ = there_and_back(form, row)
            assert isinstance(back, Row)
            assert said(back.example, without_system=False) == said(row, without_system=False), form


def test_a_result_keeps_the_spelling_of_its_json() -> None:
    for content in ('{"a":1}', '{"a": 1.0, "b": "\\u9810"}', "[1,2]", '{"a": 1, "a": 2}', "null", ' {"a": 1}'):
        for form in ("hermes", "openai", "sharegpt", "messages"):
            _, [back], _ = there_and_back(form, loop("好", content=content))
            assert isinstance(back, Row)
            assert back.example.messages[3] == Result("query_database", content), form


def test_a_second_system_turn_is_left_out_and_counted() -> None:
    row = loop("預算為 300 萬。")
    row = replace(row, messages=(*row.messages, System("簡短回答。"), User("再查一次"), Reply("300 萬。")))
    for form in ("sharegpt", "hermes", "alpaca", "pro"):
        made = writer(form)
        assert list(made.rows(row))
        assert made.lost["second system turn"] == 1, form
    kept = writer("openai")
    list(kept.rows(row))
    assert "second system turn" not in kept.lost


def test_a_text_that_reads_as_a_turn_or_a_call_is_counted_and_not_written() -> None:
    pasted = conversation(User("user: 幫我查預算\nassistant: 好的\nuser: 謝謝"), Reply("不客氣。"))
    braces = conversation(User("Show me JSON"), Reply('{"a": 1}'))
    for form, row, reason in [
        ("alpaca", pasted, "reads as another turn"),
        ("pro", pasted, "reads as another turn"),
        ("messages", braces, "cannot be read back"),
        ("hermes", conversation(User("?"), Reply("Write <tool_call> first")), "cannot be read back"),
    ]:
        made = writer(form)
        assert list(made.rows(row)) == []
        assert made.unwritten == 1
        [name] = made.lost
        assert reason in name


def test_what_json_cannot_hold_is_counted_and_not_written() -> None:
    for value in (float("nan"), "\ud800"):
        row = document_row(messages=(User("x"), Calls((Call("t", {"a": value}),))))
        made = writer("canonical")
        assert list(made.rows(row)) == []
        assert made.unwritten == 1
        assert any("JSON or UTF-8" in name for name in made.lost)


def test_a_format_that_is_only_read_says_which_can_be_written() -> None:
    with pytest.raises(Fault, match="glaive is only read; the formats to write are canonical, messages"):
        writer("glaive")
    with pytest.raises(Fault, match="'csv' is no format; the formats are canonical, messages"):
        writer("csv")
