"""Whether a training fits into this machine, told before anything of it is loaded, and what it took in the end.

refuse_what_cannot_fit(params.train, Path("models/base"), Path("data/formatted/native/train.jsonl"), on_gpu=False)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callwright.faults import Fault
from callwright.fitting import gib, refusal, setting_of
from callwright.machines import machine_memory
from callwright.memory import Memory, estimate
from callwright.outs import read_lines
from callwright.params import Train
from callwright.presets import Shape
from stages import _launch


def refuse_what_cannot_fit(knobs: Train, base: Path, path: Path, on_gpu: bool) -> None:
    """`Fault` with what it needs, what is there and the way out, before anything is loaded."""
    if _launch.spreads_the_model(knobs):
        print("train: what each GPU needs of a model that is spread over several is not known beforehand", flush=True)
        return
    rows = list(read_lines(path))
    asked = _asked(knobs, base, rows, on_gpu)
    if asked is None:
        print("train: what this kind of model needs of memory is not known beforehand", flush=True)
        return
    memory = _memory(on_gpu) // (1 if on_gpu else _launch.trainers(knobs))  # on a CPU they share it
    why = refusal(knobs, asked.shape, asked.length, memory, on_gpu=on_gpu, number=asked.number, labelled=asked.labelled)
    if why:
        raise Fault(f"params.yaml: {why}")
    print(f"train: at most {gib(asked.memory.total)} GiB of {gib(memory)} are reckoned with", flush=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What memory is reckoned from, and what it comes to."""

    shape: Shape
    length: int
    labelled: float
    number: int
    memory: Memory


def _asked(knobs: Train, base: Path, rows: Sequence[dict[str, Any]], on_gpu: bool) -> _Asked | None:
    """None for a kind of model whose memory is not known."""
    from stages._model import number_format

    shape = shape_of(json.loads((base / "config.json").read_text(encoding="utf-8")))
    if shape is None:
        return None
    lengths = [(len(row["labels"]), sum(label != -100 for label in row["labels"])) for row in rows]
    longest = max((length for length, _ in lengths), default=0)
    labelled = max((count / length for length, count in lengths if length), default=1.0)
    number = number_format().itemsize
    asked = setting_of(knobs, longest, on_gpu=on_gpu, number=number, labelled=labelled)
    return _Asked(shape, longest, labelled, number, estimate(shape, asked))


def shape_of(config: dict[str, Any]) -> Shape | None:
    """What memory is reckoned from, of a config.json; None for a kind of model that is not known."""
    config.setdefault("head_dim", None)
    config["head_dim"] = config["head_dim"] or config.get("hidden_size", 0) // (config.get("num_attention_heads") or 1)
    try:
        return Shape.model_validate({name: config.get(name) for name in Shape.model_fields})
    except ValueError:
        return None


def _memory(on_gpu: bool) -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if on_gpu else machine_memory()


def beside_the_estimate(knobs: Train, base: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The memory that was reckoned with, and on a GPU the most that torch had of it."""
    import torch

    on_gpu = torch.cuda.is_available()
    asked = _asked(knobs, base, rows, on_gpu)
    if not on_gpu:
        return {"estimated_memory_gb": _gb(asked.memory.total)} if asked else {}
    found = {
        "peak_gpu_allocated_gb": _gb(torch.cuda.max_memory_allocated()),
        "peak_gpu_reserved_gb": _gb(torch.cuda.max_memory_reserved()),
    }
    if asked:
        found |= {
            "estimated_allocated_gb": _gb(asked.memory.allocated),
            "estimated_reserved_gb": _gb(asked.memory.reserved),
        }
    print(f"train: memory of the GPU, GB: {found}", flush=True)
    return found


def _gb(size: int) -> float:
    return round(size / 1e9, 2)
