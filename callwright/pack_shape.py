"""What a pack is made of, as types; docs/packs.md has the whole shape, `packs` reads it, `pack_checks` checks the rest.

pack.tool("book_room").phrasings[Language.ZH_TW].train
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from callwright.moments import is_moment
from callwright.pack_slots import (
    NAME,
    PLACEHOLDER,
    Bilingual,
    Halves,
    Identifier,
    Lines,
    Part,
    Scalar,
    Slot,
    Talks,
    Texts,
)
from callwright.records import Language, Tool

__all__ = [
    "NAME",
    "PLACEHOLDER",
    "Action",
    "Chain",
    "Contains",
    "Failing",
    "Given",
    "Halves",
    "Missing",
    "Missings",
    "Pack",
    "PackTool",
    "Slot",
    "Texts",
]


class Missing(Halves):
    questions: list[str] = []
    words: list[str] = []


class Missings(Bilingual):
    zh_tw: Missing = Field(alias="zh-TW")
    en: Missing


class Contains(Part):
    contains: Identifier


Where = dict[Identifier, Identifier | Contains]
Columns = list[Identifier]


class Action(Part):
    """What a tool does to the tables; docs/packs.md lists the kinds."""

    insert: Identifier | None = None
    select: Identifier | None = None
    list: Identifier | None = None
    count: Identifier | None = None
    update: Identifier | None = None
    delete: Identifier | None = None
    where: Where = {}
    set: dict[Identifier, Identifier] = {}
    columns: Columns = []

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in self._kinds) != 1:
            raise ValueError("an action is one of insert, select, list, count, update, delete")
        if self.list and not self.columns:
            raise ValueError("list needs columns: what is told of each row")
        return self

    @property
    def _kinds(self) -> tuple[str | None, ...]:
        return self.insert, self.select, self.list, self.count, self.update, self.delete

    @property
    def table(self) -> str:
        return next(kind for kind in self._kinds if kind)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return bool(self.select or self.list or self.count)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its result."""
        if self.select or self.update:
            return tuple(self.columns)
        if self.list:
            return ("count", "items")
        return ("id",) if self.insert else ("count",) if self.count else ("deleted",)


class Cell(Part):
    param: Identifier | None = None
    slot: Identifier | None = None
    value: Scalar | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a value is one of {param: …}, {slot: …}, {value: …}")
        return self


class Rows(Part):
    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self


class Given(Part):
    table: Identifier
    row: dict[Identifier, Cell]
    rows: Rows | None = None
    """How many such rows there are; one unless said."""


class Step(Part):
    """One call of a chain. `take`: parameters that come from the result of an earlier step, `FIELD` or `TOOL.FIELD`."""

    tool: Identifier
    take: dict[Identifier, str] = {}


class Chain(Part):
    """A request that takes several calls, each after the result of the one before."""

    steps: Annotated[list[Step], Field(min_length=2, max_length=3)]
    phrasings: Texts = Texts()


class Failing(Part):
    """A way in which tools fail: the result is `{"error": error}`, `told` is what the assistant says then."""

    error: Identifier
    tools: list[Identifier] | None = None
    """The tools that fail so; left out: any that acts on the world."""
    retry: bool = False
    """Whether the same call once more may work."""
    told: Texts = Texts()


def _not_json(value: Any) -> str | None:
    """A key that is no text (YAML's `on` is true), or a value such as a date."""
    if isinstance(value, dict):
        odd = next((repr(key) for key in value if not isinstance(key, str)), None)
        return odd or next((odd for inner in value.values() if (odd := _not_json(inner))), None)
    if isinstance(value, list):
        return next((odd for inner in value if (odd := _not_json(inner))), None)
    return None if value is None or isinstance(value, str | int | float) else repr(value)


class PackTool(Part):
    name: Identifier
    description: Lines
    """The first is the usual one, the others say the same in other words."""
    parameters: dict[str, Any]
    slots: dict[str, str] = {}
    moments: list[str] = []
    phrasings: Texts = Texts()
    clauses: Texts = Texts()
    missing: dict[str, Missings] = {}
    action: Action | None = None
    """Left out: the pack cannot run the tool, so no row shows a result of it."""
    given: list[Given] = []
    replies: Texts = Texts()

    @field_validator("parameters")
    @classmethod
    def _json(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if odd := _not_json(parameters):
            raise ValueError(f"{odd} is nothing that JSON has; put it in quotes, as YAML takes it for something else")
        return parameters

    @field_validator("given", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return [given] if isinstance(given, dict) else given

    def slot_of(self, param: str) -> str:
        return self.slots.get(param, param)

    def offered(self, language: Language) -> Tool:
        """The tool as a model sees it."""
        return Tool(self.name, self.description[language][0], self.parameters)

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parameters.get("properties", {})
        return found

    @property
    def required(self) -> list[str]:
        found: list[str] = self.parameters.get("required", [])
        return found

    def is_moment(self, param: str) -> bool:
        return is_moment(param, self.properties.get(param), marked=param in self.moments)


class Pack(Part):
    pack: Identifier
    system: Lines
    tables: dict[
        Identifier, dict[Identifier, Literal["text", "integer", "real", "boolean", "moment", "list", "object"]]
    ] = {}
    slots: dict[str, Slot] = {}
    tools: Annotated[list[PackTool], Field(min_length=1)]
    chains: list[Chain] = []
    errors: list[Failing] = []
    joiners: Texts = Texts()
    answers: Texts = Texts()
    """How people answer when they were asked for a value, `{value}`."""
    declines: Texts = Texts()
    unsupported: Texts = Texts()
    chat: Talks = Talks()
    lead_ins: Texts = Texts()
    """What people say before a request."""
    sign_offs: Texts = Texts()
    """What they say after it."""
    code_switch: dict[str, str] = {}
    """Words of a zh-TW request that people also say in English: 會議: meeting."""

    def tool(self, name: str) -> PackTool:
        return self.named[name]

    @cached_property
    def named(self) -> dict[str, PackTool]:
        return {tool.name: tool for tool in self.tools}

    @cached_property
    def tables_key(self) -> str:
        """The tables as text: packs with the same have like databases."""
        return json.dumps(self.tables)
