"""Rows that begin alike as one sequence: their common beginning once, then the rest of each row. Imports torch.

    tree = Tree.of(input_ids, lengths, shared)
    decoder(tree.input_ids, position_ids=tree.positions, attention_mask=tree.no_mask, tree=tree)

A position attends to the common beginning and, in its own row, to what went before: hidden states and gradients are
those of the rows one by one, without padding and for a fraction of the tokens. `ATTENTION` is the name under which
transformers finds this attention; a call without a tree is scaled dot product attention as ever.
Prefixes that rows share are computed once in inference too (Hydragen, Juravsky et al. 2024, arXiv:2402.05099); here the
gradient goes through. Not covered: sliding windows, attention dropout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "callwright_tree"


BLOCK = 12_000
"""What one more block of rows costs in attention, in pairs of a query and a key."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rests of neighbouring rows, which attention computes together at the length of the longest."""

    start: int
    end: int
    """Where their tokens lie in the sequence."""
    rows: torch.Tensor
    """Shape (rows, longest rest): each rest as places in the sequence, filled up with the first place."""
    filled: torch.Tensor
    """Places in `rows`, laid out flat, that hold a token, in the order of the sequence."""

    @classmethod
    def of(cls, start: int, rests: Sequence[int], device: torch.device) -> Block:
        longest = max(rests)
        starts = torch.tensor([start, *rests[:-1]]).cumsum(0)
        places = torch.arange(longest)
        rows = torch.where(places < torch.tensor(rests)[:, None], starts[:, None] + places, 0)
        filled = rows.flatten().nonzero()[:, 0]
        return cls(start, start + sum(rests), rows.to(device), filled.to(device))

    def rests(self, sequence: torch.Tensor) -> torch.Tensor:
        """(heads, tokens, size) -> (heads, rows, longest rest, size)."""
        return sequence.index_select(1, self.rows.flatten()).view(len(sequence), *self.rows.shape, -1)

    def spread(self, sequence: torch.Tensor) -> torch.Tensor:
        """As `rests`, with zeros where a row is filled up."""
        spread = sequence.new_zeros(len(sequence), self.rows.numel(), sequence.shape[-1])
        spread[:, self.filled] = sequence[:, self.start : self.end]
        return spread.view(len(sequence), *self.rows.shape, -1)

    def flat(self, rests: torch.Tensor) -> torch.Tensor:
        """(heads, rows, longest rest, size) -> (heads, tokens of the rests, size)."""
        return rests.reshape(len(rests), -1, rests.shape[-1]).index_select(1, self.filled)

    def with_shared(self, sequence: torch.Tensor, shared: int) -> torch.Tensor:
        """(groups, tokens, size) -> (groups, rows, common beginning and longest rest, size)."""
        common = sequence[:, None, :shared].expand(-1, len(self.rows), -1, -1)
        return torch.cat([common, self.rests(sequence)], dim=2)


@dataclass(frozen=True, slots=True)
class Tree:
    """Where each row lies in the one sequence."""

    input_ids: torch.Tensor
    """Shape (1, tokens): the common beginning, then the rests one after another."""
    positions: torch.Tensor
    """Shape (1, tokens): the place of each token in its own row."""
    shared: int
    """One token at least."""
    blocks: tuple[Block, ...]
    """All rests, in the order of the sequence."""

    @property
    def no_mask(self) -> torch.Tensor:
        """Keeps transformers from making a mask that nobody would read."""
        return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.input_ids.device)

    @classmethod
    def of(cls, ids: torch.Tensor, lengths: Sequence[int], shared: int) -> Tree:
        """`ids` are padded on the right, shape (rows, tokens); the first `shared` tokens of all rows are the same.

        Rows that stand beside others of like length cost least.
        """
        flat = [ids[0, :shared], *(row[shared:length] for row, length in zip(ids, lengths, strict=True))]
        positions = [torch.arange(shared), *(torch.arange(shared, length) for length in lengths)]
        blocks, start = list[Block](), shared
        for rests in _blocks([length - shared for length in lengths], shared):
            blocks.append(Block.of(start, rests, ids.device))
            start = blocks[-1].end
        return cls(torch.cat(flat)[None], torch.cat(positions).to(ids.device)[None], shared, tuple(blocks))

    def as_rows(self, sequence: torch.Tensor) -> list[torch.Tensor]:
        """(groups, tokens, size) -> for each block (rows, groups, common beginning and longest rest, size)."""
        return [block.with_shared(sequence, self.shared).transpose(0, 1) for block in self.blocks]


