from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from ingot.model import ModelConfig
from ingot.model.config_json import to_json
from ingot.model.transformer import Transformer
from tests.model.test_config import SMALL, VARIANTS

SHAPES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}


def random_model(*, tied: bool, window: int | None = None) -> Transformer:
    config = ModelConfig(**SHAPES, tie_word_embeddings=tied, sliding_window=window)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.1, std=0.3, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("tied", "window"), [(True, None), (False, None), (True, 1), (True, 10)])
def test_logits_are_those_of_transformers(tied: bool, window: int | None) -> None:
    model = random_model(tied=tied, window=window)
    reference = Qwen3ForCausalLM(
        Qwen3Config(**to_json(model.config, eos_token_id=0, dtype="float32"))
    ).eval()
    missing, unexpected = reference.load_state_dict(model.state_dict(), strict=False)
    assert missing == (["lm_head.weight"] if tied else [])
    assert not unexpected
    ids = torch.randint(0, 300, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = model.logits(model(ids)), reference(ids).logits
    assert theirs.abs().max() > 1
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_are_named_and_shaped_as_the_config_says(variant: dict[str, Any]) -> None:
    model = Transformer(dataclasses.replace(SMALL, **variant))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert list(shapes.items()) == list(model.config.tensor_shapes().items())


def test_a_token_sees_only_what_came_before() -> None:
    model = random_model(tied=True)
    ids = torch.randint(0, 300, (1, 20), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[0, 12] = (ids[0, 12] + 1) % 300
    with torch.inference_mode():
        before, after = model(ids), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_positions_may_start_anywhere() -> None:
    model = random_model(tied=True)
    ids = torch.randint(0, 300, (1, 8), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        here, there = model(ids), model(ids, torch.arange(8) + 40)
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)  # rotary is relative


def test_fresh_blocks_pass_their_input_through() -> None:
    model = Transformer(ModelConfig(**SHAPES))  # type: ignore[arg-type]
    model.initialise(torch.Generator().manual_seed(0))
    ids = torch.arange(10)[None]
    expected = model.model.norm(model.model.embed_tokens(ids))
    torch.testing.assert_close(model(ids), expected)


def test_every_device_begins_with_weights_drawn_on_the_cpu() -> None:
    here, there = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    random_model(tied=False).initialise(here)
    random_model(tied=False).to("meta").initialise(there)
    assert torch.equal(here.get_state(), there.get_state())
