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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "callwright_tree"


@dataclass(frozen=True, slots=True)
class Tree:
    """Where each row lies in the one sequence."""

    input_ids: torch.Tensor
    """Shape (1, tokens): the common beginning, then the rests one after another."""
    positions: torch.Tensor
    """Shape (1, tokens): the place of each token in its own row."""
    shared: int
    """One token at least."""
    rows: torch.Tensor
    """Shape (rows, longest rest): the rest of each row as places in the sequence, filled up with the first place."""
    filled: torch.Tensor
    """Places in `rows`, laid out flat, that hold a token, in the order of the sequence."""

    @property
    def no_mask(self) -> torch.Tensor:
        """Keeps transformers from making a mask that nobody would read."""
        return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.input_ids.device)

    @classmethod
    def of(cls, ids: torch.Tensor, lengths: Sequence[int], shared: int) -> Tree:
        """`ids` are padded on the right, shape (rows, tokens); the first `shared` tokens of all rows are the same."""
        rests = [length - shared for length in lengths]
        longest, start = max(rests), shared
        rows = torch.zeros(len(rests), longest, dtype=torch.long)
        for row, rest in zip(rows, rests, strict=True):
            row[:rest] = torch.arange(start, start + rest)
            start += rest
        flat = [ids[0, :shared], *(row[shared:length] for row, length in zip(ids, lengths, strict=True))]
        positions = [torch.arange(shared), *(torch.arange(shared, length) for length in lengths)]
        return cls(
            torch.cat(flat)[None],
            torch.cat(positions).to(ids.device)[None],
            shared,
            rows.to(ids.device),
            (rows.flatten() > 0).nonzero()[:, 0].to(ids.device),
        )

    def rests(self, sequence: torch.Tensor) -> torch.Tensor:
        """(heads, tokens, size) -> (heads, rows, longest rest, size)."""
        return sequence.index_select(1, self.rows.flatten()).view(len(sequence), *self.rows.shape, -1)

    def spread(self, sequence: torch.Tensor) -> torch.Tensor:
        """As `rests`, with zeros where a row is filled up."""
        spread = sequence.new_zeros(len(sequence), self.rows.numel(), sequence.shape[-1])
        spread[:, self.filled] = sequence[:, self.shared :]
        return spread.view(len(sequence), *self.rows.shape, -1)

    def flat(self, rests: torch.Tensor) -> torch.Tensor:
        """(heads, rows, longest rest, size) -> (heads, tokens of the rests, size)."""
        return rests.reshape(len(rests), -1, rests.shape[-1]).index_select(1, self.filled)

    def with_shared(self, sequence: torch.Tensor) -> torch.Tensor:
        """(groups, tokens, size) -> (groups x rows, common beginning and longest rest, size)."""
        common = sequence[:, None, : self.shared].expand(-1, len(self.rows), -1, -1)
        return torch.cat([common, self.rests(sequence)], dim=2).flatten(0, 1)

    def as_rows(self, sequence: torch.Tensor) -> torch.Tensor:
        """(groups, tokens, size) -> (rows, groups, common beginning and longest rest, size)."""
        rows = self.with_shared(sequence)
        return rows.view(len(sequence), -1, *rows.shape[1:]).transpose(0, 1)


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

    In two blocks: the common beginning, and the rests, each with the keys of the common beginning before its own.
    Scores are made and normalised in float32: rounded to bfloat16 they would move the loss by a hundredth.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, tree: Tree
    ) -> torch.Tensor:
        groups, shared = len(key), tree.shared
        first = [_stack(query[:, None, :shared], groups), key[:, :shared], value[:, :shared]]
        rests = [_stack(tree.rests(query), groups), tree.with_shared(key), tree.with_shared(value)]
        for block in (first, rests):
            block.append(_weights(block[0], block[1], scale, len(query) // groups))
        found = [torch.bmm(block[3], block[2]) for block in (first, rests)]
        ctx.save_for_backward(*first, *rests)
        ctx.scale, ctx.tree, ctx.groups = scale, tree, groups
        return _joined(found[0], found[1], tree, groups)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        tree, groups, shared = ctx.tree, ctx.groups, ctx.tree.shared
        first = _gradients(_stack(grad[:, None, :shared], groups), ctx.saved_tensors[:4], ctx.scale)
        rests = _gradients(_stack(tree.spread(grad), groups), ctx.saved_tensors[4:], ctx.scale)
        found = [_joined(first[0], rests[0], tree, groups)]
        for common, own in zip(first[1:], rests[1:], strict=True):
            rows = own.view(groups, -1, *own.shape[1:])
            found.append(torch.cat([common + rows[:, :, :shared].sum(1), tree.flat(rows[:, :, shared:])], dim=1))
        return *found, None, None


def _stack(heads: torch.Tensor, groups: int) -> torch.Tensor:
    """(heads, rows, tokens, size) -> (groups x rows, heads of a group x tokens, size)."""
    _, rows, tokens, size = heads.shape
    return heads.view(groups, -1, rows, tokens, size).transpose(1, 2).reshape(groups * rows, -1, size)


def _joined(first: torch.Tensor, rests: torch.Tensor, tree: Tree, groups: int) -> torch.Tensor:
    """What `_stack` made of both blocks, as one sequence again: (heads, tokens, size)."""
    rows, longest = tree.rows.shape
    size = first.shape[-1]
    own = rests.view(groups, rows, -1, longest, size).transpose(1, 2).reshape(-1, rows, longest, size)
    return torch.cat([first.view(-1, tree.shared, size), tree.flat(own)], dim=1)


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
