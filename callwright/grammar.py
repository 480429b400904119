"""Rows from packs: a phrasing, values for its placeholders, the calls they stand for, and the world's answer.

    for row in write_rows(packs, plan): ...

Nothing here is random beyond its seed: row `i` of a plan depends on the plan and `i` only, so the same plan gives the same
bytes, and the exam does not change with the training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from random import Random
from typing import Any

from callwright.backend import World
from callwright.faults import Fault
from callwright.moments import AtTime, Day, Days, InMinutes, Moment, OnDay, Weekday, canonical
from callwright.packs import PLACEHOLDER, Halves, Missing, Pack, PackTool
from callwright.records import Call, Calls, Category, Example, Language, Message, Reply, Result, Split, System, Tool, User
from callwright.speech import numbers, plain, say_moment, say_number

NOW = datetime(2026, 3, 2, 9, 0)
"""The clock of the worlds that make results; no text of a row holds it."""
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: so many rows of one split."""

    split: Split
    rows: int
    seed: int
    zh_tw_share: float
    categories: Mapping[Category, float]
    tools_offered: tuple[int, int]
    held_out: frozenset[str]
    unseen: bool = False
    """Rows about the held-out tools; otherwise they are never offered."""

    @property
    def test(self) -> bool:
        """Whether phrasings and free values are those of the test."""
        return self.split is Split.TEST


def write_rows(packs: Sequence[Pack], plan: Plan, taken: set[str] | None = None) -> Iterator[Example]:
    """Yield the plan's rows; no request repeats, none of `taken` (requests after `plain`) occurs. `taken` grows."""
    taken = set() if taken is None else taken
    stem = f"{'unseen' if plan.unseen else plan.split}"
    for i, (category, language) in enumerate(_schedule(plan)):
        pack = packs[i % len(packs)]
        for attempt in range(_TRIES):
            row = _Writer(pack, plan, language, Random(f"{plan.seed}:{i}:{attempt}")).write(category, f"{pack.pack}-{stem}-{i:06d}")
            if plain(row.request) not in taken:
                taken.add(plain(row.request))
                yield row
                break
        else:
            raise Fault(
                f"packs/{pack.pack}.yaml: {plan.rows} rows need more {category} requests in {language} than it can phrase "
                f"without repeating one ({i} were written); add phrasings and values, or ask for fewer rows"
            )


def _schedule(plan: Plan) -> list[tuple[Category, Language]]:
    """Category and language of each row: shares as exact as whole rows allow, in an order drawn from the seed."""
    cells = {}
    for category, share in plan.categories.items():
        cells[category, Language.ZH_TW] = share * plan.zh_tw_share
        cells[category, Language.EN] = share * (1 - plan.zh_tw_share)
    counts = {cell: int(plan.rows * share) for cell, share in cells.items()}
    by_rest = sorted(cells, key=lambda cell: (counts[cell] - plan.rows * cells[cell], cell))
    for cell in by_rest[: plan.rows - sum(counts.values())]:
        counts[cell] += 1
    order = [cell for cell, count in counts.items() for _ in range(count)]
    Random(f"{plan.seed}:schedule").shuffle(order)
    return order


@dataclass(frozen=True, slots=True)
class _Filled:
    text: str
    said: dict[str, str]
    """What stands in the text for each parameter."""
    values: dict[str, Any]
    """What a call holds for it."""


