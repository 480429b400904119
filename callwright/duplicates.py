"""Rows that stand twice: the same request, or nearly the same one for the same calls.

Two requests are compared after NFKC as sets of character 5-grams (Jaccard similarity), within a split only where the
same tools are called with the same values: "book A301" and "book A302" are two requests. Across splits the values make
no difference: a test whose twin with another room stands in training is no test.

Candidates come from MinHash and banding (Broder 1997; Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, ch. 3),
by rensa: linear in rows. Each is then compared exactly, so what is told as near is near; of 100,000 true twins at the
threshold about one hundred at most are missed.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from callwright.records import Example
from callwright.speech import plain

if TYPE_CHECKING:
    from rensa import RMinHash, RMinHashLSH

_PERMUTATIONS = 128
_RECALL = 0.999
_FEW = 8
"""So many rows are compared one by one; an index of hashes pays from there on."""


class Twin(NamedTuple):
    id: str
    exact: bool
    similarity: float


class Signature(NamedTuple):
    """What is kept of a row to find its twins."""

    id: str
    fingerprint: int
    """64 bits of the request."""
    group: int
    """64 bits of what is called and with what."""
    dense: bytes
    """The request as it is compared, UTF-8."""


def signature(row: Example) -> Signature:
    text = dense(row).encode()
    return Signature(row.id, _hash(text), _hash(_group(row).encode()), text)


def text_signature(row_id: str, request: str) -> Signature:
    """Of a request alone, which nothing is known to answer."""
    text = _dense(request).encode()
    return Signature(row_id, _hash(text), 0, text)


def fingerprint(row: Example) -> int:
    return _hash(dense(row).encode())


class Requests:
    """The requests seen so far; `near` is the similarity from which two are one.

    `any_values`: also where they call other tools, or with other values.
    """

    def __init__(self, near: float, any_values: bool = False) -> None:
        self.near, self.any_values = near, any_values
        self._ids: list[str] = []
        self._texts: list[bytes] = []
        self._exact: dict[int, int] = {}
        self._groups: dict[int, int | _Group] = {}
        """Rows by what they call; one alone as its number."""

    def add(self, row: Signature) -> None:
        number = len(self._ids)
        self._ids.append(row.id)
        self._texts.append(row.dense)
        self._exact.setdefault(row.fingerprint, number)
        key = 0 if self.any_values else row.group
        found = self._groups.get(key)
        if found is None:
            self._groups[key] = number
            return
        if isinstance(found, int):
            found = self._groups[key] = _Group(self.near, self._texts, [found])
        found.add(number)

    def twin(self, row: Signature) -> Twin | None:
        """The first row already here that asks the same, if there is one."""
        if (same := self._exact.get(row.fingerprint)) is not None:
            return Twin(self._ids[same], exact=True, similarity=1.0)
        found = self._groups.get(0 if self.any_values else row.group)
        if found is None:
            return None
        own = grams(row.dense)
        numbers = [found] if isinstance(found, int) else found.candidates(own)
        for number in numbers:
            if (similarity := _jaccard(own, grams(self._texts[number]))) >= self.near:
                return Twin(self._ids[number], exact=False, similarity=similarity)
        return None


class _Group:
    """Rows that call the same: a few as they are, many in an index of hashes. Of a row only its number is kept."""

    __slots__ = ("index", "near", "numbers", "texts")

    def __init__(self, near: float, texts: list[bytes], numbers: list[int]) -> None:
        """`texts`: of all rows by number, which grows."""
        self.near, self.texts, self.numbers = near, texts, numbers
        self.index: RMinHashLSH | None = None

    def add(self, number: int) -> None:
        if self.index is None:
            self.numbers.append(number)
            if len(self.numbers) <= _FEW:
                return
            self.index, indexed, self.numbers = _index(self.near), self.numbers, []
        else:
            indexed = [number]
        for each in indexed:
            self.index.insert(each, _minhash(grams(self.texts[each])))

    def candidates(self, own: frozenset[str]) -> list[int]:
        return self.numbers if self.index is None else sorted(self.index.query(_minhash(own)))


def grams(text: bytes | str) -> frozenset[str]:
    """Character 5-grams; of a shorter text itself."""
    text = text.decode() if isinstance(text, bytes) else text
    return frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4)))


def dense(row: Example) -> str:
    """The request as duplicates are looked for: after `plain`, without spaces."""
    return _dense(row.request)


def _dense(request: str) -> str:
    return plain(request).replace(" ", "")


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def _minhash(own: frozenset[str]) -> RMinHash:
    from rensa import RMinHash

    made = RMinHash(num_perm=_PERMUTATIONS, seed=1)
    made.update(list(own))
    return made


def _index(near: float) -> RMinHashLSH:
    """With bands so narrow that two sets at the threshold share one nearly always."""
    from rensa import RMinHashLSH

    rows = next(
        rows for rows in (16, 8, 4, 2, 1) if rows == 1 or 1 - (1 - near**rows) ** (_PERMUTATIONS // rows) >= _RECALL
    )
    return RMinHashLSH(threshold=near, num_perm=_PERMUTATIONS, num_bands=_PERMUTATIONS // rows)


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _group(row: Example) -> str:
    """What is called and with what; for a row that calls nothing, the values that its writer noted."""
    calls = sorted(json.dumps(row.own(call).to_json(), sort_keys=True) for call in row.calls)
    return json.dumps([calls, calls or row.source.get("values", [])], sort_keys=True)
