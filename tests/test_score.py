"""What is right, why an answer is wrong, and the numbers made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import Called, Outcome, Unparsed, read_answer, write_calls
from callwright.metrics import Judged, accuracy, comparison, mcnemar, metrics, wilson
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, Tool, User
from callwright.score import expected_outcome, gold, verdict
from tests.rows import REQUEST, calling, conversation, document_row, generated, loop

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
    assert reason(asked(AT), write_calls((at("2026-03-04T15:00"),))) == "wrong_value"


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
    assert list(made) == ["overall", "by_category", "by_language", "by_tools", "decision", "errors"]
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
