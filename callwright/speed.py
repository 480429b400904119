"""How long a training takes, reckoned from what it computes: an estimate, as good as two published numbers.

    flops_a_token(shape, setting)  ->  44.9e9
    tokens_a_second(shape, setting, machine)  ->  Speed(slow=710, fast=2430)

Where the numbers come from:
- torchtune 0.3's README (https://github.com/pytorch/torchtune, "Memory and training speed"): Llama 3.1 8B, QLoRA, one
  RTX 4090, packed rows of 2,048, batches of 2, compiled: 2,413 tokens/s. That is `FAST` of the card's products.
- its tutorial "Finetuning Llama2 with QLoRA" (docs/source/tutorials/qlora_finetune.rst): 1.15 steps/s before
  compiling, 3.95 after. What is not compiled, as here, lies between.
- on a CPU docs/lab-notes.md: 1,623 tokens/s of the embedded default on 2 cores of an EPYC with bfloat16 and VNNI.
- on a T4 TRL's notebook (https://github.com/huggingface/trl, examples/notebooks/sft_trl_lora_qlora.ipynb): Qwen3 14B,
  120 rows of at most 1,024 tokens in 4,250 s, so 29 tokens/s at most, with activations offloaded. That is `T4_SLOW`.
"""

from __future__ import annotations

from dataclasses import dataclass

from callwright.machines import CARDS, Machine
from callwright.memory import Setting, counts, queries
from callwright.presets import Shape

FAST = 0.68
"""Of the vendor's products a second: 2,413 tokens/s of torchtune's, compiled."""
SLOW = FAST * 1.15 / 3.95
"""The same before compiling."""
T4_SLOW = 0.038
"""Of a T4's, which has no bfloat16 and is held back by 70 W; its fast end is what others have before compiling."""
CPU_GIGAFLOPS = 900
"""Products of bfloat16 that 2 cores of the EPYC make; the 1,623 tokens/s come to 790, 960 with every token labelled."""
SMALL = 10**9
"""Parameters under which a GPU waits for its next operation, not for a product; nothing published tells how long."""
REFERENCE = next(card for card in CARDS if card.name == "RTX 4090")
"""For a GPU of which only the size is known."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second, from and to; both the same where it was measured."""

    slow: float
    fast: float


def flops_a_token(shape: Shape, setting: Setting) -> float:
    """Multiplications and additions for one token, forward and back.

    A weight makes 2 forward, 2 back to its inputs, and 2 more forward where a layer is computed again; LoRA's also 2
    for its own gradient. Attention makes 4 for each query's number and key, 2.5 times as many back (FlashAttention,
    Dao et al. 2022, arXiv:2205.14135). The head sees labelled positions only, once.
    """
    count = counts(shape, setting.rank)
    again = 1 if setting.checkpointing and setting.on_gpu else 0
    head = shape.vocab_size * shape.hidden_size * setting.labelled
    attention = 4 * shape.num_hidden_layers * queries(shape) * setting.length / 2  # half: causal
    return (4 + 2 * again) * count.linear + (6 + 2 * again) * count.lora + 4 * head + (3.5 + again) * attention


def tokens_a_second(shape: Shape, setting: Setting, machine: Machine) -> Speed | None:
    """None where nobody knows: a small model on a GPU."""
    each = flops_a_token(shape, setting)
    if not machine.on_gpu:
        return Speed(CPU_GIGAFLOPS * 1e9 / each, CPU_GIGAFLOPS * 1e9 / each)
    if counts(shape, setting.rank).base < SMALL:
        return None
    card = machine if machine.teraflops else REFERENCE
    peak = (card.teraflops or 0) * 1e12
    slow, fast = (T4_SLOW, SLOW) if card.name == "T4" else (SLOW, FAST)
    return Speed(slow * peak / each, fast * peak / each)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 days 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h"
