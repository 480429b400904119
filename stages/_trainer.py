"""TRL's trainer as the train stage needs it: our loss, whole checkpoints, a loss that is watched. Imports torch: import
it inside functions only.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Sampler, SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from callwright.faults import Fault
from stages import _checkpoints, _loss
from stages._soap import Soap

KEPT = 2
"""Checkpoints of a training that stay: the newest, and the one before it."""


class LabelledTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with the rows in the order given, the loss of stages/_loss.py and checkpoints that are whole.

    A step has as many rows whatever the processes are and however few of them each takes at a time.
    """

    decision_weight = 1.0
    soap = False
    history: Path | None = None
    """A copy of it goes into each checkpoint."""
    loss_is_scaled_for_ga = True

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.soap:
            learns = [p for p in (self.model if model is None else model).parameters() if p.requires_grad]
            args = self.args
            self.optimizer = Soap(learns, args.learning_rate, weight_decay=args.weight_decay)
        return cast(torch.optim.Optimizer, super().create_optimizer(model))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = {key: inputs[key] for key in ("input_ids", "attention_mask", "labels")}
        loss = model(**given, over=num_items_in_batch, decision_weight=self.decision_weight)
        return loss * self.accelerator.num_processes if self.accelerator.num_processes > 1 else loss  # DDP's mean

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """What the weights of the step's labels add up to, over all its parts and processes."""
        weights = [_loss.label_weights(batch["labels"], self.decision_weight) for batch in batch_samples]
        count, total = sum(len(each) for each in weights), sum(float(each.sum()) for each in weights)
        found = torch.tensor([float(count), total], device=device)
        if self.accelerator.num_processes > 1:
            found = self.accelerator.gather(found).view(-1, 2).sum(0)
        return found[0] * (found[1] / found[0]) if found[0] else found[0] + 1  # as a number times its mean is rounded

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """PEFT makes what it loads float32, whatever it was when it was saved."""
        kept = {name: weight.dtype for name, weight in self.model.named_parameters() if weight.requires_grad}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, weight in self.model.named_parameters():
            if name in kept:
                weight.data = weight.data.to(kept[name])

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        work, step, first = Path(str(self.args.output_dir)), self.state.global_step, self.is_world_process_zero()
        with _checkpoints.writing(work, step, KEPT) if first else contextlib.nullcontext():
            self.accelerator.wait_for_everyone()
            with _output_dir(self.args, _checkpoints.aside(work, step)):
                super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if first:
                _lift(_checkpoints.aside(work, step))
                if self.history:
                    shutil.copyfile(self.history, _checkpoints.aside(work, step) / self.history.name)
        self.accelerator.wait_for_everyone()


@contextlib.contextmanager
def _output_dir(args: TrainingArguments, folder: Path) -> Iterator[None]:
    before, args.output_dir = args.output_dir, str(folder)
    try:
        yield
    finally:
        args.output_dir = before


def _lift(folder: Path) -> None:
    """What the folder that transformers makes in it holds belongs one up."""
    (inner,) = folder.glob("checkpoint-*")
    for file in inner.iterdir():
        file.rename(folder / file.name)
    inner.rmdir()


class Steps(TrainerCallback):  # type: ignore[misc]
    """Tells `watch` of every step, stops when `stop()` says so in any process, and guards the loss."""

    def __init__(self, watch: Callable[[int, dict[str, float]], None], stop: Callable[[], bool]) -> None:
        self.watch, self.stop = watch, stop
        self.losses: list[float] = []

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            loss = float(logs["loss"])
            self.losses.append(loss)
            refuse_divergence(self.losses, state.global_step)
            self.watch(state.global_step, {"loss": loss, "learning_rate": float(logs["learning_rate"])})

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.losses = [float(line["loss"]) for line in state.log_history if "loss" in line]  # of what is gone on from

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if _any_process(self.stop(), args.device):
            control.should_save = control.should_training_stop = True


def refuse_divergence(losses: Sequence[float], step: int) -> None:
    """Raise where the last loss is no number, or the last ten lie far above the first ten."""
    if not math.isfinite(losses[-1]):
        raise Fault(f"the loss is {losses[-1]} at step {step}; lower train.learning_rate in params.yaml")
    if len(losses) < 2 * _LOOK:
        return
    first, last = statistics.fmean(losses[:_LOOK]), statistics.fmean(losses[-_LOOK:])
    if last > max(2 * first, first + 3):
        raise Fault(
            f"the loss rose from {first:.2f} to {last:.2f} (means of {_LOOK} steps) by step {step}; "
            "lower train.learning_rate in params.yaml, or raise train.warmup_share"
        )


_LOOK = 10


def _any_process(said: bool, device: torch.device) -> bool:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return said
    found = torch.tensor(float(said), device=device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return bool(found)
