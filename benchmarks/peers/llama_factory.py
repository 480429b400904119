"""LLaMA-Factory's side of the training benchmark: its own `run_exp`, with QLoRA in NF4 on the same tokens and labels.

    .bench/llama-factory/bin/python -m benchmarks.peers.llama_factory JOB.json

benchmarks.training starts it with the Python of a venv that has the package `llamafactory`; JOB.json is that of
benchmarks/ours.py. The rows are given as its `tokenized_path`, so that they are the same to the token. Its gradient
checkpointing, on by default, is off. On a CPU it takes no pure bfloat16; `bf16` there is autocast over float32 LoRA
weights. Pictures and sound are hidden from it: it asks for torchvision and torchaudio, whose wheels do not load beside
a torch for CPUs, and a training on text uses neither.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from benchmarks import turns

TOKENS = "num_input_tokens_seen"


def main() -> None:
    job, taken = turns.given()
    hide_pictures_and_sound()
    from datasets import Dataset, DatasetDict
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        seen = 0

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                before, self.seen = self.seen, int(state.num_input_tokens_seen)
                taken.step(float(logs["loss"]), self.seen - before)

    DatasetDict({"train": Dataset.from_list(rows(Path(job["rows"])))}).save_to_disk("tokens")
    run_exp(settings(job), [Report()])


def hide_pictures_and_sound() -> None:
    """`import torchvision` says that it is not there; `import torchaudio`, which LLaMA-Factory insists on, is empty."""
    cast(dict[str, Any], sys.modules)["torchvision"] = None
    sound = ModuleType("torchaudio")
    sound.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = sound


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows as its own tokenising leaves them, without pictures, films and sounds."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        ids = row["input_ids"]
        found.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": row["labels"]})
    return found


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """What stands in a YAML file of `llamafactory-cli train`."""
    train, steps = job["train"], sum(job["turns"])
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": job["base"],
        "template": "empty",
        "tokenized_path": "tokens",
        "dataset": "rows",
        "cutoff_len": job["max_length"],
        "finetuning_type": "lora",
        "lora_rank": train["lora"]["rank"],
        "lora_alpha": train["lora"]["alpha"],
        "lora_dropout": train["lora"]["dropout"],
        "lora_target": "all",
        "quantization_bit": 4,
        "quantization_type": "nf4",
        "double_quantization": True,
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": True,
        "bf16": job["number"] == "bfloat16",
        "use_cpu": True,
        "per_device_train_batch_size": train["batch_size"],
        "max_steps": steps,
        "learning_rate": train["learning_rate"],
        "lr_scheduler_type": "warmup_stable_decay",
        "warmup_steps": round(train["warmup_share"] * steps),
        "lr_scheduler_kwargs": json.dumps({"num_decay_steps": round(train["decay_share"] * steps)}),
        "weight_decay": train["weight_decay"],
        "max_grad_norm": train["max_grad_norm"],
        "optim": "adamw_torch_fused",
        "seed": train["seed"],
        "include_num_input_tokens_seen": "non_padding",
        "logging_steps": 1,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": "none",
        "output_dir": "work",
    }


if __name__ == "__main__":
    main()
