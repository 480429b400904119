"""Category and language of a conversation that carries neither.

category_of([User("幫我查預算"), Calls(…), Result(…), Reply("300 萬")], tools)   ->  Category.FULL_LOOP
language_of([User("幫我查預算")])                                               ->  Language.ZH_TW
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from callwright.answers import is_question
from callwright.records import Calls, Category, Language, Message, Reply, Result, Tool, User

_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")


def category_of(messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> Category:
    """What the turns show, the whole conversation taken together; the first that holds, in this order.

    tool_error  a result is a JSON object with an `error`
    chained     a call turn stands right after results
    full_loop   a reply stands right after results
    missing     the assistant asks before it has called anything (where tools are offered; None: not known)
    parallel    several calls in one turn
    single      a call
    no_tool     no call
    """
    calls = [turn for turn in messages if isinstance(turn, Calls)]
    after_results = [turn for before, turn in pairwise(messages) if isinstance(before, Result)]
    if any(isinstance(turn, Result) and _failed(turn.content) for turn in messages):
        return Category.TOOL_ERROR
    if any(isinstance(turn, Calls) for turn in after_results):
        return Category.CHAINED
    if any(isinstance(turn, Reply) for turn in after_results):
        return Category.FULL_LOOP
    if (tools is None or tools) and _asks(messages, called=bool(calls)):
        return Category.MISSING
    if any(len(turn.calls) > 1 for turn in calls):
        return Category.PARALLEL
    return Category.SINGLE if calls else Category.NO_TOOL


def _asks(messages: Sequence[Message], *, called: bool) -> bool:
    """Whether a question stands before the first call, or, where nothing is called, at the end."""
    first = next((i for i, turn in enumerate(messages) if isinstance(turn, Calls)), len(messages))
    replies = [turn for turn in messages[:first] if isinstance(turn, Reply)]
    return any(is_question(turn.content) for turn in (replies if called else replies[-1:]))


def _failed(content: str) -> bool:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("error") not in (None, False, "")


def language_of(messages: Iterable[Message]) -> Language:
    """zh-TW where a user turn or a reply holds a Chinese character, else English."""
    said = (turn.content for turn in messages if isinstance(turn, User | Reply))
    return Language.ZH_TW if any(_HAN.search(text) for text in said) else Language.EN
