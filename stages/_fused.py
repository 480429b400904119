"""LoRA layers, norms and the loss as one function each, their gradients written by hand. Imports torch.

    speed_up(model)         # a PeftModel in training on a CPU
    loss = cross_entropy(hidden, head.weight, labels, weights)

On a CPU a step of a small model spends half its time between the large matrix products, in the many small operations
that PEFT and transformers make of y = x W' + s (x A') B' and of a norm; by hand they are few, and the numbers are the
same. Unsloth (https://github.com/unslothai/unsloth) and Liger Kernel (Hsu et al. 2024, arXiv:2410.10989) do alike on a
GPU. LoRA: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MethodType
from typing import Any, cast

import torch
from peft.tuners.lora import Linear
from torch.nn import functional

LABELS = 16
"""How many labels' scores are in float32 at a time: 3 MB for a vocabulary of 49,152."""
LABELS_AT_ONCE = 512
"""How many labels' scores there are at a time on a GPU: 260 MB in float32 for a vocabulary of 128,256."""
BESIDE = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})
"""Layers of one module that get the same inputs."""


def speed_up(model: torch.nn.Module, int8: bool = False) -> None:
    """Give each LoRA layer and each RMSNorm of `model` its own forward; layers with dropout or a bias keep theirs.

    LoRA weights take the number format of the weights they stand beside: TRL makes them bfloat16 behind any base.
    `int8` makes the products with frozen weights in whole numbers where gradients are asked for; see `_Int8`.
    """
    for module in model.modules():
        layers = {name: each for name, each in module.named_children() if isinstance(each, Linear) and _is_plain(each)}
        together = [names for names in BESIDE if names <= layers.keys()]
        for names in (*together, *({name} for name in layers if not any(name in names for names in together))):
            _SideBySide([layers[name] for name in layers if name in names], int8)
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(_norm, module)


def _is_plain(layer: Any) -> bool:
    dropped = any(isinstance(part, torch.nn.Dropout) and part.p for part in layer.lora_dropout.values())
    return len(layer.lora_A) == 1 and not dropped and layer.base_layer.bias is None and not any(layer.use_dora.values())


