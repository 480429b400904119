"""The rules a training row must pass, in order; a rejected row carries the first that failed.

    rules = Rules(packs)
    rules.first_failure(example)   ->  None, or Failure("unknown_param", "office-000042: …")

Rules that need other rows (duplicates, contamination) are in `duplicates`; stages/validate.py runs them last.
A user turn or reply is judged by language; texts of tools and of the system are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, SchemaError

from callwright.backend import Refused, World
from callwright.grammar import NOW
from callwright.moments import Absolute, AtTime, InMinutes, OnDay, canonical, is_moment, read
from callwright.packs import Pack
from callwright.records import Calls, Category, Example, Language, Message, Reply, Result, System, Tool, User
from callwright.replies import asks_for, invented, untold
from callwright.scoring import schema_fault
from callwright.speech import heard, numbers, plain


class Failure(NamedTuple):
    code: str
    message: str


Rule = Callable[[Example], Iterator[Failure]]


class Rules:
    """The ordered list. `packs` are the worlds that calls are run in; a row of another pack skips that rule."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.packs = {pack.pack: pack for pack in packs}
        self.order: tuple[Rule, ...] = (tool_schemas, roles, language, calls, moments, grounding, self.execution, replies)

    def first_failure(self, row: Example) -> Failure | None:
        for rule in self.order:
            for failure in rule(row):
                return Failure(failure.code, f"{row.id}: {failure.message}")
        return None

    def execution(self, row: Example) -> Iterator[Failure]:
        """The backend refuses no call."""
        pack = self.packs.get(row.source.get("pack", ""))
        if pack is None or not row.calls:
            return
        with World(pack, NOW) as world:
            for call in row.calls:
                try:
                    world.run(call)
                except Refused as refusal:
                    yield Failure("execution_failed", f"the backend refuses {call.tool}: {refusal}")


def tool_schemas(row: Example) -> Iterator[Failure]:
    for i, tool in enumerate(row.tools):
        try:
            Draft202012Validator.check_schema(tool.parameters)
        except SchemaError as error:
            yield Failure("bad_tool_schema", f"tools[{i}] {tool.name!r}: parameters is not a JSON Schema: {error.message}")
        if tool.parameters.get("type") != "object":
            kind = tool.parameters.get("type")
            yield Failure("bad_tool_schema", f"tools[{i}] {tool.name!r}: parameters has type {kind!r}; expected object")


_NEXT: Mapping[type, tuple[type, ...]] = {
    System: (User,),
    User: (Calls, Reply),
    Calls: (Result,),
    Result: (Result, Calls, Reply),
    Reply: (User,),
}


def roles(row: Example) -> Iterator[Failure]:
    """system, user, assistant; none empty; each turn after one that it can follow; the last is the assistant's."""
    turns = row.messages
    for kind, name in ((System, "system"), (User, "user"), ((Calls, Reply), "assistant")):
        if not any(isinstance(turn, kind) for turn in turns):
            yield Failure("incomplete_roles", f"messages has no {name} turn; expected system, user, assistant")
            return
    if not isinstance(turns[0], System):
        yield Failure("incomplete_roles", f"messages[0] is {_role(turns[0])}; expected system first")
    for i, (before, turn) in enumerate(zip(turns, turns[1:], strict=False), start=1):
        if not isinstance(turn, _NEXT[type(before)]):
            yield Failure("incomplete_roles", f"messages[{i}] is {_role(turn)} after {_role(before)}; turns are out of order")
    for i, turn in enumerate(turns):
        if not (turn.calls if isinstance(turn, Calls) else turn.content.strip()):
            yield Failure("incomplete_roles", f"messages[{i}] ({_role(turn)}) is empty")
    if not isinstance(turns[-1], Calls | Reply):
        yield Failure("incomplete_roles", f"messages[{len(turns) - 1}] is {_role(turns[-1])}; expected the assistant's turn last")


_CJK = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")


def language(row: Example) -> Iterator[Failure]:
    for i, turn in enumerate(row.messages):
        if not isinstance(turn, User | Reply):
            continue
        han, latin = len(_CJK.findall(turn.content)), len(_LATIN.findall(turn.content))
        if row.language is Language.EN and han > latin:
            yield Failure("wrong_language", f"messages[{i}] is in Chinese; expected en: {_short(turn.content)}")
        if row.language is Language.ZH_TW:
            if not han and latin:
                yield Failure("wrong_language", f"messages[{i}] has no Chinese; expected zh-TW: {_short(turn.content)}")
            if mainland := [sign for sign in turn.content if sign in simplified()]:
                yield Failure("wrong_language", f"messages[{i}] has the Simplified {mainland[0]!r}; expected Traditional: {_short(turn.content)}")


@lru_cache(maxsize=1)
def simplified() -> frozenset[str]:
    """Characters that stand in Simplified Chinese only, by OpenCC's own table."""
    table = (files("opencc") / "dictionary" / "STCharacters.txt").read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in table.splitlines() if "\t" in line)
    return frozenset(sign for sign, traditional in pairs if sign not in traditional.split())


def calls(row: Example) -> Iterator[Failure]:
    """Tools that are offered, parameters that they have, values that their schemas allow."""
    tools = {tool.name: tool for tool in row.tools}
    for i, turn in enumerate(row.messages):
        for j, call in enumerate(turn.calls if isinstance(turn, Calls) else ()):
            if fault := schema_fault(call, tools.get(call.tool)):
                yield Failure(fault[0], f"messages[{i}].calls[{j}]: {fault[1]}")


