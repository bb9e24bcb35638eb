from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.training.native import kernels
from tests.training.native.kinds import needs

needs_kernels = needs(torch.float32)


def drawn(rows: int, width: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(4)
    logits = 5 * torch.randn(rows, width, generator=random)
    return logits, torch.randint(width, (rows,), generator=random)


def losses_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    gradient, losses = logits.clone(), torch.empty(len(logits))
    kernels().cross_entropy(gradient.numpy(), targets.numpy(), losses.numpy())
    return losses, gradient


@needs_kernels
@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("width", [1, 15, 16, 65, 4096, 9001])
def test_it_gives_what_exact_arithmetic_gives(rows: int, width: int) -> None:
    logits, targets = drawn(rows, width)
    double = logits.double().requires_grad_()
    wanted = functional.cross_entropy(double, targets, reduction="none")
    losses, gradient = losses_and_gradient(logits, targets)
    torch.testing.assert_close(losses.double(), wanted, rtol=1e-6, atol=1e-5)
    (right,) = torch.autograd.grad(wanted.sum(), double)
    assert (gradient - right).norm() <= 1e-6 * (right.norm() + 1)


@needs_kernels
@pytest.mark.parametrize("at", [0, 20, 64])
def test_a_logit_that_is_not_a_number_shows_in_its_own_row_alone(at: int) -> None:
    logits, targets = drawn(3, 65)
    logits[1, at] = float("nan")
    losses, gradient = losses_and_gradient(logits, targets)
    assert torch.isfinite(losses).tolist() == [True, False, True]
    assert torch.isfinite(gradient).all(1).tolist() == [True, False, True]


@needs_kernels
@pytest.mark.parametrize("target", [-1, 65])
def test_a_target_out_of_range_is_refused(target: int) -> None:
    logits, targets = drawn(3, 65)
    targets[2] = target
    with pytest.raises(ValueError, match="target is out of range"):
        losses_and_gradient(logits, targets)


@needs_kernels
def test_arrays_that_do_not_fit_are_refused() -> None:
    each: Any = kernels()
    logits, targets = np.zeros((3, 5), np.float32), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="target for each row"):
        each.cross_entropy(logits, targets, np.zeros(3, np.float32))
