"""Rows played for real: a right model is right everywhere, a wrong one is not, and a hostile one breaks nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.answers import Called, read_answer, write_calls
from callwright.executed import executed, pass_k, summary
from callwright.judging import difference
from callwright.loop import Asked, Limits, Spoken
from callwright.outs import read_lines, write_lines
from callwright.pack_shape import Pack
from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, User
from callwright.telling import failures_told, fields_told, tells_failure
from tests.plays import Answer, Reciting, all_packs, right, varied
from tests.rows import conversation, office
from tests.small_pack import small_pack

Row = dict[str, Any]


def play(rows: Sequence[Example], answer: Answer = right, **more: Any) -> list[Row]:
    return executed(Reciting(rows, answer), rows, all_packs(), **more)


def one(row: Example, *texts: str, **more: Any) -> Row:
    """One row, to which a model says these texts one after another, and then the last again and again."""
    said = iter(texts)
    last = [""]

    def answer(_row: Example, _after: Sequence[Message]) -> str:
        last[0] = next(said, last[0])
        return last[0]

    [found] = play([row], answer, **more)
    return found


def reason(row: Example, *texts: str, **more: Any) -> tuple[bool, bool, str | None]:
    found = one(row, *texts, **more)
    assert (found["reason"] is None) is found["correct"] is (found["detail"] is None)
    return found["state"], found["reply"], found["reason"]


def asking(request: str, *turns: Message, language: Language = Language.ZH_TW, **more: Any) -> Example:
    """A row of the office with all its tools."""
    tools = tuple(tool.offered(language) for tool in office()[0].tools)
    return conversation(User(request), *turns, tools=tools, language=language, source={"pack": "office"}, **more)


QUERY = Call("query_database", {"query_str": "預算"})
EVENT = Call("add_calendar_event", {"title": "審核會", "start_time": "tomorrow 15:00"})
LOOKED_UP = asking(
    "幫我查預算",
    Calls((QUERY,)),
    Result("query_database", '{"amount": "300 萬"}', ("300 萬",)),
    Reply("預算為 300 萬。"),
    category=Category.FULL_LOOP,
)
BOTH = asking("幫我查預算，並在明天下午三點排審核會。", Calls((QUERY, EVENT)), category=Category.PARALLEL)
SENT = asking(
    "Look up Amy and mail her about lunch",
    Calls((Call("find_contact", {"name": "Amy"}),)),
    Result("find_contact", '{"email": "amy@example.com", "extension": 4021}'),
    Calls((Call("send_email", {"to": "amy@example.com", "subject": "lunch"}),)),
    Result("send_email", '{"id": 1042}', ("1042",)),
    Reply("Sent, number 1042."),
    language=Language.EN,
    category=Category.CHAINED,
)
MISSING = asking("幫我排審核會", Reply("請問時間？", ("時間", "幾點")), category=Category.MISSING)
ANSWERED = replace(MISSING, messages=(*MISSING.messages, User("明天下午三點"), Calls((EVENT,))))
NO_TOOL = asking("幫我訂披薩", Reply("抱歉，沒有合適的工具。"), category=Category.NO_TOOL)
TIMEOUT = '{"error": "timeout"}'
RETRIED = asking(
    "幫我查預算",
    Calls((QUERY,)),
    Result("query_database", TIMEOUT),
    Calls((QUERY,)),
    Result("query_database", '{"amount": "300 萬"}', ("300 萬",)),
    Reply("預算為 300 萬。"),
    category=Category.TOOL_ERROR,
)
FAILED = asking(
    "Book room A301 for four people tomorrow at 3 pm",
    Calls((Call("book_room", {"room": "A301", "start_time": "tomorrow 15:00", "people": 4}),)),
    Result("book_room", '{"error": "room_taken"}'),
    Reply("Sorry, that room is taken then."),
    language=Language.EN,
    category=Category.TOOL_ERROR,
)


def says(*calls: Call) -> str:
    return write_calls(calls)


# A right model


def test_a_right_model_is_right_in_every_category_pack_and_language() -> None:
    rows = varied()
    found = play(rows)
    assert [(row["id"], row["reason"], row["detail"]) for row in found if not row["correct"]] == []
    assert {row["category"] for row in found} == set(map(str, Category))
    assert {row["language"] for row in found} == set(map(str, Language))
    assert all(row["rebuilt"] and row["turns"] == row["gold_turns"] for row in found)
    assert len(found) == len(rows) > 1000


def test_the_records_own_words_are_right_where_it_holds_them() -> None:
    for row in (LOOKED_UP, SENT, MISSING, NO_TOOL, RETRIED, FAILED):
        said = [say for m in row.messages if isinstance(m, Calls | Reply) for say in [_text(m)]]
        assert reason(row, *said) == (True, True, None), row.category


def _text(turn: Calls | Reply) -> str:
    return write_calls(turn.calls) if isinstance(turn, Calls) else turn.content


def test_another_way_to_the_same_end_is_right() -> None:
    told = "預算是 {amount}，審核會的編號是 {id}。"
    [alone] = play([BOTH])
    [first, second] = alone["steps"][0]["results"]
    text = told.format(amount=json.loads(first)["amount"], id=json.loads(second)["id"])
    assert reason(BOTH, says(EVENT, QUERY), text) == (True, True, None)
    assert reason(BOTH, says(EVENT), says(QUERY), text) == (True, True, None)
    odd = Call("add_calendar_event", {"title": "審核會。", "start_time": "tomorrow at 3pm"})
    assert reason(BOTH, says(Call("nothing", {})), says(odd, QUERY, QUERY), text) == (True, True, None)


def test_other_calls_that_the_row_calls_right_are_right() -> None:
    later = replace(EVENT, params={**EVENT.params, "start_time": "tomorrow 16:00"})
    row = replace(BOTH, messages=(*BOTH.messages[:-1], Calls((QUERY, EVENT), also=((later,), (later, QUERY)))))
    [alone] = play([row])
    first, second = alone["steps"][0]["results"]
    number, amount = json.loads(second)["id"], json.loads(first)["amount"]
    assert reason(row, says(later), f"排好了，編號 {number}。") == (True, True, None)
    assert reason(row, says(QUERY, later), f"{amount}，排好了，編號 {number}。") == (True, True, None)
    assert reason(row, says(QUERY, EVENT), f"{amount}，排好了，編號 {number}。") == (True, True, None)
    assert reason(row, says(QUERY, EVENT, later), "排好了。") == (False, False, "wrong_count")
    assert reason(BOTH, says(later), f"排好了，編號 {number}。") == (False, False, "wrong_count")


def test_a_condition_that_is_left_out_finds_other_rows() -> None:
    find = Call("find_employee", {"name": "Amy", "department": "sales"})
    hr = next(pack for pack in all_packs() if pack.pack == "hr")
    tools = tuple(tool.offered(Language.EN) for tool in hr.tools)
    row = replace(asking("Find Amy in sales", Calls((find,)), language=Language.EN), tools=tools, source={"pack": "hr"})
    [alone] = play([row])
    number = json.loads(alone["steps"][0]["results"][0])["employee_id"]
    assert one(row, says(find), f"Amy has {number}.")["correct"]
    loose = one(row, says(Call("find_employee", {"name": "Amy"})), f"Amy has {number}.")
    assert json.loads(loose["steps"][0]["results"][0])["employee_id"] != number
    assert (loose["state"], loose["reason"]) == (True, "wrong_params")


def test_a_value_that_the_tables_do_not_hold_must_be_right_all_the_same() -> None:
    search = Call("search_files", {"keyword": "合約", "file_type": "pdf"})
    row = asking("找合約的 PDF", Calls((search,)))
    for wrong, why in (({"file_type": "doc"}, "wrong_value"), ({}, "wrong_params")):
        found = one(row, says(Call("search_files", {"keyword": "合約", **wrong})), "好。")
        assert found["steps"][0]["results"] == play([row])[0]["steps"][0]["results"]
        assert (found["state"], found["reply"], found["reason"]) == (True, False, why)


def test_renamed_tools_run_under_the_packs_names() -> None:
    rows = [row for row in varied() if row.source.get("renamed") and row.calls]
    assert len(rows) > 30
    assert all(row["correct"] for row in play(rows))
    own = rows[0].own(rows[0].calls[0])
    if own.tool != rows[0].calls[0].tool:
        assert one(rows[0], says(own), "好的。Done.")["reason"] in ("unknown_tool", "wrong_tool")


# A wrong model


TOLD = "預算為 300 萬。"
WRONG: list[tuple[Example, list[str], tuple[bool, bool, str]]] = [
    # row, what is said, whether state and reply are right, the reason
    (LOOKED_UP, [TOLD], (True, False, "no_call")),
    (LOOKED_UP, ["請問哪個預算？"], (True, False, "needless_question")),
    (LOOKED_UP, [says(QUERY), "查到了。"], (True, False, "fact_left_out")),
    (LOOKED_UP, [says(QUERY), "預算為 300 萬，去年 250 萬。"], (True, False, "invented_number")),
    (LOOKED_UP, [says(Call("query_database", {"query_str": "決算"})), TOLD], (True, False, "wrong_value")),
    (LOOKED_UP, [says(QUERY, EVENT), TOLD], (False, True, "wrong_count")),
    (LOOKED_UP, [says(Call("query", {"query_str": "預算"})), TOLD], (True, False, "unknown_tool")),
    (LOOKED_UP, [says(Call("query_database", {"query": "預算"})), TOLD], (True, False, "unknown_param")),
    (LOOKED_UP, ['{"tool": "query_database", "params": {"query_s'], (True, False, "unparsed")),
    (LOOKED_UP, ["<tool_call>query_database</tool_call>"], (True, False, "unparsed")),
    (LOOKED_UP, [""], (True, False, "unparsed")),
    (BOTH, [says(QUERY), "好的。"], (False, False, "wrong_count")),
    (
        BOTH,
        [says(QUERY, replace(EVENT, params={**EVENT.params, "title": "週會"})), "好。"],
        (False, False, "wrong_value"),
    ),
    (BOTH, [says(QUERY, EVENT, EVENT), "好。"], (False, False, "wrong_state")),
    (SENT, [says(SENT.calls[1]), "Sent, number 1042."], (True, False, "wrong_count")),
    (SENT, [says(SENT.calls[0]), "It is amy@example.com."], (False, False, "wrong_count")),
    (MISSING, ["好的。"], (True, False, "not_asked")),
    (MISSING, ["請問還需要什麼？"], (True, False, "not_asked")),
    (MISSING, [says(EVENT), "請問時間？"], (False, True, "needless_call")),
    (ANSWERED, ["好的。", says(EVENT), "排好了。"], (True, False, "not_asked")),
    (ANSWERED, ["請問時間？", "好的。"], (False, False, "no_call")),
    (NO_TOOL, [says(QUERY), "抱歉。"], (True, False, "needless_call")),
    (NO_TOOL, [says(Call("order_pizza", {})), "抱歉。"], (True, False, "needless_call")),
    (NO_TOOL, ["要訂哪一種？"], (True, False, "needless_question")),
    (RETRIED, [says(QUERY), "抱歉，逾時了。"], (True, False, "not_called")),
    (FAILED, [says(*FAILED.calls), "Your room is booked."], (True, False, "failure_not_told")),
    (FAILED, ["Sorry, that room is taken then."], (True, False, "no_call")),
    (
        FAILED,
        [
            says(replace(FAILED.calls[0], params={**FAILED.calls[0].params, "room": "A302"})),
            "Sorry, it is taken.",
        ],
        (True, False, "wrong_value"),
    ),
]


@pytest.mark.parametrize(("row", "texts", "expected"), WRONG)
def test_a_wrong_model_is_wrong_for_its_first_reason(
    row: Example, texts: list[str], expected: tuple[bool, bool, str]
) -> None:
    assert reason(row, *texts) == expected


def test_the_reason_is_a_sentence() -> None:
    made = '{"title": "審核會", "start_time": "2026-03-03T15:00"}'
    sentences = [
        (LOOKED_UP, [says(QUERY), "好。"], "the reply does not tell '300 萬'"),
        (LOOKED_UP, [says(QUERY), "300 萬、9 元。"], "the reply tells 9, which no result holds"),
        (RETRIED, [says(QUERY), "逾時。"], "query_database was not called to the right result"),
        (FAILED, [says(*FAILED.calls), "Done."], "the reply does not tell that book_room failed"),
        (BOTH, [says(QUERY, EVENT, EVENT), "好。"], f"events has {made}, which the right calls do not leave there"),
        (NO_TOOL, [says(QUERY), "好。"], "query_database is called where text is right"),
        (MISSING, ["好。"], "expected a question that names the missing value (時間, 幾點)"),
    ]
    for row, texts, sentence in sentences:
        assert one(row, *texts)["detail"] == sentence


@pytest.mark.parametrize("kind", ["value", "fewer", "text", "number"])
def test_what_is_made_wrong_in_any_row_is_found(kind: str) -> None:
    """Each right answer is made wrong in one way; the row is wrong then, whatever its pack and tools are."""

    def answer(row: Example, after: Sequence[Message]) -> str:
        text = right(row, after)
        calls = read_answer(text)
        if isinstance(calls, Called):
            return write_calls(_changed(row, calls.calls, kind))
        bland = "好的，完成了。" if row.language is Language.ZH_TW else "All done."
        return {"text": bland, "number": f"{text} 987654"}.get(kind, text)

    rows = [row for row in varied()[::2] if row.calls and (kind != "fewer" or len(row.calls) > 1)]
    rows = [row for row in rows if kind != "value" or _changed(row, row.calls[:1], kind) != row.calls[:1]]
    rows = [row for row in rows if kind != "fewer" or row.category is Category.PARALLEL]
    found = play(rows, answer)
    assert len(rows) > 70
    assert [(row["id"], row["steps"]) for row in found if row["correct"]] == []


def _changed(row: Example, calls: Sequence[Call], kind: str) -> tuple[Call, ...]:
    if kind == "fewer":
        return tuple(calls[:-1])
    if kind != "value":
        return tuple(calls)
    free = [n for n, v in calls[0].params.items() if isinstance(v, str) and _is_free(row, calls[0], n)]
    params = {**calls[0].params, **{name: f"{calls[0].params[name]}x" for name in free[:1]}}
    return (Call(calls[0].tool, params), *calls[1:])


def _is_free(row: Example, call: Call, name: str) -> bool:
    tool = next(tool for tool in row.tools if tool.name == call.tool)
    return not {"enum", "pattern", "const", "format", "maxLength"} & tool.properties[name].keys()


# Failing tools


def test_a_tool_fails_as_often_as_the_row_says_and_then_works() -> None:
    found = one(RETRIED, says(QUERY), says(QUERY), TOLD)
    assert [step["results"] for step in found["steps"]] == [[TIMEOUT], ['{"amount": "300 萬"}'], []]
    assert found["correct"]


def test_a_failure_that_is_told_in_the_row_lasts() -> None:
    call = says(*FAILED.calls)
    found = one(FAILED, call, call, call, "Sorry, the room is taken.")
    assert [step["results"] for step in found["steps"][:3]] == [['{"error": "room_taken"}']] * 3
    assert found["correct"]


def test_every_pack_tells_its_failures_so_that_they_are_known_from_its_replies() -> None:
    for pack in all_packs():
        for language in Language:
            for failing in pack.errors:
                told = failures_told(pack, language, failing.error)
                assert told
                assert all(tells_failure(text, told) for text in told)
                replies = [
                    r for tool in pack.tools for half in (tool.replies[language],) for r in (*half.train, *half.test)
                ]
                assert [text for text in replies if tells_failure(text, told)] == []
    assert failures_told(office()[0], Language.EN, "on_fire")  # an error that the pack does not know


def test_a_reply_must_tell_what_all_of_the_packs_replies_tell() -> None:
    assert fields_told(office()[0].tool("query_database"), Language.EN) == [["amount"]]
    assert fields_told(office()[0].tool("find_contact"), Language.EN) == [["email"], ["extension"]]
    for pack in all_packs():
        assert all(all(fields_told(tool, language)) for tool in pack.tools for language in Language)


# States


def test_states_are_one_whatever_the_ids_the_order_and_the_width() -> None:
    state = {"t": [{"id": 1, "a": "臺北", "n": 14.0}, {"id": 2, "a": "b", "n": None}], "u": []}
    same = {"t": [{"id": 7, "a": "B", "n": None}, {"id": 9, "a": "台北", "n": 14}]}
    assert difference(state, same) is None
    assert difference(same, state) is None
    assert difference(state, {"t": state["t"][:1]}) == 't lacks {"a": "b"}, which the right calls leave there'
    assert (
        difference({}, {"t": [{"id": 1, "a": True}]}) == 't has {"a": true}, which the right calls do not leave there'
    )
    assert difference({"t": [{"a": 1}]}, {"t": [{"a": True}]})
    assert difference({"t": [{"a": "1"}]}, {"t": [{"a": 1}]})
    assert difference({"t": [{"a": "x"}] * 2}, {"t": [{"a": "x"}]})


def test_a_call_of_another_packs_tool_changes_the_state() -> None:
    others = {pack.pack: pack for pack in all_packs()}
    lead = others["crm"].tool("create_lead")
    tools = (*LOOKED_UP.tools, lead.offered(Language.EN))
    row = replace(LOOKED_UP, tools=tools)
    made = next(r for r in varied() for c in r.calls if r.own(c).tool == "create_lead")
    call = next(made.own(c) for c in made.calls if made.own(c).tool == "create_lead")
    found = one(row, says(QUERY, call), TOLD)
    assert (found["state"], found["reason"]) == (False, "wrong_count")
    assert json.loads(found["steps"][0]["results"][1]).keys() == {"id"}


# Rows that cannot be played


def test_a_row_that_cannot_be_played_is_set_aside_with_the_reason() -> None:
    chain = replace(
        SENT, messages=tuple(Result(m.tool, '{"mail": 3}') if isinstance(m, Result) else m for m in SENT.messages)
    )
    cases = {
        "no pack is named to run its tools": replace(LOOKED_UP, source={}),
        "there is no pack 'farm' to run its tools": replace(LOOKED_UP, source={"pack": "farm"}),
        "packs/office.yaml has no tool 'fly'": asking("x", Calls((Call("fly", {}),))),
        "its results cannot be made again, and its later calls may take values from them": chain,
        "it does not end with the assistant's turn": asking("x"),
    }
    rows = [*(replace(row, id=f"row-{i}") for i, row in enumerate(cases.values())), LOOKED_UP]
    found = play(rows)
    assert [row.get("set_aside") for row in found] == [*cases, None]
    assert summary(found)["set_aside"] == {"n": 5, "reasons": dict.fromkeys(sorted(cases), 1)}
    assert summary(found)["n"] == 1
    only = summary(found[:5])
    assert (only["n"], only["pass^1"], only["state"]) == (0, None, {"n": 0, "accuracy": None, "ci95": None})


def test_a_row_that_the_model_cannot_be_asked_is_set_aside() -> None:
    class Short:
        def answer(self, asked: Sequence[Asked], *, temperature: float, seed: int) -> list[Spoken]:
            why = read_answer('{"tool')
            return [Spoken("", why, asked=False) for _ in asked]

    [row] = executed(Short(), [LOOKED_UP], office())
    assert row["set_aside"].startswith("the model cannot be asked it: line 1")
    assert summary([row])["n"] == 0


def test_an_answer_that_is_lost_raises() -> None:
    class Losing:
        def answer(self, asked: Sequence[Asked], *, temperature: float, seed: int) -> list[Spoken]:
            return []

    with pytest.raises(RuntimeError, match="a lost answer is no wrong one"):
        executed(Losing(), [LOOKED_UP], office())


# Trials


class Often:
    """Right in so many of the trials of each row."""

    def __init__(self, row: Example, right_ones: int) -> None:
        self.reciting, self.right_ones = Reciting([row]), right_ones
        self.heard: list[tuple[int, float, int]] = []

    def answer(self, asked: Sequence[Asked], *, temperature: float, seed: int) -> list[Spoken]:
        self.heard.append((len(asked), temperature, seed))
        wrong = Spoken("好的。", read_answer("好的。"))
        if len(self.heard) > 1:
            return self.reciting.answer(asked)
        return [*self.reciting.answer(asked[: self.right_ones]), *[wrong] * (len(asked) - self.right_ones)]


def test_all_trials_are_asked_at_once_with_a_seed_for_each_round() -> None:
    model = Often(LOOKED_UP, 3)
    rows = executed(model, [LOOKED_UP], office(), trials=4, temperature=0.7, seed=404)
    assert [(count, temperature) for count, temperature, _ in model.heard] == [(4, 0.7), (3, 0.7)]
    assert len({seed for *_, seed in model.heard}) == 2
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert {(row["temperature"], row["seed"]) for row in rows} == {(0.7, 404)}
    found = summary(rows)
    assert (found["n"], found["trials"], found["temperature"]) == (1, 4, 0.7)
    assert [found[f"pass^{k}"] for k in range(1, 5)] == [0.75, 0.5, 0.25, 0.0]
    again = Often(LOOKED_UP, 3)
    assert executed(again, [LOOKED_UP], office(), trials=4, temperature=0.7, seed=404) == rows
    assert again.heard == model.heard


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 4))
def test_pass_k_is_the_share_of_all_choices_of_k_trials_that_are_all_right(trials: list[bool], k: int) -> None:
    if k > len(trials):
        return
    chosen = [all(some) for some in combinations(trials, k)]
    assert math.isclose(pass_k(sum(trials), len(trials), k), sum(chosen) / len(chosen))


def test_the_summary_can_be_computed_again_from_the_file(tmp_path: Path) -> None:
    kinds = [LOOKED_UP, BOTH, MISSING, SENT, replace(NO_TOOL, source={})]
    rows = play([replace(row, id=f"row-{i}") for i, row in enumerate(kinds)], trials=2, temperature=0.5)
    write_lines(tmp_path / "executed.jsonl", rows)
    found = summary(read_lines(tmp_path / "executed.jsonl"))
    assert found == summary(rows)
    assert found["n"] == 4
    assert found["correct"] == found["state"] == found["reply"] == {"n": 4, "accuracy": 1.0, "ci95": [0.510109, 1.0]}
    assert found["turns"] == {"mean": 2.0, "gold_mean": 2.0}
    assert found["pass^3"] is None
    assert list(found["by_category"]) == ["chained", "full_loop", "missing", "parallel"]
    assert found["by_language"]["en"]["n"] == 1
    assert found["endings"] == {"answered": 6, "asked": 2}


# Hostile models

SQL = "'; DROP TABLE events; --"
HOSTILE: dict[str, tuple[str, str]] = {
    # what it says to everything, and how that ends
    "many calls": (says(*[EVENT] * 10_000), "output_limit"),
    "many short calls": ("\n".join(['{"tool":"x","params":{}}'] * 500), "call_limit"),
    "without end": (says(EVENT), "turn_limit"),
    "SQL": (says(Call("add_calendar_event", {"title": SQL, "start_time": "today 10:00"})), "turn_limit"),
    "a path": (says(Call("query_database", {"query_str": "../../../etc/passwd"})), "turn_limit"),
    "unknown tool": (says(Call("../backend", {"x": SQL})), "turn_limit"),
    "nested": ('{"tool": "x", "params": ' + '{"a":' * 1_000 + "1" + "}" * 1_001, "malformed"),
    "nested lists": ("[" * 15_000, "malformed"),
    "cut off": ('{"tool": "query_database", "params": {"query_str": "', "malformed"),
    "NaN": ('{"tool": "query_database", "params": {"query_str": NaN}}', "malformed"),
    "half a sign": ('{"tool": "query_database", "params": {"query_str": "\\ud800"}}', "malformed"),
    "half a sign as text": ("\ud800" * 50, "answered"),
    "nothing": ("", "malformed"),
    "numbers": ("1 " * 9_999, "answered"),
    "a long number": (says(Call("order_supplies", {"item": "x", "quantity": 10**400})), "turn_limit"),
    "braces": ("{" * 19_000, "malformed"),
}


def test_no_hostile_answer_crashes_an_evaluation_or_reaches_another_rows_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = list(HOSTILE)
    bad = [replace(LOOKED_UP, id=f"bad-{i}", messages=_asked(LOOKED_UP, f"第 {i} 次")) for i in range(len(kinds))]
    good = [row for row in varied() if row.source["pack"] == "office"]
    hostile = {row.id: HOSTILE[kind][0] for row, kind in zip(bad, kinds, strict=True)}

    def answer(row: Example, after: Sequence[Message]) -> str:
        return hostile.get(row.id) or ("" if row.id in hostile else right(row, after))

    mixed = [row for pair in zip(bad, good, strict=False) for row in pair] + good[len(bad) :]
    found = {row["id"]: row for row in play(mixed, answer)}
    assert {kind: found[row.id]["ending"] for kind, row in zip(kinds, bad, strict=True)} == {
        kind: ending for kind, (_, ending) in HOSTILE.items()
    }
    assert not any(found[row.id]["correct"] for row in bad)
    alone = {row["id"]: row for row in play(good)}
    assert {row_id: found[row_id] for row_id in alone} == alone
    assert all(row["correct"] for row in alone.values())
    write_lines(tmp_path / "executed.jsonl", found.values())
    assert [path.name for path in tmp_path.iterdir()] == ["executed.jsonl"]
    assert len(list(read_lines(tmp_path / "executed.jsonl"))) == len(mixed)


def _asked(row: Example, more: str) -> tuple[Message, ...]:
    return tuple(User(f"{m.content} {more}") if isinstance(m, User) else m for m in row.messages)


def test_what_looks_like_sql_is_a_value_in_its_own_world() -> None:
    call = Call("add_calendar_event", {"title": SQL, "start_time": "today 10:00"})
    row = asking(f"Add {SQL} today at ten", Calls((call,)), language=Language.EN)
    found = one(row, says(call), "Done.")
    assert (found["state"], found["reason"]) == (True, "fact_left_out")
    number = json.loads(found["steps"][0]["results"][0])["id"]
    assert one(row, says(call), f"It is on the calendar as {number}.")["correct"]


def test_a_limit_ends_a_conversation_with_its_name_as_the_reason() -> None:
    assert reason(LOOKED_UP, says(QUERY), limits=Limits(turns=3)) == (True, False, "turn_limit")
    assert one(LOOKED_UP, says(QUERY), limits=Limits(turns=3))["turns"] == 3
    assert reason(BOTH, says(QUERY, EVENT), limits=Limits(calls=1)) == (False, False, "call_limit")


def test_a_column_that_a_schema_lets_anything_into_breaks_no_state() -> None:
    anything: tuple[str, Any] = ("tools.0.parameters.properties.authors", {})
    pack = Pack.model_validate(small_pack(anything))
    call = Call("add_book", {"title": "Emma", "due_date": "today", "authors": "not a list"})
    tools = tuple(tool.offered(Language.EN) for tool in pack.tools)
    row = conversation(User("Log Emma"), Calls((call,)), tools=tools, language=Language.EN, source={"pack": "library"})

    class Calling:
        def answer(self, asked: Sequence[Asked], *, temperature: float, seed: int) -> list[Spoken]:
            done = [m for m in asked[0].messages if isinstance(m, Result)]
            text = f"It has number {json.loads(done[0].content)['id']}." if done else says(call)
            return [Spoken(text, read_answer(text))]

    [found] = executed(Calling(), [row], [pack])
    assert found["correct"], found


def test_evaluating_a_thousand_rows_counts_each_once() -> None:
    rows = varied()[:1000]
    found = play(rows, lambda row, after: right(row, after) if row.category is Category.SINGLE else "好的。")
    assert Counter(row["id"] for row in found) == Counter(row.id for row in rows)
    assert summary(found)["by_category"]["single"]["accuracy"] == 1.0
