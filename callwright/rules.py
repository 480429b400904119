"""The rules a training row must pass, in order; a rejected row carries the first that failed.

    rules = Rules(packs)
    rules.first_failure(example)   ->  None, or Failure("unknown_param", "office-000042: …")

Rules that need other rows (duplicates, contamination) are in `duplicates`; stages/validate.py runs them last.
A user turn or reply is judged by language; texts of tools and of the system are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, NamedTuple

from callwright.backend import Refused, World
from callwright.grammar import NOW
from callwright.grounding import dates, unsaid
from callwright.moments import Absolute, canonical, is_moment, read
from callwright.packs import Pack
from callwright.records import Calls, Category, Example, Language, Message, Reply, Result, System, Tool, User
from callwright.replies import asks_for, facts, invented, untold
from callwright.schemas import of_parameter, schema_fault, tool_fault


class Failure(NamedTuple):
    code: str
    message: str


Rule = Callable[[Example], Iterator[Failure]]


class Rules:
    """The ordered list. `packs` are the worlds that calls are run in; a row of another pack skips that rule."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.packs = {pack.pack: pack for pack in packs}
        self.order: tuple[Rule, ...] = (
            tool_schemas,
            roles,
            language,
            calls,
            moments,
            grounding,
            self.execution,
            replies,
        )

    def first_failure(self, row: Example) -> Failure | None:
        for rule in self.order:
            for failure in rule(row):
                return Failure(failure.code, f"{row.id}: {failure.message}")
        return None

    def execution(self, row: Example) -> Iterator[Failure]:
        """The backend refuses no call."""
        pack = next((pack for name, pack in self.packs.items() if name == row.source.get("pack")), None)
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
        if fault := tool_fault(tool):
            yield Failure("bad_tool_schema", f"tools[{i}] {tool.name!r}: {fault}")


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
    for i, (before, turn) in enumerate(pairwise(turns), start=1):
        if not isinstance(turn, _NEXT[type(before)]):
            order = f"messages[{i}] is {_role(turn)} after {_role(before)}"
            yield Failure("incomplete_roles", f"{order}; turns are out of order")
    for i, turn in enumerate(turns):
        if not (turn.calls if isinstance(turn, Calls) else turn.content.strip()):
            yield Failure("incomplete_roles", f"messages[{i}] ({_role(turn)}) is empty")
    if not isinstance(turns[-1], Calls | Reply):
        last = f"messages[{len(turns) - 1}] is {_role(turns[-1])}"
        yield Failure("incomplete_roles", f"{last}; expected the assistant's turn last")


_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER = re.compile(r"[\u0370-\u1fff\u3040-\u30ff\uac00-\ud7af]")  # Greek to Mongolian, kana, hangul


def language(row: Example) -> Iterator[Failure]:
    for i, turn in enumerate(row.messages):
        if isinstance(turn, User | Reply) and (fault := _language_fault(turn.content, row.language)):
            yield Failure("wrong_language", f"messages[{i}] {fault}; expected {row.language}: {_short(turn.content)}")


def _language_fault(text: str, expected: Language) -> str | None:
    han, latin, other = (len(script.findall(text)) for script in (_HAN, _LATIN, _OTHER))
    if other > (latin if expected is Language.EN else han):
        return "is in neither English nor Chinese"
    if expected is Language.EN:
        return "is in Chinese" if han > latin else None
    if not han and latin:
        return "has no Chinese"
    mainland = next((sign for sign in text if sign in simplified()), None)
    return f"has the Simplified {mainland!r}" if mainland else None


_TAIWAN_TOO = frozenset("凄峰床昵晒栖灶痴秘粽群肴虱雇霉")
"""OpenCC's table has another Traditional form for these (祕, 羣, 僱, …); Taiwan writes them as they are."""


@lru_cache(maxsize=1)
def simplified() -> frozenset[str]:
    """Characters that stand in Simplified Chinese only, by OpenCC's own table."""
    table = (files("opencc") / "dictionary" / "STCharacters.txt").read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in table.splitlines() if "\t" in line)
    return frozenset(sign for sign, traditional in pairs if sign not in traditional.split()) - _TAIWAN_TOO


def calls(row: Example) -> Iterator[Failure]:
    """Tools that are offered, parameters that they have, values that their schemas allow."""
    tools = {tool.name: tool for tool in row.tools}
    for i, turn in enumerate(row.messages):
        for j, call in enumerate(turn.calls if isinstance(turn, Calls) else ()):
            if fault := schema_fault(call, tools.get(call.tool)):
                yield Failure(fault[0], f"messages[{i}].calls[{j}]: {fault[1]}")


def moments(row: Example) -> Iterator[Failure]:
    for place, said, tool, name, value in _values(row):
        if not isinstance(value, str) or not is_moment(name, of_parameter(tool, name)):
            continue
        moment, shown = read(value), f"{place} is {value!r}"
        if moment is None:
            yield Failure("bad_relative_time", f"{shown}; expected a moment such as 'tomorrow 15:00'")
        elif isinstance(moment, Absolute) and moment.date not in dates(said):
            yield Failure("hardcoded_date", f"{shown}, a date nobody said; expected a moment such as 'tomorrow 15:00'")
        elif canonical(moment) != value:
            yield Failure("bad_relative_time", f"{shown}; expected its canonical spelling {canonical(moment)!r}")


def grounding(row: Example) -> Iterator[Failure]:
    for place, said, tool, name, value in _values(row):
        for part in unsaid(name, value, of_parameter(tool, name), said):
            yield Failure("ungrounded_value", f"{place} is {part!r}, which the conversation does not hold")


def replies(row: Example) -> Iterator[Failure]:
    """A reply after results tells their facts and no number from nowhere; a question asks for what is missing."""
    fresh: list[Result] = []  # results since the user's last turn
    held: list[str] = []
    looped = False
    for i, turn in enumerate(row.messages):
        match turn:
            case User(content):
                fresh = []
                held.append(content)
            case Result(_, content, told):
                looped = True
                fresh.append(turn)
                held += [content, *told]
            case Reply(content, asks):
                if left := untold(content, facts(fresh)):
                    yield Failure("unfaithful_reply", f"messages[{i}] does not tell {left[0]!r}: {_short(content)}")
                if looped and (more := invented(content, held)):
                    what = f"messages[{i}] tells {more[0]}, which no result holds"
                    yield Failure("unfaithful_reply", f"{what}: {_short(content)}")
                if row.category is Category.MISSING and asks and not asks_for(content, asks):
                    words = ", ".join(asks)
                    yield Failure("unfaithful_reply", f"messages[{i}] does not ask for the missing value ({words})")


def _values(row: Example) -> Iterator[tuple[str, str, Tool, str, Any]]:
    """Each value of each call: its place, the conversation before it, its tool, its parameter, itself."""
    tools = {tool.name: tool for tool in row.tools}
    before: list[str] = []
    for i, turn in enumerate(row.messages):
        if isinstance(turn, User | Result):
            before.append(turn.content)
        for j, call in enumerate(turn.calls if isinstance(turn, Calls) else ()):
            for name, value in call.params.items():
                yield f"messages[{i}].calls[{j}].params.{name}", "\n".join(before), tools[call.tool], name, value


def _role(turn: Message) -> str:
    return {System: "system", User: "user", Result: "tool"}.get(type(turn), "assistant")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
