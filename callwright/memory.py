"""What a training takes of memory, part by part, reckoned from the decoder's shape before anything is loaded.

    estimate(shape, Setting(length=2048, rows=2, rank=16, on_gpu=True))
    ->  Memory(weights=5696…, lora=…, kept=…, layer=…, logits=…, overhead=…)        .total in bytes

Parameter counts and NF4's bytes are exact. Activations are formulas; tests/test_memory.py holds them to what the
operations of transformers, PEFT and bitsandbytes ask for, at full size, on tensors without contents.
QLoRA: Dettmers et al. 2023, arXiv:2305.14314. Recomputed activations: Korthikanti et al. 2022, arXiv:2205.05198.
Not covered: several GPUs that share one model (FSDP), dropout, experts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from callwright.params import Optimizer
from callwright.presets import Shape

GIB = 2**30
LABELS_AT_ONCE = 512
"""How many labels' scores there are at a time on a GPU (stages/_fused.py)."""
CONTEXT = GIB // 2
"""Of a GPU, outside what torch counts: CUDA's context and the libraries' kernels. Assumed: no card was at hand."""
SLACK = 0.05
"""Of what torch asks for, assumed: blocks are rounded up to 2 MiB; rows of other lengths leave gaps between them."""
LIBRARIES = 6 * 10**8
"""Of a CPU: Python with torch, transformers, TRL, datasets and MLflow imported; measured 0.58 GB."""
TOP_PAD = 256 * 2**20
"""What glibc takes ahead in one go where it is told to (stages/_qlora.py, keep_memory)."""


class Scored(StrEnum):
    """Which positions go through the LM head, and how."""

    LABELLED = "labelled"
    """Ours: labelled ones, on a GPU `LABELS_AT_ONCE` at a time, the gradient made on the way."""
    ALL = "all"
    """transformers: every position at once."""
    FUSED = "fused"
    """Liger Kernel's fused linear cross entropy: every position, V/H parts one after another."""


@dataclass(frozen=True, slots=True)
class Setting:
    length: int
    """Tokens of a row, filling up included."""
    rows: int
    """In one forward."""
    rank: int
    on_gpu: bool
    nf4: bool = True
    """On a CPU the NF4-rounded values are held dense, so there it makes no difference."""
    optimizer: Optimizer = Optimizer.ADAMW
    """adamw on a GPU is paged_adamw_8bit."""
    checkpointing: bool = True
    """Non-reentrant: a layer's inputs are kept, the rest is computed again in the backward pass."""
    scored: Scored = Scored.LABELLED
    labelled: float = 1.0
    """Share of the positions that are labelled."""
    number: int = 2
    """Bytes of a number in products: bfloat16 or float16 2, float32 4."""
    lora_number: int = 2
    """Bytes of a LoRA weight and its gradient. TRL 1.x makes them bfloat16 beside a quantised base."""
    upcast: bool = False
    """Embeddings, head and norms in float32, as PEFT's prepare_model_for_kbit_training leaves them (TRL before 1.0)."""
    offloaded: bool = False
    """The inputs of layers wait in the machine's memory (TRL's activation_offloading)."""
    shared: float = 0.0
    """Share of a row that all rows of a forward begin with: a CPU computes it once (stages/_tree.py)."""
    int8: bool = False
    """Two more copies of the linear weights, of bytes, on a CPU (stages/_fused.py)."""

    @property
    def tokens(self) -> int:
        """That are computed in one forward."""
        return self.length + math.ceil((self.rows - 1) * self.length * (1 - self.shared))


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters. The linear layers are those of the decoder, the head not among them."""

    embeddings: int
    head: int
    """0 where the embeddings are the head too."""
    linear: int
    biases: int
    norms: int
    lora: int

    @property
    def base(self) -> int:
        return self.embeddings + self.head + self.linear + self.biases + self.norms


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `layer` and `logits` take turns, so only the larger of the two counts in `total`.

    `allocated` foretells torch.cuda.max_memory_allocated(), `reserved` max_memory_reserved(), `total` what nvidia-smi
    shows; on a CPU `total` foretells the process's largest resident size.
    """

    weights: int
    lora: int
    gradients: int
    optimizer: int
    kept: int
    """Activations that wait for the backward pass."""
    layer: int
    """Activations of one layer while it is computed again, with their gradients and its largest weight made dense."""
    logits: int
    """The loss: scores of the positions that go through the head at a time."""
    slack: int
    outside: int
    """What the device or the process takes besides: CUDA's context, or the libraries."""

    @property
    def allocated(self) -> int:
        return self.weights + self.lora + self.gradients + self.optimizer + self.kept + max(self.layer, self.logits)

    @property
    def reserved(self) -> int:
        return self.allocated + self.slack

    @property
    def overhead(self) -> int:
        return self.slack + self.outside

    @property
    def total(self) -> int:
        return self.allocated + self.overhead


