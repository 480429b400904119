"""A JSON or YAML document of someone else's, read strictly.

    read_document(b'{"openapi": "3.1.0", …}', "api.json")  ->  {"openapi": "3.1.0", …}

A key that stands twice, NaN, half of a surrogate pair, broken UTF-8: a `Fault` with the line. YAML is read as YAML 1.2
has it (`no` and `12:30` are texts) and gives what JSON can hold; a date in it stays text, and an alias that makes a
small file huge is refused.
"""

from __future__ import annotations

import json
import re
from json import decoder, scanner
from typing import Any

from callwright.faults import Fault

MOST_BYTES = 64 << 20
"""No list of tools is longer; a file beyond that was taken for one by mistake."""
MOST_VALUES = 2_000_000


def read_document(data: bytes, place: str) -> Any:
    """The value that the bytes hold; JSON where they begin like JSON, else YAML. `place` names them in a `Fault`."""
    text = decoded(data, place)
    as_json = text.lstrip()[:1] in ("{", "[") and not place.endswith((".yaml", ".yml"))
    try:
        value = _read_json(text, place) if as_json else _read_yaml(text, place)
        size = _size(value, place, {}, set())
    except RecursionError:
        raise Fault(f"{place}: it nests too deep; make it flatter") from None
    if size > MOST_VALUES:
        raise Fault(f"{place}: its aliases make {size} values of it; write out those that are needed")
    return value


def decoded(data: bytes, place: str) -> str:
    """UTF-8 with or without a byte order mark, any line ends."""
    if len(data) > MOST_BYTES:
        raise Fault(f"{place}: it has {len(data) >> 20} MB, and no more than {MOST_BYTES >> 20} are read; cut it down")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Fault(f"{place}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from None
    if not text.strip():
        raise Fault(f"{place}: it is empty; give a file that holds tools")
    return text


def _read_json(text: str, place: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Fault(f"{place}: it holds half of a surrogate pair (\\ud8…), which no file can hold; mend it") from None
    except json.JSONDecodeError as error:
        raise Fault(f"{place}:{error.lineno}: not JSON: {error.msg} (column {error.colno}); mend it there") from None
    except _Twice:
        line, key = _where_twice(text)
        raise Fault(f"{place}:{line}: the object that begins here has {key!r} twice; keep one of them") from None
    except ValueError as error:
        raise Fault(f"{place}: not JSON: {error}") from None
    return value


class _Twice(Exception):
    """A key stands twice in an object. No ValueError: json would take it for its own."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number that JSON knows; write a number or null")


def _where_twice(text: str) -> tuple[int, str]:
    """Line and key of the first object with a key twice; json's own reader in Python tells where objects begin."""

    def parse_object(state: tuple[str, int], *rest: Any) -> Any:
        pairs, end = json_object(state, *rest[:2], None, list, *rest[4:])
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise _At(text.count("\n", 0, state[1]) + 1, key)
        return dict(pairs), end

    json_object: Any = decoder.JSONObject  # type: ignore[attr-defined]
    reader: Any = json.JSONDecoder()
    reader.parse_object = parse_object
    reader.scan_once = scanner.py_make_scanner(reader)  # type: ignore[attr-defined]
    try:
        reader.decode(text)
    except _At as found:
        return found.line, found.key
    return 1, ""


class _At(Exception):
    def __init__(self, line: int, key: str) -> None:
        super().__init__(line, key)
        self.line, self.key = line, key


def _read_yaml(text: str, place: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
    from ruamel.yaml.error import YAMLError

    class _Texts(SafeConstructor):
        """Dates stay as they are written."""

    _Texts.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    reader = YAML(typ="safe")
    reader.Constructor = _Texts
    try:
        return reader.load(text)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "([^"]*)"', str(error.problem))
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Fault(f"{place}{line}: {key[1] if key else 'a key'!r} stands twice; keep one of them") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Fault(f"{place}{f':{mark.line + 1}' if mark else ''}: not YAML: {problem}; mend it there") from None
    except ValueError as error:  # a number that is none, such as 0o9
        raise Fault(f"{place}: not YAML: {error}") from None


def _size(value: Any, place: str, known: dict[int, int], within: set[int]) -> int:
    """How many values it holds, an alias counted each time; also makes sure that JSON can hold them."""
    if not isinstance(value, dict | list):
        if value is None or isinstance(value, str | bool | int):
            return 1
        if isinstance(value, float) and value - value == 0:
            return 1
        raise Fault(f"{place}: {value!r} is no value that JSON knows; write it as text")
    if id(value) in known:
        return known[id(value)]
    if id(value) in within:
        raise Fault(f"{place}: an alias stands inside of what it names; take it out")
    within.add(id(value))
    if isinstance(value, dict):
        for key in [key for key in value if not isinstance(key, str)]:
            if not isinstance(key, bool | int | float) or str(key) in value:
                raise Fault(f"{place}: the key {key!r} is no text; write it in quotes")
            value[str(key)] = value.pop(key)  # 200: under `responses`
    inner = list(value.values()) if isinstance(value, dict) else value
    total = 1 + sum(_size(item, place, known, within) for item in inner)
    within.discard(id(value))
    known[id(value)] = total
    return total
