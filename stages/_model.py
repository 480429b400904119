"""The base model and its adapters, in memory, in the number format that this machine multiplies fastest.

A CPU with bfloat16 instructions works in bfloat16; one without would be five times slower in it than in float32
(measured, docs/lab-notes.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from callwright.faults import Fault
from callwright.params import Quantization
from callwright.presets import FamilyName

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

REFERENCE = "reference.json"


def number_format() -> torch.dtype:
    import torch

    if torch.cuda.is_available():
        real = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if real else torch.float16
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 matrix products (AVX512-BF16, AMX, or ARM's BF16)."""
    return any(flag in _cpu() for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def has_int8() -> bool:
    """Whether this CPU has instructions for products of bytes (VNNI or AMX) that torch knows to use."""
    import torch

    known = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return (
        bool(known)
        and hasattr(torch.ops.onednn, "qlinear_pointwise")
        and any(flag in _cpu() for flag in ("avx512_vnni", "avx_vnni", "amx_int8"))
    )


def _cpu() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def location(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` takes for the model of a base folder: the folder, or the hub revision it points to."""
    if not (folder / "config.json").is_file():
        raise Fault(f"{folder} holds no model; dvc repro base makes it")
    reference = folder / REFERENCE
    if reference.is_file():
        named = json.loads(reference.read_text(encoding="utf-8"))
        return {"pretrained_model_name_or_path": named["hub"], "revision": named["revision"]}
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


@dataclass(frozen=True, slots=True)
class About:
    """What callwright.json of a base folder says of it."""

    preset: str
    family: FamilyName
    stops: tuple[str, ...]
    """The first ends a turn in training, each an answer."""


def about(folder: Path) -> About:
    try:
        said = json.loads((folder / "callwright.json").read_text(encoding="utf-8"))
        return About(said["preset"], FamilyName(said["family"]), tuple(said["stops"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fault(
            f"{folder / 'callwright.json'} cannot be read ({error}); make it again with dvc repro base"
        ) from None


def quiet() -> None:
    """Keep the libraries' warnings off a person's terminal; what matters is said by us."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def load(folder: Path, dtype: torch.dtype, **more: Any) -> PreTrainedModel:
    """The model of a base folder; where it is not quantised, on the CPU."""
    from transformers import AutoModelForCausalLM

    quiet()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        **location(folder), dtype=dtype, attn_implementation="sdpa", **more
    )
    return model


def load_nf4(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The base with its linear layers in NF4 with double quantisation, four bits a weight."""
    from transformers import BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return load(folder, dtype, quantization_config=nf4)


def dense(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A model from `load_nf4` with the same rounded values in `dtype`; it must not have run yet."""
    refuse_repacked(model)
    return cast("PreTrainedModel", model.dequantize().to(dtype))


def refuse_repacked(model: torch.nn.Module) -> None:
    """Raise where a 4-bit layer was run in eval mode on a CPU.

    bitsandbytes then repacks it for inference, no gradient passes through it any more, and training says nothing.
    """
    for name, layer in model.named_modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if getattr(state, "packing_format_for_cpu", False):
            raise Fault(
                f"the 4-bit layer {name} was run in eval mode before training, which repacks it so that no gradient "
                "passes; load the model afresh and do not run it before train()"
            )


def load_with_adapter(folder: Path, adapter: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The base with an adapter merged into it: what is served.

    The base is rounded to NF4 if it was so in training, and kept dense: an adapter has learnt to make up for the
    rounding too (docs/adr/0011-served-as-trained.md).
    """
    from peft import PeftModel

    rounded = check_adapter(folder, adapter).get("quantization") == Quantization.NF4
    if rounded and not fits_dense(folder):
        tuned: PreTrainedModel = PeftModel.from_pretrained(load_nf4(folder, dtype), str(adapter)).get_base_model()
        return tuned
    base = on_device(dense(load_nf4(folder, dtype), dtype) if rounded else load(folder, dtype))
    merged: PreTrainedModel = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    return merged


def load_to_answer(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The base as it is; in four bits on a GPU that has no room for it."""
    return on_device(load(folder, dtype)) if fits_dense(folder) else load_nf4(folder, dtype)


def on_device(model: PreTrainedModel) -> PreTrainedModel:
    """A dense model on the GPU, if there is one: transformers leaves it on the CPU."""
    import torch

    return cast("PreTrainedModel", model.to("cuda")) if torch.cuda.is_available() else model


def fits_dense(folder: Path) -> bool:
    """Whether the weights in 16 bits take at most three quarters of the GPU's memory; true where there is none."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not torch.cuda.is_available():
        return True
    with torch.device("meta"):
        shape = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    needed = 2 * sum(weight.numel() for weight in shape.parameters())
    return bool(needed < 0.75 * torch.cuda.get_device_properties(0).total_memory)


def check_adapter(folder: Path, adapter: Path) -> dict[str, Any]:
    """What `callwright.json` of an adapter that was trained on this base says of it."""
    about = adapter / "callwright.json"
    if not about.is_file():
        raise Fault(
            f"{adapter} holds no callwright.json, so nobody knows which base it was trained on; dvc repro makes it"
        )
    said: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
    of_adapter = said["base"]
    of_base = json.loads((folder / "callwright.json").read_text(encoding="utf-8"))
    if (of_adapter["source"], of_adapter["revision"]) != (of_base["source"], of_base["revision"]):
        raise Fault(
            f"{adapter} was trained on {of_adapter['source']} at {of_adapter['revision']}, and {folder} is "
            f"{of_base['source']} at {of_base['revision']}; dvc repro trains one for this base"
        )
    return said
