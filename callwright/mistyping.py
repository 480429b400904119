"""Typing errors in a finished request, none of them in a value that its call must hold.

    mistyped(row, packs, Random(1))      ->  the row with 「幫我定 A301 會議室」 for 「幫我訂 A301 會議室」, or None

What may be mistyped is what the pack's phrasing says around its placeholders, as in rows that are written with `typos`
(callwright/variation.py). Where a row names no phrasing, it is what lies outside the values as they are written; there
and everywhere the request still says the same numbers and moments, and all that grounded a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from callwright.filling import put
from callwright.grounding import unsaid
from callwright.pack_shape import PLACEHOLDER, Halves, Pack
from callwright.records import Calls, Example, Language, Result, Split, User
from callwright.schemas import of_parameter
from callwright.speech import heard, numbers
from callwright.values import leaves
from callwright.variation import Dress, Variation

_TRIES = 20


def mistyped(example: Example, packs: Sequence[Pack], rng: Random) -> Example | None:
    """One or two typing errors in the first request; None where nothing of it may be mistyped."""
    pack = pack_of(example, packs) or next(iter(packs), None)
    first = next(((i, turn.content) for i, turn in enumerate(example.messages) if isinstance(turn, User)), None)
    if pack is None or first is None:
        return None
    place, request = first
    template, held = _masked(request, _said(example, request, pack))
    dress = Dress(Variation(typos=1.0), pack, example.language, example.split is Split.TEST, rng)
    for _ in range(_TRIES):
        text = PLACEHOLDER.sub(lambda found: held[int(found[1])], dress.request(template))
        row = replace(example, messages=(*example.messages[:place], User(text), *example.messages[place + 1 :]))
        if text != request and _says_as_much(row, text, example, request):
            return row
    return None


def pack_of(example: Example, packs: Sequence[Pack]) -> Pack | None:
    return next((pack for pack in packs if pack.pack == example.source.get("pack")), None)


def texts_of(example: Example) -> list[str]:
    """Which of the pack's texts the requests were made from: `book_room.phrasings.3`."""
    texts = example.source.get("texts")
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def _says_as_much(row: Example, text: str, before: Example, text_before: str) -> bool:
    same = numbers(text) == numbers(text_before) and heard(text) == heard(text_before)
    return same and _ungrounded(row) <= _ungrounded(before)


def _ungrounded(row: Example) -> set[str]:
    """Values of calls that the conversation before them does not hold."""
    tools, said, found = {tool.name: tool for tool in row.tools}, list[str](), set[str]()
    for turn in row.messages:
        if isinstance(turn, User | Result):
            said.append(turn.content)
        for call in turn.calls if isinstance(turn, Calls) else ():
            tool = tools.get(call.tool)
            for name, value in call.params.items():
                schema = of_parameter(tool, name) if tool else {}
                root = tool.parameters if tool else {}
                found |= {f"{name}: {part}" for part in unsaid(name, value, schema, "\n".join(said), root=root)}
    return found


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> tuple[str, list[str]]:
    """The text with a numbered placeholder for each span, and what they stand for; spans that touch are one."""
    merged: list[tuple[int, int]] = []
    # braces of the request itself would pass for placeholders
    for first, last in sorted([*spans, *(found.span() for found in PLACEHOLDER.finditer(text))]):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    template, end = "", 0
    for number, (first, last) in enumerate(merged):
        template += f"{text[end:first]}{{{number}}}"
        end = last
    return template + text[end:], [text[first:last] for first, last in merged]


# Where the request says values


def _said(example: Example, text: str, pack: Pack) -> list[tuple[int, int]]:
    """What stands for the placeholders of its phrasing, and each value and number as it is written."""
    spans = [found.span() for found in _NUMBER.finditer(text)]
    for template in _templates(example, pack):
        if found := _filled(template).fullmatch(text):
            spans += [found.span(i) for i in range(1, len(found.groups()) + 1)]
            break
    values = list(_values(example))
    for word in {*values, *_words(pack, values, example.language)}:
        if len(word) > 1:
            spans += [found.span() for found in re.finditer(re.escape(word), text, re.IGNORECASE)]
    return [span for span in spans if span[0] < span[1]]


_NUMBER = re.compile(r"\d(?:[\d:.,]*\d)?|[零一二兩三四五六七八九十百千萬點半]+")


def _templates(example: Example, pack: Pack) -> Iterator[str]:
    """The phrasings that the request may have been made from."""
    test = example.split is Split.TEST
    places = texts_of(example) if example.source.get("pack") == pack.pack else []
    texts = [_template(pack, place, example.language, test) for place in places]
    clauses = [text for place, text in zip(places, texts, strict=True) if text and ".clauses." in place]
    yield from (text for text in texts if text and text not in clauses)
    for joiner in pack.joiners[example.language].of(test) if clauses else ():
        names = dict(zip("abcd", clauses, strict=False))
        if len(PLACEHOLDER.findall(joiner)) == len(clauses):
            yield put(joiner, names | {name.upper(): clause for name, clause in names.items()})


def _template(pack: Pack, place: str, language: Language, test: bool) -> str | None:
    """The pack's text of a place: `book_room.phrasings.3`, `book_room.missing.start_time.0`, `chains.0.2`."""
    owner, *path, last = place.split(".")
    texts: Any = None
    if owner == "chains" and path and path[0].isdecimal() and int(path[0]) < len(pack.chains):
        texts = pack.chains[int(path[0])].phrasings[language]
    elif tool := pack.named.get(owner):
        if path in (["phrasings"], ["clauses"]):
            texts = getattr(tool, path[0])[language]
        elif path[:1] == ["missing"] and path[-1] in tool.missing:
            texts = tool.missing[path[-1]][language]
    if not isinstance(texts, Halves) or not last.isdecimal() or int(last) >= len(texts.of(test)):
        return None
    return texts.of(test)[int(last)]


def _filled(template: str) -> re.Pattern[str]:
    """What a text looks like whose placeholders are filled; a clause inside a sentence may begin in upper case."""
    return re.compile("(.+?)".join(re.escape(piece) for piece in PLACEHOLDER.split(template)[::2]), re.IGNORECASE)


def _values(example: Example) -> Iterator[str]:
    said = example.source.get("values")
    sources: list[Any] = [call.params for call in example.calls]
    sources += [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []
    for source in sources:
        yield from (str(part) for *_, part in leaves("", source, {}) if not isinstance(part, bool))


def _words(pack: Pack, values: Iterable[str], language: Language) -> set[str]:
    """What the pack's people say for these values."""
    known, found = set(values), set[str]()
    for slot in pack.slots.values():
        for words in (slot.any, slot.zh_tw if language is Language.ZH_TW else slot.en):
            found |= {word.say for word in (*words.train, *words.test) if str(word.value) in known} if words else set()
    return found
