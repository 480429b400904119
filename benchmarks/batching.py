"""Three ways to make batches, in one training of ours: rows of like length, packed rows, rows that begin alike.

    python -m benchmarks.batching JOB.json

benchmarks.training starts it with the JOB.json of benchmarks/ours.py. All else is the same: model, LoRA, products,
loss, AdamW; what differs is what is computed for a real token. `packed` is TRL's packing and its collator: whole rows,
best fit, one sequence, under SDPA with a mask that keeps them apart. A turn trains one way, in the order of WAYS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import turns
from callwright.outs import read_lines
from callwright.params import Train

WAYS = ("by length", "packed", "alike")


def plans(rows: Sequence[dict[str, Any]], params: Train, pad: int, max_length: int) -> dict[str, list[dict[str, Any]]]:
    """All batches of each way, `by length` from the shortest to the longest."""
    from datasets import Dataset
    from trl import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from stages._order import order

    size, lengths = params.batch_size, [len(row["input_ids"]) for row in rows]
    kept = [{key: row[key] for key in ("input_ids", "labels")} for row in rows]
    alike = order([row["input_ids"] for row in rows], size, 1, params.seed)
    packs = list(pack_dataset(Dataset.from_list(kept), max_length, "bfd"))
    at_once = max(1, round(size * sum(lengths) / len(rows) / max_length))  # about as many tokens a step
    padded = DataCollatorForLanguageModeling(pad_token_id=pad)
    joined = DataCollatorForLanguageModeling(pad_token_id=pad, padding_free=True)
    sorted_ = sorted(range(len(rows)), key=lengths.__getitem__)
    return {
        "by length": [padded([kept[i] for i in part]) for part in turns.cut(sorted_, size)],
        "packed": [joined(list(part)) for part in turns.cut(packs, at_once)],
        "alike": [padded([kept[i] for i in part]) for part in turns.cut(alike, size)],
    }


def loss_of(way: str, model: Any, batch: dict[str, Any], weight: float) -> Any:
    """The same mean over labels whatever the way: rows together in a batch give the same number in each."""
    from stages import _fused, _loss, _tree

    causal = model.get_base_model()
    causal.set_attn_implementation(_tree.ATTENTION if way == "alike" else "sdpa")
    if way != "packed":
        return _loss.labelled_loss(model, batch, weight=weight)
    decoder = causal.get_decoder()
    hidden = decoder(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)
    chosen, labels = batch["labels"][:, 1:] != -100, batch["labels"][:, 1:]
    weights = _loss.label_weights(batch["labels"], weight)
    found = hidden.last_hidden_state[:, :-1][chosen]
    return _fused.cross_entropy(found, causal.get_output_embeddings().weight, labels[chosen], weights / weights.sum())


def real_tokens(batch: dict[str, Any]) -> int:
    return int(batch["attention_mask"].sum()) if "attention_mask" in batch else int(batch["input_ids"].numel())


def main() -> None:
    job, taken = turns.given()
    import torch

    from stages import _fused, _model, _qlora

    _model.number_format = lambda: getattr(torch, job["number"])
    _qlora.keep_memory()
    params = Train.model_validate_json(json.dumps(job["train"]))
    made = plans(list(read_lines(Path(job["rows"]))), params, turns.pad_of(job["base"]), job["max_length"])
    model = _qlora.load(Path(job["base"]), params).train()
    _fused.speed_up(model, params.int8_products and _model.has_int8())
    learns = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learns, params.learning_rate, weight_decay=params.weight_decay, fused=True)

    def train(way: str, batch: dict[str, Any]) -> None:
        loss = loss_of(way, model, batch, params.decision_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns, params.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        taken.step(float(loss.detach()), real_tokens(batch))

    for way in WAYS:  # the warm-up
        train(way, made[way][-1])
    rounds, steps = len(job["turns"]) // len(WAYS), job["turns"][1]
    chosen = {way: turns.spread(batches, rounds * steps) for way, batches in made.items()}
    for turn in range(rounds):
        for way in WAYS:
            for batch in chosen[way][turn::rounds]:
                train(way, batch)


if __name__ == "__main__":
    main()
