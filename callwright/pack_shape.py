"""What a pack is made of, as types; docs/packs.md has the whole shape, `packs` reads it, `pack_checks` checks the rest.

pack.tool("book_room").phrasings[Language.ZH_TW].train
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from callwright.moments import AtTime, OnDay, canonical, is_moment, read
from callwright.records import Language, Tool

PLACEHOLDER = re.compile(r"\{(\w+)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Scalar = str | int | float | bool


def _day(text: str) -> str:
    found = read(text)
    if not isinstance(found, OnDay) or found.time or canonical(found) != text:
        raise ValueError(f"{text!r} is no day as the grammar of moments writes it (today, in 3 days, next monday, …)")
    return text


def _time(text: str) -> str:
    found = read(text)
    if not isinstance(found, AtTime) or canonical(found) != text:
        raise ValueError(f"{text!r} is no time of day; write it in quotes as HH:MM, 24 hours")
    return text


Days = Annotated[list[Annotated[str, AfterValidator(_day)]], Field(min_length=1)]
Times = Annotated[list[Annotated[str, AfterValidator(_time)]], Field(min_length=1)]
Identifier = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Word(Part):
    """What people say, and what the call then holds."""

    say: str
    value: Scalar

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        if isinstance(given, bool):
            raise ValueError("a truth value is not said as it is written; write {say: …, value: true}")  # noqa: TRY004 - what pydantic tells
        return {"say": str(given), "value": given} if isinstance(given, str | int | float) else given


class Halves(Part):
    """Texts of the training and texts of the test."""

    train: Annotated[list[str], Field(min_length=1)]
    test: Annotated[list[str], Field(min_length=1)]

    def of(self, test: bool) -> list[str]:
        return self.test if test else self.train


class Words(Part):
    train: Annotated[list[Word], Field(min_length=1)]
    test: Annotated[list[Word], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _same_everywhere(cls, given: Any) -> Any:
        return {"train": given, "test": given} if isinstance(given, list) else given

    def of(self, test: bool) -> list[Word]:
        return self.test if test else self.train


class Bilingual(Part):
    """One thing in each language; `thing[language]`."""

    def __getitem__(self, language: Language) -> Any:
        return getattr(self, "zh_tw" if language is Language.ZH_TW else "en")


class Texts(Bilingual):
    zh_tw: Halves = Field(alias="zh-TW")
    en: Halves


class Lines(Bilingual):
    zh_tw: Annotated[list[str], Field(min_length=1)] = Field(alias="zh-TW")
    en: Annotated[list[str], Field(min_length=1)]


class Line(Bilingual):
    zh_tw: str = Field(alias="zh-TW")
    en: str


class Talk(Part):
    train: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    test: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]

    def of(self, test: bool) -> list[list[str]]:
        return self.test if test else self.train


class Talks(Bilingual):
    zh_tw: Talk = Field(alias="zh-TW")
    en: Talk


class Steps(Part):
    min: int
    max: int
    step: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self


class Slot(Part):
    """Where values come from: words, a number, a moment, or several values of another slot."""

    free: bool = False
    any: Words | None = None
    zh_tw: Words | None = Field(default=None, alias="zh-TW")
    en: Words | None = None
    number: Steps | None = None
    digits: bool = False
    moment: Literal["date-time", "date", "time"] | None = None
    days: Days | None = None
    """The days a moment may fall on, in the grammar of moments; left out: any that people usually say."""
    times: Times | None = None
    """The times of day, HH:MM; likewise."""
    spoken: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Share of times that are said as people say them (下午三點, 3 pm); the others are written 15:00."""
    list: str | None = None
    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        words = self.any is not None or (self.zh_tw is not None and self.en is not None)
        kinds = [words, self.number is not None, self.moment is not None, self.list is not None]
        if sum(kinds) != 1:
            raise ValueError("a slot is one of: words (any, or zh-TW and en), number, moment, list")
        if (self.days and self.moment not in ("date-time", "date")) or (self.times and self.moment in (None, "date")):
            raise ValueError("days belong to a moment that is a date-time or a date, times to a date-time or a time")
        if "spoken" in self.model_fields_set and self.moment not in ("date-time", "time"):
            raise ValueError("spoken belongs to a moment that is a date-time or a time")
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        return self

    def words(self, language: Language) -> Words:
        found = self.any or (self.zh_tw if language is Language.ZH_TW else self.en)
        if found is None:
            raise ValueError("this slot has no words; number, moment and list say where its values come from")
        return found


class Missing(Halves):
    questions: Annotated[list[str], Field(min_length=1)]
    words: Annotated[list[str], Field(min_length=1)]


class Missings(Bilingual):
    zh_tw: Missing = Field(alias="zh-TW")
    en: Missing


class Contains(Part):
    contains: Identifier


Where = dict[Identifier, Identifier | Contains]


class Action(Part):
    """What a tool does to the tables; docs/packs.md lists the kinds."""

    insert: Identifier | None = None
    select: Identifier | None = None
    count: Identifier | None = None
    update: Identifier | None = None
    delete: Identifier | None = None
    where: Where = {}
    set: dict[Identifier, Identifier] = {}
    columns: list[Identifier] = []

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.insert, self.select, self.count, self.update, self.delete)) != 1:
            raise ValueError("an action is one of insert, select, count, update, delete")
        return self

    @property
    def table(self) -> str:
        return self.insert or self.select or self.count or self.update or self.delete or ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its result."""
        if self.select or self.update:
            return tuple(self.columns)
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


class Given(Part):
    table: Identifier
    row: dict[Identifier, Cell]


class PackTool(Part):
    name: Identifier
    description: Line
    parameters: dict[str, Any]
    slots: dict[str, str] = {}
    moments: list[str] = []
    phrasings: Texts
    clauses: Texts
    missing: dict[str, Missings] = {}
    action: Action
    given: Given | None = None
    replies: Texts

    def slot_of(self, param: str) -> str:
        return self.slots.get(param, param)

    def offered(self, language: Language) -> Tool:
        """The tool as a model sees it."""
        return Tool(self.name, self.description[language], self.parameters)

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
    tables: dict[Identifier, dict[Identifier, Literal["text", "integer", "real", "moment", "list"]]]
    slots: dict[str, Slot]
    tools: Annotated[list[PackTool], Field(min_length=1)]
    joiners: Texts
    declines: Texts
    unsupported: Texts
    chat: Talks

    def tool(self, name: str) -> PackTool:
        return next(tool for tool in self.tools if tool.name == name)
