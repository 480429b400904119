"""What of an answer fits into a pack: lists and texts of it, in the language, each as it is compared.

is_in(Language.EN, "Book {room}.")   ->  True
halves(["a", "b", "c", "d"])         ->  {"train": ["a", "b", "c"], "test": ["d"]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwright.pack_shape import Pack
from callwright.records import Category, Example, Language, Split, User
from callwright.rules import language as language_rule
from callwright.schemas import value_fault
from callwright.speech import plain


def is_in(language: Language, text: str) -> bool:
    """Whether a text is in the language, its placeholders aside. What has no letters is in any."""
    words = "".join(part.partition("}")[2] if i else part for i, part in enumerate(text.split("{")))
    if not any(sign.isalpha() for sign in words):
        return bool(text.strip())
    row = Example("", language, Category.SINGLE, Split.TRAIN, (), (User(words),))
    return next(language_rule(row), None) is None


def halves(texts: list[Any]) -> dict[str, Any]:
    """Every fourth for the test, so that what the teacher thought of first and last stands in both."""
    test = texts[3::4]
    return {"train": [text for text in texts if text not in test], "test": test}


def users_of(pack: Pack, slot: str) -> dict[str, Any]:
    """Schemas of what takes values of the slot, also inside a list; with the definitions that they may refer to."""
    found: dict[str, Any] = {}
    for tool in pack.tools:
        shared = {"$defs": tool.parameters["$defs"]} if "$defs" in tool.parameters else {}
        for param, schema in tool.properties.items():
            taken = tool.slot_of(param)
            known = schema if isinstance(schema, dict) else {}
            if taken == slot:
                found[f"{tool.name}.{param}"] = {**known, **shared}
            elif taken in pack.slots and pack.slots[taken].list == slot:
                found[f"{tool.name}.{param}[]"] = {**known.get("items", {}), **shared}
    return found


def choices(users: Mapping[str, Any]) -> list[Any]:
    """The values that a closed parameter allows."""
    for schema in users.values():
        known = schema if isinstance(schema, dict) else {}
        if isinstance(known.get("enum"), list):
            return [value for value in known["enum"] if value is not None]
        if known.get("type") == "boolean":
            return [True, False]
    return []


def refused(value: Any, users: Mapping[str, Any]) -> str | None:
    """Why one of the schemas does not take the value. What lies outside a schema is never fetched."""
    faults = (value_fault(value, schema, schema) for schema in users.values())
    return next((fault for fault in faults if fault), None)


def filled(texts: Any) -> bool:
    return any(texts.values()) if isinstance(texts, dict) else bool(texts)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_texts(value: Any) -> list[str]:
    return [text for text in as_list(value) if isinstance(text, str) and text.strip()]


def same(text: str) -> str:
    return plain(text).replace(" ", "")


def spoken(word: Any) -> str:
    return same(str(word["say"] if isinstance(word, dict) else word))
