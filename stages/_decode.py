"""Answers to many prompts: the likeliest, or drawn at a temperature, free or held to a grammar. Imports torch.

    answers = greedy(model, prompts, stops, max_new_tokens=96, batch_size=160)
    sampled = greedy(model, prompts, stops, 96, 160, temperature=0.8, seed=3, constraint=grammars.for_tools(offered))

What prompts begin with alike is computed once, nothing is computed for padding, and a row that has its stop token costs
nothing more. transformers' `generate` computes every prompt at the length of its longest neighbour, and each answer as
long as the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from stages import _tree

FORWARD = 16
"""What one more forward pass costs, in tokens."""


class Constraint(Protocol):
    """What answers are held to, such as `_constrained.Held`. It knows each row by its number among the prompts."""

    def pick(self, rows: Sequence[int], scores: torch.Tensor) -> list[int]:
        """Of each row the token of the highest score that may come next; it has been said then.

        `scores`: shape (rows, vocabulary).
        """
        ...


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    stops: Collection[int],
    max_new_tokens: int,
    batch_size: int,
    watch: Callable[[int], None] = lambda _: None,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    constraint: Constraint | None = None,
) -> list[list[int]]:
    """The likeliest next tokens of each prompt, up to one of `stops` (not included) or `max_new_tokens`.

    Prompts have two tokens at least. `batch_size` rows are answered at a time; `watch` is told how many are done, the
    first time when the first batch has been read. At a `temperature` above 0 tokens are drawn instead, by chance that
    hangs on the seed, the number of the prompt and that of the token alone: neither batches nor neighbours change it,
    and the same prompt given twice is answered twice. With a `constraint` the likeliest is that of the allowed ones.
    """
    pick = _Pick(temperature, seed, constraint)
    model.eval()
    model.set_attn_implementation(_tree.ATTENTION)
    answers: list[list[int]] = [[] for _ in prompts]
    done = 0
    for batch in _batches(prompts, batch_size):
        read = [_read(model, [prompts[row] for row in group]) for group in batch]
        rows = [row for group in batch for row in group]
        lengths = torch.tensor([len(prompts[row]) for row in rows], device=model.device)
        mask = (torch.arange(int(lengths.max()), device=model.device) < lengths[:, None]).long()
        layers = [  # what was read goes layer by layer, so that it is never held twice
            _Layer([part for each in read for part in each.layers.pop(0)], mask.shape[1], max_new_tokens)
            for _ in read[0].layers[:]
        ]
        cache, logits = Cache(layers=layers), torch.cat([each.logits for each in read])
        if not done:
            watch(done)
        while True:
            picked = pick(rows, [len(answers[row]) for row in rows], logits)
            going: list[int] = []
            for i, (row, token) in enumerate(zip(rows, picked, strict=True)):
                if token not in stops:
                    answers[row].append(token)
                    if len(answers[row]) < max_new_tokens:
                        going.append(i)
            tokens = torch.tensor(picked, device=model.device)
            if len(going) < len(rows):
                done += len(rows) - len(going)
                watch(done)
                if not going:
                    break
                places = _closed_up(going)
                for layer in layers:
                    layer.close_up(places)
                rows, kept = [rows[i] for i in places], torch.tensor(places, device=model.device)
                tokens, mask, lengths = tokens[kept], mask[kept], lengths[kept]
            mask = functional.pad(mask, (0, 1), value=1)
            logits = model(
                input_ids=tokens[:, None],
                position_ids=lengths[:, None],
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            lengths = lengths + 1
    return answers


@dataclass(frozen=True, slots=True)
class _Pick:
    """Chooses each row's next token."""

    temperature: float
    seed: int
    constraint: Constraint | None

    def __call__(self, rows: Sequence[int], places: Sequence[int], logits: torch.Tensor) -> list[int]:
        """`places`: how many tokens each row has said."""
        scores = logits
        if self.temperature > 0:
            noise = [self._noise(row, place, logits.shape[1]) for row, place in zip(rows, places, strict=True)]
            scores = logits.float() / self.temperature + torch.from_numpy(np.stack(noise)).to(logits.device)
        if self.constraint:
            return self.constraint.pick(rows, scores)
        picked: list[int] = scores.argmax(-1).tolist()
        return picked

    def _noise(self, row: int, place: int, words: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Gumbel noise: the likeliest token with it is one drawn from the distribution without it.

        Its generator counts, and so has no state that neighbours would change (Philox, Salmon et al. 2011).
        """
        chance = np.random.Generator(np.random.Philox(key=[self.seed % 2**64, row], counter=[0, 0, 0, place]))
        drawn = chance.standard_exponential(words, dtype=np.float32)
        return -np.log(np.maximum(drawn, _LEAST))


_LEAST = np.float32(2**-24)
"""Below it float32 draws are 0, and infinite noise would make any token the likeliest."""


def _closed_up(going: Sequence[int]) -> list[int]:
    """Where the rows that go on are taken from: those behind fill the places of those that are done."""
    behind = (i for i in going if i >= len(going))
    staying = set(going)
    return [i if i in staying else next(behind) for i in range(len(going))]


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of a layer, with room for what will come: DynamicLayer copies them all for every token."""

    def __init__(self, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], width: int, more: int) -> None:
        """`parts` are keys and values of some rows each, (rows, heads, tokens, size), of `width` tokens at most."""
        super().__init__()
        self.dtype, self.device, self.is_initialized = parts[0][0].dtype, parts[0][0].device, True
        self.room = tuple(
            torch.cat([functional.pad(part[i], (0, 0, 0, width + more - part[i].shape[2])) for part in parts])
            for i in range(2)
        )
        self._show(len(self.room[0]), width)

    def _show(self, rows: int, tokens: int) -> None:
        self.keys, self.values = (each[:rows, :, :tokens] for each in self.room)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, before = len(self.keys), self.keys.shape[2]
        self._show(rows, before + key_states.shape[2])
        for held, new in ((self.keys, key_states), (self.values, value_states)):
            held[:, :, before:] = new
        return self.keys, self.values

    def close_up(self, places: Sequence[int]) -> None:
        """Keep the rows of `places`, as `_closed_up` gives them."""
        moved = [i for i, place in enumerate(places) if place != i]
        for each in self.room:
            each[moved] = each[[places[i] for i in moved]]
        self._show(len(places), self.keys.shape[2])


