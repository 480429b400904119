"""Python's way of writing a value, as JSON: `{'on': True, 'to': "Ann"}` -> `{"on": true, "to": "Ann"}`

Published sets (Hermes, some ShareGPT ones) hold values as Python prints them. They are rewritten sign by sign here and
then read as JSON; nothing is evaluated.
"""

from __future__ import annotations

import json
import re
from typing import Any

from callwright.exchange.drafts import parsed
from callwright.records import BadRecord

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<mark>[\[\]{}:,])
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>True|False|None|true|false|null)\b
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""",
    re.VERBOSE | re.DOTALL,
)
_NAMES = {"True": "true", "False": "false", "None": "null"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0", "\n": ""}
_ITSELF = "\\'\"/"


def read_literal(text: str, place: str) -> Any:
    """A value in JSON or as Python prints it; `BadRecord` where it is neither."""
    try:
        return parsed(text, place)
    except BadRecord as error:
        if "'" not in text and not re.search(r"\b(?:True|False|None)\b", text):
            raise
        try:
            return parsed(_as_json(text), place)
        except BadRecord:
            raise error from None


def _as_json(text: str) -> str:
    made, at = [], 0
    text = text.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise BadRecord("neither JSON nor a Python value")
        found = token.group()
        if token.lastgroup == "text":
            found = json.dumps(_unescaped(found[1:-1]), ensure_ascii=False)
        made.append(_NAMES.get(found, found) if token.lastgroup == "name" else found)
        at = token.end()
    return "".join(made)


def _unescaped(text: str) -> str:
    def sign(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code:
            number = int(code, 16)
            if number > 0x10FFFF:
                raise BadRecord("neither JSON nor a Python value")
            return chr(number)
        return _SIGNS.get(found[4], found[4] if found[4] in _ITSELF else found[0])

    return _ESCAPE.sub(sign, text)
