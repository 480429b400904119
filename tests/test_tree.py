"""Attention over rows that begin alike, beside attention over each row alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch

from stages import _tree

HEADS, GROUPS, SIZE = 6, 2, 8


def alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rests: Sequence[int], shared: int
) -> torch.Tensor:
    """By torch's own attention, row by row; of the rests, and of the common beginning once."""
    found, start = list[torch.Tensor](), shared
    for rest in (0, *rests):
        places = [*range(shared), *range(start, start + rest)]
        start += rest
        row = torch.nn.functional.scaled_dot_product_attention(
            query[:, places], key[:, places], value[:, places], is_causal=True, enable_gqa=True
        )
        found.append(row[:, shared:] if rest else row)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("block", [0, 60, 10**9])
@pytest.mark.parametrize("rests", [[1], [3, 3, 4], [1, 2, 9, 10, 30], [12, 1, 7]])
def test_values_and_gradients_are_those_of_each_row_alone(
    rests: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tree, "BLOCK", block)
    torch.manual_seed(2)
    shared, tokens = 5, 5 + sum(rests)
    tree = _tree.Tree.of(torch.zeros(len(rests), shared + max(rests), dtype=torch.long), [5 + r for r in rests], shared)
    query, key, value = given = [
        torch.randn(heads, tokens, SIZE, requires_grad=True) for heads in (HEADS, GROUPS, GROUPS)
    ]
    ours = cast(Any, _tree._Attention).apply(query, key, value, SIZE**-0.5, tree)
    theirs = alone(query, key, value, rests, shared)
    assert torch.allclose(ours, theirs, atol=1e-5)
    along = torch.randn_like(ours)
    for one, other in zip(
        torch.autograd.grad(ours, given, along), torch.autograd.grad(theirs, given, along), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_no_other_cut_of_the_rows_computes_less() -> None:
    def cost(blocks: Sequence[Sequence[int]], shared: int) -> int:
        return sum(len(rests) * max(rests) * (shared + max(rests)) + _tree.BLOCK for rests in blocks)

    rng, counts = random.Random(3), set[int]()
    for shared in (1, 60, 200):
        for rests in ([rng.randrange(1, 160) for _ in range(8)], sorted(rng.randrange(1, 160) for _ in range(8))):
            found = _tree._blocks(rests, shared)
            assert list(itertools.chain(*found)) == rests
            cuts = itertools.chain(*(itertools.combinations(range(1, 8), count) for count in range(8)))
            best = min(cost([rests[a:b] for a, b in itertools.pairwise((0, *cut, 8))], shared) for cut in cuts)
            assert cost(found, shared) == best
            counts.add(len(found))
    assert len(counts) > 1, "lengths are wanted that are worth cutting, and such that are not"


@pytest.mark.parametrize("block", [0, 10**9])
def test_rows_of_a_sequence_are_what_they_would_be_alone(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree, "BLOCK", block)
    lengths, shared = [9, 5, 7], 4
    ids = torch.tensor([[*range(4), *range(10 * row, 10 * row + 5)] for row in (1, 2, 3)])
    tree = _tree.Tree.of(ids, lengths, shared)
    assert tree.input_ids.tolist() == [[0, 1, 2, 3, 10, 11, 12, 13, 14, 20, 30, 31, 32]]
    assert tree.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 4, 5, 6]]
    rows = [
        row for block in tree.as_rows(tree.input_ids[..., None].float()) for row in block[:, 0, :, 0].int().tolist()
    ]
    assert [row[:length] for row, length in zip(rows, lengths, strict=True)] == [
        ids[i, :length].tolist() for i, length in enumerate(lengths)
    ]