class _Writer:
    """Writes one row with one source of chance."""

    def __init__(self, pack: Pack, plan: Plan, language: Language, rng: Random) -> None:
        self.pack, self.plan, self.language, self.rng = pack, plan, language, rng
        self.seen = [tool for tool in pack.tools if tool.name not in plan.held_out]
        self.held = [tool for tool in pack.tools if tool.name in plan.held_out]
        self.values: list[dict[str, Any]] = []
        """The values of each request made, for telling rows apart that call nothing."""

    def write(self, category: Category, row_id: str) -> Example:
        turns, offered = {
            Category.SINGLE: self._single,
            Category.PARALLEL: self._parallel,
            Category.MISSING: self._missing,
            Category.NO_TOOL: self._no_tool,
            Category.FULL_LOOP: self._full_loop,
        }[category]()
        system = System(self.rng.choice(self.pack.system[self.language]))
        source = {"pack": self.pack.pack, "generator": "grammar", "seed": self.plan.seed, "values": self.values}
        return Example(row_id, self.language, category, self.plan.split, offered, (system, *turns), source)

    # One category each: the turns after the system's, and the tools offered.

    def _single(self) -> tuple[list[Message], tuple[Tool, ...]]:
        tool = self._target()
        asked = self._fill(tool, self._pick(tool.phrasings))
        return [User(asked.text), Calls((Call(tool.name, asked.values),))], self._offer([tool])

    def _parallel(self) -> tuple[list[Message], tuple[Tool, ...]]:
        first = self._target()
        others = [tool for tool in self.seen + (self.held if self.plan.unseen else []) if tool.name != first.name]
        tools = [first, self.rng.choice(others)]
        self.rng.shuffle(tools)
        asked = [self._fill(tool, self._pick(tool.clauses)) for tool in tools]
        text = self._pick(self.pack.joiners)
        for name, part in zip("ab", asked, strict=True):
            text = text.replace(f"{{{name}}}", part.text).replace(f"{{{name.upper()}}}", part.text[:1].upper() + part.text[1:])
        calls = tuple(Call(tool.name, part.values) for tool, part in zip(tools, asked, strict=True))
        return [User(text), Calls(calls)], self._offer(tools)

    def _missing(self) -> tuple[list[Message], tuple[Tool, ...]]:
        tool = self._target(lambda tool: bool(tool.missing))
        missing: Missing = tool.missing[self.rng.choice(sorted(tool.missing))][self.language]
        asked = self._fill(tool, self._pick(missing))
        question = self.rng.choice([q for q in missing.questions if set(PLACEHOLDER.findall(q)) <= set(asked.values)] or missing.questions)
        return [User(asked.text), Reply(_put(question, asked.said), asks=tuple(missing.words))], self._offer([tool])

    def _no_tool(self) -> tuple[list[Message], tuple[Tool, ...]]:
        kind = self.rng.choices(["taken away", "unsupported", "chat"], [0.5, 0.3, 0.2])[0]
        if kind == "chat":
            said, answer = self.rng.choice(self.pack.chat[self.language].of(self.plan.test))
            return [User(said), Reply(answer)], self._offer([])
        decline = Reply(self._pick(self.pack.declines))
        if kind == "unsupported":
            return [User(self._pick(self.pack.unsupported)), decline], self._offer([])
        tool = self._target()
        asked = self._fill(tool, self._pick(tool.phrasings))
        return [User(asked.text), decline], self._offer([], without=tool)

    def _full_loop(self) -> tuple[list[Message], tuple[Tool, ...]]:
        tool = self._target()
        asked = self._fill(tool, self._pick(tool.phrasings))
        call = Call(tool.name, asked.values)
        with World(self.pack, NOW, first_id=self.rng.randint(100, 9999)) as world:
            if tool.given:
                world.put(tool.given.table, self._given(tool, asked.values))
            content = world.run(call)
        result = {name: _shown(value) for name, value in json.loads(content).items()}
        reply = self._pick(tool.replies)
        facts = tuple(result[name] for name in dict.fromkeys(PLACEHOLDER.findall(reply)))
        turns = [User(asked.text), Calls((call,)), Result(tool.name, content, facts), Reply(_put(reply, result))]
        return turns, self._offer([tool])

    # Tools

    def _target(self, fits: Any = lambda tool: True) -> PackTool:
        pool = self.held if self.plan.unseen else self.seen
        return self.rng.choice([tool for tool in pool if fits(tool)])

    def _offer(self, wanted: list[PackTool], without: PackTool | None = None) -> tuple[Tool, ...]:
        """The wanted tools among others, in any order."""
        least, most = self.plan.tools_offered
        out = {tool.name for tool in wanted} | ({without.name} if without else set())
        others = [tool for tool in self.seen if tool.name not in out]
        offered = list(wanted)
        if self.plan.unseen and not wanted:  # a row about unseen tools offers at least one
            held = self.rng.choice([tool for tool in self.held if tool.name not in out])
            offered.append(held)
        sizes = range(least, most + 1)  # few tools more often than many: each costs tokens in every row
        count = max(self.rng.choices(sizes, [2.0 ** (least - size) for size in sizes])[0], len(offered))
        offered += self.rng.sample(others, min(count - len(offered), len(others)))
        self.rng.shuffle(offered)
        return tuple(tool.offered(self.language) for tool in offered)

    # Values

    def _pick(self, texts: Any) -> str:
        halves: Halves = texts if isinstance(texts, Halves) else texts[self.language]
        return self.rng.choice(halves.of(self.plan.test))

    def _fill(self, tool: PackTool, text: str) -> _Filled:
        held = set(PLACEHOLDER.findall(text))
        said: dict[str, str] = {}
        values: dict[str, Any] = {}
        for param in tool.properties:  # in the schema's order, which is also the order in a call
            if param in held:
                said[param], values[param] = self._value(tool.slot_of(param))
        for param, value in values.items():  # 「下週一十七個人」 says neither 一 nor 十七: there, digits
            if type(value) is int and value not in numbers(_put(text, said)):
                said[param] = str(value)
        self.values.append(values)
        return _Filled(" ".join(_put(text, said).split()), said, values)

    def _given(self, tool: PackTool, values: Mapping[str, Any]) -> dict[str, Any]:
        assert tool.given
        row: dict[str, Any] = {}
        for column, cell in tool.given.row.items():
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
            moment = _moment(slot.moment, rng)
            return say_moment(moment, self.language, rng), canonical(moment)
        if slot.list:
            chosen: dict[str, Any] = {}
            for _ in range(rng.randint(slot.min, slot.max)):
                said, value = self._value(slot.list)
                chosen[said] = value
            return _joined(list(chosen), self.language, rng), list(chosen.values())
        words = slot.words(self.language)
        assert words
        word = rng.choice(words.of(self.plan.test))
        return word.say, word.value


def _moment(kind: str, rng: Random) -> Moment:
    at = time(rng.randint(8, 20), rng.choice([0, 0, 0, 30, 30, 15, 45]))
    if kind == "time":
        return AtTime(at)
    if kind == "date-time":
        if rng.random() < 0.12:
            return InMinutes(rng.choice([10, 15, 20, 30, 40, 45, 50, 60, 120, 180, 240, 300]))
        return OnDay(_day(rng), at)
    return OnDay(_day(rng))


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


def _joined(said: list[str], language: Language, rng: Random) -> str:
    if len(said) == 1:
        return said[0]
    zh = language is Language.ZH_TW
    last = rng.choice(["和", "跟", "、"]) if zh else " and "
    return ("、" if zh else ", ").join(said[:-1]) + last + said[-1]


def _put(text: str, said: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: said.get(found[1], found[0]), text)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
