"""Rows from packs: a phrasing, values for its placeholders, the calls they stand for, and the world's answer.

    for row in write_rows(packs, plan): ...

Nothing here is random beyond its seed: a row depends on the plan, its place in it and the requests already taken. The
same plan gives the same bytes, and the exam, written first, does not change with the training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from random import Random
from typing import Any

from callwright.backend import World
from callwright.duplicates import dense
from callwright.faults import Fault
from callwright.moments import AtTime, Day, Days, InMinutes, Moment, OnDay, Weekday, canonical, read
from callwright.pack_shape import PLACEHOLDER, Given, Halves, Missing, Pack, PackTool, Slot
from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, Split, System, User
from callwright.saying import say_list, say_moment, say_number
from callwright.speech import numbers

NOW = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a clock on a wall: results hold no offset
"""The clock of the worlds that make results; no text of a row holds it."""
_TRIES = 200
_TRIES_A_LIST = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: so many rows of one split."""

    split: Split
    rows: int
    seed: int
    zh_tw_share: float
    categories: Mapping[Category, float]
    tools_offered: tuple[int, int]
    rows_per_tool_list: int
    """So many rows after one another have one language, opening and list of tools, as an application has one list
    for many requests; training computes what they share once a batch. A row whose list has nothing new left to ask
    for takes another list."""
    voices: int
    """How many ways the assistant has of opening, asking back, declining and reporting."""
    held_out: frozenset[str]
    unseen: bool = False
    """Rows about the held-out tools; otherwise they are never offered."""

    @property
    def test(self) -> bool:
        """Whether phrasings and free values are those of the test."""
        return self.split is Split.TEST


def write_rows(packs: Sequence[Pack], plan: Plan, taken: set[str] | None = None) -> Iterator[Example]:
    """Yield the plan's rows; no request repeats, none of `taken` (requests after `dense`) occurs. `taken` grows."""
    taken = set() if taken is None else taken
    stem = "unseen" if plan.unseen else str(plan.split)
    packs = [pack for pack in packs if not plan.unseen or any(tool.name in plan.held_out for tool in pack.tools)]
    for i, (category, language) in enumerate(_schedule(plan)):
        group = i // plan.rows_per_tool_list
        pack = packs[group % len(packs)]
        setting = _draw_setting(pack, plan, Random(f"{plan.seed}:list:{group}"))
        for attempt in range(_TRIES):
            if attempt and attempt % _TRIES_A_LIST == 0:
                setting = _draw_setting(pack, plan, Random(f"{plan.seed}:list:{group}:{i}:{attempt}"))
            writer = _Writer(setting, plan, language, Random(f"{plan.seed}:{i}:{attempt}"))
            row = writer.write(category, f"{pack.pack}-{stem}-{i:06d}")
            if (request := dense(row)) not in taken:
                taken.add(request)
                yield row
                break
        else:
            raise Fault(
                f"packs/{pack.pack}.yaml: {plan.rows} rows need more {category} requests in {language} than it can "
                f"phrase without repeating one ({i} were written); add phrasings and values, or ask for fewer rows"
            )


