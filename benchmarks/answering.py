"""Seconds to answer held-out rows: ours beside one `generate` a row of transformers, greedily, with the tuned model.

Both sides have the same weights and prompts. Ours runs before and after the peer, so that a machine that slows down is
seen. `generate` in batches of rows of like length, as one would write it by hand, is measured on a quarter of the rows.
Not covered: other engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BASE, ADAPTER, ROWS = Path("models/base"), Path("models/adapter"), Path("data/formatted/native/test.jsonl")
WARM, QUARTER, BATCH = 8, 4, 40

Answers = list[list[int]]


def measure() -> Iterator[str]:
    """Two lines."""
    if not all(path.exists() for path in (BASE, ADAPTER, ROWS)):
        yield "answering              not measured: nothing has run yet; make run, then make bench"
        return
    from transformers import AutoTokenizer

    from callwright.outs import read_lines
    from callwright.params import read_params
    from stages import _decode, _local, _model

    knobs = read_params().evaluate
    most = knobs.max_new_tokens
    model = _model.load_with_adapter(BASE, ADAPTER, _model.number_format()).eval()
    stop = AutoTokenizer.from_pretrained(BASE).convert_tokens_to_ids(_model.about(BASE).stops[0])
    prompts = sorted((each.tokens for each in _local.prompts(read_lines(ROWS)).values()), key=len)

    def ours(asked: Answers) -> Answers:
        return _decode.greedy(model, asked, {stop}, most, knobs.batch_size)

    def one_a_row(asked: Answers) -> Answers:
        return [_stock(model, [prompt], stop, most)[0] for prompt in asked]

    def in_batches(asked: Answers) -> Answers:
        return [each for i in range(0, len(asked), BATCH) for each in _stock(model, asked[i : i + BATCH], stop, most)]

    for side in (ours, one_a_row, in_batches):  # the first answers touch the memory
        side(prompts[::WARM][:WARM])
    yield _line("one generate a row", prompts, ours, one_a_row)
    yield _line(f"generate in {BATCH}s", prompts[::QUARTER], ours, in_batches)


def _line(name: str, prompts: Answers, ours: Callable[[Answers], Answers], peer: Callable[[Answers], Answers]) -> str:
    before, made = _timed(ours, prompts)
    theirs, answers = _timed(peer, prompts)
    after, _ = _timed(ours, prompts)
    seconds = (before + after) / 2
    same = sum(a == b for a, b in zip(answers, made, strict=True))
    return (
        f"answering              {len(prompts)} rows in {before:.1f} and {after:.1f} s, {theirs / seconds:.2f} times "
        f"as fast as {name} ({theirs:.1f} s); {same} of {len(prompts)} answers the same ({same / len(prompts):.1%})"
    )


def _timed(side: Callable[[Answers], Answers], prompts: Answers) -> tuple[float, Answers]:
    began = time.perf_counter()
    answers = side(prompts)
    return time.perf_counter() - began, answers


def _stock(model: Any, prompts: list[list[int]], stop: int, most: int) -> list[list[int]]:
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[stop] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=stop,
        )
    rows: list[list[int]] = out[:, width:].tolist()
    return [row[: row.index(stop)] if stop in row else row for row in rows]
