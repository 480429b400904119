"""For every rule: rows broken in that one way are caught under its code, and their unbroken twins pass.

The rows are generated ones of every category and both languages; what breaks them knows nothing of the rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from callwright.moments import is_moment
from callwright.records import Call, Calls, Category, Example, Language, Reply, Result, System, Tool, User
from callwright.rules import Rules
from callwright.values import leaves
from tests.rows import office
from tests.test_variation import plan, written

Break = Callable[[Example], Example | None]
"""A row with one thing wrong; None where the row has nothing to break that way."""


@cache
def rows() -> tuple[Example, ...]:
    return written(office(), plan(160))


def with_call(row: Example, change: Callable[[Call, Tool], Call | None]) -> Example | None:
    """The row with its first call changed, and the turns after it as they were."""
    tools = {tool.name: tool for tool in row.tools}
    for i, turn in enumerate(row.messages):
        if isinstance(turn, Calls):
            changed = change(turn.calls[0], tools[turn.calls[0].tool])
            if changed is None:
                return None
            calls = Calls((changed, *turn.calls[1:]))
            return replace(row, messages=(*row.messages[:i], calls, *row.messages[i + 1 :]))
    return None


def with_param(row: Example, fits: Callable[[str, Any, Any], bool], value: Callable[[Any], Any]) -> Example | None:
    def change(call: Call, tool: Tool) -> Call | None:
        for name, old in call.params.items():
            if fits(name, old, tool.properties[name]):
                return replace(call, params={**call.params, name: value(old)})
        return None

    return with_call(row, change)


def with_turn(row: Example, kind: type, change: Callable[[Any], Any]) -> Example | None:
    for i, turn in reversed(list(enumerate(row.messages))):
        if isinstance(turn, kind):
            return replace(row, messages=(*row.messages[:i], *change(turn), *row.messages[i + 1 :]))
    return None


def free_text(name: str, value: Any, schema: Any) -> bool:
    return isinstance(value, str) and "enum" not in schema and not is_moment(name, schema)


def moment(name: str, value: Any, schema: Any) -> bool:
    return is_moment(name, schema)


def number(name: str, value: Any, schema: Any) -> bool:
    return isinstance(value, int)


def without_required(call: Call, tool: Tool) -> Call:
    return replace(call, params={name: v for name, v in call.params.items() if name != tool.required[-1]})


def simplified(row: Example) -> Example | None:
    if row.language is not Language.ZH_TW:
        return None
    return with_turn(row, User, lambda turn: [User(turn.content + "请帮我办这件事")])


def refused(row: Example) -> Example | None:
    """The row's own list takes the value, the pack's tool does not: a row from outside with a laxer schema."""
    changed = with_param(row, lambda n, v, s: isinstance(v, int) and "maximum" in s, lambda v: 7000 + v)
    if changed is None:
        return None
    lax = tuple(
        replace(tool, parameters=json.loads(json.dumps(tool.parameters).replace('"maximum"', '"x-was"')))
        for tool in row.tools
    )
    said = " ".join(str(value) for call in changed.calls for value in call.params.values())
    return with_turn(replace(changed, tools=lax), User, lambda turn: [User(f"{turn.content} {said}")])


BREAKS: list[tuple[str, Break]] = [
    ("bad_tool_schema", lambda row: replace(row, tools=(*row.tools, Tool("x", "", {"type": "array"})))),
    ("bad_tool_schema", lambda row: replace(row, tools=(*row.tools, Tool("x", "", {"type": "object", "required": 3})))),
    ("bad_tool_schema", lambda row: replace(row, tools=(Tool("x", "", {"type": "object", "$ref": "#"}), *row.tools))),
    ("incomplete_roles", lambda row: with_turn(row, System, lambda _: [])),
    ("incomplete_roles", lambda row: with_turn(row, User, lambda _: [])),
    ("incomplete_roles", lambda row: with_turn(row, System, lambda _: [System("  ")])),
    ("incomplete_roles", lambda row: replace(row, messages=(*row.messages, User("?")))),
    ("incomplete_roles", lambda row: with_turn(row, Calls, lambda _: [Calls(())])),
    ("incomplete_roles", lambda row: with_turn(row, Result, lambda turn: [turn, System("again")])),
    ("wrong_language", simplified),
    ("wrong_language", lambda row: with_turn(row, User, lambda turn: [User("Пожалуйста, сделай это для меня")])),
    ("wrong_language", lambda row: replace(row, language=Language.EN) if row.language is Language.ZH_TW else None),
    ("unknown_tool", lambda row: with_call(row, lambda call, _: replace(call, tool=call.tool + "s"))),
    ("unknown_tool", lambda row: replace(row, tools=()) if row.calls else None),
    ("unknown_param", lambda row: with_call(row, lambda call, _: replace(call, params={**call.params, "note": 1}))),
    ("missing_param", lambda row: with_call(row, without_required)),
    ("wrong_type", lambda row: with_param(row, free_text, lambda _: 12)),
    ("wrong_type", lambda row: with_param(row, number, str)),
    ("wrong_type", lambda row: with_param(row, number, lambda v: v + 0.5)),
    ("wrong_type", lambda row: with_param(row, number, lambda _: True)),
    ("not_in_enum", lambda row: with_param(row, lambda n, v, s: "enum" in s, lambda v: v + "x")),
    ("bad_value", lambda row: with_param(row, lambda n, v, s: "minimum" in s, lambda _: -7)),
    ("hardcoded_date", lambda row: with_param(row, moment, lambda _: "2031-03-04T15:00")),
    ("hardcoded_date", lambda row: with_param(row, moment, lambda _: "2031-03-04")),
    ("bad_relative_time", lambda row: with_param(row, moment, lambda _: "sometime soon")),
    ("bad_relative_time", lambda row: with_param(row, moment, lambda v: v.upper() if not v[:2].isdigit() else "3pm")),
    (
        "ungrounded_value",
        lambda row: with_param(row, free_text, lambda _: "Zyxwvut Qrstu" if row.language == "en" else "鼉鼊鼈"),
    ),
    ("ungrounded_value", lambda row: with_param(row, moment, lambda _: "in 23 days")),
    ("ungrounded_value", lambda row: with_param(row, number, lambda v: 29 if v != 29 else 28)),
    ("execution_failed", refused),
    (
        "unfaithful_reply",
        lambda row: (
            with_turn(row, Reply, lambda turn: [Reply(turn.content + " 31415")])
            if row.category is Category.FULL_LOOP
            else None
        ),
    ),
    (
        "unfaithful_reply",
        lambda row: (
            with_turn(row, Reply, lambda _: [Reply("好了。" if row.language is Language.ZH_TW else "Done.")])
            if row.category is Category.FULL_LOOP
            else None
        ),
    ),
    (
        "unfaithful_reply",
        lambda row: (
            with_turn(row, Reply, lambda t: [replace(t, content="好。" if row.language == "zh-TW" else "Sure.")])
            if row.category is Category.MISSING
            else None
        ),
    ),
]


def test_unbroken_rows_pass() -> None:
    rules = Rules(office())
    assert [rules.first_failure(row) for row in rows()] == [None] * len(rows())


@pytest.mark.parametrize(("code", "breaks"), BREAKS, ids=[f"{code}-{i}" for i, (code, _) in enumerate(BREAKS)])
def test_rows_broken_in_one_way_are_caught_under_its_code(code: str, breaks: Break) -> None:
    rules = Rules(office())
    broken = [made for row in rows() if (made := breaks(row)) is not None]
    assert len(broken) >= 5
    found = [rules.first_failure(row) for row in broken]
    missed = [(row, failure) for row, failure in zip(broken, found, strict=True) if not failure or failure.code != code]
    assert not missed, (missed[0][1], [str(turn) for turn in missed[0][0].messages])
    for row, failure in zip(broken, found, strict=True):
        assert failure
        assert failure.message.startswith(f"{row.id}: ")


def test_a_value_deep_inside_is_judged_like_one_at_the_top() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "guests": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "arrives_at": {"type": "string"}},
                },
            }
        },
    }
    tool = Tool("invite", "Invite guests", schema)
    guests = [{"name": "Amy", "arrives_at": "tomorrow 15:00"}, {"name": "Ben", "arrives_at": "tomorrow 16:00"}]

    def row(**changes: Any) -> Example:
        changed = [guests[0], {**guests[1], **changes}]
        return Example(
            "r",
            Language.EN,
            Category.SINGLE,
            rows()[0].split,
            (tool,),
            (
                System("You are an assistant."),
                User("Invite Amy for tomorrow at 3pm and Ben for tomorrow at 4pm."),
                Calls((Call("invite", {"guests": changed}),)),
            ),
        )

    rules = Rules()
    assert rules.first_failure(row()) is None
    for changes, code in (
        ({"name": "Carol"}, "ungrounded_value"),
        ({"name": 3}, "wrong_type"),
        ({"arrives_at": "2026-03-04T16:00"}, "hardcoded_date"),
        ({"arrives_at": "tomorrow 17:00"}, "ungrounded_value"),
        ({"arrives_at": "tomorrow at 4pm"}, "bad_relative_time"),
    ):
        failure = rules.first_failure(row(**changes))
        assert failure
        assert failure.code == code
        assert "calls[0].params.guests" in failure.message or "guests.1" in failure.message
    assert list(leaves("guests", guests, schema["properties"]["guests"]))[1][:2] == (
        "guests.0.arrives_at",
        "arrives_at",
    )
