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
    if not any(line.startswith(("{", "[", "`")) or '"tool"' in line for line in lines):
        return Said(text.strip())
    calls = []
    for number, line in enumerate(lines, start=1):
        try:
            calls.append(read_call(strict_json(line)))
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, BadRecord) else f"not one JSON call a line ({error})"
            return Unparsed(text, f"line {number}: {reason}")
    return Called(tuple(calls))


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
    """A question mark of any width, but not one inside an address (https://…/search?q=1)."""
    return "?" in _ADDRESS.sub("", unicodedata.normalize("NFKC", text))


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
