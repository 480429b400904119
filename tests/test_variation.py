"""Rows differ in every way that a knob says, and what they mean stays what it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.grammar import Plan
from callwright.moments import is_moment
from callwright.pack_shape import PLACEHOLDER
from callwright.packs import Pack, read_packs
from callwright.params import Varied
from callwright.records import Calls, Category, Example, Language, Result, Split, User, read_line
from callwright.rules import Rules
from callwright.speech import plain
from callwright.variation import Dress, Variation, renamed, show_tools
from stages.generate import lines
from tests.rows import ROOT, office

SHARES = {
    Category.SINGLE: 0.3,
    Category.PARALLEL: 0.15,
    Category.CHAINED: 0.1,
    Category.MISSING: 0.15,
    Category.NO_TOOL: 0.1,
    Category.FULL_LOOP: 0.1,
    Category.TOOL_ERROR: 0.1,
}
KNOBS = [each.name for each in fields(Variation)]


def plan(rows: int = 200, **more: Any) -> Plan:
    given: dict[str, Any] = {
        "split": Split.TRAIN,
        "rows": rows,
        "seed": 5,
        "zh_tw_share": 0.5,
        "categories": SHARES,
        "tools_offered": (2, 8),
        "rows_per_tool_list": 4,
        "voices": 3,
        "held_out": frozenset({"create_task"}),
        "parallel_calls": 4,
        "follow_ups": 0.5,
    }
    return Plan(**(given | more))


def written(packs: Sequence[Pack], rows: Plan) -> tuple[Example, ...]:
    return tuple(map(read_line, lines(packs, rows, set(), processes=1)))


@cache
def varied(knob: str) -> tuple[Example, ...]:
    packs = read_packs(["office", "travel"], ROOT / "packs") if knob == "other_packs" else office()
    return written(packs, plan(variation=Variation(**{knob: 1.0}) if knob != "none" else Variation()))


@pytest.mark.parametrize("knob", ["none", *KNOBS])
def test_rows_pass_every_rule_however_they_are_varied(knob: str) -> None:
    packs = read_packs(["office", "travel"], ROOT / "packs") if knob == "other_packs" else office()
    rules = Rules(packs)
    failures = [found for row in varied(knob) if (found := rules.first_failure(row))]
    assert not failures, failures[:3]
    assert {row.category for row in varied(knob)} == set(SHARES)


def requests(knob: str, language: Language | None = None) -> list[str]:
    return [
        message.content
        for row in varied(knob)
        for message in row.messages
        if isinstance(message, User) and language in (None, row.language)
    ]


def test_tools_of_other_packs_stand_in_the_lists_and_are_never_asked_about() -> None:
    packs = {tool.name: pack.pack for pack in read_packs(["office", "travel"], ROOT / "packs") for tool in pack.tools}
    mixed = [row for row in varied("other_packs") if len({packs[tool.name] for tool in row.tools}) > 1]
    assert mixed
    for row in mixed:
        assert {packs[call.tool] for call in row.calls} <= {row.source["pack"]}


def test_renamed_tools_have_other_names_and_the_row_says_which_they_were() -> None:
    names = set(office()[0].named)
    for row in varied("renamed"):
        for tool in row.tools:
            own = row.source["renamed"].get(tool.name, {"tool": tool.name, "params": {}})
            assert own["tool"] in names
            pack_tool = office()[0].named[own["tool"]]
            assert {own["params"].get(name, name) for name in tool.properties} == set(pack_tool.properties)
    offered = {tool.name for row in varied("renamed") for tool in row.tools}
    assert len(offered - names) > 20


def test_a_renamed_moment_is_still_a_moment_and_what_was_none_is_not() -> None:
    seen = 0
    for seed in range(20):
        for pack_tool in office()[0].tools:
            shown = renamed(pack_tool.offered(Language.EN), pack_tool, Random(seed))
            for name, schema in shown.tool.properties.items():
                own = shown.params.get(name, name)
                assert is_moment(name, schema) is pack_tool.is_moment(own), (pack_tool.name, name)
                seen += pack_tool.is_moment(own)
    assert seen


def test_descriptions_are_other_ones_or_none_or_english() -> None:
    pack = office()[0]
    assert all(tool.description == "" for row in varied("undescribed") for tool in row.tools)
    zh = [tool for row in varied("english_tools") if row.language is Language.ZH_TW for tool in row.tools]
    assert zh
    assert all(tool.description in pack.named[tool.name].description[Language.EN] for tool in zh)


def test_something_is_said_before_or_after_a_request() -> None:
    pack = office()[0]
    for language in Language:
        around = [*pack.lead_ins[language].train, *pack.sign_offs[language].train]
        found = requests("lead_ins", language)
        led = [text for text in found if any(plain(part) in plain(text) for part in around)]
        assert len(led) > len(found) / 2


def test_some_words_of_chinese_requests_are_english() -> None:
    words = office()[0].code_switch
    found = [text for text in requests("mixed_language", Language.ZH_TW) if any(w in text for w in words.values())]
    assert len(found) > 30
    assert not any(word in text for text in requests("mixed_language", Language.EN) for word in words)


def test_spoken_numbers_and_times_hold_no_digits() -> None:
    assert any("o'clock" in text or "half past" in text for text in requests("spoken", Language.EN))
    assert not any(re.search(r"\d ?[ap]m|\d:\d\d", text) for text in requests("spoken", Language.EN) if ":" not in text)


def test_widths_differ_and_are_equal_after_normalising() -> None:
    wide = [text for text in requests("widths", Language.ZH_TW) if re.search("[,?.!]", text)]
    assert len(wide) > 30


def test_a_typing_error_is_there_and_the_values_stand_whole() -> None:
    exact = set(requests("none"))
    assert len([text for text in requests("typos") if text not in exact]) > 100
    for row in varied("typos"):
        said = "".join(m.content for m in row.messages if isinstance(m, User | Result))
        for call in row.calls:
            for value in call.params.values():
                if isinstance(value, str) and re.fullmatch(r"[A-Z]\d{3}", value):
                    assert value in said


@given(st.text(alphabet="請幫我在的得查訂週{}abcdefgh ，。", max_size=40), st.integers(0, 500))
def test_typing_errors_leave_placeholders_as_they_are(text: str, seed: int) -> None:
    template = (
        text.replace("{", "").replace("}", "") + "{start_time}" + text.replace("{", "").replace("}", "") + "{room}"
    )
    for language in Language:
        dress = Dress(Variation(typos=1.0, mixed_language=1.0), office()[0], language, False, Random(seed))
        assert PLACEHOLDER.findall(dress.request(template)) == ["start_time", "room"]


def test_all_knobs_of_params_are_those_of_the_code() -> None:
    assert set(Varied.model_fields) == set(KNOBS)
    assert not Variation()


def test_a_list_shows_no_name_twice() -> None:
    for seed in range(50):
        shown = show_tools(office()[0].tools, Language.EN, Variation(renamed=1.0), Random(seed))
        names = [one.tool.name for one in shown.values()]
        assert len(names) == len(set(names))


# Categories


def calls_of(row: Example) -> list[Calls]:
    return [message for message in row.messages if isinstance(message, Calls)]


def of(category: Category) -> list[Example]:
    return [row for row in varied("none") if row.category is category]


def test_a_chain_takes_what_the_earlier_result_holds() -> None:
    for row in of(Category.CHAINED):
        turns = calls_of(row)
        assert 2 <= len(turns) <= 3
        results = [message.content for message in row.messages if isinstance(message, Result)]
        taken = [value for value in turns[1].calls[0].params.values() if str(value) in results[0]]
        assert taken, row.id
        assert not any(str(value) in row.request for value in taken)
    assert {len(calls_of(row)) for row in of(Category.CHAINED)} == {2, 3}


def test_up_to_four_calls_stand_in_one_turn_and_none_twice() -> None:
    sizes = set()
    for row in of(Category.PARALLEL):
        [turn] = calls_of(row)
        sizes.add(len(turn.calls))
        assert len({str(call.to_json()) for call in turn.calls}) == len(turn.calls)
    assert sizes >= {2, 3}


def test_the_user_answers_and_the_call_holds_the_answer() -> None:
    answered = [row for row in of(Category.MISSING) if row.calls]
    assert 0.2 < len(answered) / len(of(Category.MISSING)) < 0.8
    for row in answered:
        assert [type(message) for message in row.messages[1:]][-2:] == [User, Calls]
        required = next(tool for tool in row.tools if tool.name == row.calls[0].tool).required
        assert set(required) <= set(row.calls[0].params)


def test_a_failing_tool_is_told_or_called_once_more() -> None:
    kinds = set()
    for row in of(Category.TOOL_ERROR):
        results = [message.content for message in row.messages if isinstance(message, Result)]
        assert results[0].startswith('{"error": ')
        kinds.add((len(results), results[-1].startswith('{"error": ')))
        assert len({str(turn) for turn in calls_of(row)}) == 1
    assert kinds == {(1, True), (2, True), (2, False)}
