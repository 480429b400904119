"""Rows that stand twice: the same request, or nearly the same one for the same calls.

Two requests are compared after NFKC as sets of character 5-grams (Jaccard similarity), and only where the same tools
are called with the same values: "book A301" and "book A302" are two requests.

Two sets whose similarity is at least t share one of their first few grams in any common order (prefix filtering:
Chaudhuri, Ganti, Kaushik, ICDE 2006), so a row is compared only with rows that do: exact, and far from quadratic.
"""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from callwright.records import Example
from callwright.speech import plain


class Twin(NamedTuple):
    id: str
    exact: bool
    similarity: float


class Requests:
    """The requests seen so far; `near` is the similarity from which two are one."""

    def __init__(self, near: float) -> None:
        self.near = near
        self._exact: dict[str, str] = {}
        self._rows: list[tuple[str, frozenset[str]]] = []
        self._places: dict[tuple[str, str], list[int]] = {}
        """Rows by what they call and a gram of their prefix."""

    def add(self, row: Example) -> None:
        self._exact.setdefault(dense(row), row.id)
        own = grams(row)
        for key in self._keys(row, own):
            self._places.setdefault(key, []).append(len(self._rows))
        self._rows.append((row.id, own))

    def twin(self, row: Example) -> Twin | None:
        """The first row already here that asks the same, if there is one."""
        if found := self._exact.get(dense(row)):
            return Twin(found, exact=True, similarity=1.0)
        own = grams(row)
        for place in sorted({place for key in self._keys(row, own) for place in self._places.get(key, ())}):
            other_id, other = self._rows[place]
            similarity = len(own & other) / len(own | other)
            if similarity >= self.near:
                return Twin(other_id, exact=False, similarity=similarity)
        return None

    def _keys(self, row: Example, own: frozenset[str]) -> list[tuple[str, str]]:
        prefix = len(own) - math.ceil(self.near * len(own) - 1e-9) + 1
        group = _group(row)
        return [(group, gram) for gram in sorted(own)[:prefix]]


def grams(row: Example) -> frozenset[str]:
    text = dense(row)
    return frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4)))


def dense(row: Example) -> str:
    """The request as duplicates are looked for: after `plain`, without spaces."""
    return plain(row.request).replace(" ", "")


def _group(row: Example) -> str:
    """What is called and with what; for a row that calls nothing, the values that its writer noted."""
    calls = sorted(json.dumps(call.to_json(), sort_keys=True) for call in row.calls)
    return json.dumps([calls, calls or row.source.get("values", [])], sort_keys=True)
