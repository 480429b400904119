"""What a pack has too little of: without some texts no row can be written, with few all rows are alike.

    lacks(pack, ESSENTIAL)   what generating cannot do without
    lacks(pack, GOOD)        what a good pack has beyond that

Each lack is a place in the file and a sentence; a tool's are told in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from callwright.pack_shape import PLACEHOLDER, Halves, Missing, Pack, PackTool, Texts
from callwright.pack_texts import Place
from callwright.records import Language


@dataclass(frozen=True, slots=True)
class Needs:
    """The least number of texts, (train, test), in each language."""

    phrasings: tuple[int, int]
    clauses: tuple[int, int]
    replies: tuple[int, int]
    missing: tuple[int, int]
    questions: int
    joiners: tuple[int, int]
    declines: tuple[int, int]
    unsupported: tuple[int, int]
    chat: tuple[int, int]
    free_values: tuple[int, int]
    whole: bool
    """Whether every kind of row should be possible: chains, errors, answers to questions, missing values."""


ESSENTIAL = Needs(
    phrasings=(1, 1),
    clauses=(1, 1),
    replies=(1, 1),
    missing=(1, 1),
    questions=1,
    joiners=(1, 1),
    declines=(1, 1),
    unsupported=(1, 1),
    chat=(1, 1),
    free_values=(1, 1),
    whole=False,
)
GOOD = Needs(
    phrasings=(6, 2),
    clauses=(3, 1),
    replies=(3, 1),
    missing=(3, 1),
    questions=2,
    joiners=(3, 1),
    declines=(3, 1),
    unsupported=(10, 4),
    chat=(8, 4),
    free_values=(10, 4),
    whole=True,
)


def lacks(pack: Pack, needs: Needs) -> Iterator[tuple[Place, str]]:
    for i, tool in enumerate(pack.tools):
        if parts := list(_tool(tool, needs)):
            yield ("tools", i), f"tool {tool.name!r} lacks {'; '.join(parts)}"
    for name, slot in pack.slots.items():
        least = needs.free_values if slot.free else (1, 1)
        for key, words in (("any", slot.any), ("zh-TW", slot.zh_tw), ("en", slot.en)):
            if words and (short := _short(Halves.model_construct(train=words.train, test=words.test), least)):
                yield ("slots", name, key), f"slot {name!r} lacks values in {key} ({short})"
    for key, texts, least in (
        ("joiners", pack.joiners, needs.joiners),
        ("declines", pack.declines, needs.declines),
        ("unsupported", pack.unsupported, needs.unsupported),
        ("chat", pack.chat, needs.chat),
    ):
        for language in Language:
            if short := _short(texts[language], least):
                yield (key,), f"{key} in {language} has too few texts ({short})"
    if needs.whole:
        yield from _whole(pack)


def _tool(tool: PackTool, needs: Needs) -> Iterator[str]:
    """Sentences go on from `tool 'name' lacks `."""
    kinds: list[tuple[str, Texts, tuple[int, int]]] = [
        ("phrasings", tool.phrasings, needs.phrasings),
        ("clauses", tool.clauses, needs.clauses),
    ]
    if tool.action:
        kinds.append(("replies", tool.replies, needs.replies))
    for key, texts, least in kinds:
        for language in Language:
            if short := _short(texts[language], least):
                yield f"{key} in {language} ({short})"
    for param, missings in tool.missing.items():
        for language in Language:
            missing: Missing = missings[language]
            if short := _short(missing, needs.missing):
                yield f"requests without {param!r} in {language} ({short})"
            if len(missing.questions) < needs.questions or not missing.words:
                yield f"questions for {param!r} in {language} ({len(missing.questions)} of {needs.questions}), or words"
    if needs.whole:
        yield from _fully_said(tool)


def _fully_said(tool: PackTool) -> Iterator[str]:
    if tool.action is None:
        yield "an action, so that it cannot be run and no row shows its result"
    for language in Language:
        if not all(text.strip() for text in tool.description[language]):
            yield f"a description in {language}"
    for param in tool.properties:
        if param in tool.required:
            continue
        for language in Language:
            texts = tool.phrasings[language].train
            said = sum(param in PLACEHOLDER.findall(text) for text in texts)
            if texts and said in (0, len(texts)):
                yield f"phrasings in {language} {'with' if said == 0 else 'without'} the optional {param!r}"


def _whole(pack: Pack) -> Iterator[tuple[Place, str]]:
    if not any(tool.missing for tool in pack.tools):
        yield ("tools",), "no tool has `missing`: no row asks back"
    if not pack.chains:
        yield ("pack",), "there are no chains: no row has a call that takes an earlier result"
    for i, chain in enumerate(pack.chains):
        for language in Language:
            if short := _short(chain.phrasings[language], (3, 1)):
                yield ("chains", i), f"chain {i} has too few phrasings in {language} ({short})"
    if not pack.errors:
        yield ("pack",), "there are no errors: no row shows a tool that fails"
    for i, failing in enumerate(pack.errors):
        for language in Language:
            if short := _short(failing.told[language], (2, 1)):
                yield ("errors", i), f"error {failing.error!r} is told in too few ways in {language} ({short})"
    for language in Language:
        if short := _short(pack.answers[language], (2, 1)):
            yield ("answers",), f"answers in {language} has too few texts ({short})"


def _short(texts: Halves, least: tuple[int, int]) -> str:
    """How many are there of how many, for the halves that have too few."""
    halves = (("train", len(texts.train), least[0]), ("test", len(texts.test), least[1]))
    return ", ".join(f"{have} of {need} for {half}" for half, have, need in halves if have < need)
