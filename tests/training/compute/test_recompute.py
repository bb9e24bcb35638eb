from __future__ import annotations

from collections.abc import Callable

import torch

from ingot.model.transformer import Transformer
from ingot.training.compute.recompute import RecomputedBlock, recompute_blocks


def test_a_recomputed_model_is_the_same_to_the_bit(new_model: Callable[..., Transformer]) -> None:
    plain, recomputed = new_model(), new_model()
    recompute_blocks(recomputed)
    assert all(type(block) is RecomputedBlock for block in recomputed.model.layers)
    ids = torch.arange(40)[None]
    for model in (plain, recomputed):
        model.logits(model(ids)).square().mean().backward()  # type: ignore[no-untyped-call]
    pairs = zip(plain.named_parameters(), recomputed.named_parameters(), strict=True)
    for (name, one), (other_name, other) in pairs:
        assert name == other_name
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_less_is_kept_for_the_backward_pass(new_model: Callable[..., Transformer]) -> None:
    kept = []
    for recompute in (False, True):
        model = new_model()
        if recompute:
            recompute_blocks(model)
        sizes: list[int] = []

        def count(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(torch.arange(64)[None])
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4
