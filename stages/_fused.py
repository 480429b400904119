"""LoRA layers, norms and the loss as one function each, their gradients written by hand. Imports torch.

    speed_up(model)         # a PeftModel in training on a CPU
    loss = cross_entropy(hidden, head.weight, labels, weights)

On a CPU a step of a small model spends half its time between the large matrix products, in the many small operations
that PEFT and transformers make of y = x W' + s (x A') B' and of a norm; by hand they are few, and the numbers are the
same. Unsloth (https://github.com/unslothai/unsloth) and Liger Kernel (Hsu et al. 2024, arXiv:2410.10989) do alike on a
GPU. LoRA: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from peft.tuners.lora import Linear
from torch.nn import functional

LABELS = 16
"""How many labels' scores are in float32 at a time: 3 MB for a vocabulary of 49,152."""


def speed_up(model: torch.nn.Module) -> None:
    """Give each LoRA layer and each RMSNorm of `model` its own forward; layers with dropout or a bias keep theirs.

    LoRA weights take the number format of the weights they stand beside: TRL makes them bfloat16 behind any base.
    """
    for module in model.modules():
        if isinstance(module, Linear):
            if _is_plain(module):
                module.to(module.base_layer.weight.dtype)
                module.forward = MethodType(_lora, module)
        elif type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(_norm, module)


def _is_plain(layer: Any) -> bool:
    dropped = any(isinstance(part, torch.nn.Dropout) and part.p for part in layer.lora_dropout.values())
    return len(layer.lora_A) == 1 and not dropped and layer.base_layer.bias is None and not any(layer.use_dora.values())


def _lora(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    (name,) = layer.lora_A
    found: torch.Tensor = cast(Any, _Lora).apply(
        inputs, layer.base_layer.weight, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return found


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
    found: torch.Tensor = cast(Any, _CrossEntropy).apply(hidden, head, labels, weights)
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


class _Lora(torch.autograd.Function):
    """inputs (…, in), weight (out, in), a (rank, in), b (out, rank) -> (…, out). The weight gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        flat = inputs.reshape(-1, inputs.shape[-1])
        low = functional.linear(flat, a).mul_(scale)
        ctx.save_for_backward(flat, weight, a, b, low)
        ctx.scale, ctx.shape = scale, inputs.shape
        return functional.linear(flat, weight).addmm_(low, b.t()).view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        flat, weight, a, b, low = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        of_low = (grad @ b).mul_(ctx.scale)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = (grad @ weight).addmm_(of_low, a).view(ctx.shape)
        return of_inputs, None, of_low.t() @ flat, (low.t() @ grad).t(), None


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
