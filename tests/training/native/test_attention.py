from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ingot.training.native import formats, module
from ingot.training.native.attention import can_fuse, fused_attention, fused_attention_from
from tests.training.native.kinds import ARRAY_KIND, computing_in, each_kind

CPU = torch.device("cpu")

PRECISION = {torch.bfloat16: 4e-3, torch.float32: 2e-6}


@dataclass(frozen=True)
class Case:
    """Sizes of an attention, and whether each token sees from somewhere on alone."""

    windows: int
    tokens: int
    groups: int
    key_heads: int
    width: int
    bounded: bool


cases = st.builds(
    Case,
    windows=st.integers(1, 3),
    tokens=st.integers(1, 100),
    groups=st.integers(1, 3),
    key_heads=st.integers(1, 2),
    width=st.sampled_from([16, 32, 48, 64, 80, 128, 256]),
    bounded=st.booleans(),
)


def drawn(
    case: Case, kind: torch.dtype, seed: int = 0
) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """Return queries, keys and values; the gradient by what is mixed; and the starts."""
    random = torch.Generator().manual_seed(seed)
    b, t, g, k = case.windows, case.tokens, case.key_heads, case.width
    query_heads = case.groups * g
    inputs = [
        torch.randn(b, t, heads, k, generator=random).to(kind).requires_grad_()
        for heads in (query_heads, g, g)
    ]
    by_mixed = torch.randn(b, t, query_heads, k, generator=random).to(kind)
    starts = None
    if case.bounded:
        starts = (torch.rand(b, t, generator=random) * torch.arange(1, t + 1)).int()
    return inputs, by_mixed, starts


def attended(inputs: list[Tensor], starts: Tensor | None = None) -> Tensor:
    attend = fused_attention if starts is None else fused_attention_from(starts)
    with computing_in(inputs[0].dtype):
        return attend(0, *inputs)


def mixed_and_gradients(
    inputs: list[Tensor], by_mixed: Tensor, starts: Tensor | None
) -> list[Tensor]:
    mixed = attended(inputs, starts)
    return [mixed.detach(), *torch.autograd.grad(mixed, inputs, by_mixed)]


def exact(inputs: list[Tensor], by_mixed: Tensor, starts: Tensor | None) -> list[Tensor]:
    """Return the same from PyTorch's own attention in float64."""
    q, k, v = doubles = [x.detach().double().requires_grad_() for x in inputs]
    tokens = torch.arange(q.shape[1])
    seen = (tokens[None, :] <= tokens[:, None])[None]
    if starts is not None:
        seen = seen & (tokens[None, None, :] >= starts[:, :, None])
    mixed = functional.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=seen[:, None],
        enable_gqa=True,
    ).transpose(1, 2)
    return [mixed.detach(), *torch.autograd.grad(mixed, doubles, by_mixed.double())]


@each_kind
@settings(deadline=None, max_examples=60)
@given(case=cases, seed=st.integers(0, 1000))
def test_it_gives_what_exact_arithmetic_gives_to_the_precision_of_its_numbers(
    kind: torch.dtype, case: Case, seed: int
) -> None:
    inputs, by_mixed, starts = drawn(case, kind, seed)
    names = ("mixed", "by queries", "by keys", "by values")
    found, wanted = (f(inputs, by_mixed, starts) for f in (mixed_and_gradients, exact))
    for name, mine, right in zip(names, found, wanted, strict=True):
        # Rows that see themselves alone give queries and keys no gradient to be relative to.
        error = (mine.double() - right).norm() / (right.norm() + 1e-2 * by_mixed.norm())
        assert error < PRECISION[kind], name


@each_kind
@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 64, 257])
def test_no_token_learns_of_a_later_one(kind: torch.dtype, tokens: int) -> None:
    inputs, _, _ = drawn(Case(1, tokens, 2, 1, 32, bounded=False), kind)
    others = [x.detach().clone() for x in inputs]
    half = tokens // 2
    for x in others:
        x[:, half:] = 7.0
    one, other = attended(inputs), attended(others)
    assert torch.equal(one[:, :half], other[:, :half])


@each_kind
def test_the_number_of_threads_changes_no_bit(kind: torch.dtype) -> None:
    case = Case(3, 70, 2, 2, 64, bounded=True)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = mixed_and_gradients(*drawn(case, kind))
        torch.set_num_threads(3)
        three = mixed_and_gradients(*drawn(case, kind))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@each_kind
