"""What rows are like, for a person to judge: from a sample that is the same for the same rows, whatever their order.

    sample = Sample(5000)
    sample.add(fingerprint, line)
    describe(sample.examples())   ->  {"rows": 5000, "request_characters": {"en": [...], …}, "distinct": {...}, …}

Distinct-n is the share of different n-grams among all n-grams of the requests (Li et al. 2016, arXiv:1510.03055); grams
are of words in English and of characters in zh-TW. It falls with the number of rows, so compare samples of one size.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from callwright.pack_shape import Pack
from callwright.records import Example, Language, User, read_line
from callwright.speech import plain


class Sample:
    """The rows with the smallest fingerprints: a fair draw, since fingerprints are hashes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[tuple[int, str]] = []

    def add(self, fingerprint: int, line: str) -> None:
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (-fingerprint, line))
        elif -fingerprint > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-fingerprint, line))

    def examples(self) -> list[Example]:
        return [read_line(line) for _, line in sorted(self._heap, reverse=True)]


def describe(rows: Sequence[Example]) -> dict[str, Any]:
    """Lengths and diversity of a sample; lists hold one number a row."""
    by_language = {language: [row for row in rows if row.language is language] for language in Language}
    return {
        "rows": len(rows),
        "request_characters": {str(lang): [len(row.request) for row in part] for lang, part in by_language.items()},
        "tools_offered": [len(row.tools) for row in rows],
        "turns": [len(row.messages) for row in rows],
        "calls": [len(row.calls) for row in rows],
        "distinct": {
            str(lang): {f"distinct_{n}": distinct((row.request for row in part), lang, n) for n in (1, 2, 3)}
            for lang, part in by_language.items()
            if part
        },
        "openings": {str(lang): openings(part, lang) for lang, part in by_language.items() if part},
    }


def distinct(texts: Iterable[str], language: Language, n: int) -> float | None:
    """The share of different n-grams; None where there are none."""
    different: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = _words(text, language)
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        different.update(grams)
        total += len(grams)
    return len(different) / total if total else None


def openings(rows: Iterable[Example], language: Language, most: int = 8) -> list[tuple[str, int]]:
    """How requests begin: the first two words or four characters, the most frequent first."""
    size, join = (4, "") if language is Language.ZH_TW else (2, " ")
    firsts = (_words(next(m.content for m in row.messages if isinstance(m, User)), language)[:size] for row in rows)
    return Counter(join.join(words) for words in firsts).most_common(most)


def _words(text: str, language: Language) -> list[str]:
    return re.findall(r"[\w']+", plain(text)) if language is Language.EN else re.findall(r"\w", plain(text))


def phrasings(packs: Iterable[Pack], held_out: frozenset[str], held_out_packs: frozenset[str]) -> set[str]:
    """The names of all training phrasings that rows can be made from: `en/book_room.phrasings.3`."""
    return {
        f"{language}/{tool.name}.phrasings.{i}"
        for pack in packs
        if pack.pack not in held_out_packs
        for tool in pack.tools
        if tool.name not in held_out
        for language in Language
        for i in range(len(tool.phrasings[language].train))
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, quartiles and most of a list of numbers; empty of an empty one."""
    if not values:
        return {}
    ordered = sorted(values)
    places = {"min": 0.0, "25%": 0.25, "median": 0.5, "75%": 0.75, "max": 1.0}
    return {name: ordered[round(place * (len(ordered) - 1))] for name, place in places.items()}