@dataclass(frozen=True, slots=True)
class _Read:
    """What a model has read: keys and values of each layer by block (rows, heads, tokens, size), next logits."""

    layers: list[list[tuple[torch.Tensor, torch.Tensor]]]
    logits: torch.Tensor


def _read(model: PreTrainedModel, prompts: Sequence[list[int]]) -> _Read:
    shared, lengths = _shared(prompts), [len(prompt) for prompt in prompts]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True)
    tree = _tree.Tree.of(ids.to(model.device), lengths, shared)
    ends = torch.tensor([length - shared for length in lengths]).cumsum(0) + shared - 1
    cache = DynamicCache()
    logits = model(
        input_ids=tree.input_ids,
        position_ids=tree.positions,
        attention_mask=tree.no_mask,
        tree=tree,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=ends.to(model.device),
    ).logits[0]
    rows = [
        list(zip(tree.as_rows(layer.keys[0]), tree.as_rows(layer.values[0]), strict=True)) for layer in cache.layers
    ]
    return _Read(rows, logits)


def _batches(prompts: Sequence[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Groups of rows that begin alike, together at most `size` rows and of like length."""
    batch: list[list[int]] = []
    for group in sorted(_groups(prompts, size), key=lambda group: max(len(prompts[row]) for row in group)):
        if sum(map(len, batch)) + len(group) > size:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _groups(prompts: Sequence[list[int]], size: int) -> list[list[int]]:
    """Row numbers in groups of at most `size` that begin alike, chosen so that the fewest tokens are computed."""
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    alike = [_alike(prompts[first], prompts[second]) for first, second in pairwise(order)]
    saved, begins = [0], [0]  # of the first rows in order: tokens saved at best, and where their last group begins
    for end in range(1, len(order) + 1):
        shared, best = len(prompts[order[end - 1]]) - 1, (-1, 0)
        for start in range(end - 1, max(0, end - size) - 1, -1):
            if start < end - 1:
                shared = min(shared, alike[start], len(prompts[order[start]]) - 1)
            if shared < 1:
                break
            best = max(best, (saved[start] + (end - start - 1) * (shared + FORWARD), -start))
        saved.append(best[0])
        begins.append(-best[1])
    groups, end = list[list[int]](), len(order)
    while end:
        groups.append(sorted(order[begins[end] : end], key=lambda row: len(prompts[row])))
        end = begins[end]
    return groups[::-1]


def _shared(prompts: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with alike, each with a token after them."""
    return min(_alike(min(prompts), max(prompts)), min(map(len, prompts)) - 1)


def _alike(first: list[int], second: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
