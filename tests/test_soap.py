"""The optimizer: Adam's own steps where nothing is to be turned, else another basis, and a state that can be kept."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from stages import _soap
from stages._soap import Soap

SHAPES = [(4, 30), (30, 4), (4, 30)]


def matrices(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def train(weights: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            noise = torch.randn(weight.shape, generator=generator)
            weight.grad = (weight.detach().float() + 0.3 * noise).to(weight.dtype)
        optimizer.step()


def test_with_a_rank_of_one_it_is_adam() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 9).view(1, 9).clone()) for _ in range(2))
    train([ours], Soap([ours], lr=0.02, weight_decay=0.1), range(20))
    train([theirs], torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.1), range(20))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_turned_problem_is_solved_by_turned_steps() -> None:
    """What Adam is not: rotate the rank's directions and the whole path is rotated, to rounding."""
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    ends, adams = list[torch.Tensor](), list[torch.Tensor]()
    for rotate in (torch.eye(4), turn):
        for kind, out in ((Soap, ends), (torch.optim.Adam, adams)):
            weight = torch.nn.Parameter(rotate @ matrices()[0].detach())
            optimizer = kind([weight], lr=0.05)
            for step in range(12):
                noise = torch.randn(4, 30, generator=torch.Generator().manual_seed(step))
                weight.grad = weight.detach() + rotate @ (noise * torch.tensor([3.0, 1.0, 0.3, 0.1])[:, None])
                optimizer.step()
            out.append(rotate.T @ weight.detach())
    assert torch.allclose(ends[0], ends[1], atol=1e-3)
    assert not torch.allclose(adams[0], adams[1], atol=1e-2)


def test_a_new_basis_holds_the_same_mean_and_as_much_of_the_squares() -> None:
    weights = matrices()
    optimizer = Soap(weights, lr=0.01)
    train(weights, optimizer, range(7))
    stack = optimizer._stacks[0][0]
    mean, squares = stack.basis @ stack.mean, stack.square.sum(1)
    stack.covariance.copy_(torch.diag(torch.arange(4.0)))
    _soap._turn(stack)
    assert torch.allclose(stack.basis.abs(), torch.eye(4), atol=1e-5)
    assert torch.allclose(stack.basis @ stack.mean, mean, atol=1e-5)
    assert torch.allclose(stack.square.sum(1), squares, rtol=1e-4)


def test_a_stack_of_one_shape_does_to_each_matrix_what_it_does_alone() -> None:
    together, alone = matrices(), matrices()
    train(together, Soap(together, lr=0.01), range(8))
    for number, weight in enumerate(alone):
        other = copy.deepcopy(alone)
        other[number] = weight
        optimizers = [Soap([each], lr=0.01) for each in other]
        for step in range(8):
            generator = torch.Generator().manual_seed(step)
            for each, optimizer in zip(other, optimizers, strict=True):
                each.grad = each.detach() + 0.3 * torch.randn(each.shape, generator=generator)
                optimizer.step()
        assert torch.allclose(weight, together[number], atol=1e-5)


def test_a_training_that_goes_on_from_its_state_ends_where_an_unbroken_one_does() -> None:
    whole, broken = matrices(torch.bfloat16), matrices(torch.bfloat16)
    train(whole, Soap(whole, lr=0.01), range(12))
    first = Soap(broken, lr=0.01)
    train(broken, first, range(7))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Soap(broken, lr=0.01)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert all(tensor.dtype is torch.float32 for state in second.state.values() for tensor in state.values())
    train(broken, second, range(7, 12))
    assert all(torch.equal(a, b) for a, b in zip(whole, broken, strict=True))


def test_a_gradient_that_is_not_finite_shows_in_the_weights_and_not_in_an_error_of_algebra() -> None:
    weights = matrices()
    optimizer = Soap(weights, lr=0.01)
    train(weights, optimizer, range(3))
    for weight in weights:
        weight.grad = torch.full_like(weight, float("nan"))
    optimizer.step()
    assert all(weight.isnan().all() for weight in weights)


def test_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"for matrices, and one weight has the shape \(7,\)"):
        Soap([torch.nn.Parameter(torch.zeros(7))], lr=0.1)
