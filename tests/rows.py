"""Rows for tests: the document's two tools and its request, and what a test changes in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from callwright.packs import Pack, read_packs
from callwright.params import Generate, check_params, read_params
from callwright.records import (
    Call,
    Calls,
    Category,
    Example,
    Language,
    Message,
    Reply,
    Result,
    Split,
    System,
    Tool,
    User,
    read_line,
)
from stages.generate import generate

ROOT = Path(__file__).parent.parent
REQUEST = "幫我查一下預算表,並在明天下午三點排個審核會。"

QUERY = Tool(
    "query_database",
    "查詢數據庫",
    {"type": "object", "properties": {"query_str": {"type": "string"}}, "required": ["query_str"]},
)
CALENDAR = Tool(
    "add_calendar_event",
    "新增行事曆",
    {
        "type": "object",
        "properties": {"title": {"type": "string"}, "start_time": {"type": "string"}},
        "required": ["title", "start_time"],
    },
)
ROOM = Tool(
    "book_room",
    "Book a room",
    {
        "type": "object",
        "properties": {
            "room": {"type": "string"},
            "start_time": {"type": "string"},
            "people": {"type": "integer", "minimum": 1, "maximum": 50},
            "names": {"type": "array", "items": {"type": "string"}},
            "priority": {"type": "string", "enum": ["low", "high"]},
            "hybrid": {"type": "boolean"},
        },
        "required": ["room"],
        "additionalProperties": False,
    },
)


def conversation(
    *turns: Message,
    tools: tuple[Tool, ...] = (QUERY, CALENDAR, ROOM),
    language: Language = Language.ZH_TW,
    category: Category = Category.SINGLE,
    split: Split = Split.TRAIN,
    row_id: str = "row-1",
    source: dict[str, Any] | None = None,
) -> Example:
    """A row with a system turn before `turns`."""
    opening = System("你是一位專業助理。" if language is Language.ZH_TW else "You are a professional assistant.")
    return Example(row_id, language, category, split, tools, (opening, *turns), source or {})


def document_row(**changed: Any) -> Example:
    """The document's own request with its two right calls."""
    calls = Calls(
        (
            Call("query_database", {"query_str": "budget"}),
            Call("add_calendar_event", {"title": "預算審核", "start_time": "tomorrow 15:00"}),
        )
    )
    row = conversation(User(REQUEST), calls, tools=(QUERY, CALENDAR), category=Category.PARALLEL)
    return replace(row, **changed)


def calling(request: str, language: Language = Language.EN, tool: str = "book_room", **params: Any) -> Example:
    """One request and one call."""
    return conversation(User(request), Calls((Call(tool, params),)), language=language)


def loop(reply: str, *, facts: tuple[str, ...] = ("300 萬",), content: str = '{"amount": "300 萬"}') -> Example:
    """The document's full loop: 幫我查預算."""
    return conversation(
        User("幫我查預算"),
        Calls((Call("query_database", {"query_str": "預算"}),)),
        Result("query_database", content, facts),
        Reply(reply),
        category=Category.FULL_LOOP,
    )


def as_line(row: Example) -> str:
    return json.dumps(row.to_json(), ensure_ascii=False)


@cache
def office() -> tuple[Pack, ...]:
    return tuple(read_packs(["office"], ROOT / "packs"))


def params_value() -> dict[str, Any]:
    """The project's own params.yaml with the preset's numbers in it, to change and to check."""
    value: dict[str, Any] = read_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    return value


def generate_params(rows: int = 60, exam: int = 40) -> Generate:
    """The project's own knobs for generate, with fewer rows."""
    value = params_value()
    value["generate"]["rows"] = rows
    for part in ("dev", "test", "unseen"):
        value["generate"]["exam"][part]["rows"] = exam
    return check_params(value).generate


@cache
def generated() -> tuple[Example, ...]:
    """Rows of the office pack: every category, both languages, all splits."""
    return tuple(row for rows in made(office(), generate_params()).values() for row in rows)


def made(packs: Sequence[Pack], params: Generate, processes: int | None = 1) -> dict[Split, list[Example]]:
    """What the generate stage writes, as rows."""
    rows: dict[Split, list[Example]] = {split: [] for split in (Split.TRAIN, Split.DEV, Split.TEST)}
    for split, line in generate(packs, params, processes):
        rows[split].append(read_line(line))
    return rows
