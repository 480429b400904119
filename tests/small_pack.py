"""A small pack for tests: a library with one tool of each action, as a dict to break in one place, and as a file."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

STRING = {"type": "string"}


def both(zh: Any, en: Any) -> dict[str, Any]:
    return {"zh-TW": zh, "en": en}


def requests(name: str, required: list[str], *optional: str) -> dict[str, Any]:
    """Phrasings or clauses; the last of train fills the optional parameters too."""
    held = "、".join(f"{{{param}}}" for param in required)
    more = "、".join(f"{{{param}}}" for param in [*required, *optional])
    zh = {"train": [f"{name} 處理{held}", f"{name} 請弄{more}"], "test": [f"{name} 麻煩用{held}"]}
    en = {"train": [f"{name} with {held}", f"{name} takes {more}"], "test": [f"{name} wants {held}"]}
    return both(zh, en)


def tool(name: str, required: list[str], action: dict[str, Any], field: str, **more: Any) -> dict[str, Any]:
    properties = more.pop("properties", dict.fromkeys(required, STRING))
    optional = [param for param in properties if param not in required]
    return {
        "name": name,
        "description": both(f"{name} 說明", f"{name} explained"),
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        "phrasings": requests(f"{name}:", required, *optional),
        "clauses": requests(f"{name} and", required, *optional),
        "action": action,
        "replies": both(
            {"train": [f"{name}好了{{{field}}}。"], "test": [f"{name}完成{{{field}}}。"]},
            {"train": [f"{name} gave {{{field}}}."], "test": [f"{name} says {{{field}}}."]},
        ),
        **more,
    }


def halves(train: list[Any], test: list[Any]) -> dict[str, Any]:
    return {"train": train, "test": test}


ADD = {
    "title": STRING,
    "due_date": STRING,
    "copies": {"type": "integer", "minimum": 1, "maximum": 9},
    "authors": {"type": "array", "items": STRING},
}
ASKS_WHEN = both(
    {**halves(["登記新書{title}"], ["書要進館{title}"]), "questions": ["{title}哪天到期?"], "words": ["哪天"]},
    {**halves(["log the book {title}"], ["got {title} for you"]), "questions": ["When is it due?"], "words": ["due"]},
)
PACK: dict[str, Any] = {
    "pack": "library",
    "system": both(["你是館員。"], ["You are a librarian."]),
    "tables": {
        "books": {
            "title": "text",
            "shelf": "text",
            "due_date": "moment",
            "copies": "integer",
            "price": "real",
            "authors": "list",
        },
    },
    "slots": {
        "title": {
            "free": True,
            **both(
                halves(["紅樓夢", "西遊記", "水滸傳"], ["聊齋"]), halves(["Emma", "Ulysses", "Walden"], ["Dracula"])
            ),
        },
        "author": {"free": True, **both(halves(["魯迅", "巴金"], ["冰心"]), halves(["Austen", "Joyce"], ["Stoker"]))},
        "authors": {"list": "author", "max": 2},
        "shelf": {"any": ["A1", "B2", "C3"]},
        "copies": {"number": {"min": 1, "max": 9, "step": 1}},
        "due_date": {"moment": "date"},
    },
    "tools": [
        tool(
            "add_book",
            ["title", "due_date"],
            {"insert": "books"},
            "id",
            properties=ADD,
            missing={"due_date": ASKS_WHEN},
        ),
        tool(
            "find_book",
            ["title"],
            {"select": "books", "where": {"title": "title"}, "columns": ["shelf"]},
            "shelf",
            given={"table": "books", "row": {"title": {"param": "title"}, "shelf": {"slot": "shelf"}}},
        ),
        tool("count_books", ["shelf"], {"count": "books", "where": {"shelf": "shelf"}}, "count"),
        tool(
            "move_book",
            ["title", "shelf"],
            {"update": "books", "where": {"title": "title"}, "set": {"shelf": "shelf"}, "columns": ["title", "shelf"]},
            "shelf",
            given={"table": "books", "row": {"title": {"param": "title"}, "shelf": {"value": "Z9"}}},
        ),
        tool(
            "drop_book",
            ["title"],
            {"delete": "books", "where": {"title": {"contains": "title"}}},
            "deleted",
            given={"table": "books", "row": {"title": {"param": "title"}}},
        ),
    ],
    "joiners": both(halves(["{a},並{b}。"], ["先{a},再{b}。"]), halves(["{A} and {b}."], ["{A}, then {b}."])),
    "declines": both(
        halves(["沒有合適的工具。"], ["做不到。"]), halves(["No tool can do that."], ["That is beyond me."])
    ),
    "unsupported": both(halves(["幫我叫車。"], ["幫我訂票。"]), halves(["Call a cab."], ["Book a flight."])),
    "chat": both(
        halves([["你好", "您好。"]], [["早安", "早。"]]), halves([["Hello", "Hi there."]], [["Morning", "Good day."]])
    ),
}


def small_pack(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The pack with values put at dotted places: `("tools.0.name", "x")`; None takes the place away."""
    pack = deepcopy(PACK)
    for place, value in changes:
        *path, last = (int(part) if part.isdigit() else part for part in place.split("."))
        node: Any = pack
        for part in path:
            node = node[part]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return pack


def write_pack(folder: Path, *changes: tuple[str, Any]) -> Path:
    path = folder / "library.yaml"
    path.write_text(yaml.safe_dump(small_pack(*changes), allow_unicode=True, sort_keys=False, width=10_000), "utf-8")
    return path
