"""Rows that stand twice: the same request, or nearly the same one for the same calls.

Two requests are compared after NFKC as sets of character 5-grams (Jaccard similarity), and only where the same tools are
called with the same values: "book A301" and "book A302" are two requests. Only such rows are compared, so the work is linear
in rows as long as values vary.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from callwright.records import Example
from callwright.speech import plain


class Twin(NamedTuple):
    id: str
    exact: bool
    similarity: float


class Requests:
    """The requests seen so far."""

    def __init__(self, near: float) -> None:
        self.near = near
        self._exact: dict[str, str] = {}
        self._groups: dict[str, list[tuple[str, frozenset[str]]]] = {}

    def add(self, row: Example) -> None:
        self._exact.setdefault(_dense(row), row.id)
        self._groups.setdefault(_group(row), []).append((row.id, grams(row)))

    def twin(self, row: Example) -> Twin | None:
        """The row already here that asks the same, if there is one."""
        if found := self._exact.get(_dense(row)):
            return Twin(found, exact=True, similarity=1.0)
        own = grams(row)
        for other_id, other in self._groups.get(_group(row), ()):
            similarity = len(own & other) / len(own | other)
            if similarity >= self.near:
                return Twin(other_id, exact=False, similarity=similarity)
        return None


def grams(row: Example) -> frozenset[str]:
    text = _dense(row)
    return frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4)))


def _dense(row: Example) -> str:
    return plain(row.request).replace(" ", "")


def _group(row: Example) -> str:
    """What is called and with what; for a row that calls nothing, the values that its writer noted."""
    calls = sorted(json.dumps(call.to_json(), sort_keys=True) for call in row.calls)
    return json.dumps([calls, calls or row.source.get("values", [])], sort_keys=True)
