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
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "callwright_tree"


BLOCK = 8_000
"""What one more block of rows costs in attention, in pairs of a query and a key."""


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring rows whose rests attention computes together, at the length of the longest."""

    shared: int
    """Keys of the common beginning before the rests' own: all of it, or 0 where the block is the common beginning."""
    rests: torch.Tensor
    """Shape (rows, longest rest): each rest as places in the sequence, filled up with the place after the last."""

    @property
    def keys(self) -> torch.Tensor:
        """Shape (rows, shared and longest rest): the places that each row attends to."""
        common = torch.arange(self.shared, device=self.rests.device).expand(len(self.rests), -1)
        return torch.cat([common, self.rests], dim=1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A tree for a number of heads: where in memory what lies, so that a gradient is fetched as a value is.

    Heads lie one after another, each with a place of zeros after its last token.
    """

    queries: list[torch.Tensor]
    """By block, in the order (groups, rows, heads of a group, longest rest)."""
    keys: list[torch.Tensor]
    """By block, in the order (keys' groups and values' groups, rows, shared and longest rest)."""
    masks: list[torch.Tensor]
    """By block, shape (heads of a group x longest rest, shared and longest rest): -inf for what comes later, else 0."""
    from_queries: torch.Tensor
    """Of each head's tokens, where the blocks' queries hold them, one block after another."""
    from_keys: torch.Tensor
    """The same of keys and values, a token of the common beginning in the first block."""

    @classmethod
    def of(cls, blocks: Sequence[Block], tokens: int, heads: int, groups: int) -> _Layout:
        device, alike, width = blocks[0].rests.device, heads // groups, tokens + 1
        head_starts = torch.arange(heads, device=device).view(groups, 1, alike, 1) * width
        group_starts = torch.arange(2 * groups, device=device).view(-1, 1, 1) * width
        queries = [head_starts + block.rests[:, None] for block in blocks]
        keys = [group_starts + block.keys for block in blocks]
        masks = []
        for block in blocks:
            longest = block.rests.shape[1]
            mask = torch.full((longest, longest), float("-inf"), device=device).triu(1)
            masks.append(functional.pad(mask, (block.shared, 0)).repeat(alike, 1))
        own = [(each, block.shared) for each, block in zip(keys, blocks, strict=True)]
        return cls(
            [each.flatten() for each in queries],
            [each.flatten() for each in keys],
            masks,
            _inverse([(each, 0) for each in queries], heads, width),
            _inverse(own, 2 * groups, width),
        )


def _inverse(blocks: Sequence[tuple[torch.Tensor, int]], heads: int, width: int) -> torch.Tensor:
    """Where the blocks, laid out one after another, hold each token; of each the first places are left out."""
    found, start = torch.zeros(heads * width, dtype=torch.long, device=blocks[0][0].device), 0
    for places, left_out in blocks:
        at = torch.arange(start, start + places.numel(), device=found.device).view(places.shape)
        found[places[..., left_out:].flatten()] = at[..., left_out:].flatten()
        start += places.numel()
    return found.view(heads, width)[:, :-1].flatten()


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
    """The common beginning, then all rests, in the order of the sequence."""
    _layouts: dict[tuple[int, int], _Layout] = field(default_factory=dict)

    @property
    def no_mask(self) -> torch.Tensor:
        """Keeps transformers from making a mask that nobody would read."""
        return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.input_ids.device)

    @classmethod
    def of(cls, ids: torch.Tensor, lengths: Sequence[int], shared: int) -> Tree:
        """`ids` are padded on the right, shape (rows, tokens); the first `shared` tokens of all rows are the same.

        Rows that stand beside others of like length cost least.
        """
        flat = torch.cat([ids[0, :shared], *(row[shared:length] for row, length in zip(ids, lengths, strict=True))])
        positions = [torch.arange(shared), *(torch.arange(shared, length) for length in lengths)]
        blocks, start = [Block(0, torch.arange(shared, device=ids.device)[None])], shared
        for rests in _blocks([length - shared for length in lengths], shared):
            starts = torch.tensor([start, *rests[:-1]]).cumsum(0)[:, None]
            places = torch.arange(max(rests))
            rows = torch.where(places < torch.tensor(rests)[:, None], starts + places, len(flat))
            blocks.append(Block(shared, rows.to(ids.device)))
            start += sum(rests)
        return cls(flat[None], torch.cat(positions).to(ids.device)[None], shared, tuple(blocks))

    def layout(self, heads: int, groups: int) -> _Layout:
        if (heads, groups) not in self._layouts:
            self._layouts[heads, groups] = _Layout.of(self.blocks, self.input_ids.shape[1], heads, groups)
        return self._layouts[heads, groups]

    def as_rows(self, sequence: torch.Tensor) -> list[torch.Tensor]:
        """(groups, tokens, size) -> for each block of rests (rows, groups, common beginning and longest rest, size)."""
        padded = functional.pad(sequence, (0, 0, 0, 1))
        return [padded[:, block.keys].transpose(0, 1) for block in self.blocks[1:]]


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
        layout, size = tree.layout(len(query), len(key)), query.shape[-1]
        asking, both = _with_zeros(query), _with_zeros(torch.cat([key, value]))
        saved, found = list[torch.Tensor](), list[torch.Tensor]()
        for queries, places, mask in zip(layout.queries, layout.keys, layout.masks, strict=True):
            asked = asking.index_select(0, queries).view(-1, len(mask), size)
            keys, values = both.index_select(0, places).view(2, len(asked), -1, size)
            scores = torch.baddbmm(mask, asked.float(), keys.float().transpose(1, 2), alpha=scale)
            weights = scores.softmax(-1).to(keys.dtype)
            found.append(torch.bmm(weights, values).view(-1, size))
            saved += [asked, keys, values, weights]
        ctx.save_for_backward(*saved)
        ctx.scale, ctx.tree, ctx.groups = scale, tree, len(key)
        return torch.cat(found).index_select(0, layout.from_queries).view(len(query), -1, size)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (heads, tokens, size), groups, saved = grad.shape, ctx.groups, ctx.saved_tensors
        layout = ctx.tree.layout(heads, groups)
        given = _with_zeros(grad)
        of_queries, of_both, common = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
        softmax_backward = torch.ops.aten._softmax_backward_data  # noqa: SLF001 - an ATen operator
        for i, (queries, block) in enumerate(zip(layout.queries, ctx.tree.blocks, strict=True)):
            asked, keys, values, weights = saved[4 * i : 4 * i + 4]
            own = given.index_select(0, queries).view(asked.shape)
            of_scores = softmax_backward(torch.bmm(own, values.transpose(1, 2)), weights, -1, weights.dtype)
            of_queries.append(torch.bmm(of_scores, keys).view(-1, size))
            both = keys.new_empty(2, *keys.shape)
            torch.bmm(of_scores.transpose(1, 2), asked, out=both[0])
            torch.bmm(weights.transpose(1, 2), own, out=both[1])
            both[0].mul_(ctx.scale)
            of_both.append(both.view(-1, size))
            if block.shared:
                common.append(both.view(2 * groups, -1, *keys.shape[1:])[:, :, : block.shared].sum(1))
        of_query = torch.cat(of_queries).index_select(0, layout.from_queries).mul_(ctx.scale)
        found = torch.cat(of_both).index_select(0, layout.from_keys).view(2 * groups, tokens, size)
        for each in common:
            found[:, : ctx.tree.shared] += each
        return of_query.view(heads, tokens, size), found[:groups], found[groups:], None, None


def _with_zeros(heads: torch.Tensor) -> torch.Tensor:
    """(heads, tokens, size) -> (heads x (tokens + 1), size), as `_Layout` places them."""
    return functional.pad(heads, (0, 0, 0, 1)).view(-1, heads.shape[-1])


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
