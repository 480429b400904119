"""card: what a person wants to know before using an adapter, as Markdown; MLflow shows it on the version's page"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwright.params import Quantization
from stages._tracking import finite

SLICES = (
    ("all rows", ("overall",)),
    ("zh-TW", ("by_language", "zh-TW")),
    ("en", ("by_language", "en")),
    ("tools seen in training", ("by_tools", "seen")),
    ("tools never seen", ("by_tools", "unseen")),
)


def model_card(name: str, summary: Mapping[str, Any], metrics: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """`facts` are the version's tags: where everything came from."""
    base = summary["base"]
    rounded = ", rounded to NF4 as in training" if summary.get("quantization") == Quantization.NF4 else ""
    table = "\n".join(
        f"| {title} | {_share(metrics, 'base', *path)} | {_share(metrics, 'tuned', *path)} |" for title, path in SLICES
    )
    sources = "\n".join(f"- `{tag}`: {value}" for tag, value in sorted(facts.items()))
    return f"""# {name}: {base.get("preset")} tuned to call tools

A LoRA adapter (PEFT, safetensors) for `{base.get("source")}`, revision `{base.get("revision")}`. It turns a request and
the definitions of some tools into calls, asks for a value that is missing, or answers without a call. Languages:
Traditional Chinese (Taiwan) and English. Moments are relative (`tomorrow 15:00`); the backend resolves them.

## Accuracy on held-out rows

| rows | base | tuned |
| --- | --- | --- |
{table}

A call is right if the tool and every parameter are. Measured on generated rows of this project's own packs, so it says
little about other tools: look at the last line, and measure on yours.

## Training

{summary.get("train_rows")} rows, {summary.get("epochs")} epochs, {summary.get("steps")} steps, \
{summary.get("train_tokens")} tokens; loss {summary.get("first_loss")} to {summary.get("final_loss")}, \
on dev {summary.get("dev_loss")}.

## Where it comes from

{sources}

## Use

    mlflow.artifacts.download_artifacts("models:/{name}@champion")    # this folder
    peft.PeftModel.from_pretrained(base, folder)                      # on the base named above{rounded}; not on another
"""


def _share(metrics: Any, *path: str) -> str:
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    accuracy = finite(metrics.get("accuracy")) if isinstance(metrics, Mapping) else None
    return "not measured" if accuracy is None else f"{accuracy:.1%} of {metrics.get('n')}"
