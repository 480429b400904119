"""The canonical record: one row, one conversation, one JSON object a line.

    {"id": "office-000042", "language": "zh-TW", "category": "parallel", "split": "train",
     "tools": [{"name": "query_database", "description": "查詢資料庫", "parameters": {JSON Schema object}}],
     "messages": [
       {"role": "system", "content": "你是一位專業助理。"},
       {"role": "user", "content": "幫我查一下預算表。"},
       {"role": "assistant", "calls": [{"tool": "query_database", "params": {"query_str": "預算表"}}]},
       {"role": "tool", "tool": "query_database", "content": "{\\"amount\\": \\"300 萬\\"}", "facts": ["300 萬"]},
       {"role": "assistant", "content": "預算為 300 萬。"}],
     "source": {"pack": "office", "generator": "grammar", "seed": 7}}

`facts` (what the reply must hold), `asks` (words of which the question must hold one) and `also` (other sets of calls
that are right) are there where the row marks them for scoring. Reading is strict: a record that breaks the shape cannot
be built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

E = TypeVar("E", bound=StrEnum)


class Category(StrEnum):
    SINGLE = "single"
    PARALLEL = "parallel"
    CHAINED = "chained"
    MISSING = "missing"
    NO_TOOL = "no_tool"
    FULL_LOOP = "full_loop"
    TOOL_ERROR = "tool_error"


class Language(StrEnum):
    ZH_TW = "zh-TW"
    EN = "en"


class Split(StrEnum):
    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


class BadRecord(ValueError):
    """The value is not a record; the sentence says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is offered. `parameters` is a JSON Schema 2020-12 object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.parameters.get("properties", {})
        return found

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("required", ()))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    params: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"tool": self.tool, "params": dict(self.params)}


@dataclass(frozen=True, slots=True)
class System:
    content: str

    def to_json(self) -> dict[str, Any]:
        return {"role": "system", "content": self.content}


@dataclass(frozen=True, slots=True)
class User:
    content: str

    def to_json(self) -> dict[str, Any]:
        return {"role": "user", "content": self.content}


@dataclass(frozen=True, slots=True)
class Calls:
    """An assistant turn that calls tools. `also`: other sets of calls that are right in its place."""

    calls: tuple[Call, ...]
    also: tuple[tuple[Call, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        marked = {"also": [[call.to_json() for call in calls] for calls in self.also]} if self.also else {}
        return {"role": "assistant", "calls": [call.to_json() for call in self.calls], **marked}


@dataclass(frozen=True, slots=True)
class Reply:
    """An assistant turn of text. `asks`: where it asks for a missing value, words of which a question holds one."""

    content: str
    asks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        marked = {"asks": list(self.asks)} if self.asks else {}
        return {"role": "assistant", "content": self.content, **marked}


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gave back. `facts`: what a reply must tell of it."""

    tool: str
    content: str
    facts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        marked = {"facts": list(self.facts)} if self.facts else {}
        return {"role": "tool", "tool": self.tool, "content": self.content, **marked}


Message = System | User | Calls | Reply | Result


@dataclass(frozen=True, slots=True)
class Example:
    """A row. `source` says where it came from; nothing in it reaches a model."""

    id: str
    language: Language
    category: Category
    split: Split
    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> str:
        """The user's turns, one a line."""
        return "\n".join(m.content for m in self.messages if isinstance(m, User))

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(call for m in self.messages if isinstance(m, Calls) for call in m.calls)

    def renamed(self, call: Call) -> Mapping[str, Any]:
        """What its pack calls the tool and its parameters, where the row shows them under other names."""
        renamed = self.source.get("renamed")
        found = renamed.get(call.tool) if isinstance(renamed, Mapping) else None
        params = found.get("params") if isinstance(found, Mapping) else None
        if not isinstance(params, Mapping) or not all(isinstance(own, str) for own in params.values()):
            return {}
        return found if isinstance(found, Mapping) else {}

    def own(self, call: Call) -> Call:
        """The call under its pack's names."""
        names = self.renamed(call)
        if not names:
            return call
        params = {names["params"].get(name, name): value for name, value in call.params.items()}
        return Call(str(names.get("tool", call.tool)), params)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "language": str(self.language),
            "category": str(self.category),
            "split": str(self.split),
            "tools": [tool.to_json() for tool in self.tools],
            "messages": [message.to_json() for message in self.messages],
            "source": dict(self.source),
        }


def read_example(value: Any) -> Example:
    """Build a row from parsed JSON; `BadRecord` names the place, the value and what was expected."""
    row = _keys(value, "row", {"id", "language", "category", "split", "tools", "messages"}, {"source"})
    return Example(
        id=_text(row["id"], "id"),
        language=_one_of(Language, row["language"], "language"),
        category=_one_of(Category, row["category"], "category"),
        split=_one_of(Split, row["split"], "split"),
        tools=tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(_list(row["tools"], "tools"))),
        messages=tuple(_message(m, f"messages[{i}]") for i, m in enumerate(_list(row["messages"], "messages"))),
        source=_object(row.get("source", {}), "source"),
    )


