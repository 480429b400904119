"""A pack drafted by the teacher: the skeleton of the tools, with texts and values that fit them.

    drafted = asyncio.run(draft(client, made))
    drafted.pack, drafted.dropped      the pack as YAML will hold it, and a sentence for each text that did not fit

The checks of packs judge the texts: what they find fault with is dropped and told. Text of the teacher is data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from callwright.faults import Fault
from callwright.pack_checks import check
from callwright.pack_lacks import GOOD, lacks
from callwright.pack_shape import Pack
from callwright.records import Language
from callwright.teacher.budget import CapReached
from callwright.teacher.client import Client
from callwright.teacher.draft_fits import (
    as_list,
    as_texts,
    choices,
    filled,
    halves,
    is_in,
    refused,
    same,
    spoken,
    users_of,
)
from callwright.teacher.draft_questions import Asked, slot_question, talk_question, tool_question
from callwright.teacher.questions import Lost, Question
from callwright.teacher.reading import Reject, read_reply

ATTEMPTS = 2
_PARTS = ("phrasings", "clauses", "replies")
TALK = ("joiners", "answers", "declines", "unsupported", "chat")


@dataclass(slots=True)
class Draft:
    pack: dict[str, Any]
    dropped: list[str] = field(default_factory=list)
    """Texts that did not fit, each with the reason."""
    unanswered: list[str] = field(default_factory=list)
    """Parts that the teacher gave nothing usable for."""
    stopped: str | None = None
    """The cap that was reached, if one was."""

    def lacking(self) -> list[tuple[str, str]]:
        """What each tool lacks still: its name and a sentence."""
        pack = Pack.model_validate(self.pack)
        return [
            (pack.tools[place[1]].name, sentence.partition(" lacks ")[2])
            for place, sentence in lacks(pack, GOOD)
            if place[0] == "tools" and len(place) > 1 and isinstance(place[1], int)
        ]


async def draft(
    client: Client, skeleton: Mapping[str, Any], *, answer_tokens: int = 4096, concurrency: int = 8, go_on: bool = False
) -> Draft:
    """Ask for every part, and keep what fits."""
    drafted = Draft(deepcopy(dict(skeleton)))
    waiting = iter(questions(drafted.pack))
    answers: dict[tuple[str, ...], dict[str, Any]] = {}

    async def work() -> None:
        for asked in waiting:
            try:
                answers[asked.place] = await _answer(client, asked, answer_tokens)
            except Reject as reject:
                drafted.unanswered.append(f"{'.'.join(asked.place)}: {reject.message}")
            except Lost as lost:
                if not go_on:
                    raise Fault(f"{lost}; nothing was written, what was answered is kept: run this again") from None
                drafted.unanswered.append(f"{'.'.join(asked.place)}: {lost}")

    workers = [asyncio.create_task(work()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    except CapReached as cap:
        drafted.stopped = str(cap)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    for place, answer in sorted(answers.items()):
        _fill(drafted, place, answer)
    _drop_faults(drafted)
    for tool in drafted.pack["tools"]:
        if all(("tools", tool["name"], str(language)) in answers for language in Language):
            # where nothing was drafted, people do not forget the parameter
            tool["missing"] = {
                param: said for param, said in tool["missing"].items() if any(map(filled, said.values()))
            }
    return drafted


def questions(pack: Mapping[str, Any]) -> Iterator[Asked]:
    """All that a skeleton leaves open, for both languages."""
    read = Pack.model_validate(pack)
    for language in Language:
        for tool in pack["tools"]:
            texts = [tool[part][language] for part in _PARTS if part in tool]
            if not all(map(filled, (*texts, *(said[language] for said in tool["missing"].values())))):
                yield tool_question(read.tool(tool["name"]), language)
        for name, slot in pack["slots"].items():
            users = users_of(read, name)
            key = str(language) if language in slot else "any" if language is Language.EN else ""
            if key in slot and not filled(slot[key]):
                yield slot_question(name, choices(users), users, language)
        if not all(filled(pack[part][language]) for part in TALK):
            yield talk_question(read, language)


async def _answer(client: Client, asked: Asked, answer_tokens: int) -> dict[str, Any]:
    for attempt in range(ATTEMPTS):
        question = Question(asked.messages, asked.schema, answer_tokens, attempt)
        try:
            return read_reply(await client.ask(question))
        except Reject:
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError


# Answers into the pack


def _fill(drafted: Draft, place: tuple[str, ...], answer: Mapping[str, Any]) -> None:
    """Put an answer where nothing stands yet."""
    kind, name, key = place
    if kind == "slots":
        _fill_slot(drafted, name, Language(key), answer)
    elif kind == "pack":
        _fill_talk(drafted, Language(key), answer)
    else:
        _fill_tool(drafted, next(tool for tool in drafted.pack["tools"] if tool["name"] == name), Language(key), answer)


def _fill_talk(drafted: Draft, language: Language, answer: Mapping[str, Any]) -> None:
    for part in TALK[:-1]:
        _put(drafted.pack[part], language, halves(_fitting(drafted, part, language, answer.get(part))))
    pairs = [pair for pair in as_list(answer.get("chat")) if len(as_texts(pair)) == len(as_list(pair)) == 2]
    known = {same(said): [said, reply] for said, reply in pairs if is_in(language, said) and is_in(language, reply)}
    _put(drafted.pack["chat"], language, halves(list(known.values())))


def _fill_tool(drafted: Draft, tool: dict[str, Any], language: Language, answer: Mapping[str, Any]) -> None:
    name, description = tool["name"], answer.get("description")
    if isinstance(description, str) and is_in(language, description) and not tool["description"][language]:
        tool["description"][str(language)] = " ".join(description.split())
    for part in _PARTS:
        if part in tool:
            _put(tool[part], language, halves(_fitting(drafted, f"{name}.{part}", language, answer.get(part))))
    for entry in as_list(answer.get("missing")):
        if isinstance(entry, dict) and entry.get("param") in tool["missing"]:
            where = f"{name}.missing.{entry['param']}"
            said = {
                **halves(_fitting(drafted, where, language, entry.get("requests"))),
                "questions": _fitting(drafted, where, language, entry.get("questions")),
                "words": [word for word in as_texts(entry.get("words")) if word.strip()],
            }
            _put(tool["missing"][entry["param"]], language, said)


def _put(node: dict[str, Any], language: Language, texts: dict[str, Any]) -> None:
    if not filled(node[language]):
        node[str(language)] = texts


def _fill_slot(drafted: Draft, name: str, language: Language, answer: Mapping[str, Any]) -> None:
    slot, users = drafted.pack["slots"][name], users_of(Pack.model_validate(drafted.pack), name)
    key = str(language) if language in slot else "any"
    taken = _free_values(drafted.pack) if slot.get("free") else set[str]()
    said: list[Any] = []
    for value in as_list(answer.get("values")):
        word = value.get("say") if isinstance(value, dict) else value
        held = value.get("value") if isinstance(value, dict) else value
        if not isinstance(word, str) or not word.strip() or same(word) in map(spoken, said):
            continue
        if same(word) in taken:
            drafted.dropped.append(f"slots.{name}: {word!r} stands in another slot, and could be in test there")
        elif why := refused(held, users):
            drafted.dropped.append(f"slots.{name}: {word!r}: {why}")
        elif isinstance(value, dict) and not is_in(language, word):
            drafted.dropped.append(f"slots.{name}: {word!r} is not in {language}")
        else:
            said.append({"say": word, "value": held} if isinstance(value, dict) else word)
    slot[key] = halves(said) if slot.get("free") else said


def _free_values(pack: Mapping[str, Any]) -> set[str]:
    """What free slots hold already: a value of the test is nowhere in training."""
    free = [slot for slot in pack["slots"].values() if slot.get("free")]
    words = [slot[key] for slot in free for key in (*Language, "any") if key in slot]
    lists = [half for each in words for half in (each.values() if isinstance(each, dict) else [each])]
    return {spoken(word) for listed in lists for word in listed}


def _drop_faults(drafted: Draft) -> None:
    """Take away the texts that the checks of packs find fault with, until they find none."""
    while faults := list(check(Pack.model_validate(drafted.pack))):
        texts = {place for place, _ in faults if _is_text(drafted.pack, place)}
        if not texts:
            raise Fault([f"the draft cannot be read as a pack: {sentence}" for _, sentence in faults])
        told = dict[Any, str]()
        for place, sentence in faults:
            told.setdefault(place, sentence)
        for place in sorted(texts, key=_last, reverse=True):
            drafted.dropped.append(told[place])
            del _node(drafted.pack, place[:-1])[place[-1]]


def _last(place: tuple[str | int, ...]) -> int:
    last = place[-1]
    return last if isinstance(last, int) else -1


def _is_text(pack: Any, place: tuple[str | int, ...]) -> bool:
    """Whether a text stands at the place, and not a tool or a value."""
    if len(place) < 3 or place[0] == "slots" or not isinstance(place[-1], int):
        return False
    return isinstance(_node(pack, place[:-1]), list)


def _node(pack: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        pack = pack[part]
    return pack


def _fitting(drafted: Draft, where: str, language: Language, given: Any) -> list[str]:
    """Those texts of an answer that are in the language, each once."""
    found: dict[str, str] = {}
    for text in as_texts(given):
        if not is_in(language, text):
            drafted.dropped.append(f"{where}: {text!r} is not in {language}")
        else:
            found.setdefault(same(text), " ".join(text.split()))
    return list(found.values())
