from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ingot.model.transformer import rotate
from ingot.training.native import module
from ingot.training.native.norm import norm, norm_and_rotate
from tests.training.native.kinds import ARRAY_KIND, computing_in, each_kind

EPS = 1e-6
PRECISION = {torch.bfloat16: 4e-3, torch.float32: 1e-6}


def exact(x: Tensor, weight: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight
    return normed if angles is None else rotate(normed, *angles)


def close(mine: Tensor, right: Tensor, precision: float) -> bool:
    return bool((mine.double() - right).norm() <= precision * right.norm() + 1e-12)


@each_kind
@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 3)),
    width=st.sampled_from([16, 32, 48, 64, 96, 384, 1056]),
    narrow=st.booleans(),
    rotated=st.sampled_from(["not", "all windows alike", "each window apart"]),
    seed=st.integers(0, 1000),
)
def test_it_gives_what_exact_arithmetic_gives(
    kind: torch.dtype,
    shape: tuple[int, int, int],
    width: int,
    narrow: bool,
    rotated: str,
    seed: int,
) -> None:
    random = torch.Generator().manual_seed(seed)
    given_kind = kind if narrow else torch.float32
    x = (3 * torch.randn(*shape, width, generator=random)).to(given_kind).requires_grad_()
    weight = torch.randn(width, generator=random).requires_grad_()
    grad_out = torch.randn(*shape, width, generator=random).to(kind)
    angles = None
    if rotated != "not" and width % 32 == 0:
        sizes = shape[1:2] if rotated == "all windows alike" else shape[:2]
        turn = torch.rand(*sizes, 1, width // 2, generator=random) * 7
        angles = (turn.cos(), turn.sin())
    with computing_in(kind):
        mine = norm(x, weight, EPS) if angles is None else norm_and_rotate(x, weight, EPS, angles)
    assert mine.dtype is kind
    doubles = [t.detach().double().requires_grad_() for t in (x, weight)]
    doubled = None if angles is None else (angles[0].double(), angles[1].double())
    right = exact(*doubles, doubled)
    assert close(mine, right, PRECISION[kind])
    grad_x, grad_weight = torch.autograd.grad(mine, (x, weight), grad_out)
    right_by_x, right_by_gain = torch.autograd.grad(right, doubles, grad_out.double())
    assert grad_x.dtype is given_kind
    assert close(grad_x, right_by_x, max(PRECISION[given_kind], 1e-5))
    assert close(grad_weight, right_by_gain, 1e-4)


@each_kind
def test_the_number_of_threads_changes_no_bit(kind: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 500, 384, generator=random).requires_grad_()
    weight = torch.randn(384, generator=random).requires_grad_()
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with computing_in(kind):
                y = norm(x, weight, EPS)
            found.append([y, *torch.autograd.grad(y.float().square().sum(), (x, weight))])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@each_kind
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_shows_in_its_own_row_alone(
    kind: torch.dtype, value: float
) -> None:
    x = torch.ones(1, 3, 32)
    x[0, 1, 5] = value
    with computing_in(kind):
        finite = torch.isfinite(norm(x, torch.ones(32), EPS)).all(-1)[0].tolist()
    assert finite == [True, False, True]


@each_kind
def test_pytorch_finds_the_operator_well_formed(kind: torch.dtype) -> None:
    x = torch.randn(2, 3, 2, 32).requires_grad_()
    turn = torch.rand(3, 1, 16)
    for angles in ((None, None), (turn.cos(), turn.sin())):
        weight = torch.ones(32, requires_grad=True)
        torch.library.opcheck(torch.ops.ingot.norm.default, (x, weight, *angles, EPS, kind))


def arrays(kind: torch.dtype, width: int = 32, out_rows: int = 4) -> dict[str, Any]:
    return {
        "x": np.ones((4, width), np.float32),
        "weight": np.ones(width, np.float32),
        "eps": EPS,
        "cosines": np.ones((2, width // 2), np.float32),
        "sines": np.zeros((2, width // 2), np.float32),
        "heads": 2,
        "out": np.zeros((out_rows, width), ARRAY_KIND[kind]),
    }


@each_kind
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones(31, np.float32)}, "weight does not fit"),
        ({"sines": None}, "cosines or sines alone"),
        ({"sines": np.zeros((2, 15), np.float32)}, "angles do not fit"),
        ({"heads": 3}, "heads do not divide"),
        ({"heads": 1, "cosines": np.ones((3, 16), np.float32)}, "angles do not fit"),
        ({"heads": 4}, "angles do not fit"),
        ({"heads": 0}, "heads do not divide"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    kind: torch.dtype, change: dict[str, Any], message: str
) -> None:
    kernels = module()
    assert kernels is not None
    with pytest.raises(ValueError, match=message):
        kernels.Kernels(1).norm(**arrays(kind) | change)


@each_kind
@pytest.mark.parametrize(
    ("sizes", "rotated", "message"),
    [
        ({"out_rows": 3}, True, "output has the wrong shape"),
        ({"width": 48}, True, "multiple of 16 wide, of 32 where"),
        ({"width": 40}, False, "multiple of 16 wide"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    kind: torch.dtype, sizes: dict[str, int], rotated: bool, message: str
) -> None:
    kernels = module()
    assert kernels is not None
    angles = {} if rotated else {"cosines": None, "sines": None}
    with pytest.raises(ValueError, match=message):
        kernels.Kernels(1).norm(**arrays(kind, **sizes) | angles)
