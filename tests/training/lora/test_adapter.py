from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from ingot.errors import RecipeError
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.config.lora import TARGETS, LoraConfig
from ingot.training.lora.adapter import LoraLinear, adapted, attach, merge

CONFIG = ModelConfig(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=32,
)
IDS = torch.arange(40).view(2, 20)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(6)


@pytest.fixture
def model() -> Transformer:
    """Every weight at random, so that each matters."""
    model = Transformer(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator())
    return model


def disturbed(model: Transformer) -> Transformer:
    """Adapters as they are after some training: B is not zero any more."""
    for _, layer in adapted(model):
        torch.nn.init.normal_(layer.lora_B.weight, std=0.1, generator=generator())
    return model


def test_a_fresh_adapter_changes_nothing(model: Transformer) -> None:
    before = model(IDS)
    attach(model, LoraConfig(rank=4), generator())
    assert torch.equal(model(IDS), before)


def test_only_the_adapter_is_trained(model: Transformer) -> None:
    attach(model, LoraConfig(rank=4, targets=("q_proj", "down_proj")), generator())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        f"model.layers.{layer}.{target}.lora_{side}.weight"
        for layer in range(2)
        for target in ("self_attn.q_proj", "mlp.down_proj")
        for side in "AB"
    }
    frozen = dict(model.named_parameters()).keys() - trained
    assert frozen == CONFIG.tensor_shapes().keys()


def test_all_matrices_of_a_block_can_be_adapted(model: Transformer) -> None:
    attach(model, LoraConfig(rank=4), generator())
    assert [name.rpartition(".")[2] for name, _ in adapted(model)] == 2 * list(TARGETS)


def test_it_adds_the_scaled_product(model: Transformer) -> None:
    frozen = model.model.layers[0].mlp.up_proj
    layer = LoraLinear(frozen, LoraConfig(rank=4, alpha=6), generator())
    torch.nn.init.normal_(layer.lora_B.weight, generator=generator())
    x = torch.randn(3, 32, generator=generator())
    expected = x @ frozen.weight.T + 1.5 * (x @ layer.lora_A.weight.T) @ layer.lora_B.weight.T
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_merged_is_adapted(model: Transformer) -> None:
    plain = copy.deepcopy(model)
    attach(model, LoraConfig(rank=4, alpha=10), generator())
    expected = disturbed(model)(IDS)
    assert not torch.allclose(plain(IDS), expected, atol=1e-2)
    merge(model)
    torch.testing.assert_close(model(IDS), expected, rtol=0, atol=1e-5)
    assert {n: tuple(t.shape) for n, t in model.state_dict().items()} == CONFIG.tensor_shapes()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not list(adapted(model))


def test_a_checkpoint_holds_model_and_adapter(model: Transformer) -> None:
    attach(model, LoraConfig(rank=4), generator())
    expected = disturbed(model)(IDS)
    other = Transformer(CONFIG)
    attach(other, LoraConfig(rank=4), generator())
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(IDS), expected)


def test_the_seed_decides_the_first_matrices(model: Transformer) -> None:
    others = [copy.deepcopy(model) for _ in range(2)]
    for each in (model, *others):
        attach(each, LoraConfig(rank=4), torch.Generator().manual_seed(int(each is others[1])))
    first, same, different = (next(adapted(each))[1] for each in (model, *others))
    assert torch.equal(first.lora_A.weight, same.lora_A.weight)
    assert not torch.equal(first.lora_A.weight, different.lora_A.weight)


def test_training_an_adapter_lowers_the_loss_and_leaves_the_rest(model: Transformer) -> None:
    attach(model, LoraConfig(rank=8), generator())
    before = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for _ in range(40):
        logits = model.logits(model(IDS[:, :-1]))
        loss = functional.cross_entropy(logits.flatten(0, 1), IDS[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
    assert all(torch.equal(dict(model.named_parameters())[n], p) for n, p in before.items())


def test_a_second_adapter_is_refused(model: Transformer) -> None:
    attach(model, LoraConfig(rank=4), generator())
    with pytest.raises(RecipeError, match="has an adapter already"):
        attach(model, LoraConfig(rank=4), generator())


def test_a_rank_that_saves_nothing_is_refused(model: Transformer) -> None:
    with pytest.raises(RecipeError, match=r"lora\.rank: rank 16 is not below .*, 16"):
        attach(model, LoraConfig(rank=16), generator())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "values",
    [{"rank": 0}, {"alpha": 0}, {"alpha": float("inf")}, {"targets": []}, {"targets": ["lm_head"]}],
)
def test_senseless_sizes_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LoraConfig.model_validate(values)
