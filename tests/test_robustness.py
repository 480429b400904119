"""callwright.robustness and mistyping: what is right of a row stays right when the row is changed."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest

from callwright.formats import listed_tools, to_messages
from callwright.packs import Pack, read_packs
from callwright.params import check_params
from callwright.records import Calls, Category, Example, Language, Reply, Result, Split, Tool, User, read_example
from callwright.robustness import Change, changed, changed_rows, sample
from callwright.rules import Rules
from tests.rows import CALENDAR, QUERY, ROOM, ROOT, calling, conversation, made, office, params_value

PACKS = sorted(path.stem for path in (ROOT / "packs").glob("*.yaml"))
DISTRACTORS = {Change.DISTRACTORS_3: 3, Change.DISTRACTORS_10: 10}


@cache
def packs() -> tuple[Pack, ...]:
    return tuple(read_packs(PACKS, ROOT / "packs"))


@cache
def exam() -> tuple[Example, ...]:
    """Exam rows of all packs and categories."""
    value: dict[str, Any] = params_value()
    value["generate"] |= {"rows": 500, "packs": PACKS}
    value["generate"]["exam"]["categories"] = {
        "single": 0.3, "parallel": 0.15, "chained": 0.1, "missing": 0.1, "no_tool": 0.15, "full_loop": 0.1,
        "tool_error": 0.1,
    }  # fmt: skip
    for part in ("dev", "test", "unseen"):
        value["generate"]["exam"][part]["rows"] = 150
    found = made(packs(), check_params(value).generate)
    return (*found[Split.DEV], *found[Split.TEST])


@pytest.mark.parametrize("change", Change)
def test_a_changed_row_still_passes_every_rule_of_training_rows(change: Change) -> None:
    rules, applied = Rules(packs()), Counter[tuple[Language, Category]]()
    for row in exam():
        if other := changed(row, change, packs=packs()):
            assert rules.first_failure(other) is None
            assert list(rules.warnings(other)) == list(rules.warnings(row)) or change is Change.TYPOS
            assert read_example(other.to_json()) == other
            applied[row.language, row.category] += 1
    asked = Counter((row.language, row.category) for row in exam())
    assert all(applied[cell] >= 0.6 * count for cell, count in asked.items()), (applied, asked)


@pytest.mark.parametrize("change", Change)
def test_a_change_hangs_on_the_row_alone(change: Change) -> None:
    row = next(row for row in exam() if row.category is Category.PARALLEL)
    one = changed(row, change, packs=packs())
    assert one == changed(row, change, packs=packs())
    assert one is not None
    assert one.id == f"{row.id}~{change}"
    assert one.source["changed"] == change
    assert replace(one, id=row.id, source=row.source) != row
    assert changed_rows([row, row], change, packs()) == [one, one]
    others = [changed(replace(row, id=f"row-{i}"), change, packs=packs()) for i in range(5)]
    assert len({str(other and (other.tools, other.messages)) for other in others}) > 1, "chance is in it"
    assert changed(row, change, packs=packs(), rng=Random(1)) == changed(row, change, packs=packs(), rng=Random(1))


@pytest.mark.parametrize("change", DISTRACTORS)
def test_so_many_tools_distract_and_none_of_them_is_asked_for(change: Change) -> None:
    of_pack = {tool.name: pack.pack for pack in packs() for tool in pack.tools}
    kinds = Counter[str]()
    for row in exam():
        other = changed(row, change, packs=packs())
        if other is None:
            continue
        called = {call.tool for call in row.calls}
        assert other.messages == row.messages
        names = [tool.name for tool in other.tools]
        assert len(set(names)) == len(names)
        assert called <= set(names)
        asked = {text.partition(".")[0] for text in row.source["texts"]}
        if row.category is Category.NO_TOOL:
            assert len(names) == DISTRACTORS[change]
            assert not asked & set(names), "the tool whose absence is the point"
            if asked == {"unsupported"}:
                assert {of_pack[name] for name in names} == {row.source["pack"]}, "another pack's tool may serve it"
            kinds[min(asked if asked <= {"unsupported", "chat"} else {"absent"})] += 1
        else:
            needed = (asked & of_pack.keys()) | called
            assert len(names) == len(needed) + DISTRACTORS[change]
            assert needed <= set(names)
        own = {tool.name for tool in row.tools}
        kept = sum(name in own for name in names)
        assert kept == min(len(own), len(names)), "the row's own tools come first"
    assert set(kinds) >= {"absent", "chat"}


def test_descriptions_of_distractors_are_in_the_language_of_the_row() -> None:
    for row in exam()[:60]:
        if other := changed(row, Change.DISTRACTORS_10, packs=packs()):
            texts = "".join(tool.description for tool in other.tools)
            assert any("\u4e00" <= sign <= "\u9fff" for sign in texts) is (row.language is Language.ZH_TW)


def test_too_few_tools_to_distract_with_is_no_change() -> None:
    row = calling("Book A301.", room="A301")
    assert changed(row, Change.DISTRACTORS_3, packs=()) is None
    assert changed(row, Change.DISTRACTORS_10, packs=office()) is not None
    declined = conversation(User("Sing."), Reply("I have no tool for it."), category=Category.NO_TOOL)
    assert changed(declined, Change.DISTRACTORS_3, packs=office()) is None, "nothing says what is asked for"
    asked = conversation(User("Book a room."), Reply("Which one?", ("which",)), category=Category.MISSING)
    assert changed(asked, Change.DISTRACTORS_3, packs=office()) is None


def test_calls_and_results_follow_the_other_names() -> None:
    rows = [row for row in exam() if row.calls]
    for row in rows:
        other = changed(row, Change.RENAMED, packs=packs())
        assert other is not None
        assert not {tool.name for tool in row.tools} & {tool.name for tool in other.tools}
        assert [other.own(call) for call in other.calls] == list(row.calls)
        for before, after in zip(row.messages, other.messages, strict=True):
            assert type(before) is type(after)
            if isinstance(before, Result) and isinstance(after, Result):
                assert (after.content, after.facts) == (before.content, before.facts)
                assert other.source["renamed"][after.tool]["tool"] == before.tool
            elif not isinstance(before, Calls):
                assert before == after
        _, listed = listed_tools(to_messages(other)["messages"][0]["content"])
        assert list(listed) == [tool.name for tool in other.tools]
        renamed_params = [name for one in other.source["renamed"].values() for name in one["params"]]
        assert renamed_params or not any(tool.properties for tool in row.tools)


def test_a_tool_of_no_pack_is_renamed_too_and_a_moment_stays_one() -> None:
    row = calling("Book A301 tomorrow at 3 pm.", room="A301", start_time="tomorrow 15:00")
    for i in range(12):
        other = changed(replace(row, id=str(i)), Change.RENAMED, packs=())
        assert other is not None
        assert Rules().first_failure(other) is None
        shown = next(tool for tool in other.tools if tool.name == other.calls[0].tool)
        name = next(name for name, value in other.calls[0].params.items() if value == "tomorrow 15:00")
        assert name.endswith("_time") or shown.properties[name]["format"] == "date-time"


def test_names_that_a_schema_tells_twice_stay() -> None:
    tied = Tool("tied", "", {**QUERY.parameters, "dependentRequired": {"query_str": ["query_str"]}})
    row = conversation(User("幫我查預算"), Reply("好的。"), tools=(tied,))
    assert changed(row, Change.RENAMED, packs=()) is None
    again = changed(replace(row, tools=(QUERY,)), Change.RENAMED, packs=())
    assert again is not None
    assert changed(again, Change.RENAMED, packs=()) is None, "once is enough"


def test_each_tool_has_another_ones_description() -> None:
    for row in exam():
        other = changed(row, Change.SCRAMBLED_DESCRIPTIONS, packs=packs())
        assert other is not None
        assert [(tool.name, tool.parameters) for tool in other.tools] == [
            (tool.name, tool.parameters) for tool in row.tools
        ]
        assert sorted(tool.description for tool in other.tools) == sorted(tool.description for tool in row.tools)
        assert all(a.description != b.description for a, b in zip(row.tools, other.tools, strict=True))
        assert other.messages == row.messages


@pytest.mark.parametrize("tool", [ROOM, replace(QUERY, description="查詢公司資料庫")])
def test_a_tool_alone_has_its_words_in_disorder(tool: Tool) -> None:
    row = replace(calling("Book A301.", room="A301"), tools=(tool,))
    other = changed(row, Change.SCRAMBLED_DESCRIPTIONS, packs=())
    assert other is not None
    text = other.tools[0].description
    assert text != tool.description
    assert Counter(text) == Counter(tool.description)
    assert (
        changed(replace(row, tools=(replace(tool, description=""),)), Change.SCRAMBLED_DESCRIPTIONS, packs=()) is None
    )
    alike = (replace(QUERY, description=""), replace(CALENDAR, description=""))
    assert changed(replace(row, tools=alike), Change.SCRAMBLED_DESCRIPTIONS, packs=()) is None


def test_a_typing_error_is_small_and_in_no_value() -> None:
    found = Counter[Language]()
    for row in exam():
        other = changed(row, Change.TYPOS, packs=packs())
        if other is None:
            continue
        before, after = (next(m.content for m in one.messages if isinstance(m, User)) for one in (row, other))
        assert before != after
        assert difflib.SequenceMatcher(None, before, after, autojunk=False).ratio() > 0.7
        assert abs(len(before) - len(after)) <= 2
        assert other.tools == row.tools
        assert [m for m in other.messages if not isinstance(m, User)] == [
            m for m in row.messages if not isinstance(m, User)
        ]
        for call in row.calls:
            for value in call.params.values():
                if isinstance(value, str) and value in before:
                    assert value in after, (before, after)
        found[row.language] += 1
    assert min(found.values()) > 100


SAID = [
    ("幫我訂 A301 會議室，明天下午三點，謝謝。", Language.ZH_TW, ["A301", "明天下午三點"]),
    ("Please book room A301 for us tomorrow at half past three, thanks.", Language.EN, ["A301", "tomorrow", "three"]),
]


@pytest.mark.parametrize(("request_", "language", "values"), SAID)
def test_a_row_that_names_no_phrasing_keeps_what_it_says(request_: str, language: Language, values: list[str]) -> None:
    params = {"room": "A301", "start_time": "tomorrow 15:00" if language is Language.ZH_TW else "tomorrow 15:30"}
    row = calling(request_, language, **params)
    made = [changed(replace(row, id=str(i)), Change.TYPOS, packs=office()) for i in range(40)]
    texts = {one.request for one in made if one}
    assert len(texts) > 5
    assert all("A301" in text for text in texts)
    assert all(Rules(office()).first_failure(one) is None for one in made if one)
    if language is Language.EN:
        assert all(value in text for text in texts for value in values)


def test_braces_in_a_request_are_kept_and_what_is_too_short_is_left() -> None:
    row = calling("Please book {0} and {room} right now: {}", room="{0}")
    for i in range(10):
        other = changed(replace(row, id=str(i)), Change.TYPOS, packs=office())
        assert other is not None
        assert "{0} " in other.request
        assert "{room}" in other.request
    assert changed(calling("Hi A1", room="A1"), Change.TYPOS, packs=office()) is None
    assert changed(row, Change.TYPOS, packs=()) is None
    assert changed(replace(row, messages=row.messages[:1]), Change.TYPOS, packs=office()) is None


def test_a_sample_holds_each_language_and_category_by_its_share() -> None:
    rows = exam()
    chosen = sample(rows, 60)
    assert len(chosen) == 60
    assert chosen == sample(list(reversed(rows)), 60)[::-1]
    assert [row.id for row in rows if row in chosen] == [row.id for row in chosen]
    assert chosen != sample(rows, 60, seed=1)
    whole, part = (Counter((row.language, row.category) for row in some) for some in (rows, chosen))
    for cell, count in whole.items():
        assert abs(part[cell] - count * 60 / len(rows)) <= 1.01
    assert sample(rows, 10_000) == list(rows)
    assert sample(rows, 0) == []


def test_seen_rows_are_chosen_first() -> None:
    rows = exam()[:30]
    seen = {row.id: i % 3 == 0 for i, row in enumerate(rows)}
    assert all(seen[row.id] for row in sample(rows, 10, seen=seen))
    chosen = sample(rows, 14, seen=seen)
    assert len(chosen) == 14
    assert sum(seen[row.id] for row in chosen) == 10
