"""What fits into a machine's memory: a training's setting, the largest that fits, and a refusal in a sentence.

    refusal(params.train, shape, 2048, 16 * 2**30, on_gpu=True)
    ->  None, or "16 rows of 2,048 tokens at a time need 22.87 GiB of memory and the GPU has 16.00; set …"

A machine that has enough of it can still refuse memory to one process: what others hold is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from callwright.faults import Fault
from callwright.memory import GIB, Setting, estimate
from callwright.params import Optimizer, Quantization, Train
from callwright.presets import FOLDER, Knobs, Preset, Shape, preset_names, read_preset

MOST_ROWS, MOST_TOKENS = 1024, 2**20
STEP = 64
"""Tokens by which the largest length is told."""


def setting_of(
    knobs: Train | Knobs,
    length: int,
    *,
    on_gpu: bool,
    number: int = 2,
    labelled: float = 1.0,
    shared: float = 0.0,
) -> Setting:
    """What stages/train.py does with these knobs; `number` is 4 on a machine without 16-bit products."""
    missing = [
        name for name in ("rows_at_a_time", "lora", "optimizer", "quantization") if getattr(knobs, name, None) is None
    ]
    if missing or knobs.rows_at_a_time is None or knobs.lora is None:
        raise Fault(f"the preset does not say train.{', train.'.join(missing)}; add it under train, on_gpu or on_cpu")
    return Setting(
        length=length,
        rows=knobs.rows_at_a_time,
        rank=knobs.lora.rank,
        on_gpu=on_gpu,
        nf4=knobs.quantization == Quantization.NF4,
        optimizer=Optimizer(knobs.optimizer or Optimizer.ADAMW),
        checkpointing=on_gpu,
        labelled=labelled,
        number=number,
        lora_number=number,
        shared=0.0 if on_gpu else shared,
        int8=bool(knobs.int8_products) and not on_gpu,
    )


def knobs_of(preset: Preset, *, on_gpu: bool) -> Knobs:
    return Knobs.model_validate(preset.train_knobs(on_gpu))


def largest_length(shape: Shape, setting: Setting, memory: int) -> int:
    """Tokens of a row, a multiple of `STEP`, with as many rows at a time; 0 where not even that fits."""
    return STEP * _largest(
        lambda n: estimate(shape, replace(setting, length=n * STEP)).total <= memory, MOST_TOKENS // STEP
    )


def largest_rows(shape: Shape, setting: Setting, memory: int) -> int:
    """Rows at a time of the same length; 0 where not one fits."""
    return _largest(lambda n: estimate(shape, replace(setting, rows=n)).total <= memory, MOST_ROWS)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where every smaller one does too."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def refusal(
    train: Train,
    shape: Shape,
    length: int,
    memory: int,
    *,
    on_gpu: bool,
    number: int = 2,
    labelled: float = 1.0,
    shared: float = 0.0,
) -> str | None:
    """Why this training cannot fit into `memory` bytes and what to do, in a sentence; None where it fits.

    `length` is that of the longest row. `labelled` and `shared` are shares (of positions that are labelled; of a row
    that all rows at a time begin with); what is not known stays at its dearest.
    """
    asked = setting_of(train, length, on_gpu=on_gpu, number=number, labelled=labelled, shared=shared)
    needed = estimate(shape, asked).total
    if needed <= memory:
        return None
    where = "the GPU has" if on_gpu else "this machine has"
    rows = f"{asked.rows} row{'s' if asked.rows > 1 else ''} of {length:,} tokens at a time"
    needs = "need" if asked.rows > 1 else "needs"
    return f"{rows} {needs} {gib(needed)} GiB of memory and {where} {gib(memory)}; {_way_out(shape, asked, memory)}"


def _way_out(shape: Shape, asked: Setting, memory: int) -> str:
    """The first that helps: fewer rows, four bits, shorter rows, another model."""
    if fewer := largest_rows(shape, asked, memory):
        return f"set train.rows_at_a_time in params.yaml to {fewer} or fewer"
    one = replace(asked, rows=1)
    if asked.on_gpu and not asked.nf4 and largest_length(shape, replace(one, nf4=True), memory) >= asked.length:
        return "not one row fits; set train.quantization in params.yaml to nf4 and train.rows_at_a_time to 1"
    if shorter := largest_length(shape, one, memory):
        both = f"train.rows_at_a_time in params.yaml to 1 and format.max_length to {shorter:,} or less"
        return f"not one row fits; set {both} (format.too_long says what becomes of longer rows)"
    return f"not one row fits; {_smaller(shape, asked, memory)}"


def _smaller(shape: Shape, asked: Setting, memory: int) -> str:
    names = [name for name in preset_names(FOLDER) if _fits_with_one_row(name, asked, memory)]
    another = f"choose a smaller base.preset in params.yaml ({', '.join(names)})" if names else ""
    return another or "train on a machine with more memory"


def _fits_with_one_row(name: str, asked: Setting, memory: int) -> bool:
    try:
        shape = read_preset(name).shape
    except Fault:
        return False
    return shape is not None and largest_length(shape, replace(asked, rows=1), memory) >= asked.length


def gib(size: int) -> str:
    return f"{size / GIB:.2f}"
