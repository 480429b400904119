"""card: what a person wants to know before using an adapter, as Markdown; MLflow shows it on the version's page

lineage(…) and opinion(…) are the version's tags: what it was made from, and what is thought of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callwright.gate import Decision
from callwright.params import Quantization
from callwright.presets import FOLDER
from stages._completion import data_hash, origin
from stages._tracking import finite

ROWS = (
    ("all rows", ("overall",)),
    ("zh-TW", ("by_language", "zh-TW")),
    ("en", ("by_language", "en")),
    ("tools seen in training", ("by_tools", "seen")),
    ("tools never seen", ("by_tools", "unseen")),
)

LINEAGE = (
    *("callwright.adapter_hash", "callwright.key", "callwright.base", "callwright.base_source"),
    *("callwright.data_hash", "callwright.validated_hash", "callwright.lock_hash"),
    *("mlflow.source.git.commit", "callwright.git_dirty"),
)


def base_name(summary: Mapping[str, Any]) -> str:
    """`smollm2-135m@<revision>`: what an adapter fits on."""
    return f"{summary['base'].get('preset', '')}@{summary['base'].get('revision', '')}"


def lineage(summary: Mapping[str, Any], adapter_hash: str) -> dict[str, str]:
    """What a version was made from: what neither git nor DVC can say is left out."""
    made_from = {
        "callwright.adapter_hash": adapter_hash,
        "callwright.key": str(summary["key"]),
        "callwright.base": base_name(summary),
        "callwright.base_source": str(summary["base"].get("source", "")),
        "callwright.data_hash": data_hash("train", "data/formatted/native") or "",
        "callwright.validated_hash": data_hash("evaluate", "data/validated") or "",
        **origin(),
    }
    return {name: value for name, value in made_from.items() if value}


def opinion(metrics: Mapping[str, Any], decision: str, why: str) -> dict[str, str]:
    """What the last decision found of a version: with other rows or rules it may be another."""
    return {
        "callwright.test_hash": str(metrics["test_hash"]),
        "callwright.rows": str(_at(metrics, "n", "tuned", "overall")),
        "callwright.accuracy": str(_at(metrics, "accuracy", "tuned", "overall")),
        "callwright.base_accuracy": str(_at(metrics, "accuracy", "base", "overall")),
        "callwright.seen_accuracy": str(_at(metrics, "accuracy", "tuned", "by_tools", "seen")),
        "callwright.unseen_accuracy": str(_at(metrics, "accuracy", "tuned", "by_tools", "unseen")),
        "callwright.decision": decision,
        "callwright.reason": why[:5000],
    }


def model_card(
    name: str, summary: Mapping[str, Any], metrics: Mapping[str, Any], tags: Mapping[str, str], found: Decision
) -> str:
    """`tags` are the version's: where everything came from."""
    base = summary["base"]
    rounded = ", rounded to NF4 as in training" if summary.get("quantization") == Quantization.NF4 else ""
    table = "\n".join(
        f"| {title} | {_share(metrics, 'base', *path)} | {_share(metrics, 'tuned', *path)} |" for title, path in ROWS
    )
    reasons = "\n".join(f"- {reason}" for reason in found.reasons)
    slices = "\n".join(_slices(found.numbers))
    sources = "\n".join(f"- `{tag}`: {value}" for tag, value in sorted(tags.items()) if tag != "callwright.reason")
    return f"""# {name}: {base.get("preset")} tuned to call tools

A LoRA adapter (PEFT, safetensors) for `{base.get("source")}`, revision `{base.get("revision")}`. It turns a request and
the definitions of some tools into calls, asks for a value that is missing, or answers without a call. Languages:
Traditional Chinese (Taiwan) and English. Moments are relative (`tomorrow 15:00`); the backend resolves them.

## Accuracy on held-out rows

| rows | base | tuned |
| --- | --- | --- |
{table}

A call is right if the tool and every parameter are.

## The gate: {found.decision}

{reasons}

{slices}

## Limits

Measured on generated rows of this project's own packs, in two languages, so it says little about other tools: look at
the line of tools never seen, and measure on yours. It names tools and values; whether they may be run is the backend's
to check. What it tells of a result may be wrong.

## Licence

The base's licence holds for base and adapter in use. {_of_the_base(str(base.get("preset", "")))}

## Training

{summary.get("train_rows")} rows, {summary.get("epochs")} epochs, {summary.get("steps")} steps, \
{summary.get("train_tokens")} tokens; loss {summary.get("first_loss")} to {summary.get("final_loss")}, \
on dev {summary.get("dev_loss")}.

## Where it comes from

{sources}

## Use

    mlflow models serve -m models:/{name}@champion --env-manager local       # docs/serving.md
    folder = mlflow.artifacts.download_artifacts("models:/{name}@champion")  # the version's files
    peft.PeftModel.from_pretrained(base, f"{{folder}}/artifacts/adapter")     # on the base above{rounded}; no other
"""


def _slices(numbers: Mapping[str, Any]) -> Iterator[str]:
    """The tables of what the gate compared, one a rival."""
    for one in (numbers.get("base"), numbers.get("champion")):
        if not one:
            continue
        low, high = (100 * edge for edge in one["ci95"])
        yield (
            f"Against {one['name']}: {one['wins']} rows won, {one['losses']} lost of {one['n']}, "
            f"{100 * one['difference']:+.1f} points (95% interval {low:+.1f} to {high:+.1f}), "
            f"p = {one['p_value']:.2g}.\n"
        )
        yield f"| slice | rows | {one['name']} | tuned | points (95% interval) | decides |"
        yield "| --- | ---: | ---: | ---: | ---: | --- |"
        for slice_, part in one["slices"].items():
            low, high = (100 * edge for edge in part["ci95"])
            decides = "got worse" if part["regression"] else "yes" if part["decisive"] else "too few rows"
            yield (
                f"| {slice_} | {part['n']} | {part['other']:.1%} | {part['tuned']:.1%} | "
                f"{100 * part['difference']:+.1f} ({low:+.1f} to {high:+.1f}) | {decides} |"
            )
        yield ""
    for category, floor in (numbers.get("floors") or {}).items():
        share = "not measured" if floor["accuracy"] is None else f"{floor['accuracy']:.1%} of {floor['n']} rows"
        yield f"- Floor of {category} on seen tools: {floor['floor']:.0%}; it is at {share}."


def _of_the_base(preset: str) -> str:
    """What the preset's file says of it in its first line: name and licence."""
    try:
        first = (FOLDER / f"{preset}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return "The preset's file names it."
    return first.removeprefix("#").strip()


def _share(metrics: Any, *path: str) -> str:
    accuracy = _at(metrics, "accuracy", *path)
    return "not measured" if accuracy is None else f"{accuracy:.1%} of {_at(metrics, 'n', *path)}"


def _at(metrics: Any, key: str, *path: str) -> float | None:
    """The finite number at this path, or None: a slice without rows has none."""
    for name in path:
        metrics = metrics.get(name) if isinstance(metrics, Mapping) else None
    return finite(metrics.get(key)) if isinstance(metrics, Mapping) else None
