"""Where a pack's texts and values come from, as types: texts by language and by half, slots. For `pack_shape`.

slot.words(Language.ZH_TW).of(test=False)
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from callwright.moments import AtTime, OnDay, canonical, read
from callwright.records import Language

PLACEHOLDER = re.compile(r"\{([\w.]+)\}")
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


def _several(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


OneOrMore = Annotated[list[str], BeforeValidator(_several), Field(min_length=1)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False)


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
    """Texts of the training and texts of the test; `pack_checks` says where there are too few."""

    train: list[str] = []
    test: list[str] = []

    def of(self, test: bool) -> list[str]:
        return self.test if test else self.train


class Words(Part):
    train: list[Word] = []
    test: list[Word] = []

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
    zh_tw: Halves = Field(default=Halves(), alias="zh-TW")
    en: Halves = Halves()


class Lines(Bilingual):
    """Texts that mean the same; one may stand for itself."""

    zh_tw: OneOrMore = Field(alias="zh-TW")
    en: OneOrMore


class Talk(Part):
    train: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    test: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []

    def of(self, test: bool) -> list[list[str]]:
        return self.test if test else self.train


class Talks(Bilingual):
    zh_tw: Talk = Field(default=Talk(), alias="zh-TW")
    en: Talk = Talk()


_MOST_STEPS = 1_000_000_000


class Steps(Part):
    min: int | float
    max: int | float
    step: Annotated[int | float, Field(gt=0)]
    scaled: bool = False
    """Said with its scale where it has one: 300 萬, 3 million."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min is at most max")
        if self.max - self.min > self.step * _MOST_STEPS:
            raise ValueError(f"there are more than {_MOST_STEPS:,} steps from min to max; make step larger")
        return self

    def at(self, place: int) -> int | float:
        """The value so many steps above min: an int where it is whole."""
        value = round(self.min + place * self.step, 9)
        return int(value) if isinstance(value, int) or value.is_integer() else value

    @property
    def count(self) -> int:
        return int((self.max - self.min) / self.step + 1e-9) + 1


class Slot(Part):
    """Where values come from: words, a number, a moment, several values of another slot, or an object of them."""

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
    object: dict[Identifier, str] | None = None
    """Properties of an object, each with the slot of its values; `say` puts them into words."""
    say: Lines | None = None
    """Placeholders are properties; one that a text leaves out is left out of the value."""
    list: str | None = None
    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        words = self.any is not None or (self.zh_tw is not None and self.en is not None)
        kinds = [words, *(kind is not None for kind in (self.number, self.moment, self.list, self.object))]
        if sum(kinds) != 1:
            raise ValueError("a slot is one of: words (any, or zh-TW and en), number, moment, list, object")
        if (self.object is None) is not (self.say is None):
            raise ValueError("object and say belong together: the properties, and how people say them")
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
            raise ValueError("this slot has no words; number, moment, list and object say where its values come from")
        return found
