"""Stock TRL's side of the training benchmark: SFTTrainer, NF4 by bitsandbytes, LoRA by PEFT, as their guides have it.

    python -m benchmarks.peers.trl_stock JOB.json

JOB.json is that of benchmarks/ours.py. Its `batches` are `shuffled`, as TRL has it, or `given`, in our `order`.
Gradient checkpointing, which it has by default, is off: it costs time. TRL makes LoRA weights bfloat16; in a float32
run they are float32 from there on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import turns


def main() -> None:
    job, taken = turns.given()
    from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Report(TrainerCallback):  # type: ignore[misc]
        seen = 0

        def on_log(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
        ) -> None:
            if logs and "loss" in logs:
                before, self.seen = self.seen, int(logs["num_tokens"])
                taken.step(float(logs["loss"]), self.seen - before)

    trainer = trainer_of(job)
    trainer.pop_callback(PrinterCallback)
    trainer.add_callback(Report())
    trainer.train()


def trainer_of(job: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTTrainer

    train, number = job["train"], getattr(torch, job["number"])
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=number
    )
    base = AutoModelForCausalLM.from_pretrained(
        job["base"], dtype=number, attn_implementation="sdpa", quantization_config=nf4
    )
    lora = train["lora"]
    torch.manual_seed(train["seed"])
    model = get_peft_model(
        base,
        LoraConfig(
            r=lora["rank"],
            lora_alpha=lora["alpha"],
            lora_dropout=lora["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    rows = [{key: row[key] for key in ("input_ids", "labels")} for row in map(json.loads, lines)]
    if job["batches"] == "given":
        rows = [rows[i] for i in job["order"]]
    trainer = SFTTrainer(
        model=model,
        args=arguments(job),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["base"]),
    )
    if number is torch.float32:
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
    return trainer


def arguments(job: dict[str, Any]) -> Any:
    """The hyperparameters of stages/_qlora.py, with AdamW."""
    from trl import SFTConfig

    train, steps = job["train"], sum(job["turns"])
    return SFTConfig(
        output_dir="work",
        max_steps=steps,
        per_device_train_batch_size=train["batch_size"],
        train_sampling_strategy="sequential" if job["batches"] == "given" else "random",
        max_length=job["max_length"],
        learning_rate=train["learning_rate"],
        lr_scheduler_type="warmup_stable_decay",
        warmup_steps=round(train["warmup_share"] * steps),
        lr_scheduler_kwargs={"num_decay_steps": round(train["decay_share"] * steps)},
        weight_decay=train["weight_decay"],
        max_grad_norm=train["max_grad_norm"],
        optim="adamw_torch_fused",
        gradient_checkpointing=False,
        bf16=False,  # it multiplies in the model's own numbers
        use_cpu=True,
        dataloader_pin_memory=False,
        logging_steps=1,
        save_strategy="no",
        seed=train["seed"],
        report_to=[],
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main()
