from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.training.native import module
from ingot.training.native.gate import gated
from tests.training.native.kinds import needs

needs_kernels = needs(torch.float32)


def drawn(*shape: int) -> list[Tensor]:
    """Return gates, ups and the gradient by the output."""
    random = torch.Generator().manual_seed(2)
    return [4 * torch.randn(*shape, generator=random) for _ in range(3)]


@needs_kernels
@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (3, 5, 7), (40, 352), (2, 8192, 3)])
def test_it_gives_what_exact_arithmetic_gives(shape: tuple[int, ...]) -> None:
    gates, ups, by_out = drawn(*shape)
    inputs = [gates.requires_grad_(), ups.requires_grad_()]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    mine, right = gated(*inputs), functional.silu(doubles[0]) * doubles[1]
    found = [mine, *torch.autograd.grad(mine, inputs, by_out)]
    wanted = [right, *torch.autograd.grad(right, doubles, by_out.double())]
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == shape
        assert (one - other).norm() <= 1e-6 * other.norm()


@needs_kernels
def test_gates_far_from_zero_are_open_or_shut() -> None:
    gates = torch.tensor([-1e30, -200.0, -80.0, 80.0, 200.0, 1e30], requires_grad=True)
    out = gated(gates, torch.ones(6))
    assert torch.equal(out[3:], gates[3:])
    assert out[1:3].abs().max() < 1e-30
    (gradient,) = torch.autograd.grad(out.sum(), gates)
    assert torch.equal(gradient[3:], torch.ones(3))
    assert gradient[1:3].abs().max() < 1e-30


@needs_kernels
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_no_finite_number_shows(which: int) -> None:
    inputs = drawn(40)[:2]
    inputs[which][7] = float("nan")
    assert torch.isfinite(gated(*inputs)).tolist() == [i != 7 for i in range(40)]


@needs_kernels
def test_pytorch_finds_the_operator_well_formed() -> None:
    gates, ups, _ = drawn(3, 5)
    torch.library.opcheck(
        torch.ops.ingot.gate.default, (gates.requires_grad_(), ups.requires_grad_())
    )


@needs_kernels
def test_arrays_that_do_not_fit_are_refused() -> None:
    kernels: Any = module()
    one, other = np.zeros(4, np.float32), np.zeros(5, np.float32)
    with pytest.raises(ValueError, match="differ in size"):
        kernels.Kernels(1).gate(one, other, one)
    with pytest.raises(ValueError, match="wrong shape"):
        kernels.Kernels(1).gate_back(one, one, one, one, other)
