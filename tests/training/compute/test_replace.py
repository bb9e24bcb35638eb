from __future__ import annotations

from collections.abc import Callable

import torch

from ingot.model.transformer import Block, Transformer
from ingot.training.compute.compile import CompiledTransformer
from ingot.training.compute.replace import taking_over


class Other(Block):
    """A block of another class."""


def test_names_order_and_weights_stay(new_model: Callable[..., Transformer]) -> None:
    model = new_model()
    before = dict(model.named_parameters())
    with torch.device("meta"):
        other = Other(model.config, 1)
    model.set_submodule("model.layers.1", taking_over(other, model.model.layers[1]))
    after = dict(model.named_parameters())
    assert list(after) == list(before) == [name for name, _ in new_model().named_parameters()]
    assert all(after[name] is before[name] for name in before)
    assert type(model.model.layers[1]) is Other
    assert torch.equal(model(torch.arange(9)[None]), new_model()(torch.arange(9)[None]))


def test_a_compiled_model_shares_every_weight(new_model: Callable[..., Transformer]) -> None:
    model = new_model()
    model.tokens = 300
    compiled = CompiledTransformer(model)
    shared = dict(compiled.named_parameters())
    assert list(shared) == [name for name, _ in model.named_parameters()]
    assert all(shared[name] is parameter for name, parameter in model.named_parameters())
    assert compiled.head_weight.shape == model.head_weight.shape == (300, 32)
