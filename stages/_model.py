"""The base model and its adapters, in memory, in the number format that this machine multiplies fastest.

A CPU with bfloat16 instructions works in bfloat16; one without would be five times slower in it than in float32
(measured, docs/lab-notes.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright.faults import Fault

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

REFERENCE = "reference.json"


def number_format() -> torch.dtype:
    import torch

    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 matrix products (AVX512-BF16, AMX, or ARM's BF16)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def location(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` takes for the model of a base folder: the folder, or the hub revision it points to."""
    if not (folder / "config.json").is_file():
        raise Fault(f"{folder} holds no model; dvc repro base makes it")
    reference = folder / REFERENCE
    if reference.is_file():
        named = json.loads(reference.read_text(encoding="utf-8"))
        return {"pretrained_model_name_or_path": named["hub"], "revision": named["revision"]}
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


def quiet() -> None:
    """Keep the libraries' warnings off a person's terminal; what matters is said by us."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def load(folder: Path, dtype: torch.dtype, **more: Any) -> PreTrainedModel:
    """The model of a base folder, on the accelerator if there is one."""
    from transformers import AutoModelForCausalLM

    quiet()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        **location(folder), dtype=dtype, attn_implementation="sdpa", **more
    )
    return model


def load_with_adapter(folder: Path, adapter: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The base with an adapter merged into its plain weights: what is served."""
    from peft import PeftModel

    check_adapter(folder, adapter)
    merged: PreTrainedModel = PeftModel.from_pretrained(load(folder, dtype), str(adapter)).merge_and_unload()
    return merged


def check_adapter(folder: Path, adapter: Path) -> None:
    """The adapter was trained on this base."""
    about = adapter / "callwright.json"
    if not about.is_file():
        raise Fault(
            f"{adapter} holds no callwright.json, so nobody knows which base it was trained on; dvc repro makes it"
        )
    of_adapter = json.loads(about.read_text(encoding="utf-8"))["base"]
    of_base = json.loads((folder / "callwright.json").read_text(encoding="utf-8"))
    if (of_adapter["source"], of_adapter["revision"]) != (of_base["source"], of_base["revision"]):
        raise Fault(
            f"{adapter} was trained on {of_adapter['source']} at {of_adapter['revision']}, and {folder} is "
            f"{of_base['source']} at {of_base['revision']}; dvc repro trains one for this base"
        )
