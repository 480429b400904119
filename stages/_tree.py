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
from typing import Any

import torch
from torch.nn import functional
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
    scale, shared = query.shape[-1] ** -0.5 if scaling is None else scaling, tree.shared
    first = functional.scaled_dot_product_attention(
        query[:, :, :shared], key[:, :, :shared], value[:, :, :shared], is_causal=True, scale=scale, enable_gqa=True
    )
    rest = _rests(query[0] * scale, key[0], value[0], tree)
    return torch.cat([first, rest[None]], dim=2).transpose(1, 2).contiguous(), None


def _rests(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tree: Tree) -> torch.Tensor:
    """Attention of all rests to the common beginning and to themselves; (heads, tokens of rests, size)."""
    heads, groups, size, shared = query.shape[0], key.shape[0], query.shape[-1], tree.shared  # groups: key heads
    rows, longest = tree.rows.shape
    places, alike = tree.rows.flatten(), heads // groups
    asking = query.index_select(1, places).view(groups, alike, rows, longest, size).transpose(1, 2)
    asking = asking.reshape(groups * rows, alike * longest, size)
    own_key, own_value = (part.index_select(1, places).reshape(groups * rows, longest, size) for part in (key, value))
    to_shared = torch.bmm(asking.view(groups, -1, size), key[:, :shared].transpose(1, 2))
    later = torch.ones(longest, longest, dtype=torch.bool, device=query.device).triu(1).repeat(alike, 1)
    to_own = torch.bmm(asking, own_key.transpose(1, 2)).masked_fill_(later, float("-inf"))
    scores = torch.cat([to_shared.view(groups * rows, alike * longest, shared), to_own], dim=-1)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    on_shared, on_own = weights[..., :shared], weights[..., shared:]
    found = torch.bmm(on_shared.reshape(groups, -1, shared), value[:, :shared]).view(asking.shape)
    found = (found + torch.bmm(on_own, own_value)).view(groups, rows, alike, longest, size)
    return found.transpose(1, 2).reshape(heads, rows * longest, size).index_select(1, tree.filled)


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
