"""A base and its adapter as one model in one folder, and whether it still answers as the two did. Imports torch.

    model = merge(base, adapter, Onto.AS_TRAINED)
    write(model, base, said, Onto.AS_TRAINED, folder)      weights in bfloat16, tokenizer, chat template, model card
    compare(base, adapter, folder, prompts, 96)            -> what each of the two said to each prompt

One copy of the weights is in memory at a time. What is not covered: a model that no single machine holds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from callwright.faults import Fault
from callwright.outs import to_json
from callwright.params import Quantization, TrainAs
from stages import _model, _serving

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

SHARD = "4GB"
BATCH = 10
ABOUT = "callwright.json"


class Onto(StrEnum):
    """What the adapter is merged into."""

    AS_TRAINED = "as-trained"
    """The base with its linear layers rounded to NF4, if they were so in training, and kept dense: the right one nearly
    always, for the adapter makes up for the rounding too (docs/adr/0011-served-as-trained.md)."""
    PLAIN = "plain"
    """The base as it was published: what others expect of a merge, and what loses some answers, few in a large model.
    To measure what it costs, or to quantise the result anew."""


def merge(base: Path, adapter: Path, onto: Onto) -> PreTrainedModel:
    """The base with the adapter in its weights, in bfloat16 on every machine."""
    import torch

    tuned = _tuned(base, adapter, torch.bfloat16, onto)
    return cast("PreTrainedModel", tuned.merge_and_unload())


def write(model: PreTrainedModel, base: Path, said: Mapping[str, Any], onto: Onto, folder: Path) -> None:
    """Fill an empty folder with all that transformers, vLLM or llama.cpp's converter want; `said` is the adapter's.

    Nothing in it names the base's folder, so that it can be moved and given away.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(base)
    ends, native = stops(said["base"]), said.get("train_as") == TrainAs.NATIVE
    model.generation_config = _greedy(tokenizer, model, ends)
    model.config._name_or_path = ""  # noqa: SLF001
    model.save_pretrained(folder, max_shard_size=SHARD)
    family = said["base"].get("family", "template")
    tokenizer.response_template = _serving.response_template(tokenizer, family, ends, native=native)
    tokenizer.save_pretrained(folder)
    about = {**said, "merged": str(onto), "number_format": "bfloat16"}
    (folder / ABOUT).write_text(to_json(about, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(said, onto), encoding="utf-8")


def stops(about: Mapping[str, Any]) -> list[str]:
    """The tokens that end an answer, the one that ends a turn first, from the callwright.json of a base."""
    return list(about["stops"]) if "stops" in about else [about["stop"]]


def rounding(said: Mapping[str, Any], onto: Onto) -> str:
    """In words, for people."""
    if said.get("quantization") != Quantization.NF4:
        return "the base as it was published, as in training"
    if onto is Onto.PLAIN:
        return "the base as it was published, though in training its linear layers were rounded to NF4"
    return "the base with its linear layers rounded to NF4 (double quantisation), as in training, and kept dense"


@dataclass(frozen=True, slots=True)
class Pair:
    """What the adapter and the merged model said to one prompt."""

    adapter: str
    merged: str


def compare(
    base: Path, adapter: Path, folder: Path, prompts: Mapping[str, list[int]], most: int, watch: Callable[[str], None]
) -> dict[str, Pair]:
    """Greedy answers of the written folder, and of the base as in training with the adapter beside it, not merged.

    transformers' own `generate` makes them, by the folder's own generation config, in this machine's number format.
    """
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = GenerationConfig.from_pretrained(folder)
    loads: list[tuple[str, Callable[[], PreTrainedModel]]] = [
        ("the merged model", lambda: _model.load(folder, _model.number_format())),
        ("the adapter", lambda: _beside(base, adapter)),
    ]
    said = []
    for name, load in loads:
        answers = _answers(load(), prompts, config, most)
        said.append([str(tokenizer.decode(answer, skip_special_tokens=False)) for answer in answers])
        gc.collect()
        watch(name)
    merged, alone = said
    return {row: Pair(*pair) for row, *pair in zip(prompts, alone, merged, strict=True)}


def _beside(base: Path, adapter: Path) -> PreTrainedModel:
    tuned = _tuned(base, adapter, _model.number_format(), Onto.AS_TRAINED)
    return cast("PreTrainedModel", tuned.get_base_model())


def _answers(
    model: PreTrainedModel, prompts: Mapping[str, list[int]], config: GenerationConfig, most: int
) -> list[list[int]]:
    """Both models get the same batches: padding moves the last digits of a number, and should move them alike."""
    import torch

    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    rows, answers = list(prompts.values()), list[list[int]]()
    stops = set(config.eos_token_id)
    with torch.inference_mode():
        for batch in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH)):
            width = max(map(len, batch))
            ids = torch.tensor([[config.pad_token_id] * (width - len(row)) + row for row in batch], device=model.device)
            seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
            made = model.generate(ids, attention_mask=seen, generation_config=config, max_new_tokens=most)
            answers += [list(takewhile(lambda token: token not in stops, row)) for row in made[:, width:].tolist()]
    return answers


def _tuned(base: Path, adapter: Path, dtype: Any, onto: Onto) -> PeftModel:
    from peft import PeftModel

    rounded = _model.check_adapter(base, adapter).get("quantization") == Quantization.NF4 and onto is Onto.AS_TRAINED
    try:
        model = _model.dense(_model.load_nf4(base, dtype), dtype) if rounded else _model.load(base, dtype)
    except OSError as error:
        raise Fault(f"{base} could not be loaded: {_first(error)}; dvc repro base makes it anew") from error
    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except Exception as error:  # whatever a file from elsewhere makes peft and safetensors say
        raise Fault(f"{adapter} could not be loaded: {_first(error)}; dvc checkout brings it back") from error


def _first(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


def _greedy(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, ends: list[str]) -> GenerationConfig:
    """The likeliest token each time, up to any of the stop tokens."""
    from transformers import GenerationConfig

    ids = [tokenizer.convert_tokens_to_ids(end) for end in ends]
    for end, number in zip(ends, ids, strict=True):
        if number is None or tokenizer.convert_ids_to_tokens(number) != end:
            raise Fault(f"the base's callwright.json names the stop {end!r}, which is no token of it; dvc repro base")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ids[0]
    return GenerationConfig(do_sample=False, bos_token_id=model.config.bos_token_id, eos_token_id=ids, pad_token_id=pad)


def _card(said: Mapping[str, Any], onto: Onto) -> str:
    base, key = said["base"], said.get("key", "without a key")
    return f"""---
base_model: {base["source"]}
library_name: transformers
pipeline_tag: text-generation
tags: [function-calling]
---

# {base["preset"]}, tuned to call tools

Made by Callwright: {base["source"]} at revision `{base["revision"]}` with the adapter `{key}`, merged into
{rounding(said, onto)}. Weights are bfloat16.

The licence of the base holds for these weights; the rows that the adapter was trained on may add terms of their own.
"""
