"""The texts of a pack and the placeholders in them, for what checks packs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from callwright.pack_shape import PLACEHOLDER, Halves, Texts
from callwright.records import Language
from callwright.speech import plain

Place = tuple[str | int, ...]
Placed = Iterator[tuple[Place, str]]
"""Texts with their places in the file: of a fault its sentence."""

HALVES = ("train", "test")


def each(texts: Texts, place: Place) -> Placed:
    for language in Language:
        yield from each_half(texts[language], (*place, str(language)))


def each_half(texts: Halves, place: Place) -> Placed:
    for half in HALVES:
        for i, text in enumerate(getattr(texts, half)):
            yield (*place, half, i), text


def apart(texts: Halves, place: Place, has: str) -> Placed:
    """Texts of the test do not stand in training."""
    known = {plain(text) for text in texts.train}
    for i, text in enumerate(texts.test):
        if plain(text) in known:
            yield (*place, "test", i), f"{has} {text!r} in train and in test; keep it in one"


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
