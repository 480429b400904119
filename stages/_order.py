"""Which rows make a step: rows that begin alike and are of like length together, all epochs in one list.

order(token_ids, batch_size=8, epochs=1, seed=11)  ->  [17, 4, 901, …]      row numbers, a step's one after another
"""

from __future__ import annotations

import random
from collections.abc import Sequence

SHARED = 32
"""Tokens from which rows count as beginning alike: less is not worth a mask of its own."""


def order(rows: Sequence[Sequence[int]], batch_size: int, epochs: float, seed: int) -> list[int]:
    """Row numbers in the order of training, all epochs at once: a resumed training sees what an unbroken one sees.

    `rows` are token ids. Batches hold rows that begin alike and are of like length, so that a batch computes its common
    beginning once and little is padding; which rows meet, and the order of batches, change from epoch to epoch.
    """
    rng, out, late = random.Random(seed), list[int](), list[int]()
    total, heads = round(len(rows) * epochs), _heads(rows, batch_size)
    while len(out) + len(late) < total:
        shuffled = list(range(len(rows)))
        rng.shuffle(shuffled)
        groups: dict[tuple[int, ...], list[int]] = {}
        for row in shuffled:
            groups.setdefault(heads[row], []).append(row)
        batches, alone = list[list[int]](), list[int]()
        for group in groups.values():
            batches += _cut(sorted(group, key=lambda row: len(rows[row])), batch_size, alone)
        batches += _cut(
            sorted(alone, key=lambda row: len(rows[row])), batch_size, late
        )  # a short batch amid whole ones would shift them
        rng.shuffle(batches)
        out += [row for batch in batches for row in batch]
    return (out + late)[:total]


def _heads(rows: Sequence[Sequence[int]], batch_size: int) -> list[tuple[int, ...]]:
    """The longest beginning of each row that a whole batch of rows has; empty where that is too short to matter."""
    heads: list[tuple[int, ...]] = [()] * len(rows)
    left = list(range(len(rows)))
    length = SHARED
    while left:
        groups: dict[tuple[int, ...], list[int]] = {}
        for row in left:
            groups.setdefault(tuple(rows[row][:length]), []).append(row)
        left = [
            row for head, group in groups.items() if len(group) >= batch_size and len(head) == length for row in group
        ]
        for row in left:
            heads[row] = tuple(rows[row][:length])
        length += 8
    return heads


def _cut(rows: list[int], size: int, rest: list[int]) -> list[list[int]]:
    """Whole batches of `rows`; those left over go to `rest`."""
    end = len(rows) // size * size
    rest += rows[end:]
    return [rows[i : i + size] for i in range(0, end, size)]
