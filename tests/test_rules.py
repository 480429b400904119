"""Every code of design §4 that a row alone can break, with the smallest row that breaks it.

Moments and grounded values are in test_grounding.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, System, Tool, User
from callwright.rules import Rules, simplified
from tests.rows import CALENDAR, QUERY, ROOM, calling, conversation, document_row, generated, loop, office

RULES = Rules(office())
ZH, EN = Language.ZH_TW, Language.EN
ASKED, CALLED = User("幫我查預算"), Calls((Call("query_database", {"query_str": "預算"}),))


def failure(row: Example) -> tuple[str, str]:
    found = RULES.first_failure(row)
    assert found, "the row is accepted"
    return found


def code(row: Example) -> str | None:
    found = RULES.first_failure(row)
    return found.code if found else None


def with_schema(parameters: dict[str, Any], **params: Any) -> Example:
    return conversation(
        ASKED, Calls((Call("query_database", params),)), tools=(Tool("query_database", "查", parameters),)
    )


def test_the_documents_own_row_is_accepted() -> None:
    assert code(document_row()) is None


def test_the_documents_wrong_parameter_name_is_an_unknown_param() -> None:
    row = conversation(ASKED, Calls((Call("query_database", {"query": "budget_2026"}),)))
    assert failure(row) == (
        "unknown_param",
        "row-1: messages[2].calls[0]: query_database has no parameter 'query'; it has query_str",
    )


def test_the_documents_date_is_hardcoded() -> None:
    made = Calls((Call("add_calendar_event", {"title": "預算審核", "start_time": "2026-03-04T15:00"}),))
    row = document_row(messages=(*document_row().messages[:2], made))
    assert failure(row) == (
        "hardcoded_date",
        (
            "row-1: messages[2].calls[0].params.start_time is '2026-03-04T15:00', a date nobody said; "
            "expected a moment such as 'tomorrow 15:00'"
        ),
    )


# bad_tool_schema


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "array"},
        {},
        {"type": "object", "properties": {"query_str": {"type": "strin"}}},
        {"type": "object", "properties": []},
        {"type": "object", "required": "query_str"},
        {"type": "object", "properties": {"query_str": {"pattern": "("}}},
    ],
    ids=str,
)
def test_parameters_that_are_no_schema_of_an_object_are_rejected(parameters: dict[str, Any]) -> None:
    found, message = failure(with_schema(parameters, query_str="預算"))
    assert found == "bad_tool_schema"
    assert message.startswith("row-1: tools[0] 'query_database': parameters ")


@pytest.mark.parametrize("reference", ["https://example.com/schema.json", "#/$defs/nowhere", "#/properties/query_str"])
def test_a_reference_out_of_the_schema_or_round_in_a_circle_is_rejected_and_never_fetched(reference: str) -> None:
    row = with_schema({"type": "object", "properties": {"query_str": {"$ref": reference}}}, query_str="預算")
    assert code(row) == "bad_tool_schema"


def test_a_reference_to_a_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text('{"type": "string"}', encoding="utf-8")
    parameters = {"type": "object", "properties": {"query_str": {"$ref": (tmp_path / "text.json").as_uri()}}}
    assert code(with_schema(parameters, query_str="預算")) == "bad_tool_schema"


def test_a_reference_inside_the_schema_and_a_schema_of_true_are_fine() -> None:
    parameters = {
        "type": "object",
        "$defs": {"text": {"type": "string"}},
        "properties": {"query_str": {"$ref": "#/$defs/text"}, "more": True},
    }
    assert code(with_schema(parameters, query_str="預算", more="預算")) is None
    assert code(with_schema(parameters, query_str=5)) == "wrong_type"


# incomplete_roles


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        ((ASKED, CALLED), "messages has no system turn; expected system, user, assistant"),
        ((System("助理。"), CALLED), "messages has no user turn; expected system, user, assistant"),
        ((System("助理。"), ASKED), "messages has no assistant turn; expected system, user, assistant"),
        ((), "messages has no system turn; expected system, user, assistant"),
        ((ASKED, System("助理。"), CALLED), "messages[0] is user; expected system first"),
        ((System("助理。"), CALLED, ASKED), "messages[1] is assistant after system; turns are out of order"),
        (
            (System("助理。"), ASKED, CALLED, Reply("好。")),
            "messages[3] is assistant after assistant; turns are out of order",
        ),
        ((System("助理。"), User(" "), CALLED), "messages[1] (user) is empty"),
        ((System("　"), ASKED, CALLED), "messages[0] (system) is empty"),
        ((System("助理。"), ASKED, Reply("")), "messages[2] (assistant) is empty"),
        ((System("助理。"), ASKED, Calls(())), "messages[2] (assistant) is empty"),
        (
            (System("助理。"), ASKED, CALLED, Result("query_database", "1")),
            "messages[3] is tool; expected the assistant's turn last",
        ),
    ],
)
def test_roles_are_there_filled_and_in_order(turns: tuple[Message, ...], sentence: str) -> None:
    assert failure(document_row(messages=turns)) == ("incomplete_roles", f"row-1: {sentence}")


def test_a_second_request_after_a_reply_is_in_order() -> None:
    assert code(conversation(ASKED, Reply("要查哪一年的?"), User("今年的預算"), CALLED)) is None


# wrong_language


@pytest.mark.parametrize(
    ("text", "language", "sentence"),
    [
        ("帮我查预算", ZH, "has the Simplified '帮'; expected zh-TW: 帮我查预算"),
        ("Find the budget", ZH, "has no Chinese; expected zh-TW: Find the budget"),
        ("予算を調べてください", ZH, "is in neither English nor Chinese; expected zh-TW: 予算を調べてください"),
        ("幫我查預算", EN, "is in Chinese; expected en: 幫我查預算"),
        ("Найди бюджет", EN, "is in neither English nor Chinese; expected en: Найди бюджет"),
    ],
)
def test_a_turn_in_another_language_is_rejected(text: str, language: Language, sentence: str) -> None:
    row = conversation(User(text), Reply("好。" if language is ZH else "Sure."), language=language)
    assert failure(row) == ("wrong_language", f"row-1: messages[1] {sentence}")


def test_a_reply_is_judged_too() -> None:
    assert code(conversation(ASKED, Reply("没有这个工具。"))) == "wrong_language"


def test_texts_of_tools_and_of_the_system_are_not_judged() -> None:
    row = conversation(ASKED, CALLED, tools=(replace(QUERY, description="查询数据库"),))
    assert code(row) is None
    assert code(replace(row, messages=(System("你是一个专业助手。"), *row.messages[1:]))) is None


def test_names_and_words_of_the_other_language_are_fine() -> None:
    row = conversation(User("Ask 王小明 about the budget"), Reply("No tool here does that."), language=EN)
    assert code(row) is None
    assert code(conversation(User("用 Excel 開 PDF 嗎?"), Reply("好。"))) is None


def test_taiwans_own_signs_are_not_simplified() -> None:
    taiwan = (
        "請秘書在群組說床邊的灶台發霉,聘雇晒衣工,吃粽子和虱目魚佳肴,登上高峰;台灣的后里、面線、公里、只有、干預、松樹"
    )
    assert not [sign for sign in taiwan if sign in simplified()]
    assert all(sign in simplified() for sign in "帮这个会议听体机气坏儿与")


# calls


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (Call("query_databse", {"query_str": "預算"}), "unknown_tool"),
        (Call("Query_Database", {"query_str": "預算"}), "unknown_tool"),
        (Call("query_database", {"Query_str": "預算"}), "unknown_param"),
        (Call("query_database", {"query_str": "預算", "limit": 5}), "unknown_param"),
        (Call("query_database", {}), "missing_param"),
        (Call("query_database", {"query_str": 5}), "wrong_type"),
        (Call("query_database", {"query_str": None}), "wrong_type"),
        (Call("query_database", {"query_str": ["預算"]}), "wrong_type"),
        (Call("book_room", {"room": "預算", "people": "3"}), "wrong_type"),
        (Call("book_room", {"room": "預算", "people": True}), "wrong_type"),
        (Call("book_room", {"room": "預算", "people": 14.5}), "wrong_type"),
        (Call("book_room", {"room": "預算", "hybrid": 1}), "wrong_type"),
        (Call("book_room", {"room": "預算", "names": ["預算", 1]}), "wrong_type"),
        (Call("book_room", {"room": "預算", "priority": "urgent"}), "not_in_enum"),
        (Call("book_room", {"room": "預算", "people": 0}), "bad_value"),
        (Call("book_room", {"room": "預算", "people": 51}), "bad_value"),
    ],
    ids=str,
)
def test_a_call_that_its_tool_does_not_allow_is_rejected(call: Call, expected: str) -> None:
    found, message = failure(conversation(ASKED, Calls((call,))))
    assert found == expected
    assert message.startswith("row-1: messages[2].calls[0]: ")


def test_a_whole_float_is_an_integer() -> None:
    assert code(calling("Book A301 for 14 people", room="A301", people=14.0)) is None


def test_a_later_call_of_a_turn_is_judged_too() -> None:
    row = conversation(ASKED, Calls((*CALLED.calls, Call("query_database", {}))))
    assert failure(row) == ("missing_param", "row-1: messages[2].calls[1]: query_database requires 'query_str'")


# execution_failed


def test_a_call_that_the_packs_backend_refuses_is_rejected() -> None:
    row = replace(document_row(), source={"pack": "office"})
    assert code(row) is None
    renamed = replace(QUERY, name="look_up")
    row = conversation(
        ASKED, Calls((Call("look_up", {"query_str": "預算"}),)), tools=(renamed,), source={"pack": "office"}
    )
    assert failure(row) == (
        "execution_failed",
        "row-1: the backend refuses look_up: there is no tool 'look_up'",
    )


@pytest.mark.parametrize("pack", ["another", None, ["office"], 7])
def test_a_row_of_no_known_pack_is_not_run(pack: Any) -> None:
    assert code(replace(document_row(), source={"pack": pack})) is None


# unfaithful_reply


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("2026 預算為 300 萬。", "unfaithful_reply"),
        ("預算為 300 萬。", None),
        ("預算為 ３００萬。", None),
        ("預算為 3,000,000。", None),
        ("預算為 3M。", None),
        ("預算為 300。", "unfaithful_reply"),
        ("預算查好了。", "unfaithful_reply"),
        ("預算為 300 萬,共 4 筆。", "unfaithful_reply"),
    ],
)
def test_a_reply_tells_the_facts_and_no_number_from_nowhere(reply: str, expected: str | None) -> None:
    assert code(loop(reply)) == expected


def test_the_documents_own_loop_is_accepted() -> None:
    row = loop("2026 預算為 300 萬", facts=("3M",), content="2026 budget = 3M")
    assert code(row) is None


def test_numbers_of_the_request_and_of_unmarked_results_may_be_told() -> None:
    row = conversation(
        User("幫我查 A301 的預算"),
        CALLED,
        Result("query_database", '{"amount": 77}'),
        Reply("A301 的預算是 77。"),
    )
    assert code(row) is None


def test_a_second_reply_need_not_repeat_the_first_facts() -> None:
    row = loop("預算為 300 萬。")
    assert code(replace(row, messages=(*row.messages, User("謝謝"), Reply("不客氣。")))) is None
    more = replace(row, messages=(*row.messages, User("謝謝"), Reply("不客氣,還有 4 筆。")))
    assert code(more) == "unfaithful_reply"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("請問要訂幾點?", None),
        ("請問要訂幾點？", None),
        ("請問要訂哪一間?", "unfaithful_reply"),
        ("幾點都好。", "unfaithful_reply"),
    ],
)
def test_a_reply_to_a_missing_value_asks_for_it(reply: str, expected: str | None) -> None:
    row = conversation(User("幫我訂會議室"), Reply(reply, asks=("幾點", "時間")), category=Category.MISSING)
    assert code(row) == expected


# The list


def test_the_first_rule_that_fails_wins() -> None:
    """One row breaks all of them; mending the first shows the next."""
    turns: tuple[Message, ...] = (User("帮我查预算"), Calls((Call("nope", {}),)))
    row = conversation(*turns, tools=(Tool("query_database", "查", {"type": "array"}),))
    row = replace(row, messages=row.messages[1:], source={"pack": "office"})

    def system(*more: Message) -> tuple[Message, ...]:
        return (System("助理。"), *more)

    def call(**params: Any) -> Calls:
        return Calls((Call("add_calendar_event", params),))

    asked = User("審核會明天下午三點")
    told = Result("add_calendar_event", "{}", ("7",))
    mended = [
        ("bad_tool_schema", {}),
        ("incomplete_roles", {"tools": (CALENDAR,)}),
        ("wrong_language", {"messages": system(*turns)}),
        ("unknown_tool", {"messages": system(asked, turns[1])}),
        ("unknown_param", {"messages": system(asked, call(titel="面談"))}),
        ("missing_param", {"messages": system(asked, call(title="面談"))}),
        ("wrong_type", {"messages": system(asked, call(title=1, start_time="2026-03-04"))}),
        ("hardcoded_date", {"messages": system(asked, call(title="面談", start_time="2026-03-04"))}),
        ("bad_relative_time", {"messages": system(asked, call(title="面談", start_time="soon"))}),
        (
            "ungrounded_value",
            {"messages": system(asked, call(title="面談", start_time="tomorrow 15:00"), told, Reply("好。"))},
        ),
        (
            "unfaithful_reply",
            {"messages": system(asked, call(title="審核會", start_time="tomorrow 15:00"), told, Reply("好。"))},
        ),
    ]
    for expected, change in mended:
        row = replace(row, **change)  # type: ignore[arg-type]
        assert code(row) == expected


def test_all_generated_rows_are_accepted() -> None:
    rows = generated()
    assert {row.category for row in rows} >= {Category.SINGLE, Category.PARALLEL, Category.MISSING, Category.FULL_LOOP}
    assert [found for row in rows if (found := RULES.first_failure(row))] == []


def test_a_tool_of_many_rows_is_checked_once_and_each_call_anew() -> None:
    assert code(calling("Book A301", room="A301")) is None
    changed = replace(ROOM, parameters={**ROOM.parameters, "required": ["room", "people"]})
    assert code(replace(calling("Book A301", room="A301"), tools=(changed,))) == "missing_param"