def read_line(line: str) -> Example:
    """Build a row from one line of a file."""
    try:
        value = json.loads(line, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRecord("not text: it holds half of a surrogate pair, which no file can hold") from None
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}") from error
    return read_example(value)


def _no_number(name: str) -> None:
    """Python reads NaN and Infinity, JSON has neither."""
    raise ValueError(f"{name} is no number")


def read_call(value: Any, place: str = "call") -> Call:
    """Build a call from `{"tool": …, "params": {…}}`; nothing else passes."""
    call = _keys(value, place, {"tool", "params"}, set())
    return Call(_text(call["tool"], f"{place}.tool"), _object(call["params"], f"{place}.params"))


def _calls(value: Any, place: str) -> tuple[Call, ...]:
    return tuple(read_call(call, f"{place}[{i}]") for i, call in enumerate(_list(value, place)))


def _tool(value: Any, place: str) -> Tool:
    tool = _keys(value, place, {"name", "description", "parameters"}, set())
    return Tool(
        _text(tool["name"], f"{place}.name"),
        _text(tool["description"], f"{place}.description"),
        _object(tool["parameters"], f"{place}.parameters"),
    )


def _message(value: Any, place: str) -> Message:
    role = _object(value, place).get("role")
    if role == "assistant" and "calls" in value:
        turn = _keys(value, place, {"role", "calls"}, {"also"})
        also = _list(turn.get("also", []), f"{place}.also")
        return Calls(
            _calls(turn["calls"], f"{place}.calls"),
            tuple(_calls(calls, f"{place}.also[{i}]") for i, calls in enumerate(also)),
        )
    if role == "assistant":
        turn = _keys(value, place, {"role", "content"}, {"asks"})
        return Reply(_text(turn["content"], f"{place}.content"), _texts(turn.get("asks", []), f"{place}.asks"))
    if role == "tool":
        turn = _keys(value, place, {"role", "tool", "content"}, {"facts"})
        return Result(
            _text(turn["tool"], f"{place}.tool"),
            _text(turn["content"], f"{place}.content"),
            _texts(turn.get("facts", []), f"{place}.facts"),
        )
    if role in ("system", "user"):
        turn = _keys(value, place, {"role", "content"}, set())
        content = _text(turn["content"], f"{place}.content")
        return System(content) if role == "system" else User(content)
    raise BadRecord(f"{place}.role is {role!r}; expected system, user, assistant or tool")


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"{place} is {_short(value)}; expected an object")
    return value


def _keys(value: Any, place: str, required: set[str], optional: set[str]) -> dict[str, Any]:
    found = _object(value, place)
    if found.keys() == required:
        return found
    if missing := sorted(required - found.keys()):
        raise BadRecord(f"{place} has no {', '.join(missing)}")
    if unknown := sorted(found.keys() - required - optional):
        raise BadRecord(f"{place} has the unknown key {unknown[0]!r}")
    return found


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRecord(f"{place} is {_short(value)}; expected a list")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"{place} is {_short(value)}; expected text")
    return value


def _texts(value: Any, place: str) -> tuple[str, ...]:
    return tuple(_text(item, f"{place}[{i}]") for i, item in enumerate(_list(value, place)))


def _one_of(kind: type[E], value: Any, place: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise BadRecord(f"{place} is {_short(value)}; expected one of {', '.join(kind)}") from None


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deep"
    return text if len(text) <= 60 else text[:57] + "..."
