"""QLoRA: the base in NF4, LoRA on all linear layers, TRL's trainer. Imports torch: import it inside functions only.

On a CPU bitsandbytes dequantises every weight in every forward and backward pass, so there the NF4-rounded values are
kept dense: the same numbers, about twice as fast (docs/lab-notes.md).
QLoRA: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback
from trl import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from callwright.faults import Fault
from callwright.params import Optimizer, Quantization, Train
from stages import _checkpoints, _fused, _loss, _model, _tree
from stages._order import order
from stages._trainer import LabelledTrainer, Steps

HISTORY = "history.jsonl"


def load(folder: Path, params: Train) -> PeftModel:
    """The base of `folder`, rounded to NF4 where `params.quantization` says so, with fresh LoRA weights."""
    dtype, on_gpu = _model.number_format(), torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # bitsandbytes puts the base on the current one
    if params.quantization is Quantization.NF4:
        model = _model.load_nf4(folder, dtype)
        if not on_gpu:
            model = _model.dense(model, dtype)
    else:
        model = _model.load(folder, dtype)
    model.config.use_cache = False
    if not on_gpu and getattr(model.config, "sliding_window", None) is None:
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


@dataclass(frozen=True, slots=True)
class Split:
    """How the rows of a step are dealt out."""

    processes: int
    at_a_time: int
    """Rows of one forward pass."""
    parts: int
    """Forward passes of each process in a step."""

    @classmethod
    def of(cls, params: Train, processes: int) -> Split:
        """`Fault` where rows_at_a_time does not divide a process's share of batch_size."""
        share, left = divmod(params.batch_size, processes)
        at_a_time = min(params.rows_at_a_time, share)
        if left or share % at_a_time:
            raise Fault(
                f"params.yaml: train.batch_size is {params.batch_size}, of {processes} process(es) with "
                f"rows_at_a_time {params.rows_at_a_time} each; make batch_size a multiple of their product"
            )
        return cls(processes, at_a_time, share // at_a_time)


def fine_tune(
    model: PeftModel,
    rows: Sequence[dict[str, Any]],
    params: Train,
    work: Path,
    pad: int,
    watch: Callable[[int, dict[str, float]], None],
    stop: Callable[[], bool],
    tokenizer: Any = None,
) -> tuple[int, int]:
    """Train on rows of `input_ids` and `labels`, from the last checkpoint in `work` on; (steps done, steps in all)."""
    planned = order([row["input_ids"] for row in rows], params.batch_size, params.epochs, params.seed)
    steps = -(-len(planned) // params.batch_size)
    given = [{key: rows[i][key] for key in ("input_ids", "labels")} for i in planned]
    args = arguments(params, work, steps)
    if args.world_size * args.gradient_accumulation_steps > 1:  # each has a part of the last step, were it of no label
        given += [{"input_ids": [pad], "labels": [-100]}] * (steps * params.batch_size - len(given))
    trainer = LabelledTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(given),
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(pad_token_id=pad),
        callbacks=[Steps(watch, stop)],
    )
    trainer.decision_weight = params.decision_weight
    trainer.soap = params.optimizer is Optimizer.SOAP
    trainer.history = work / HISTORY
    trainer.pop_callback(PrinterCallback)  # it prints every log as a dict; progress is told otherwise
    _loss.score_labels(model)
    if not torch.cuda.is_available():
        _fused.speed_up(model, params.int8_products and _model.has_int8())
    _model.refuse_repacked(model)
    checkpoint = _checkpoints.newest(work)
    _refuse_other_steps(_checkpoints.step_of(checkpoint), args.device)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.state.global_step, steps


def _refuse_other_steps(step: int, device: torch.device) -> None:
    """Each machine of several goes on from the checkpoint on its own disk: they have to be of one step."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    ends = torch.tensor([step, -step], device=device)
    torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX)
    most, least = int(ends[0]), -int(ends[1])
    if most != least:
        raise Fault(
            f"the machines have checkpoints of other steps ({least} and {most}); copy checkpoints/ of the one whose "
            "machine_rank is 0 to the others, or remove it from all of them"
        )


def arguments(params: Train, work: Path, steps: int) -> SFTConfig:
    on_gpu = torch.cuda.is_available()
    if _is_spread() and params.optimizer is Optimizer.SOAP:
        raise Fault(
            "params.yaml: train.optimizer is 'soap', which needs whole matrices, and FSDP spreads them; write adamw"
        )
    split = Split.of(params, processes())
    return SFTConfig(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=split.at_a_time,
        gradient_accumulation_steps=split.parts,
        learning_rate=params.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        warmup_steps=round(params.warmup_share * steps),
        lr_scheduler_kwargs={"num_decay_steps": round(params.decay_share * steps)},
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        optim="paged_adamw_8bit" if on_gpu and not _is_spread() else "adamw_torch_fused",
        gradient_checkpointing=on_gpu,
        gradient_checkpointing_kwargs={"use_reentrant": False} if on_gpu else None,
        bf16=on_gpu and _model.number_format() is torch.bfloat16,
        fp16=on_gpu and _model.number_format() is torch.float16,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,
        max_length=None,
        logging_steps=1,
        logging_strategy="steps",
        logging_nan_inf_filter=False,  # a NaN would be logged as 0
        save_strategy="steps",
        save_steps=params.checkpoint_steps,
        seed=params.seed,
        report_to=[],
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _is_spread() -> bool:
    """Whether accelerate spreads the model over the processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true"


def processes() -> int:
    """How many train together, as accelerate's launcher has told each."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@torch.no_grad()
def mean_loss(model: PeftModel, rows: Sequence[dict[str, Any]], batch_size: int, pad: int) -> float:
    """Mean loss over the labelled tokens of `rows`, after `fine_tune`; the model is left in training mode.

    Eval mode would repack 4-bit weights: dropout alone is switched off.
    """
    dropped = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    for module in dropped:
        module.eval()
    collate = DataCollatorForLanguageModeling(pad_token_id=pad)
    total, count = 0.0, 0
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    for i in range(0, len(ordered), batch_size):
        part = [{key: row[key] for key in ("input_ids", "labels")} for row in ordered[i : i + batch_size]]
        batch = {key: value.to(model.device) for key, value in collate(part).items()}
        labelled = int((batch["labels"][:, 1:] != -100).sum())
        total += float(cast(Any, model(**batch))) * labelled  # through the wrapped forward, for what FSDP has spread
        count += labelled
    for module in dropped:
        module.train()
    return total / count
