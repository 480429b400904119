"""Tokens a second of a training step: ours beside the stock loss of transformers, on the same batches of our own rows.

Both sides have an equal model (NF4 values held dense, LoRA on all linear layers) and take turns; losses are compared.
Not covered: TRL with the 4-bit layers themselves, which is slower still, and other trainers.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BASE, ROWS = Path("models/base"), Path("data/formatted/native/train.jsonl")
ROUNDS, BATCHES = 3, 2


def measure() -> Iterator[str]:
    """One line."""
    if not (BASE / "config.json").exists() or not ROWS.exists():
        yield "training step          not measured: nothing has run yet; make run, then make bench"
        return
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from callwright.params import read_params
    from stages import _fused, _qlora

    params = read_params().train
    models = {name: _qlora.load(BASE, params).train() for name in ("stock", "ours")}
    _fused.speed_up(models["ours"])
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    planned = _qlora.order([row["input_ids"] for row in rows], params.batch_size, 1, params.seed)
    collate = DataCollatorForLanguageModeling(pad_token_id=models["ours"].config.pad_token_id)
    size = params.batch_size
    batches = [
        collate([{key: rows[i][key] for key in ("input_ids", "labels")} for i in planned[k * size : (k + 1) * size]])
        for k in range(BATCHES)
    ]

    def stock(batch: dict[str, Any]) -> Any:
        return models["stock"](**batch, use_cache=False).loss

    def ours(batch: dict[str, Any]) -> Any:
        return _qlora.labelled_loss(models["ours"], batch)

    times: dict[str, list[float]] = {"stock": [], "ours": []}
    apart = 0.0
    for turn in range(ROUNDS + 1):
        losses = {}
        for name, loss in (("stock", stock), ("ours", ours)):
            seconds, losses[name] = _steps(loss, batches, models[name])
            if turn:  # the first round touches the memory
                times[name].append(seconds)
        apart = max(apart, *(abs(a - b) for a, b in zip(losses["stock"], losses["ours"], strict=True)))
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    speed = {name: tokens / statistics.median(seconds) for name, seconds in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["stock"], times["ours"], strict=True))
    yield (
        f"training step          {speed['ours']:.0f} tokens/s, {ratio:.2f} times the stock loss "
        f"({speed['stock']:.0f} tokens/s); losses at most {apart:.1e} apart"
    )


def _steps(
    loss: Callable[[dict[str, Any]], Any], batches: list[dict[str, Any]], model: Any
) -> tuple[float, list[float]]:
    """Seconds of forward and backward over all batches, and their losses."""
    losses, began = [], time.perf_counter()
    for batch in batches:
        value = loss(dict(batch))
        value.backward()
        losses.append(float(value.detach()))
    seconds = time.perf_counter() - began
    model.zero_grad()
    return seconds, losses