def linear_layers(shape: Shape) -> list[tuple[int, int]]:
    """(out, in) of the linear layers of one decoder layer: q, k, v, o, gate, up, down."""
    h, i, q, kv = shape.hidden_size, shape.intermediate_size, queries(shape), keys(shape)
    return [(q, h), (kv, h), (kv, h), (h, q), (i, h), (i, h), (h, i)]


def queries(shape: Shape) -> int:
    return shape.num_attention_heads * shape.head_dim


def keys(shape: Shape) -> int:
    return shape.num_key_value_heads * shape.head_dim


def counts(shape: Shape, rank: int) -> Counts:
    """Exact; LoRA on all linear layers but the head (PEFT's target_modules="all-linear")."""
    layers, linear, words = shape.num_hidden_layers, linear_layers(shape), shape.vocab_size * shape.hidden_size
    biases = queries(shape) + 2 * keys(shape) if shape.model_type == "qwen2" else 0
    norms = 2 * shape.hidden_size + (2 * shape.head_dim if shape.model_type == "qwen3" else 0)
    return Counts(
        embeddings=words,
        head=0 if shape.tie_word_embeddings else words,
        linear=layers * sum(out * into for out, into in linear),
        biases=layers * biases,
        norms=layers * norms + shape.hidden_size,
        lora=layers * rank * sum(out + into for out, into in linear),
    )


def nf4_bytes(weights: int) -> int:
    """A matrix of so many weights in bitsandbytes' NF4 with double quantisation.

    Four bits a weight; a byte for the largest value of each block of 64; of these, 256 to a block, a float32 largest
    value; their mean; and the two tables of 16 and 256 float32 values.
    """
    blocks = math.ceil(weights / 64)
    return math.ceil(weights / 2) + blocks + 4 * math.ceil(blocks / 256) + 4 * (1 + 16 + 256)


def estimate(shape: Shape, setting: Setting) -> Memory:
    count = counts(shape, setting.rank)
    lora = count.lora * setting.lora_number
    kept, layer = _activations(shape, setting)
    parts = {
        "weights": _weights(shape, setting, count),
        "lora": lora,
        "gradients": lora,
        "optimizer": _optimizer(shape, setting, count),
        "kept": kept,
        "layer": layer,
        "logits": _logits(shape, setting),
    }
    bare = Memory(**parts, slack=0, outside=0)
    slack = round(SLACK * bare.allocated) if setting.on_gpu else TOP_PAD + round(SLACK * bare.allocated)
    if setting.upcast:  # 16-bit embeddings and head, freed when their float32 copies were made: torch uses them again
        slack = max(slack, 2 * (count.embeddings + count.head) - bare.kept - max(bare.layer, bare.logits))
    return Memory(**parts, slack=slack, outside=CONTEXT if setting.on_gpu else LIBRARIES)


def _weights(shape: Shape, setting: Setting, count: Counts) -> int:
    others = count.embeddings + count.head + count.biases + count.norms
    others *= 4 if setting.upcast else setting.number
    if setting.on_gpu and setting.nf4:
        return others + shape.num_hidden_layers * sum(nf4_bytes(out * into) for out, into in linear_layers(shape))
    packed = 2 * count.linear if setting.int8 else 0  # once for each direction
    return others + setting.number * count.linear + packed


def _optimizer(shape: Shape, setting: Setting, count: Counts) -> int:
    """Both moments. In 8 bits a float32 scale for each block of 256; SOAP keeps two squares of the rank a matrix."""
    if setting.optimizer is Optimizer.SOAP:
        matrices = 2 * len(linear_layers(shape)) * shape.num_hidden_layers
        return 8 * count.lora + matrices * 8 * setting.rank**2
    if setting.on_gpu:
        return 2 * count.lora + 2 * 4 * math.ceil(count.lora / 256)
    return 2 * setting.lora_number * count.lora


