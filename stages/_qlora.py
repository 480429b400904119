"""QLoRA: the base in NF4, LoRA on all linear layers, TRL's trainer. Imports torch: import it inside functions only.

On a CPU bitsandbytes dequantises every weight in every forward and backward pass, so there the NF4-rounded values are
kept dense: the same numbers, about twice as fast (docs/lab-notes.md).
QLoRA: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314.
"""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from callwright.faults import Fault
from callwright.params import Optimizer, Quantization, Train
from stages import _fused, _model, _tree
from stages._soap import Soap

SHARED = 32
"""Tokens from which rows count as beginning alike: less is not worth a mask of its own."""
WHOLE = "whole"  # the file that a checkpoint gets last


def load(folder: Path, params: Train) -> PeftModel:
    """The base of `folder`, rounded to NF4 where `params.quantization` says so, with fresh LoRA weights."""
    dtype, on_gpu = _model.number_format(), torch.cuda.is_available()
    if params.quantization is Quantization.NF4:
        model = _model.load_nf4(folder, dtype)
        if not on_gpu:
            model = _model.dense(model, dtype)
    else:
        model = _model.load(folder, dtype)
    model.config.use_cache = False
    if not on_gpu:
        model.set_attn_implementation(_tree.ATTENTION)
    lora = LoraConfig(
        r=params.lora.rank,
        lora_alpha=params.lora.alpha,
        lora_dropout=params.lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(params.seed)
    return cast(PeftModel, get_peft_model(model, lora, autocast_adapter_dtype=False))


def keep_memory() -> None:
    """Tell glibc (mallopt of malloc.h) not to give memory back between steps; elsewhere nothing happens."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
    mallopt(m_top_pad, 256 * 2**20)


def order(rows: Sequence[Sequence[int]], batch_size: int, epochs: float, seed: int) -> list[int]:
    """Row numbers in the order of training, all epochs at once: a resumed training sees what an unbroken one sees.

    `rows` are token ids. Batches hold rows that begin alike and are of like length, so that a batch computes its common
    beginning once and little is padding; which rows meet, and the order of batches, change from epoch to epoch.
    """
    rng, out, late = random.Random(seed), list[int](), list[int]()
    total, heads = round(len(rows) * epochs), _heads(rows, batch_size)
    while len(out) + len(late) < total:
        shuffled = list(range(len(rows)))
        rng.shuffle(shuffled)
        groups: dict[tuple[int, ...], list[int]] = {}
        for row in shuffled:
            groups.setdefault(heads[row], []).append(row)
        batches, alone = list[list[int]](), list[int]()
        for group in groups.values():
            batches += _cut(sorted(group, key=lambda row: len(rows[row])), batch_size, alone)
        batches += _cut(
            sorted(alone, key=lambda row: len(rows[row])), batch_size, late
        )  # a short batch amid whole ones would shift them
        rng.shuffle(batches)
        out += [row for batch in batches for row in batch]
    return (out + late)[:total]


def _heads(rows: Sequence[Sequence[int]], batch_size: int) -> list[tuple[int, ...]]:
    """The longest beginning of each row that a whole batch of rows has; empty where that is too short to matter."""
    heads: list[tuple[int, ...]] = [()] * len(rows)
    left = list(range(len(rows)))
    length = SHARED
    while left:
        groups: dict[tuple[int, ...], list[int]] = {}
        for row in left:
            groups.setdefault(tuple(rows[row][:length]), []).append(row)
        left = [
            row for head, group in groups.items() if len(group) >= batch_size and len(head) == length for row in group
        ]
        for row in left:
            heads[row] = tuple(rows[row][:length])
        length += 8
    return heads


def _cut(rows: list[int], size: int, rest: list[int]) -> list[list[int]]:
    """Whole batches of `rows`; those left over go to `rest`."""
    end = len(rows) // size * size
    rest += rows[end:]
    return [rows[i : i + size] for i in range(0, end, size)]


class LabelledTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, in the order given.

    On a CPU a batch computes its common beginning once, and only labelled positions go through the LM head. The loss is
    that of stock TRL, which computes and scores every position of every row, but that the first token of an answer
    counts `decision_weight` times.
    """

    decision_weight = 1.0
    soap = False

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.soap:
            learns = [p for p in (self.model if model is None else model).parameters() if p.requires_grad]
            args = self.args
            self.optimizer = Soap(learns, args.learning_rate, weight_decay=args.weight_decay)
        return cast(torch.optim.Optimizer, super().create_optimizer(model))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not return_outputs and inputs["input_ids"].device.type == "cpu":
            model = self.accelerator.unwrap_model(model)
            return labelled_loss(model, inputs, num_items_in_batch, self.decision_weight)
        if not return_outputs and self.decision_weight != 1:
            return whole_loss(model, inputs, num_items_in_batch, self.decision_weight)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


def labelled_loss(model: Any, inputs: dict[str, Any], count: Any = None, weight: float = 1.0) -> torch.Tensor:
    """Mean cross entropy over labelled positions; `count` is their number in the whole step.

    The first token of each answer counts `weight` times in it. `inputs` are padded on the right: input_ids, labels and
    attention_mask of shape (rows, tokens).
    """
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    shared, chosen = shared_tokens(inputs), inputs["labels"][:, 1:] != -100
    alike = shared >= SHARED
    hidden = _as_a_tree(causal, inputs, shared, chosen) if alike else _as_rows(causal, inputs, chosen)
    head, labels, weights = causal.get_output_embeddings(), *_weighted(inputs["labels"], chosen, count, weight)
    if type(head) is torch.nn.Linear and getattr(head, "bias", None) is None and not head.weight.requires_grad:
        return _fused.cross_entropy(hidden, head.weight, labels, weights)
    return _cross_entropy(head(hidden), labels, weights)


def whole_loss(model: Any, inputs: dict[str, Any], count: Any = None, weight: float = 1.0) -> torch.Tensor:
    """The same through the model's own forward, as a GPU computes it and as several processes need it."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
    chosen = inputs["labels"][:, 1:] != -100
    return _cross_entropy(logits[:, :-1][chosen], *_weighted(inputs["labels"], chosen, count, weight))


def _weighted(
    labels: torch.Tensor, chosen: torch.Tensor, count: Any, weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `chosen` labels, and how much each counts in the mean; one after a label not chosen begins an answer."""
    goes_on = torch.zeros_like(chosen)
    goes_on[:, 1:] = chosen[:, :-1]
    weights = torch.where(goes_on[chosen], 1.0, weight)
    whole = weights.sum() if count is None else count * weights.mean()
    return labels[:, 1:][chosen], weights / whole


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (functional.cross_entropy(logits.float(), labels, reduction="none") * weights).sum()


def shared_tokens(inputs: dict[str, Any]) -> int:
    """How many tokens all rows begin with alike, none of them followed by a labelled one; 0 for a single row."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    if len(ids) < 2:
        return 0
    alike = (ids == ids[0]).all(0) & (inputs["attention_mask"] == 1).all(0) & (labels == -100).all(0)
    return max(0, int(alike.cumprod(0).sum()) - 1)


def _as_rows(causal: Any, inputs: dict[str, Any], chosen: torch.Tensor) -> torch.Tensor:
    """What foretells the chosen labels, row after row."""
    hidden: torch.Tensor = causal.get_decoder()(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
    ).last_hidden_state
    return hidden[:, :-1][chosen]


def _as_a_tree(causal: Any, inputs: dict[str, Any], shared: int, chosen: torch.Tensor) -> torch.Tensor:
    """The same by computing what the rows begin with once, and nothing that comes after the last label was foretold."""
    places = torch.arange(1, chosen.shape[1] + 1, device=chosen.device)
    lengths = (places * chosen).amax(1).clamp(min=shared + 1)
    tree = _tree.Tree.of(inputs["input_ids"], lengths.tolist(), shared)
    hidden: torch.Tensor = causal.get_decoder()(
        input_ids=tree.input_ids, position_ids=tree.positions, attention_mask=tree.no_mask, tree=tree, use_cache=False
    ).last_hidden_state
    computed = (places > shared) & (places <= lengths[:, None])
    return hidden[0, shared:][chosen[computed]]


class Steps(TrainerCallback):  # type: ignore[misc]
    """Tells `watch` of every step, stops when `stop()` says so, and marks checkpoints that are whole."""

    def __init__(self, watch: Callable[[int, dict[str, float]], None], stop: Callable[[], bool]) -> None:
        self.watch, self.stop = watch, stop

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise Fault(f"the loss is {loss} at step {state.global_step}; lower train.learning_rate in params.yaml")
            self.watch(state.global_step, {"loss": loss, "learning_rate": float(logs["learning_rate"])})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.stop():
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint. transformers takes the highest number, whole or not."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def fine_tune(
    model: PeftModel,
    rows: Sequence[dict[str, Any]],
    params: Train,
    work: Path,
    pad: int,
    watch: Callable[[int, dict[str, float]], None],
    stop: Callable[[], bool],
) -> tuple[int, int]:
    """Train on rows of `input_ids` and `labels`, from the last checkpoint in `work` on; (steps done, steps in all)."""
    planned = order([row["input_ids"] for row in rows], params.batch_size, params.epochs, params.seed)
    steps = -(-len(planned) // params.batch_size)
    data = Dataset.from_list([{key: rows[i][key] for key in ("input_ids", "labels")} for i in planned])
    trainer = LabelledTrainer(
        model=model,
        args=_arguments(params, work, steps),
        train_dataset=data,
        data_collator=DataCollatorForLanguageModeling(pad_token_id=pad),
        callbacks=[Steps(watch, stop)],
    )
    trainer.decision_weight = params.decision_weight
    trainer.soap = params.optimizer is Optimizer.SOAP
    trainer.pop_callback(_printer(trainer))
    if not torch.cuda.is_available():
        _fused.speed_up(model, params.int8_products and _model.has_int8())
    _model.refuse_repacked(model)
    checkpoint = last_checkpoint(work)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.state.global_step, steps


def _arguments(params: Train, work: Path, steps: int) -> SFTConfig:
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        warmup_steps=round(params.warmup_share * steps),
        lr_scheduler_kwargs={"num_decay_steps": round(params.decay_share * steps)},
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        optim="paged_adamw_8bit" if on_gpu else "adamw_torch_fused",
        gradient_checkpointing=on_gpu,
        bf16=on_gpu and _model.number_format() is torch.bfloat16,
        fp16=on_gpu and _model.number_format() is torch.float16,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        max_length=None,
        logging_steps=1,
        logging_strategy="steps",
        save_strategy="steps",
        save_steps=params.checkpoint_steps,
        save_total_limit=2,
        seed=params.seed,
        report_to=[],
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _printer(trainer: SFTTrainer) -> Any:
    """The callback that prints every log as a dict; progress is told otherwise."""
    from transformers import PrinterCallback

    return PrinterCallback


@torch.no_grad()
def mean_loss(model: PeftModel, rows: Sequence[dict[str, Any]], batch_size: int, pad: int) -> float:
    """Mean loss over the labelled tokens of `rows`; the model is left in training mode."""
    collate = DataCollatorForLanguageModeling(pad_token_id=pad)
    total, count = 0.0, 0
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    for i in range(0, len(ordered), batch_size):
        part = [{key: row[key] for key in ("input_ids", "labels")} for row in ordered[i : i + batch_size]]
        batch = {key: value.to(model.device) for key, value in collate(part).items()}
        labelled = int((batch["labels"][:, 1:] != -100).sum())
        total += float(labelled_loss(model, batch)) * labelled
        count += labelled
    return total / count
