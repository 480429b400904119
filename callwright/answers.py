"""What a model said: calls, or text, or something that is neither, with the reason.

    read_answer('{"tool": "find_contact", "params": {"name": "王小明"}}')   ->  Called((Call(…),))
    read_answer("請問要排在什麼時間?")                                      ->  Said(…), outcome ask
    read_answer('{"tool": "find_contact", ')                                ->  Unparsed(…, reason)

A broken answer is never a call with empty params. Nothing of the text is executed or guessed.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from callwright.records import BadRecord, Call, read_call


class Outcome(StrEnum):
    CALL = "call"
    ASK = "ask"
    ANSWER = "answer"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Called:
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Said:
    text: str


@dataclass(frozen=True, slots=True)
class Unparsed:
    text: str
    reason: str


Answer = Called | Said | Unparsed


def read_answer(text: str) -> Answer:
    """Read the document's form: one JSON call a line, or plain text where nothing is called."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]  # splitlines() cuts at U+2028, inside a string
    if not lines:
        return Unparsed(text, "the answer is empty")
    jsons = (_BEGINS_JSON.match(line) or _NAMES_A_TOOL.search(line) for line in lines)
    if not (lines[0].startswith("{") or any(jsons)):
        return Said(text.strip())
    calls = []
    for number, line in enumerate(lines, start=1):
        try:
            calls.append(read_call(strict_json(line)))
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, BadRecord) else f"not one JSON call a line ({error})"
            return Unparsed(text, f"line {number}: {reason}")
    return Called(tuple(calls))


_BEGINS_JSON = re.compile(
    r"""[{\[]\s*(?:["'{\[\]}]|$|[\w.]+\s*[:=(])"""  # not [1], a link, or {name} in prose
    r"|\[[^\]]*$|`+\s*(?:[{\[]|[\w.]+\((?!\)))|`{3,}\s*(?:json|tool\w*)\b"
)
_NAMES_A_TOOL = re.compile(r'"tool"\s*:|\{\s*"tool"')
_MARKS = re.compile(
    r"</?\|?(?:tool_?(?:calls?|use)|function_?calls?|python_tag|invoke)\b[^<>\n]{0,80}>"  # <tool_call>, <|python_tag|>
    r"|<function=|\[/?TOOL_CALLS\]|<｜tool▁calls?|✿FUNCTION✿"
)
_TOOL_KEY = re.compile(r"""["'](?:tool|name|function)["']\s*:""")
_PARAMS_KEY = re.compile(r"""["'](?:params|parameters|arguments|args)["']\s*:""")
_CUT_OFF = re.compile(r"""\{\s*["'](?:tool|function)["']\s*:""")
_STEPS = re.compile(
    r"^(?:action|tool|function)\s*:.*\n+(?:action input|params|parameters|arguments)\s*:", re.IGNORECASE | re.MULTILINE
)
_PYTHON = re.compile(
    r"""^\s*(?:[A-Za-z_][\w.]*\(\w+\s*=(?!=).*\)|[A-Za-z]\w*_\w*\((?:["'\[{].*)?\))\s*;?\s*$""", re.MULTILINE
)
"""A line of its own: a name, and in brackets a parameter with its value, or behind a_name a text or nothing."""


def call_in_another_form(text: str, tools: Collection[str] = ()) -> str | None:
    """Why a text is no prose but calls in a form that was not asked for; None where it is prose.

    <tool_call>{"name": …}</tool_call>    [TOOL_CALLS] […]    get_weather(city="台北")    Action: … Action Input: …

    Prose may name the `tools` that there are; with a value right behind it a name is a call.
    """
    if found := _MARKS.search(text):
        return f"it holds {found[0]!r}, a mark of calls in another form"
    if _CUT_OFF.search(text) or ((key := _TOOL_KEY.search(text)) and _PARAMS_KEY.search(text, key.end())):
        return "it holds JSON of a call, and is not one JSON call a line"
    if _STEPS.search(text):
        return "it holds a call in steps, not as JSON"
    if _PYTHON.search(text):
        return "it holds a call as Python writes it, not as JSON"
    for name in tools:
        if name and name in text and re.search(_CALLED.format(name=re.escape(name)), text):
            return f"it holds a call of {name} that is not written as JSON"
    return None


_CALLED = r"""(?<!\w){name}\((?:\w+\s*=(?!=)|["'\[{{\d])|["']name["']\s*:\s*["']{name}["']"""


def outcome(answer: Answer) -> Outcome:
    match answer:
        case Called():
            return Outcome.CALL
        case Said(text):
            return Outcome.ASK if is_question(text) else Outcome.ANSWER
        case Unparsed():
            return Outcome.MALFORMED


_ADDRESS = re.compile(r"https?://[!-~]*[A-Za-z0-9/=&#%-]")


def is_question(text: str) -> bool:
    """A question mark of any width, but not one inside an address (https://…/search?q=1); or 嗎 at a line's end."""
    plain = _ADDRESS.sub("", unicodedata.normalize("NFKC", text))
    return "?" in plain or _ASKS.search(plain) is not None


_ASKS = re.compile(r"嗎[。.!~]*[ \t]*$", re.MULTILINE)


def write_calls(calls: tuple[Call, ...]) -> str:
    """The document's form: one JSON call a line."""
    return "\n".join(json.dumps(call.to_json(), ensure_ascii=False) for call in calls)


def to_json(answer: Answer) -> dict[str, Any]:
    """As answers.jsonl holds it."""
    match answer:
        case Called(calls):
            return {"calls": [call.to_json() for call in calls]}
        case Said(text):
            return {"text": text}
        case Unparsed(_, reason):
            return {"unparsed": reason}


def strict_json(text: str) -> Any:
    """JSON without what Python's reader adds to it: NaN, two values under one key, numbers beyond a float, half a sign.

    What is read can be written again as UTF-8. `ValueError`, or `RecursionError` where it is nested too deep.
    """
    value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_doubles)
    text.encode()
    if text.count("[") + text.count("{") > _DEEPEST and depth(value) > _DEEPEST:
        raise ValueError(f"it nests more than {_DEEPEST} deep")
    if "\\ud" in text or "\\uD" in text:  # perhaps half of a surrogate pair
        json.dumps(value, ensure_ascii=False).encode()
    return value


_DEEPEST = 200


def depth(value: Any) -> int:
    """How deep lists and objects lie in each other."""
    deep, level = 0, [value]
    while level:
        deep += 1
        level = [
            inner
            for node in level
            for inner in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(inner, dict | list)
        ]
    return deep


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"Out of range float: {text[:40]}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made