def _schedule(plan: Plan) -> list[tuple[Category, Language]]:
    """Category and language of each row: shares as exact as whole rows allow, in an order drawn from the seed.

    Rows of one list have one language, but for the list where a language ends.
    """
    cells = {}
    for category, share in plan.categories.items():
        cells[category, Language.ZH_TW] = share * plan.zh_tw_share
        cells[category, Language.EN] = share * (1 - plan.zh_tw_share)
    counts = {cell: int(plan.rows * share) for cell, share in cells.items()}
    by_rest = sorted(cells, key=lambda cell: (counts[cell] - plan.rows * cells[cell], cell))
    for cell in by_rest[: plan.rows - sum(counts.values())]:
        counts[cell] += 1
    rng, size = Random(f"{plan.seed}:schedule"), plan.rows_per_tool_list
    whole: list[list[tuple[Category, Language]]] = []
    rest: list[tuple[Category, Language]] = []
    for language in Language:
        rows = [cell for cell, count in counts.items() for _ in range(count) if cell[1] is language]
        rng.shuffle(rows)
        whole += [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
        rest += rows[len(rows) // size * size :]
    rng.shuffle(whole)
    return [row for group in whole for row in group] + rest


@dataclass(frozen=True, slots=True)
class _Setting:
    """What the rows of one list share."""

    pack: Pack
    voice: int
    """Which of the openings, and which of the ways to reply, to ask back and to decline: an assistant has one voice.
    Where each row had another, a model would spend its training on guessing words that nothing tells it."""
    tools: list[PackTool]
    targets: list[PackTool]
    """Those of `tools` that requests are about: for rows about unseen tools the held-out ones."""
    absent: list[PackTool]
    """Tools that requests may be about though they are not offered."""


def _draw_setting(pack: Pack, plan: Plan, rng: Random) -> _Setting:
    seen = [tool for tool in pack.tools if tool.name not in plan.held_out]
    held = [tool for tool in pack.tools if tool.name in plan.held_out]
    least, most = plan.tools_offered
    sizes = range(least, most + 1)  # few tools more often than many: each costs tokens in every row
    weights = [2.0 ** (least - size) for size in sizes]
    pool = held if plan.unseen else seen
    for _ in range(_TRIES):
        size = rng.choices(sizes, weights)[0]
        tools = rng.sample(held, rng.randint(1, min(2, len(held)))) if plan.unseen else list[PackTool]()
        tools += rng.sample(seen, min(size - len(tools), len(seen)))
        rng.shuffle(tools)
        targets = [tool for tool in tools if tool in pool]
        if any(tool.missing for tool in targets):
            voice = rng.randrange(min(plan.voices, max(len(pack.system[each]) for each in Language)))
            return _Setting(pack, voice, tools, targets, [tool for tool in pool if tool not in tools])
    raise Fault(
        f"packs/{pack.pack}.yaml: hardly any of its {'held-out' if plan.unseen else 'other'} tools has `missing`; "
        "add it to some, for rows of the category missing"
    )


@dataclass(frozen=True, slots=True)
class _Filled:
    text: str
    said: dict[str, str]
    """What stands in the text for each parameter."""
    values: dict[str, Any]
    """What a call holds for it."""


class _Writer:
    """Writes one row with one source of chance."""

    def __init__(self, setting: _Setting, plan: Plan, language: Language, rng: Random) -> None:
        self.setting, self.pack, self.plan, self.language, self.rng = setting, setting.pack, plan, language, rng
        self.values: list[dict[str, Any]] = []
        """The values of each request made, for telling rows apart that call nothing."""

    def write(self, category: Category, row_id: str) -> Example:
        turns = {
            Category.SINGLE: self._single,
            Category.PARALLEL: self._parallel,
            Category.MISSING: self._missing,
            Category.NO_TOOL: self._no_tool,
            Category.FULL_LOOP: self._full_loop,
        }[category]()
        system = System(self._voiced(self.pack.system[self.language]))
        offered = tuple(tool.offered(self.language) for tool in self.setting.tools)
        source = {"pack": self.pack.pack, "generator": "grammar", "seed": self.plan.seed, "values": self.values}
        return Example(row_id, self.language, category, self.plan.split, offered, (system, *turns), source)

    # One category each: the turns after the system's.

    def _single(self) -> list[Message]:
        tool = self.rng.choice(self.setting.targets)
        asked = self._fill(tool, self._pick(tool.phrasings))
        return [User(asked.text), Calls((Call(tool.name, asked.values),))]

    def _parallel(self) -> list[Message]:
        first = self.rng.choice(self.setting.targets)
        tools = [first, self.rng.choice([tool for tool in self.setting.tools if tool is not first])]
        self.rng.shuffle(tools)
        asked = [self._fill(tool, self._pick(tool.clauses)) for tool in tools]
        text = self._pick(self.pack.joiners)
        for name, part in zip("ab", asked, strict=True):
            upper = part.text[:1].upper() + part.text[1:]
            text = text.replace(f"{{{name}}}", part.text).replace(f"{{{name.upper()}}}", upper)
        return [User(text), Calls(tuple(Call(tool.name, part.values) for tool, part in zip(tools, asked, strict=True)))]

    def _missing(self) -> list[Message]:
        tool = self.rng.choice([tool for tool in self.setting.targets if tool.missing])
        missing: Missing = tool.missing[self.rng.choice(sorted(tool.missing))][self.language]
        asked = self._fill(tool, self._pick(missing))
        question = self._voiced(missing.questions)
        return [User(asked.text), Reply(_put(question, asked.said), asks=tuple(missing.words))]

    def _no_tool(self) -> list[Message]:
        kind = self.rng.choices(["absent", "unsupported", "chat"], [0.5, 0.3, 0.2])[0]
        if kind == "chat":
            said, answer = self.rng.choice(self.pack.chat[self.language].of(self.plan.test))
            return [User(said), Reply(answer)]
        decline = Reply(self._voiced(self._half(self.pack.declines)))
        if kind == "unsupported" or not self.setting.absent:
            return [User(self._pick(self.pack.unsupported)), decline]
        tool = self.rng.choice(self.setting.absent)
        return [User(self._fill(tool, self._pick(tool.phrasings)).text), decline]

    def _full_loop(self) -> list[Message]:
        tool = self.rng.choice(self.setting.targets)
        asked = self._fill(tool, self._pick(tool.phrasings))
        call = Call(tool.name, asked.values)
        with World(self.pack, NOW, first_id=self.rng.randint(100, 9999)) as world:
            if tool.given:
                world.put(tool.given.table, self._given(tool.given, asked.values))
            content = world.run(call)
        result = {name: _shown(value) for name, value in json.loads(content).items()}
        reply = self._voiced(self._half(tool.replies))
        facts = tuple(result[name] for name in dict.fromkeys(PLACEHOLDER.findall(reply)))
        return [User(asked.text), Calls((call,)), Result(tool.name, content, facts), Reply(_put(reply, result))]

    # Values

    def _pick(self, texts: Any) -> str:
        return self.rng.choice(self._half(texts))

    def _half(self, texts: Any) -> list[str]:
        halves: Halves = texts if isinstance(texts, Halves) else texts[self.language]
        return halves.of(self.plan.test)

    def _voiced(self, texts: Sequence[str]) -> str:
        return texts[self.setting.voice % len(texts)]

    def _fill(self, tool: PackTool, text: str) -> _Filled:
        held = set(PLACEHOLDER.findall(text))
        said: dict[str, str] = {}
        values: dict[str, Any] = {}
        for param in tool.properties:  # in the schema's order, which is also the order in a call
            if param in held:
                said[param], values[param] = self._value(tool.slot_of(param))
        for param, value in values.items():  # 「下週一十七個人」 says neither 一 nor 十七: there, digits
            if self.pack.slots[tool.slot_of(param)].number and value not in numbers(_put(text, said)):
                said[param] = str(value)
        self.values.append(values)
        return _Filled(" ".join(_put(text, said).split()), said, values)

    def _given(self, given: Given, values: Mapping[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for column, cell in given.row.items():
            if cell.param is not None:
                if cell.param in values:
                    row[column] = values[cell.param]
            else:
                row[column] = self._value(cell.slot)[1] if cell.slot else cell.value
        return row

    def _value(self, slot_name: str) -> tuple[str, Any]:
        """What is said, and what the call holds."""
        slot, rng = self.pack.slots[slot_name], self.rng
        if slot.number:
            number = rng.randrange(slot.number.min, slot.number.max + 1, slot.number.step)
            return str(number) if slot.digits else say_number(number, self.language, rng), number
        if slot.moment:
            moment = _moment(slot, rng)
            return say_moment(moment, self.language, rng, slot.spoken), canonical(moment)
        if slot.list:
            chosen: dict[str, Any] = {}
            for _ in range(rng.randint(slot.min, slot.max)):
                said, value = self._value(slot.list)
                chosen[said] = value
            return say_list(list(chosen), self.language, rng), list(chosen.values())
        word = rng.choice(slot.words(self.language).of(self.plan.test))
        return word.say, word.value


def _moment(slot: Slot, rng: Random) -> Moment:
    at = _time(slot, rng)
    if slot.moment == "time":
        return AtTime(at)
    if slot.moment == "date-time" and not slot.days and rng.random() < 0.12:
        return InMinutes(rng.choice([10, 15, 20, 30, 40, 45, 50, 60, 120, 180, 240, 300]))
    day = _named_day(slot.days, rng) if slot.days else _day(rng)
    return OnDay(day, at if slot.moment == "date-time" else None)


def _time(slot: Slot, rng: Random) -> time:
    if slot.times:
        named = read(rng.choice(slot.times))
        assert isinstance(named, AtTime)  # noqa: S101 - the pack was checked when it was read
        return named.time
    return time(rng.randint(8, 20), rng.choice([0, 0, 0, 0, 0, 0, 30, 30, 30, 15, 45]))


def _named_day(days: Sequence[str], rng: Random) -> Day:
    named = read(rng.choice(days))
    assert isinstance(named, OnDay)  # noqa: S101 - likewise
    return named.day


def _day(rng: Random) -> Day:
    kind = rng.choices(["today", "tomorrow", "after", "days", "this", "next", "weeks"], [12, 24, 12, 14, 8, 25, 5])[0]
    match kind:
        case "today" | "tomorrow" | "after":
            return Days({"today": 0, "tomorrow": 1, "after": 2}[kind])
        case "days":
            return Days(rng.choice([3, 4, 5, 6, 8, 9, 10]))
        case "weeks":
            return Days(7 * rng.randint(1, 4))
        case _:
            return Weekday("this" if kind == "this" else "next", rng.randrange(7 if kind == "this" else 6))


def _put(text: str, said: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: said.get(found[1], found[0]), text)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