def moments(row: Example) -> Iterator[Failure]:
    for place, said, tool, name, value in _values(row):
        if not is_moment(name, tool.properties.get(name)) or not isinstance(value, str):
            continue
        moment = read(value)
        if moment is None:
            yield Failure("bad_relative_time", f"{place} is {value!r}; expected a moment such as 'tomorrow 15:00'")
        elif isinstance(moment, Absolute):
            if f"{moment.date:%Y-%m-%d}" not in said and f"{moment.date:%Y/%m/%d}" not in said:
                yield Failure("hardcoded_date", f"{place} is {value!r}, a date nobody said; expected a moment such as 'tomorrow 15:00'")
        elif canonical(moment) != value:
            yield Failure("bad_relative_time", f"{place} is {value!r}; expected its canonical spelling {canonical(moment)!r}")


def grounding(row: Example) -> Iterator[Failure]:
    for place, said, tool, name, value in _values(row):
        schema = tool.properties.get(name, {})
        if "enum" in schema or isinstance(value, bool):
            continue
        if isinstance(value, str) and is_moment(name, schema):
            if not _moment_said(value, said):
                yield Failure("ungrounded_value", f"{place} is {value!r}, which the conversation does not say")
            continue
        for part in value if isinstance(value, list) else [value]:
            if not _said(part, said):
                yield Failure("ungrounded_value", f"{place} is {part!r}, which the conversation does not hold")


def _moment_said(value: str, said: str) -> bool:
    moment, found = read(value), heard(said)
    match moment:
        case InMinutes(count):
            return count in found.minutes
        case AtTime(at):
            return at in found.times
        case OnDay(day, at):
            return day in found.days and (at is None or at in found.times)
    return True  # absolute: judged by `moments`


_UNITS = ((r"(?:個?小時|個?鐘頭| ?hours?\b)", 60), (r"(?:個?週|個?星期|個?禮拜| ?weeks?\b)", 7))


def _said(value: Any, said: str) -> bool:
    if isinstance(value, int | float):
        return Fraction(str(value)) in numbers(said) | _converted(said)
    if not isinstance(value, str):
        return True
    wanted, text = plain(value).replace(" ", ""), plain(said).replace(" ", "")
    if wanted in text:
        return True
    pieces = {wanted[i : i + 2] for i in range(len(wanted) - 1)} if _CJK.search(wanted) else set(re.findall(r"\w{3,}", plain(value)))
    return any(piece in text for piece in pieces)


def _converted(said: str) -> frozenset[Fraction]:
    """Numbers after their unit: two weeks = 14 days, two hours = 120 minutes, 半小時 = 30 minutes."""
    words, found = plain(said), set()
    for unit, factor in _UNITS:
        for number in re.findall(r"([零一二兩三四五六七八九十百\d]+|\b[a-z]+(?:-[a-z]+)?)(?=" + unit + ")", words):
            found |= {value * factor for value in numbers(number)}
        for number in re.findall(r"([一二兩三四五六七八九十\d]+)個半(?=小時|鐘頭)", words) if factor == 60 else ():
            found |= {value * 60 + 30 for value in numbers(number)}
    if re.search(r"半(?:個?小時|個?鐘頭)|half an hour|half-hour", words):
        found.add(Fraction(30))
    if re.search(r"\ban hour\b", words):
        found.add(Fraction(60))
    if re.search(r"an hour and a half|one and a half hours", words):
        found.add(Fraction(90))
    return frozenset(found)


def replies(row: Example) -> Iterator[Failure]:
    """A reply after results tells their facts and no other number; a question asks for what is missing."""
    results: list[Result] = []
    for i, turn in enumerate(row.messages):
        if isinstance(turn, Result):
            results.append(turn)
        elif isinstance(turn, Reply) and results:
            if left := untold(turn.content, results):
                yield Failure("unfaithful_reply", f"messages[{i}] does not tell {left[0]!r}: {_short(turn.content)}")
            if more := invented(turn.content, results):
                yield Failure("unfaithful_reply", f"messages[{i}] tells {more[0]}, which no result holds: {_short(turn.content)}")
        elif isinstance(turn, Reply) and row.category is Category.MISSING and turn.asks and not asks_for(turn.content, turn.asks):
            yield Failure("unfaithful_reply", f"messages[{i}] does not ask for the missing value ({', '.join(turn.asks)})")


def _values(row: Example) -> Iterator[tuple[str, str, Tool, str, Any]]:
    """Each value of each call: its place, the conversation before it, its tool, its parameter, itself."""
    tools = {tool.name: tool for tool in row.tools}
    before: list[str] = []
    for i, turn in enumerate(row.messages):
        if isinstance(turn, User | Result):
            before.append(turn.content)
        if not isinstance(turn, Calls):
            continue
        for j, call in enumerate(turn.calls):
            tool = tools.get(call.tool)
            for name, value in call.params.items() if tool else ():
                assert tool
                yield f"messages[{i}].calls[{j}].params.{name}", "\n".join(before), tool, name, value


def _role(turn: Message) -> str:
    return {System: "system", User: "user", Result: "tool"}.get(type(turn), "assistant")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