def _activations(shape: Shape, setting: Setting) -> tuple[int, int]:
    """(what is kept for the backward pass, what one layer takes on top of it at its largest moment), in bytes."""
    if not setting.on_gpu:
        kept, at_work = _by_hand(shape, setting)
        return shape.num_hidden_layers * setting.tokens * kept, setting.tokens * at_work
    kept, at_work, added = _stock(shape, setting)
    dense = 2 * max(out * into for out, into in linear_layers(shape)) if setting.nf4 else 0
    mask = 3 * setting.rows * setting.length**2  # as bools, then as 16-bit numbers
    waiting = 0 if setting.offloaded else shape.num_hidden_layers * setting.tokens * kept
    return waiting, setting.tokens * at_work + max(setting.tokens * added, dense) + mask


def _by_hand(shape: Shape, setting: Setting) -> tuple[int, int]:
    """Bytes a token: what a layer of stages/_fused.py keeps, and what a product takes.

    Kept: both norms' values and outputs (4 h); q, k, v as they come out of one product, then turned (2 q + 3 kv), and
    what attention gives, as it is and in rows (q); gate, its silu, up, their product (4 i); what goes from A to B of
    seven LoRA layers; a norm's scales and attention's. A product makes its input float32, 16 and 8 bits (12 i).
    """
    h, i, q, kv, n = shape.hidden_size, shape.intermediate_size, queries(shape), keys(shape), setting.number
    kept = n * (4 * h + 3 * q + 3 * kv + 4 * i + 7 * setting.rank) + 8 + 4 * shape.num_attention_heads
    return kept, 6 * n * i


def _stock(shape: Shape, setting: Setting) -> tuple[int, int, int]:
    """Bytes a token of transformers, PEFT and bitsandbytes: kept by a layer, at work in one, and in the last addition.

    Kept with checkpointing: its inputs (2 h). At work, computed again: inputs of both norms in float32 (8 h) and their
    outputs (4 h); the layer's output, the decoder's and the gradient (6 h); q, k, v, keys repeated for each query head,
    and what attention gives (8 q); gate, its silu, up, their product and its gradient (10 i); what goes from A to B
    (14 rank). Two gradients are added (2 i) when the dense weight is gone. Qwen3 norms q and k in float32 (4 (q + kv)).
    Where hidden states and LoRA are float32, 16-bit copies of them stand beside.
    """
    h, i, q, low = shape.hidden_size, shape.intermediate_size, queries(shape), 14 * setting.rank
    normed = 4 * (q + keys(shape)) if shape.model_type == "qwen3" else 0
    if setting.upcast:
        kept, at_work = 4 * h, 26 * h + 10 * q + 22 * i + 2 * low + normed
    else:
        kept, at_work = 2 * h, 18 * h + 8 * q + 10 * i + low + normed
    if not setting.checkpointing:
        kept = 12 * h + 8 * q + 8 * i + low + normed
    return kept, at_work, 2 * i


def _logits(shape: Shape, setting: Setting) -> int:
    """Scores in 16 bits (2), in float32 (4), their logarithms (4); at the end of the decoder hidden states (6 h)."""
    h, vocabulary, tokens = shape.hidden_size, shape.vocab_size, setting.tokens
    labels = math.ceil(setting.rows * setting.length * setting.labelled)
    end = 6 * h * tokens
    if setting.scored is Scored.LABELLED and not setting.on_gpu:
        return setting.number * labels * vocabulary + labels * 4 * h
    if setting.scored is Scored.LABELLED:
        scores = 10 * min(labels, LABELS_AT_ONCE)
        return end + scores * vocabulary + 6 * h * labels  # hidden states picked out, and their gradient in float32
    if setting.scored is Scored.FUSED:
        part = 1 << (math.ceil(tokens / math.ceil(vocabulary / h)) - 1).bit_length()
        return end + 10 * part * vocabulary + (2 * h * vocabulary if setting.upcast else 0)
    return end + 12 * tokens * vocabulary  # in the backward pass: logarithms, their gradient, and that in 16 bits
