"""Seconds to answer held-out rows: ours beside `generate` of transformers, greedily, with the tuned model.

Both sides have the same model, the same prompts and as many rows at a time, and take turns. generate gets rows of like
length together. Not covered: other engines.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BASE, ADAPTER, ROWS = Path("models/base"), Path("models/adapter"), Path("data/formatted/native/test.jsonl")
ROUNDS, EVERY, BATCH = 3, 2, 40


def measure() -> Iterator[str]:
    """One line."""
    if not all(path.exists() for path in (BASE, ADAPTER, ROWS)):
        yield "answering              not measured: nothing has run yet; make run, then make bench"
        return
    from transformers import AutoTokenizer

    from callwright.outs import read_lines
    from callwright.params import read_params
    from stages import _decode, _model, evaluate

    most = read_params().evaluate.max_new_tokens
    model = _model.load_with_adapter(BASE, ADAPTER, _model.number_format()).eval()
    stop = AutoTokenizer.from_pretrained(BASE).convert_tokens_to_ids(_model.about(BASE).stops[0])
    prompts = sorted((each.tokens for each in evaluate.prompts(read_lines(ROWS)).values()), key=len)[::EVERY]
    times: dict[str, list[float]] = {"stock": [], "ours": []}
    for turn in range(ROUNDS + 1):
        made = {}
        for name, seconds in times.items():
            began = time.perf_counter()
            if name == "ours":
                made[name] = _decode.greedy(model, prompts, {stop}, most, BATCH)
            else:
                made[name] = [
                    answer
                    for i in range(0, len(prompts), BATCH)
                    for answer in _stock(model, prompts[i : i + BATCH], stop, most)
                ]
            if turn:  # the first round touches the memory
                seconds.append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(times["stock"], times["ours"], strict=True))
    stock, ours = map(statistics.median, times.values())
    same = sum(a == b for a, b in zip(made["stock"], made["ours"], strict=True))
    yield (
        f"answering              {len(prompts)} rows in {ours:.1f} s, {ratio:.2f} times as fast as generate "
        f"({stock:.1f} s); {same} answers the same"
    )


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
