from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from ingot.errors import TrainingError
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.optim import optimizer
from ingot.training.optim.muon import orthogonalise
from ingot.training.optim.optimizer import Optimizer

CONFIG = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    max_position_embeddings=32,
    tie_word_embeddings=False,
)


def model_with_gradients(seed: int = 0) -> Transformer:
    model = Transformer(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    model.initialise(generator)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("method", ["muon", "adamw"])
def test_every_parameter_moves_and_is_in_one_group(method: str) -> None:
    model = model_with_gradients()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Optimizer(model, OptimizerConfig(method=method))  # type: ignore[arg-type]
    optimizer.step(1.0)
    for name, parameter in model.named_parameters():
        assert not torch.equal(before[name], parameter), name
    stated = [key.partition(".")[2] for key in optimizer.state_tensors()]
    kinds = {name: stated.count(name) for name in before}
    assert set(kinds.values()) <= {1, 3}  # Muon holds one tensor for a parameter, AdamW three


@pytest.mark.parametrize("method", ["muon", "adamw"])
def test_a_refused_update_changes_nothing_whatever_the_gradients(method: str) -> None:
    model, like = model_with_gradients(), model_with_gradients()
    config = OptimizerConfig(method=method, weight_decay=0.5)  # type: ignore[arg-type]
    optimizer, other = Optimizer(model, config), Optimizer(like, config)
    optimizer.step(1.0, torch.tensor(True))
    other.step(1.0)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizer.step(1.0, torch.tensor(False))
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name]
    for each in (optimizer, other):
        each.step(0.5)
    expected, state = dict(like.named_parameters()), other.state_tensors()
    assert all(torch.equal(p, expected[name]) for name, p in model.named_parameters())
    assert all(torch.equal(value, state[key]) for key, value in optimizer.state_tensors().items())


def test_muon_follows_its_definition() -> None:
    model = model_with_gradients()
    weight = model.model.layers[0].mlp.up_proj.weight
    before, gradient = weight.detach().clone(), weight.grad.clone()
    Optimizer(model, OptimizerConfig(muon_lr=0.1, momentum=0.9, weight_decay=0.5)).step(0.5)
    nesterov = gradient.lerp(0.1 * gradient, 0.9)
    step = orthogonalise(nesterov[None])[0] * (48 / 32) ** 0.5
    expected = before * (1 - 0.05 * 0.5) - 0.05 * step
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=1e-4)


def test_weight_decay_leaves_norms_and_tables_alone() -> None:
    model = model_with_gradients()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    Optimizer(model, OptimizerConfig(weight_decay=0.5)).step(1.0)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    expected = {n for n, p in before.items() if p.ndim == 2 and "layers" in n and p.any()}
    assert moved == expected


@pytest.mark.parametrize("method", ["muon", "adamw"])
def test_restored_state_continues_to_the_bit(method: str) -> None:
    config = OptimizerConfig(method=method)  # type: ignore[arg-type]
    one, other = model_with_gradients(), model_with_gradients()
    first = Optimizer(one, config)
    first.step(1.0)
    other.load_state_dict(one.state_dict())
    second = Optimizer(other, config)
    second.load_state_tensors({k: v.clone() for k, v in first.state_tensors().items()})
    first.step(1.0)
    second.step(1.0)
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_missing_state_is_named() -> None:
    optimizer = Optimizer(model_with_gradients(), OptimizerConfig())
    with pytest.raises(TrainingError, match="is missing or of another shape"):
        optimizer.load_state_tensors({})


def test_clipping_scales_to_the_norm() -> None:
    model = model_with_gradients()
    optimizer = Optimizer(model, OptimizerConfig(clip_norm=0.5))
    before = optimizer.clip().item()
    assert before > 0.5
    after = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(p.grad) for p in model.parameters()])
    )
    assert after.item() == pytest.approx(0.5, rel=1e-4)


def test_a_parameter_in_two_groups_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    split = optimizer._split
    model = model_with_gradients()
    for change in (list.pop, lambda group: group.append(group[0])):

        def wrong(model: Transformer, change: object = change) -> dict[str, list[object]]:
            groups = split(model)
            change(groups["norm"])  # type: ignore[operator]
            return groups  # type: ignore[return-value]

        monkeypatch.setattr(optimizer, "_split", wrong)
        with pytest.raises(TrainingError, match=r"not in exactly one group: model\..*norm"):
            Optimizer(model, OptimizerConfig())


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, -0.1), (0.9, float("nan"))])
def test_betas_out_of_range_are_refused(betas: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        OptimizerConfig(betas=betas)
