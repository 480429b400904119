"""A slot for a parameter, as far as its schema says where values come from.

{"type": "integer", "minimum": 1, "maximum": 9}  ->  {number: {min: 1, max: 9, step: 1}}
{"enum": ["in_progress", "done"]}                ->  {zh-TW: [], en: [{say: in progress, value: in_progress}, done]}
{"type": "string", "format": "date-time"}        ->  {moment: date-time}
{"type": "string"}                               ->  an empty place, and a remark that says what belongs there
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from callwright.moments import is_moment

HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
MOST = 1_000_000_000
"""Bounds beyond that (of 64-bit integers, say) are no numbers that people name."""
LISTED = 3
"""Values in a list, at most, where its schema allows more."""


@dataclass(frozen=True, slots=True)
class MadeSlot:
    slot: dict[str, Any]
    remark: str = ""
    """What a person puts there; empty where nothing is lacking."""
    items: MadeSlot | None = None
    """Of a list: the slot of what is in it, which has no name yet."""


def slot_of(name: str, schema: Any) -> MadeSlot:
    """The slot of a parameter."""
    known = essence(schema)
    if is_moment(name, known) and "array" not in kinds(known):
        return MadeSlot({"moment": _moment(name, known)})
    values = [known["const"]] if "const" in known else known.get("enum")
    if isinstance(values, list) and values:
        return _choices([value for value in values if value is not None])
    found = kinds(known)
    if found == ["boolean"]:
        return MadeSlot(_words(), "what people say: [{say: …, value: true}, {say: …, value: false}]")
    if found in (["integer"], ["number"]):
        return _number(known, whole=found == ["integer"])
    if found == ["array"]:
        return _list(name, known)
    if found == ["object"]:
        parts = ", ".join(f"{part}: SLOT" for part in known.get("properties", {})) or "PROPERTY: SLOT"
        return MadeSlot(_words(), f"an object: {{object: {{{parts}}}, say: {{zh-TW: […], en: […]}}}}")
    return _text(known, found)


def essence(schema: Any) -> dict[str, Any]:
    """The schema without null, and without an `anyOf` or `allOf` around one schema alone."""
    known = dict(schema) if isinstance(schema, dict) else {}
    for key in ("anyOf", "oneOf", "allOf"):
        inner = known.get(key)
        real = [part for part in inner if part != {"type": "null"}] if isinstance(inner, list) else []
        if len(real) == 1 and isinstance(real[0], dict):
            rest = {name: value for name, value in known.items() if name != key}
            return essence({**real[0], **rest})
    if isinstance(known.get("type"), list):
        left = [kind for kind in known["type"] if kind != "null"]
        known["type"] = left[0] if len(left) == 1 else left
    return known


def kinds(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _moment(name: str, schema: dict[str, Any]) -> str:
    form = schema.get("format")
    if form in ("date", "time", "date-time"):
        return str(form)
    return "date" if name.endswith("_date") else "date-time"


def _words() -> dict[str, Any]:
    return {"zh-TW": [], "en": []}


def _choices(values: list[Any]) -> MadeSlot:
    """Codes are said alike in both languages, words in the one they are written in; the other is left to a person."""
    if not values or not all(isinstance(value, str | int | float) for value in values):
        return MadeSlot(_words(), "what people say: [{say: …, value: …}]")
    if any(isinstance(value, bool) for value in values):
        return MadeSlot(_words(), "what people say: [{say: …, value: true}]")
    texts = [str(value) for value in values]
    said = [_said(value) for value in values]
    if not any(any(letter.islower() for letter in text) or HAN.search(text) for text in texts):
        return MadeSlot({"any": said})
    written, other = ("zh-TW", "en") if any(HAN.search(text) for text in texts) else ("en", "zh-TW")
    slot = {key: said if key == written else [] for key in ("zh-TW", "en")}
    return MadeSlot(slot, f"what people say in {other}: [{{say: …, value: {texts[0]}}}, …]")


def _said(value: Any) -> Any:
    spoken = re.sub(r"[_-]+", " ", value).strip() if isinstance(value, str) and value.islower() else value
    return value if spoken in (value, "") else {"say": spoken, "value": value}


def _number(schema: dict[str, Any], *, whole: bool) -> MadeSlot:
    step = schema.get("multipleOf", 1 if whole else None)
    low, high = _bound(schema, "inimum", max), _bound(schema, "aximum", min)
    if low is None or high is None or not -MOST <= low <= high <= MOST:
        shown = f"min: {low if low is not None else '…'}, max: {high if high is not None else '…'}"
        return MadeSlot({"any": []}, f"a number: {{number: {{{shown}, step: {step or '…'}}}}}, or values")
    if step is None:
        step = _fitting(high - low)
    if not isinstance(step, int | float) or isinstance(step, bool) or step <= 0:
        step = 1
    first = math.ceil(low / step - 1e-9) * step
    last = math.floor(high / step + 1e-9) * step
    first += step if first == schema.get("exclusiveMinimum") else 0
    last -= step if last == schema.get("exclusiveMaximum") else 0
    if first > last:
        return MadeSlot({"any": []}, "a number: no step fits between its bounds")
    return MadeSlot({"number": {"min": _neat(first), "max": _neat(last), "step": _neat(step)}})


def _bound(schema: dict[str, Any], name: str, stricter: Any) -> int | float | None:
    given = [schema.get(f"m{name}"), schema.get(f"exclusiveM{name}")]
    found = [value for value in given if isinstance(value, int | float) and not isinstance(value, bool)]
    return stricter(found) if found else None


def _fitting(width: float) -> float:
    """A step that divides a range into some ten to a hundred: 0.01 for 0 to 1, 1 for 0 to 100."""
    return 10.0 ** (math.floor(math.log10(width)) - 1) if width > 0 else 1


def _neat(value: float) -> int | float:
    rounded = round(value, 9)
    return int(rounded) if rounded == int(rounded) else rounded


def _list(name: str, schema: dict[str, Any]) -> MadeSlot:
    least, most = schema.get("minItems", 1), schema.get("maxItems", LISTED)
    low = max(1, least if isinstance(least, int) else 1)
    high = min(most if isinstance(most, int) else LISTED, max(low, LISTED))
    if "prefixItems" in schema or high < low:
        return MadeSlot(_words(), "a list that no slot can hold; leave it out of phrasings, or change the schema")
    inner = slot_of(name, schema.get("items", {}))
    if inner.items is not None:
        inner = MadeSlot(_words(), "a list in a list, which no slot can hold")
    return MadeSlot({"list": "", "min": low, "max": high}, items=inner)


def _text(schema: dict[str, Any], found: list[str]) -> MadeSlot:
    form = schema.get("format") or schema.get("pattern")
    kind = "text" if found == ["string"] else " or ".join(found) or "anything"
    remark = f"{kind} ({form})" if form else kind
    empty: dict[str, Any] = {"train": [], "test": []}
    if form:  # an address, a code: the same in every language
        return MadeSlot({"free": True, "any": empty}, remark)
    return MadeSlot({"free": True, "zh-TW": empty, "en": dict(empty)}, remark)
