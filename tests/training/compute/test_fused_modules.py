from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from ingot.model.transformer import FeedForward, RMSNorm, Transformer
from ingot.training import native
from ingot.training.compute import precision as precision_module
from ingot.training.compute.fused_modules import (
    FusedAttention,
    FusedFeedForward,
    FusedNorm,
    fuse,
)
from ingot.training.compute.precision import Precision
from ingot.training.compute.recompute import recompute_blocks
from ingot.training.config.lora import LoraConfig
from ingot.training.data.batch import Batch
from ingot.training.lora.adapter import attach
from ingot.training.objectives.next_token import next_token_loss
from tests.training.native.kinds import each_kind, needs

HALF = Precision(torch.device("cpu"), torch.bfloat16)
FULL = Precision(torch.device("cpu"), torch.float32)
NEAR = {torch.bfloat16: (5e-3, 0.1), torch.float32: (1e-6, 1e-5)}
"""By how much loss and gradients may differ from those without kernels."""


def learn(model: Transformer, precision: Precision) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss and the gradients of one batch."""
    ids = torch.randint(
        model.config.vocab_size, (3, 41), generator=torch.Generator().manual_seed(5)
    )
    batch = Batch(ids.numpy(), None, None)
    with precision.autocast():
        loss = next_token_loss(model, batch, precision.device) / batch.weight
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@each_kind
@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("head_dim", [16, 32])
def test_a_fused_model_learns_as_one_in_float32(
    new_model: Callable[..., Transformer],
    monkeypatch: pytest.MonkeyPatch,
    kind: torch.dtype,
    head_dim: int,
    recomputed: bool,
    adapted: bool,
) -> None:
    precision = Precision(torch.device("cpu"), kind)
    exact, fused = new_model(head_dim=head_dim), new_model(head_dim=head_dim)
    for model in (exact, fused):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name:
                    parameter.mul_(torch.linspace(0.5, 2.0, parameter.numel()))
        if model is fused:
            fuse(model, precision)
        if adapted:
            attach(model, LoraConfig(rank=4), torch.Generator().manual_seed(0))
        if recomputed:
            recompute_blocks(model)
    loss, found = learn(fused, precision)
    with monkeypatch.context() as without:
        without.setattr(native, "formats", frozenset)
        wanted_loss, wanted = learn(exact, FULL)
    near, gradients_near = NEAR[kind]
    assert loss == pytest.approx(wanted_loss, rel=near)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= gradients_near * gradient.norm() + 1e-7, name


@each_kind
def test_what_the_kernels_can_take_is_fused(
    new_model: Callable[..., Transformer], kind: torch.dtype
) -> None:
    gates = 2 if kind is torch.float32 else 0
    for head_dim, norms, rotated in ((8, 5, 0), (16, 9, 0), (32, 9, 2)):
        model = new_model(head_dim=head_dim)
        fuse(model, Precision(torch.device("cpu"), kind))
        modules = list(model.modules())
        assert sum(type(m) is FusedNorm for m in modules) == norms
        assert sum(type(m) is FusedAttention for m in modules) == rotated
        assert sum(type(m) is FusedFeedForward for m in modules) == gates


def test_without_kernels_nothing_is_fused(
    new_model: Callable[..., Transformer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_module, "formats", frozenset)
    model = new_model(head_dim=32)
    fuse(model, FULL)
    fuse(model, HALF)
    assert sum(type(m) is RMSNorm for m in model.modules()) == 9
    assert sum(type(m) is FeedForward for m in model.modules()) == 2


@needs(torch.float32)
def test_what_has_another_activation_is_not_gated_by_the_kernel(
    new_model: Callable[..., Transformer],
) -> None:
    config = new_model().config
    for variant in (
        dataclasses.replace(config, activation="gelu_tanh"),
        dataclasses.replace(config, gated_mlp=False),
    ):
        model = Transformer(variant)
        fuse(model, FULL)
        assert sum(type(m) is FeedForward for m in model.modules()) == 2


@needs(torch.bfloat16)
def test_a_fused_model_outside_autocast_computes_as_before(
    new_model: Callable[..., Transformer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "formats", lambda: frozenset({torch.bfloat16}))
    plain, fused = new_model(head_dim=32), new_model(head_dim=32)
    fuse(fused, HALF)
    ids = torch.arange(20)[None]
    assert torch.equal(plain(ids), fused(ids))