class _SideBySide:
    """LoRA layers with the same inputs: the first that is called computes for all, the others take what is theirs."""

    def __init__(self, layers: Sequence[Any], int8: bool) -> None:
        self.layers = layers
        weights = [layer.base_layer.weight for layer in layers]
        whole = torch.cat([weight.detach() for weight in weights]) if len(weights) > 1 else weights[0].detach()
        self.exact, self.rounded = _Dense(whole), _Int8(whole) if int8 else None
        for layer, weight, rows in zip(
            layers, weights, torch.split(whole, [len(weight) for weight in weights]), strict=True
        ):
            layer.to(weight.dtype)
            weight.data = rows
        for place, layer in enumerate(layers):
            layer.forward = partial(self._take, place)
        self._of: torch.Tensor | None = None
        self._made: list[torch.Tensor | None] = []

    def _take(self, place: int, inputs: torch.Tensor) -> torch.Tensor:
        if self._of is not inputs or self._made[place] is None:
            self._of, self._made = inputs, list(self._compute(inputs))
        found, self._made[place] = self._made[place], None
        if not any(made is not None for made in self._made):
            self._of = None
        return cast(torch.Tensor, found)

    def _compute(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ((name, scale),) = {(name, layer.scaling[name]) for layer in self.layers for name in layer.lora_A}
        frozen = self.rounded if self.rounded and torch.is_grad_enabled() else self.exact
        pairs = [(layer.lora_A[name].weight, layer.lora_B[name].weight) for layer in self.layers]
        made: tuple[torch.Tensor, ...] = cast(Any, _Lora).apply(
            inputs, frozen, scale, *(a for a, _ in pairs), *(b for _, b in pairs)
        )
        return made


class _Dense:
    """A frozen weight (out, in)."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def ahead(self, inputs: torch.Tensor) -> torch.Tensor:
        """(tokens, in) -> (tokens, out)"""
        return functional.linear(inputs, self.weight)

    def back(self, grad: torch.Tensor) -> torch.Tensor:
        """(tokens, out) -> (tokens, in)"""
        return grad @ self.weight


class _Int8:
    """A frozen weight (out, in) in whole numbers of eight bits, a scale for each row, packed for either direction.

    Inputs and gradients are rounded token by token, each by its largest value: a product is off by about a hundredth.
    The gradients of LoRA's own weights stay exact. As SwitchBack does it (Wortsman et al. 2023, arXiv:2304.13013).
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self.dtype = weight.dtype
        self.packed = [self._pack(each.float()) for each in (weight, weight.t())]

    def ahead(self, inputs: torch.Tensor) -> torch.Tensor:
        """(tokens, in) -> (tokens, out)"""
        return self._product(inputs, *self.packed[0])

    def back(self, grad: torch.Tensor) -> torch.Tensor:
        """(tokens, out) -> (tokens, in)"""
        return self._product(grad, *self.packed[1])

    @staticmethod
    def _pack(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scale = weight.abs().amax(1).clamp_(min=1e-30).div_(127)
        whole = (weight / scale[:, None]).round_().to(torch.int8).contiguous()
        return torch.ops.onednn.qlinear_prepack(whole, None), scale, torch.zeros(len(scale), dtype=torch.long)

    def _product(
        self, left: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, zeros: torch.Tensor
    ) -> torch.Tensor:
        # oneDNN takes the left side as unsigned bytes, 128 being zero. A token's largest value becomes 126, since its
        # scale is rounded too. Numbers without a sign are ordered as their bits are, and as whole numbers they are
        # compared faster; by way of 16 bits they are rounded faster.
        bits = torch.int16 if left.element_size() == 2 else torch.int32
        steps = left.abs().view(bits).amax(-1, keepdim=True).view(left.dtype).div_(126).clamp_(min=1e-30)
        rounded = left.to(torch.float32, copy=True).mul_(1 / steps.float()).add_(128.5).to(torch.int16).to(torch.uint8)
        made: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 128, packed, scale, zeros, None, 1.0, 0, self.dtype, "none", [], ""
        )
        return made.mul_(steps)


def _norm(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = cast(Any, _Norm).apply(inputs, layer.weight, layer.variance_epsilon)
    return found


def cross_entropy(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Sum of `weights` times the cross entropy of each label; the head gets no gradient.

    `hidden` is (labels, size), `head` (vocabulary, size). Scores are kept once, in the number format of `hidden`, and
    become their own gradient; float32 copies are made for a few labels at a time, so that they stay in the cache.
    """
    kind: Any = _CrossEntropy if hidden.device.type == "cpu" else _CrossEntropyInParts
    found: torch.Tensor = kind.apply(hidden, head, labels, weights)
    return found


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made on the way forward, as in Liger Kernel's fused linear cross entropy."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        scores = functional.linear(hidden, head)
        total = torch.zeros((), device=hidden.device)
        parts = (torch.split(each, LABELS) for each in (scores, labels[:, None], weights[:, None]))
        for part, label, weight in zip(*parts, strict=True):
            likely = part.log_softmax(-1, dtype=torch.float32)
            total -= (likely.gather(1, label) * weight).sum()
            if ctx.needs_input_grad[0]:
                torch.mul(likely.exp_().scatter_add_(1, label, -torch.ones_like(weight)), weight, out=part)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(scores @ head)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (of_hidden,) = ctx.saved_tensors
        return of_hidden * grad, None, None, None


class _CrossEntropyInParts(torch.autograd.Function):
    """The same for a GPU, where all scores at once would be gigabytes: head and gradient for some labels at a time.

    In float16 a gradient times a small weight would vanish: weights are multiplied in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        total = torch.zeros((), device=hidden.device)
        of_hidden = torch.zeros(hidden.shape, device=hidden.device) if ctx.needs_input_grad[0] else None
        parts = (torch.split(each, LABELS_AT_ONCE) for each in (hidden, labels[:, None], weights[:, None]))
        for i, (part, label, weight) in enumerate(zip(*parts, strict=True)):
            likely = functional.linear(part, head).log_softmax(-1, dtype=torch.float32)
            total -= (likely.gather(1, label) * weight).sum()
            if of_hidden is not None:
                off = likely.exp_().scatter_add_(1, label, -torch.ones_like(weight)).to(head.dtype) @ head
                torch.mul(off, weight, out=of_hidden[i * LABELS_AT_ONCE :][: len(part)])
            del likely  # before the next part's are made
        if of_hidden is not None:
            ctx.save_for_backward(of_hidden)
        ctx.dtype = hidden.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (of_hidden,) = ctx.saved_tensors
        return (of_hidden * grad).to(ctx.dtype), None, None, None


class _Lora(torch.autograd.Function):
    """inputs (…, in), then a's (rank, in) and b's (out, rank) of layers side by side -> (…, out) of each.

    The frozen weights of all stand one below the other in `frozen`; they get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, frozen: _Dense | _Int8, scale: float, *ab: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        all_a, all_b = _whole(ab[: len(ab) // 2], 0), ab[len(ab) // 2 :]
        flat = inputs.reshape(-1, inputs.shape[-1])
        low, out = functional.linear(flat, all_a).mul_(scale), frozen.ahead(flat)
        each = torch.split(out, [len(b) for b in all_b], 1)
        for one, of_one, b in zip(each, torch.split(low, [b.shape[1] for b in all_b], 1), all_b, strict=True):
            one.addmm_(of_one, b.t())
        ctx.save_for_backward(flat, low, all_a, *all_b)
        ctx.frozen, ctx.scale, ctx.shape = frozen, scale, inputs.shape
        return tuple(one.view(*inputs.shape[:-1], -1) for one in each)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        flat, low, all_a, *all_b = ctx.saved_tensors
        ranks = [b.shape[1] for b in all_b]
        grad = _whole([each.reshape(len(flat), -1) for each in grads], 1)
        each = torch.split(grad, [len(b) for b in all_b], 1)
        of_low = _whole([one @ b for one, b in zip(each, all_b, strict=True)], 1).mul_(ctx.scale)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = ctx.frozen.back(grad).addmm_(of_low, all_a).view(ctx.shape)
        of_b = [(of_one.t() @ one).t() for of_one, one in zip(torch.split(low, ranks, 1), each, strict=True)]
        return of_inputs, None, None, *torch.split(of_low.t() @ flat, ranks), *of_b


def _whole(parts: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    return torch.cat(list(parts), dim) if len(parts) > 1 else parts[0]


class _Norm(torch.autograd.Function):
    """RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) as Llama has it: normed in float32, then weighted."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        exact = inputs.float()
        size = exact.shape[-1]
        scale = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_().div_(size).add_(epsilon).rsqrt_()
        normed = (exact * scale).to(inputs.dtype)
        ctx.save_for_backward(normed, weight, scale)
        weighted: torch.Tensor = normed * weight
        return weighted

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        normed, weight, scale = ctx.saved_tensors
        of_normed, exact = (grad * weight).float(), normed.float()
        along = (of_normed * exact).mean(-1, keepdim=True)
        return of_normed.sub_(exact.mul_(along)).mul_(scale).to(grad.dtype), None, None
