"""Parts of the families' readers. Strict: JSON as in `answers.strict_json`, the family's keys and no others.

one_call('{"name": "book_room", "arguments": {"room": "A"}}', "arguments")   ->  Call("book_room", {"room": "A"})
one_call('{"name": "book_room", "arguments": "A"}', "arguments")             ->  Broken: arguments is "A"; …
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from callwright.answers import Said, strict_json
from callwright.records import Call


class Broken(Exception):
    """The text is neither calls nor plain text; the sentence says why."""


def json_of(text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as error:
        raise Broken(f"not one JSON value ({error})") from None


def one_call(text: str, arguments: str, also: Mapping[str, Any] | None = None) -> Call:
    return call_of(json_of(text), arguments, also)


def call_of(value: Any, arguments: str, also: Mapping[str, Any] | None = None) -> Call:
    """The call of `{"name": …, arguments: {…}}`. `also`: keys that may stand there too, with their one value."""
    if not isinstance(value, dict):
        raise Broken(f"{_short(value)} is no call; expected an object")
    for key in ("name", arguments):
        if key not in value:
            raise Broken(f"the call has no {key!r}")
    known = also or {}
    for key in value.keys() - {"name", arguments}:
        if key not in known:
            raise Broken(f"{key!r} is no key of a call")
        if value[key] != known[key]:
            raise Broken(f"{key} is {_short(value[key])}; expected {_short(known[key])}")
    name, params = value["name"], value[arguments]
    if not isinstance(name, str) or not name:
        raise Broken(f"name is {_short(name)}; expected a tool's name")
    if not isinstance(params, dict):
        raise Broken(f"{arguments} is {_short(params)}; expected an object")
    return Call(name, params)


_OPENS = re.compile(r"\{|\[\s*(?:[\]{]|[\w.]+\()")
_KEYS = (('"name"', ('"arguments"', '"parameters"')), ('"tool"', ('"params"',)))


def plain(text: str, controls: Sequence[str]) -> Said:
    """Text that holds no control token and does not look like a call that went wrong."""
    stripped = text.strip()
    if not stripped:
        raise Broken("the answer is empty")
    no_controls(stripped, controls)
    if _OPENS.match(stripped):
        raise Broken(f"it begins as a call does ({_short(stripped[:20])}) and is none")
    if any(name in stripped and any(key in stripped for key in keys) for name, keys in _KEYS):
        raise Broken("it holds a call that is not written as one")
    return Said(stripped)


def no_controls(text: str, controls: Sequence[str]) -> None:
    if found := next((control for control in controls if control in text), None):
        raise Broken(f"it holds {found!r}, a control token")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
