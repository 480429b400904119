"""When two values of a call are one.

    meaning(60) == meaning(60.0)                                            1, true and "1" are three
    meaning("臺北", "city") == meaning("台北。", "city")                     text as people compare it
    meaning("in 14 days", "due_date") == meaning("in 2 weeks", "due_date")   moments by what they mean at a clock

A meaning is something to compare and to look up: the same as another, or not, and nothing in between. So being one is
transitive, and many calls are told apart without holding each against each.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from callwright.moments import NOW, Absolute, Moment, canonical, is_moment, read, resolve
from callwright.records import Call, Tool
from callwright.schemas import plainly
from callwright.speech import plain

if TYPE_CHECKING:  # loaded when a value has a format
    import jsonschema_rs


def leaves(
    name: str, value: Any, schema: Any, place: str = "", root: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, str, Mapping[str, Any], Any]]:
    """The scalars in the value of parameter `name`: (place, name, schema, scalar); an item of a list has no name.

    References are those inside `root`, the tool's parameters.
    """
    known = plainly(schema, root or {}) if isinstance(schema, Mapping) else {}
    place = place or name
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves("", item, known.get("items"), f"{place}.{i}", root)
    elif isinstance(value, Mapping):
        parts = known.get("properties", {})
        for key, item in value.items():
            yield from leaves(key, item, parts.get(key), f"{place}.{key}", root)
    else:
        yield place, name, known, value


FORMATS = frozenset(
    "duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference uuid uri-template "
    "json-pointer relative-json-pointer regex".split()
)
"""Formats of JSON Schema 2020-12 that say how a text is written, to the letter; moments have a grammar instead."""


def format_fault(name: str, value: Any, schema: Any, root: Mapping[str, Any] | None = None) -> str | None:
    """Why a text in the value of parameter `name` is not in the format that its schema names; None where all are."""
    for place, _, known, part in leaves(name, value, schema, root=root):
        form = known.get("format")
        if isinstance(part, str) and isinstance(form, str) and form in FORMATS and not _format(form).is_valid(part):
            return f"{place} is {part!r}, which is no {form}"
    return None


@lru_cache(maxsize=len(FORMATS))
def _format(form: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator({"format": form}, validate_formats=True)


def meaning(
    value: Any, name: str = "", schema: Any = None, root: Mapping[str, Any] | None = None, now: datetime = NOW
) -> Hashable:
    """What the value of parameter `name` says. References of its schema are those inside `root`.

    A list is its items in their order, an object its keys in any; a key that has its schema's `default` is as good as
    left out. `RecursionError` for what nests too deep.
    """
    known = plainly(schema, root or {}) if isinstance(schema, Mapping) else {}
    match value:
        case str():
            return _of_text(value, name, known, now)
        case bool() | None:
            return "constant", value
        case int() | float():
            return "number", value
        case list():
            return "list", tuple(meaning(item, "", known.get("items"), root, now) for item in value)
        case Mapping():
            usual = defaults(known, root, now)
            parts = _properties(known)
            said = ((key, meaning(item, key, parts.get(key), root, now)) for key, item in value.items())
            return "object", frozenset(pair for pair in said if usual.get(pair[0]) != pair[1])
    return "other", repr(value)


def defaults(schema: Any, root: Mapping[str, Any] | None = None, now: datetime = NOW) -> dict[str, Hashable]:
    """What the properties of an object mean where they are left out; those without a `default` mean nothing then."""
    found = {}
    for name, part in _properties(schema).items():
        if isinstance(part, Mapping) and "default" in part:
            found[name] = meaning(part["default"], name, part, root, now)
    return found


def _properties(schema: Any) -> Mapping[str, Any]:
    parts = schema.get("properties") if isinstance(schema, Mapping) else None
    return parts if isinstance(parts, Mapping) else {}


def _of_text(text: str, name: str, known: Mapping[str, Any], now: datetime) -> Hashable:
    if "enum" in known or "const" in known or known.get("format") in FORMATS:
        return "letters", text
    if is_moment(name, known) and (moment := read(text)):
        return "moment", at(moment, now)
    return "text", free_text(text)


def at(moment: Moment, now: datetime) -> str:
    """What a moment means at a clock, in ISO 8601; its canonical spelling where that lies beyond the calendar.

    A clock without a time zone cannot tell what another zone's time is here: an offset then equals only an offset.
    """
    try:
        if isinstance(moment, Absolute) and moment.time and moment.zone and now.tzinfo is None:
            return datetime.combine(moment.date, moment.time, moment.zone).astimezone(UTC).isoformat(timespec="minutes")
        return resolve(moment, now)
    except (OverflowError, ValueError):
        return canonical(moment)


_HAN = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_CHINESE_MARKS = re.compile("[。、〈〉《》「」『』【】〔〕〖〗︰⋯]")
"""No code is written with them, so they go wherever they stand."""
_BESIDE_CHINESE = re.compile(rf"(?<={_HAN})[,;:!?‧·・•]+|[,;:!?‧·・•]+(?={_HAN})")
"""Not the full stop, which stands in 報告.pdf."""
_AT_A_WORDS_END = re.compile(r"(?<=[\w%)\]}+*#'\"])(?:[.,;:?]|(?<!\d)!)+(?=\s|$)")
_QUOTES = str.maketrans("‘’“”‐‑‒–—―", "''\"\"------")
_WHOLE_IN_QUOTES = re.compile(r"""(["'])((?:(?!\1).)+)\1""", re.DOTALL)
_SPACE_BESIDE_CHINESE = re.compile(rf"(?<={_HAN}) | (?={_HAN})")


def free_text(text: str) -> str:
    """Text as people compare it: `speech.plain`, and without the marks of a sentence where they change no meaning.

    These are: quotes around the whole, `. , ; : ! ?` at a word's end, all of them but the full stop beside a Chinese
    character, the marks that only Chinese has, and a space beside a Chinese character. A mark stays inside numbers,
    codes and names (3.5, -5, 10:30, 5!, C++, a@b.c, 報告.pdf), in a text with an address, and where nothing else is
    left.
    """
    return _short_text(text) if len(text) <= _LONGEST_KEPT else _without_marks(text)


_LONGEST_KEPT = 500


def _without_marks(text: str) -> str:
    whole = plain(text).translate(_QUOTES)
    if "://" in whole:
        return whole
    said = found[2] if (found := _WHOLE_IN_QUOTES.fullmatch(whole)) else whole
    for marks in (_CHINESE_MARKS, _BESIDE_CHINESE, _AT_A_WORDS_END):
        said = marks.sub(" ", said)
    said = _SPACE_BESIDE_CHINESE.sub("", " ".join(said.split()))
    return said or whole


_short_text = lru_cache(maxsize=8192)(_without_marks)


def same_json(a: Any, b: Any) -> bool:
    """`1`, `true` and `"1"` are three values; 60 is 60.0. Text to the letter."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_json(value, b[key]) for key, value in a.items())
    return type(a) is type(b) and bool(a == b)


def same_value(
    a: Any, b: Any, name: str, schema: Any, root: Mapping[str, Any] | None = None, now: datetime = NOW
) -> bool:
    """Two values of parameter `name`, whose schema is given."""
    return meaning(a, name, schema, root, now) == meaning(b, name, schema, root, now)


def same_call(a: Call, b: Call, tool: Tool | None, now: datetime = NOW) -> bool:
    """Same tool, same parameters but for defaults, each of the same value."""
    schema = tool.parameters if tool else {}
    return a.tool == b.tool and same_value(a.params, b.params, "", schema, schema, now)
