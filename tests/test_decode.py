"""stages._decode beside transformers' own generate, with a small random model."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stages import _decode, _tree

VOCABULARY, STOP = 40, 3


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        initializer_range=0.6,  # so that answers differ
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def some_prompts() -> list[list[int]]:
    """Three beginnings, rows of very unlike length, one that is the beginning of others, two that are the same."""
    rng = random.Random(1)
    beginnings = [[rng.randrange(4, VOCABULARY) for _ in range(length)] for length in (12, 20, 3)]
    prompts = [
        beginnings[i % 3] + [rng.randrange(4, VOCABULARY) for _ in range(rng.randrange(1, 30))] for i in range(21)
    ]
    return [*prompts, list(beginnings[1]), prompts[4], prompts[4] + [7], [9, 8]]


def alone(model: LlamaForCausalLM, prompt: Sequence[int], most: int) -> list[int]:
    """By transformers, without neighbours and without padding."""
    made: list[int] = model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return made[: made.index(STOP)] if STOP in made else made


@pytest.mark.parametrize(("batch_size", "block"), [(1, 0), (4, _tree.BLOCK), (100, _tree.BLOCK), (100, 0)])
def test_answers_are_those_of_transformers_for_each_prompt_alone(
    model: LlamaForCausalLM, batch_size: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tree, "BLOCK", block)  # at 0 rows of unlike length are read in blocks of their own
    prompts, told = some_prompts(), list[int]()
    made = _decode.greedy(model, prompts, {STOP}, 24, batch_size, told.append)
    expected = [alone(model, prompt, 24) for prompt in prompts]
    assert made == expected
    assert len(set(map(len, expected))) > 3, "answers of unlike length are wanted here"
    assert 24 in map(len, expected)
    assert told[0] == 0
    assert told == sorted(set(told))
    assert told[-1] == len(prompts)


def test_a_row_that_is_done_is_computed_no_more(model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, forward, asked = some_prompts(), model.forward, list[int]()

    def counted(**given: object) -> object:
        asked.append(given["input_ids"].numel())  # type: ignore[attr-defined]
        return forward(**given)

    monkeypatch.setattr(model, "forward", counted)
    made = _decode.greedy(model, prompts, {STOP}, 24, len(prompts))
    groups = _decode._groups(prompts, len(prompts))
    tokens_read = sum(computed([prompts[row] for row in group]) for group in groups)
    assert sum(asked) == tokens_read + sum(min(len(answer), 23) for answer in made)


def computed(group: Sequence[Sequence[int]]) -> int:
    """Tokens of a group with its common beginning once; each row keeps a token of its own."""
    shortest = min(map(len, group)) - 1
    shared = next((i for i in range(shortest) if len({prompt[i] for prompt in group}) > 1), shortest)
    return sum(map(len, group)) - (len(group) - 1) * shared


@pytest.mark.parametrize("size", [2, 3, 6])
def test_no_other_way_to_group_neighbours_costs_less(size: int) -> None:
    rng = random.Random(size)
    for _ in range(30):
        prompts = [[1, *(rng.randrange(2) for _ in range(rng.randrange(1, 40)))] for _ in range(6)]
        prompts = [prompt[:1] + prompt[1:] * rng.choice([1, 9]) for prompt in prompts]
        groups = _decode._groups(prompts, size)
        assert sorted(itertools.chain(*groups)) == list(range(6))
        assert all(len(group) <= size for group in groups)

        def cost(groups: Sequence[Sequence[int]], prompts: list[list[int]] = prompts) -> int:
            return sum(computed([prompts[row] for row in group]) + _decode.FORWARD for group in groups)

        order = sorted(range(6), key=prompts.__getitem__)
        ways = itertools.product([False, True], repeat=5)
        other = [[list(part) for part in cut(order, way)] for way in ways]
        assert cost(groups) == min(cost(way) for way in other if all(len(group) <= size for group in way))


def cut(order: Sequence[int], where: Sequence[bool]) -> list[Sequence[int]]:
    places = [0, *(i + 1 for i, here in enumerate(where) if here), len(order)]
    return [order[start:end] for start, end in itertools.pairwise(places)]


def test_drawn_answers_hang_on_seed_and_place_and_not_on_the_batches(model: LlamaForCausalLM) -> None:
    prompts = some_prompts()
    made = [_decode.greedy(model, prompts, {STOP}, 12, size, temperature=0.9, seed=4) for size in (1, 4, len(prompts))]
    assert made[0] == made[1] == made[2]
    other = _decode.greedy(model, prompts, {STOP}, 12, 100, temperature=0.9, seed=5)
    assert sum(a != b for a, b in zip(made[0], other, strict=True)) > len(prompts) / 2
    likeliest = _decode.greedy(model, prompts, {STOP}, 12, 100)
    assert sum(a != b for a, b in zip(made[0], likeliest, strict=True)) > len(prompts) / 2
    # a further prompt leaves the answers of the others as they were
    assert _decode.greedy(model, [*prompts, [5, 6, 7]], {STOP}, 12, 100, temperature=0.9, seed=4)[:-1] == made[0]


def test_the_same_prompt_given_twice_is_answered_twice(model: LlamaForCausalLM) -> None:
    made = _decode.greedy(model, [[5, 6, 7]] * 8, {STOP}, 12, 8, temperature=1.0)
    assert len({tuple(answer) for answer in made}) > 4


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -9.0])
    for temperature in (0.5, 1.0, 2.0):
        pick, rows = _decode._Pick(temperature, 7, None), range(20_000)
        drawn = pick(rows, [3] * len(rows), logits.expand(len(rows), -1))
        shares = torch.bincount(torch.tensor(drawn), minlength=5) / len(rows)
        wanted = torch.softmax(logits / temperature, 0)
        assert (shares - wanted).abs().max() < 4 * (wanted * (1 - wanted) / len(rows)).sqrt().max()


def test_no_noise_outweighs_every_likelihood() -> None:
    noise = torch.from_numpy(_decode._Pick(1.0, 0, None)._noise(0, 0, 40_000_000))
    assert noise.isfinite().all()
    assert noise.max() < 17


def test_a_temperature_near_zero_takes_the_likeliest(model: LlamaForCausalLM) -> None:
    prompts = some_prompts()
    cold = _decode.greedy(model, prompts, {STOP}, 12, 100, temperature=1e-5)
    assert cold == _decode.greedy(model, prompts, {STOP}, 12, 100)


class _Odd:
    """Holds answers to odd tokens, of which STOP is one."""

    def __init__(self) -> None:
        self.said: dict[int, list[int]] = {}

    def pick(self, rows: Sequence[int], scores: torch.Tensor) -> list[int]:
        picked: list[int] = (scores[:, 1::2].argmax(-1) * 2 + 1).tolist()
        for row, token in zip(rows, picked, strict=True):
            self.said.setdefault(row, []).append(token)
        return picked


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_answers_are_held_to_a_constraint_whatever_the_batches(model: LlamaForCausalLM, temperature: float) -> None:
    prompts, made = some_prompts(), list[list[list[int]]]()
    for size in (1, 4, 100):
        odd = _Odd()
        made.append(_decode.greedy(model, prompts, {STOP}, 12, size, temperature=temperature, constraint=odd))
        told = [odd.said[row] for row in range(len(prompts))]
        assert [[token for token in said if token != STOP] for said in told] == made[-1]
    assert made[0] == made[1] == made[2]
    assert all(token % 2 for answer in made[0] for token in answer)