@pytest.mark.parametrize("which", range(3), ids=["queries", "keys", "values"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_shows(kind: torch.dtype, which: int, value: float) -> None:
    inputs, _, _ = drawn(Case(1, 40, 1, 1, 16, bounded=False), kind)
    with torch.no_grad():
        inputs[which][0, 5, 0, 3] = value
        mixed = attended(inputs)
    assert not torch.isfinite(mixed[0, 5]).all()


@each_kind
def test_it_takes_what_is_not_laid_out_in_order(kind: torch.dtype) -> None:
    inputs, by_mixed, _ = drawn(Case(2, 20, 2, 1, 32, bounded=False), kind)
    turned = [x.detach().transpose(0, 1).contiguous().transpose(0, 1) for x in inputs]
    straight = mixed_and_gradients(inputs, by_mixed, None)
    other = mixed_and_gradients(
        [x.requires_grad_() for x in turned],
        by_mixed.transpose(2, 3).contiguous().transpose(2, 3),
        None,
    )
    assert all(torch.equal(a, b) for a, b in zip(straight, other, strict=True))


@each_kind
def test_pytorch_finds_the_operator_well_formed(kind: torch.dtype) -> None:
    inputs, _, starts = drawn(Case(1, 9, 2, 1, 16, bounded=True), kind)
    for sees in (None, starts):
        torch.library.opcheck(
            torch.ops.ingot.attend.default,
            (*inputs, sees),
            raise_exception=True,
            test_utils=(
                "test_schema",
                "test_autograd_registration",
                "test_faketensor",
                "test_aot_dispatch_dynamic",
            ),
        )


def arrays(
    kind: torch.dtype, tokens: int = 4, width: int = 16, key_heads: int = 1
) -> dict[str, Any]:
    queries = np.zeros((1, tokens, 2, width), ARRAY_KIND[kind])
    keys = np.zeros((1, tokens, key_heads, width), ARRAY_KIND[kind])
    return {
        "queries": queries,
        "keys": keys,
        "values": keys.copy(),
        "starts": None,
        "mixed": queries.copy(),
        "totals": np.zeros((1, 2, tokens), np.float32),
    }


@each_kind
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": (1, 3, 1, 16)}, "do not fit together"),
        ({"mixed": (1, 4, 1, 16)}, "output has the wrong shape"),
        ({"totals": np.zeros((1, 2, 3), np.float32)}, "totals have the wrong shape"),
        ({"starts": np.zeros((1, 3), np.int32)}, "starts do not fit"),
        ({"starts": np.array([[0, 1, 3, 0]], np.int32)}, "start is out of range"),
        ({"starts": np.array([[0, -1, 0, 0]], np.int32)}, "start is out of range"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    kind: torch.dtype, change: dict[str, Any], message: str
) -> None:
    kernels = module()
    assert kernels is not None
    made = {
        name: np.zeros(value, ARRAY_KIND[kind]) if isinstance(value, tuple) else value
        for name, value in change.items()
    }
    with pytest.raises(ValueError, match=message):
        kernels.Kernels(1).attend(**arrays(kind) | made)


@each_kind
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 24}, "multiple of 16"),
        ({"width": 272}, "multiple of 16"),
        ({"key_heads": 3}, "do not divide"),
    ],
)
def test_heads_that_do_not_fit_are_refused(
    kind: torch.dtype, sizes: dict[str, int], message: str
) -> None:
    kernels = module()
    assert kernels is not None
    with pytest.raises(ValueError, match=message):
        kernels.Kernels(1).attend(**arrays(kind, **sizes))


@each_kind
def test_it_stands_in_for_its_numbers_alone(kind: torch.dtype) -> None:
    with computing_in(kind):
        assert can_fuse(64, 8, CPU)
        assert not can_fuse(64, torch.get_num_threads() - 1, CPU)
        assert not can_fuse(24, 8, CPU)
        assert not can_fuse(272, 8, CPU)
        assert not can_fuse(64, 8, torch.device("cuda"))


def test_it_stands_in_where_the_cpu_has_kernels() -> None:
    assert can_fuse(64, 8, CPU) is (torch.float32 in formats())
    with torch.autocast("cpu", torch.bfloat16):
        assert can_fuse(64, 8, CPU) is (torch.bfloat16 in formats())
    with torch.autocast("cpu", torch.float16):
        assert not can_fuse(64, 8, CPU)


@each_kind
def test_threads_that_call_at_once_take_turns(kind: torch.dtype) -> None:
    cases = [drawn(Case(3, 60, 2, 2, 64, bounded=False), kind, seed) for seed in range(4)]
    alone = [mixed_and_gradients(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: mixed_and_gradients(*case), cases * 10, timeout=300))
    for found, wanted in zip(together, alone * 10, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