def _blocks(rests: Sequence[int], shared: int) -> list[list[int]]:
    """Lengths of neighbouring rests, cut so that attention computes the fewest pairs."""
    cost, begins = [0], [0]  # of the first rests: pairs at best, and where their last block begins
    for end in range(1, len(rests) + 1):
        longest, best = 0, (math.inf, 0)
        for start in range(end - 1, -1, -1):
            longest = max(longest, rests[start])
            best = min(best, (cost[start] + (end - start) * longest * (shared + longest) + BLOCK, start))
        cost.append(int(best[0]))
        begins.append(best[1])
    blocks, end = list[list[int]](), len(rests)
    while end:
        blocks.append(list(rests[begins[end] : end]))
        end = begins[end]
    return blocks[::-1]


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    tree: Tree | None = None,
    **more: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As transformers calls it: query (1, heads, tokens, size), key and value with their own, fewer heads."""
    if tree is None:
        out: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **more
        )
        return out
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found: torch.Tensor = cast(Any, _Attention).apply(query[0], key[0], value[0], scale, tree)
    return found.transpose(0, 1)[None], None


class _Attention(torch.autograd.Function):
    """Query (heads, tokens, size), key and value (groups, tokens, size) of a tree -> (heads, tokens, size).

    Block by block: the common beginning, and the rests, each with the keys of the common beginning before its own.
    Scores are made and normalised in float32: rounded to bfloat16 they would move the loss by a hundredth.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, tree: Tree
    ) -> torch.Tensor:
        groups, alike, shared = len(key), len(query) // len(key), tree.shared
        saved = [_stack(query[:, None, :shared], groups), key[:, :shared], value[:, :shared]]
        saved.append(_weights(saved[0], saved[1], scale, alike))
        found = [_unstack(torch.bmm(saved[3], saved[2]), groups, alike)[:, 0]]
        for block in tree.blocks:
            asking = _stack(block.rests(query), groups)
            keys, values = (block.with_shared(each, shared).flatten(0, 1) for each in (key, value))
            weights = _weights(asking, keys, scale, alike)
            found.append(block.flat(_unstack(torch.bmm(weights, values), groups, alike)))
            saved += [asking, keys, values, weights]
        ctx.save_for_backward(*saved)
        ctx.scale, ctx.tree, ctx.groups = scale, tree, groups
        return torch.cat(found, dim=1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        tree, groups, shared, saved = ctx.tree, ctx.groups, ctx.tree.shared, ctx.saved_tensors
        alike = len(grad) // groups
        of_query, *common = _gradients(_stack(grad[:, None, :shared], groups), saved[:4], ctx.scale)
        found = [[_unstack(of_query, groups, alike)[:, 0]], [common[0]], [common[1]]]
        for i, block in enumerate(tree.blocks, start=1):
            of_query, *others = _gradients(
                _stack(block.spread(grad), groups), saved[4 * i : 4 * i + 4], ctx.scale
            )
            found[0].append(block.flat(_unstack(of_query, groups, alike)))
            for summed, parts, other in zip(common, found[1:], others, strict=True):
                rows = other.view(groups, -1, *other.shape[1:])
                summed.add_(rows[:, :, :shared].sum(1))
                parts.append(block.flat(rows[:, :, shared:]))
        return *(torch.cat(parts, dim=1) for parts in found), None, None


def _stack(heads: torch.Tensor, groups: int) -> torch.Tensor:
    """(heads, rows, tokens, size) -> (groups x rows, heads of a group x tokens, size)."""
    _, rows, tokens, size = heads.shape
    return heads.view(groups, -1, rows, tokens, size).transpose(1, 2).reshape(groups * rows, -1, size)


def _unstack(stacked: torch.Tensor, groups: int, alike: int) -> torch.Tensor:
    """What `_stack` made of groups of `alike` heads each, as it was."""
    rows, size = len(stacked) // groups, stacked.shape[-1]
    return stacked.view(groups, rows, alike, -1, size).transpose(1, 2).reshape(groups * alike, rows, -1, size)


def _weights(asking: torch.Tensor, keys: torch.Tensor, scale: float, alike: int) -> torch.Tensor:
    """How much each query takes of each key. The last keys are the queries' own, and none sees a later one."""
    scores = torch.bmm(asking.float() * scale, keys.float().transpose(1, 2))
    own = asking.shape[1] // alike
    later = torch.ones(own, own, dtype=torch.bool, device=scores.device).triu(1).repeat(alike, 1)
    scores[:, :, -own:].masked_fill_(later, float("-inf"))
    return scores.softmax(-1).to(keys.dtype)


def _gradients(
    grad: torch.Tensor, block: Sequence[torch.Tensor], scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the queries, keys and values of a block."""
    asking, keys, values, weights = block
    of_weights = torch.bmm(grad, values.transpose(1, 2))
    softmax_backward = torch.ops.aten._softmax_backward_data  # noqa: SLF001 - an ATen operator
    of_scores = softmax_backward(of_weights, weights, -1, weights.dtype).mul_(scale)
    return (
        torch.bmm(of_scores, keys),
        torch.bmm(of_scores.transpose(1, 2), asking),
        torch.bmm(weights.transpose(1, 2), grad),
    )


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
