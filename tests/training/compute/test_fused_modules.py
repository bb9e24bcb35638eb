from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ingot.model.transformer import RMSNorm, Transformer
from ingot.training.compute.fused_modules import FusedAttention, FusedNorm, fuse
from ingot.training.compute.precision import Precision
from ingot.training.compute.recompute import recompute_blocks
from ingot.training.config.lora import LoraConfig
from ingot.training.data.batch import Batch
from ingot.training.lora.adapter import attach
from ingot.training.native import module
from ingot.training.objectives.next_token import next_token_loss

HALF = Precision(torch.device("cpu"), torch.bfloat16)
FULL = Precision(torch.device("cpu"), torch.float32)

needs_kernels = pytest.mark.skipif(
    module() is None, reason="no kernels for this CPU: it lacks AVX-512 with BF16"
)


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


@needs_kernels
@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("head_dim", [16, 32])
def test_a_fused_model_learns_as_one_in_float32(
    new_model: Callable[..., Transformer], head_dim: int, recomputed: bool, adapted: bool
) -> None:
    exact, fused = new_model(head_dim=head_dim), new_model(head_dim=head_dim)
    for model in (exact, fused):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name:
                    parameter.mul_(torch.linspace(0.5, 2.0, parameter.numel()))
        if model is fused:
            fuse(model, HALF)
        if adapted:
            attach(model, LoraConfig(rank=4), torch.Generator().manual_seed(0))
        if recomputed:
            recompute_blocks(model)
    wanted_loss, wanted = learn(exact, FULL)
    loss, found = learn(fused, HALF)
    assert loss == pytest.approx(wanted_loss, rel=5e-3)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 0.1 * gradient.norm() + 1e-7, name


@needs_kernels
def test_what_the_kernels_can_take_is_fused(new_model: Callable[..., Transformer]) -> None:
    for head_dim, norms, rotated in ((8, 5, 0), (16, 9, 0), (32, 9, 2)):
        model = new_model(head_dim=head_dim)
        fuse(model, HALF)
        modules = list(model.modules())
        assert sum(type(m) is FusedNorm for m in modules) == norms
        assert sum(type(m) is FusedAttention for m in modules) == rotated


def test_in_float32_nothing_is_fused(new_model: Callable[..., Transformer]) -> None:
    model = new_model(head_dim=32)
    fuse(model, FULL)
    assert sum(type(m) is RMSNorm for m in model.modules()) == 9


@needs_kernels
def test_a_fused_model_outside_autocast_computes_as_before(
    new_model: Callable[..., Transformer],
) -> None:
    plain, fused = new_model(head_dim=32), new_model(head_dim=32)
    fuse(fused, HALF)
    ids = torch.arange(20)[None]
    assert torch.equal(plain(ids), fused(ids))
