"""SOAP on the short side of LoRA's matrices: Adam in the eigenbasis of the rank. Imports torch.

    Soap(parameters, lr=2e-3)      # in place of torch.optim.AdamW

SOAP (Vyas et al. 2024, arXiv:2409.11321) runs Adam in the eigenbasis of Shampoo's preconditioner. Of the two sides of a
LoRA matrix only the rank's (16 by 16) is turned here: the cost of a basis grows with the third power of its width. What
a rank's directions are is chance, and Adam takes each by itself; turned, it tells those that the gradients really have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

_EARLY = 5
"""Steps at the start after each of which the basis is found anew."""


@dataclass(slots=True)
class _Stack:
    """Matrices of one shape, turned so that the short side (r) comes first, with what is remembered of them."""

    parameters: list[torch.Tensor]
    covariance: torch.Tensor
    """Mean of G G', shape (matrices, r, r)."""
    basis: torch.Tensor
    """Its eigenvectors as columns, shape (matrices, r, r)."""
    mean: torch.Tensor
    """Of gradients, in the basis, shape (matrices, r, n)."""
    square: torch.Tensor
    """Of squared gradients, in the basis, shape (matrices, r, n)."""


_REMEMBERED = ("covariance", "basis", "mean", "square")


class Soap(torch.optim.Optimizer):
    """Moments are float32 whatever the matrices are.

    `betas`, `eps` and `weight_decay` (decoupled) are AdamW's; `covariance_beta` is the decay of G G', `every` the steps
    between two bases. Raises ValueError for a parameter that is not a matrix.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        covariance_beta: float = 0.95,
        every: int = 5,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, defaults | {"covariance_beta": covariance_beta, "every": every, "steps": 0})
        for group in self.param_groups:
            if strange := [p for p in group["params"] if p.dim() != 2]:
                raise ValueError(
                    f"this optimizer is for matrices, and one weight has the shape {tuple(strange[0].shape)}"
                )
        self._stacks: dict[int, list[_Stack]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            if number not in self._stacks:
                self._stacks[number] = self._stacked(group["params"])
            group["steps"] += 1
            for stack in self._stacks[number]:
                _update(stack, group)
        return loss

    def _stacked(self, parameters: list[torch.Tensor]) -> list[_Stack]:
        """The parameters by shape; what is remembered of each in `state` becomes a part of its stack."""
        shapes: dict[tuple[int, ...], list[torch.Tensor]] = {}
        for parameter in parameters:
            shapes.setdefault(tuple(parameter.shape), []).append(parameter)
        stacks = []
        for shape, alike in shapes.items():
            short, long = min(shape), max(shape)
            blank = torch.zeros(short, long, device=alike[0].device)
            square, eye = blank[:, :1].expand(short, short), torch.eye(short, device=blank.device)
            fresh = dict(zip(_REMEMBERED, (square, eye, blank, blank), strict=True))
            held = {name: torch.stack([self.state[p].get(name, fresh[name]) for p in alike]) for name in _REMEMBERED}
            stacks.append(_Stack(alike, **held))
            for i, parameter in enumerate(alike):
                self.state[parameter] = {name: tensor[i] for name, tensor in held.items()}
        return stacks

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch does, but what is remembered stays float32 beside parameters in bfloat16."""
        super().load_state_dict(state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, saved in state_dict["state"].items():
            parameter = parameters[number]
            self.state[parameter] = {name: tensor.to(parameter.device) for name, tensor in saved.items()}
        self._stacks = {}


def _update(stack: _Stack, group: dict[str, Any]) -> None:
    first, second = group["betas"]
    steps = group["steps"]
    gradient = torch.stack([_grad(p) for p in stack.parameters])
    tall = gradient.shape[1] > gradient.shape[2]
    if tall:
        gradient = gradient.transpose(1, 2)
    stack.covariance.lerp_(gradient @ gradient.transpose(1, 2), 1 - group["covariance_beta"])
    if steps <= _EARLY or steps % group["every"] == 0:
        _turn(stack)
    turned = stack.basis.transpose(1, 2) @ gradient
    stack.mean.lerp_(turned, 1 - first)
    stack.square.lerp_(turned.square(), 1 - second)
    scale = (stack.square / (1 - second**steps)).sqrt_().add_(group["eps"])
    change = stack.basis @ (stack.mean / scale) * (-group["lr"] / (1 - first**steps))
    if tall:
        change = change.transpose(1, 2)
    for parameter, part in zip(stack.parameters, change, strict=True):
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(part.to(parameter.dtype))


def _grad(parameter: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(parameter, dtype=torch.float32) if parameter.grad is None else parameter.grad.float()


def _turn(stack: _Stack) -> None:
    """The basis anew; the mean is turned along, the squares by how much of each old direction is in a new one.

    A covariance that is not finite has no basis. It is left to show in the loss, as it does with any optimizer.
    """
    if not stack.covariance.isfinite().all():
        return
    _, basis = torch.linalg.eigh(stack.covariance)
    turn = basis.transpose(1, 2) @ stack.basis
    stack.mean.copy_(turn @ stack.mean)
    stack.square.copy_(turn.square() @ stack.square)
    stack.basis.copy_(basis)
