"""Values for the placeholders of a text: what people say, and what the call then holds; the rows that a call finds.

    drawn(pack, "duration", Language.EN, test=False, spoken=0.0, rng=rng)   ->  ("90 minutes", 90)
    given_rows(pack, tool, {"query_str": "預算表"}, …)      ->  ("records", {"name": "預算表", "amount": "300 萬"})

What is drawn comes from the generator that is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, time
from random import Random
from typing import Any

from callwright.moments import AtTime, Day, Days, InMinutes, Moment, OnDay, Weekday, canonical, read, resolve
from callwright.pack_shape import PLACEHOLDER, Given, Pack, PackTool, Slot
from callwright.records import Language
from callwright.saying import say_list, say_moment, say_number, say_scaled, spell_number


def drawn(pack: Pack, name: str, language: Language, test: bool, spoken: float, rng: Random) -> tuple[str, Any]:
    """What is said for a value of slot `name`, and what the call holds; `spoken`: share of numbers, times in words."""
    slot = pack.slots[name]
    if slot.number:
        steps = slot.number
        value = steps.at(rng.randrange(steps.count))
        return _number(slot, value, language, spoken, rng), value
    if slot.moment:
        moment = _moment(slot, rng)
        in_words = bool(spoken) and rng.random() < spoken
        return say_moment(moment, language, rng, 1.0 if in_words else slot.spoken, in_words), canonical(moment)
    if slot.list:
        chosen: dict[str, Any] = {}
        for _ in range(rng.randint(slot.min, slot.max)):
            said, value = drawn(pack, slot.list, language, test, spoken, rng)
            if value not in chosen.values():  # two words for one value are one
                chosen[said] = value
        return say_list(list(chosen), language, rng), list(chosen.values())
    if slot.object is not None and slot.say is not None:
        text = rng.choice(slot.say[language])
        held = PLACEHOLDER.findall(text)
        parts = {
            part: drawn(pack, source, language, test, spoken, rng)
            for part, source in slot.object.items()
            if part in held
        }
        return put(text, {part: said for part, (said, _) in parts.items()}), {p: v for p, (_, v) in parts.items()}
    word = rng.choice(slot.words(language).of(test))
    return word.say, word.value


def put(text: str, said: Mapping[str, str]) -> str:
    """The text with its placeholders filled; one that is not `said` stays."""
    return PLACEHOLDER.sub(lambda found: said.get(found[1], found[0]), text)


def shown(value: Any, language: Language, rng: Random) -> tuple[str, tuple[str, ...]]:
    """A field of a result as a reply tells it, and the facts in it."""
    if isinstance(value, list):
        items = [
            shown(next(iter(item.values())) if isinstance(item, dict) else item, language, rng)[0] for item in value
        ]
        return say_list(items, language, rng) if items else "", tuple(items)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text, (text,)


def given_rows(
    pack: Pack,
    tool: PackTool,
    values: Mapping[str, Any],
    draw: Callable[[str], Any],
    count: Callable[[Given], int],
    now: datetime,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that a call of these values finds: table and cells. `draw` gives a value of a slot."""
    for given in tool.given:
        for _ in range(count(given)):
            row: dict[str, Any] = {}
            for column, cell in given.row.items():
                if cell.param is not None:
                    if cell.param in values:
                        row[column] = values[cell.param]
                else:
                    row[column] = draw(cell.slot) if cell.slot else cell.value
            kinds = pack.tables[given.table]
            yield given.table, {c: _resolved(v, now) if kinds[c] == "moment" else v for c, v in row.items()}


def _resolved(value: Any, now: datetime) -> Any:
    """A moment as a call would have left it in the world."""
    moment = read(value) if isinstance(value, str) else None
    return resolve(moment, now) if moment else value


def _number(slot: Slot, value: float, language: Language, spoken: float, rng: Random) -> str:
    if slot.number and slot.number.scaled:
        return say_scaled(value, language, rng)
    if slot.digits or not isinstance(value, int):
        return str(value)
    if spoken and rng.random() < spoken:
        return spell_number(value, language)
    return say_number(value, language, rng)


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
