from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ingot.errors import RecipeError
from ingot.model import ModelConfig
from ingot.model.rope import RopeConfig

SMALL = ModelConfig(
    vocab_size=300,
    hidden_size=48,
    intermediate_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
)
WINDOWED: dict[str, Any] = {"sliding_window": 16, "full_attention_layers": (2,)}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"tie_word_embeddings": False},
    {"qk_norm": "none", "attention_bias": "qkv"},
    {"qk_norm": "projection", "norm_placement": "post"},
    {"norm_placement": "both", **WINDOWED, "local_rope": RopeConfig(500.0)},
    {"attention_bias": "all", "mlp_bias": True, "partial_rotary_factor": 0.5},
    {
        "norm": "layer",
        "qk_norm": "none",
        "attention_bias": "all",
        "mlp_bias": True,
        "gated_mlp": False,
        "activation": "gelu_tanh",
        "position_embedding": "learned",
    },
]


def qwen3_600m() -> ModelConfig:
    return ModelConfig(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
    )


def test_the_sizes_of_a_published_model() -> None:
    assert qwen3_600m().parameters == 596_049_920  # Qwen3-0.6B
    assert qwen3_600m().kv_bytes() == 2 * 28 * 8 * 128 * 2


def test_the_sizes_of_gpt2() -> None:
    config = ModelConfig(50_257, 768, 3072, 12, 12, 12, 64, 1024, **VARIANTS[-1])
    assert config.parameters == 124_439_808
    assert config.tensor_shapes()["model.position_embeddings.weight"] == (1024, 768)


def test_flops_are_two_for_each_parameter_and_more_for_attention() -> None:
    config = qwen3_600m()
    assert config.forward_flops(0) == pytest.approx(2 * config.parameters, rel=1e-3)
    grown = config.forward_flops(1000) - config.forward_flops(0)
    assert grown == 4 * 28 * 16 * 128 * 1000
    assert config.training_flops(1) == 3 * config.forward_flops(1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_are_the_sum_of_the_shapes(variant: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, **variant)
    shapes = config.tensor_shapes()
    assert sum(math.prod(shape) for shape in shapes.values()) == config.parameters
    blocks = [shape for name, shape in shapes.items() if ".layers." in name]
    assert config.block_parameters == sum(map(math.prod, blocks))
    matrices = sum(math.prod(shape) for shape in blocks if len(shape) == 2)
    assert config.forward_flops(0) == 2 * (matrices + 300 * 48)


def test_norms_have_the_names_that_each_placement_has_in_hugging_face() -> None:
    def norms(placement: str) -> list[str]:
        config = dataclasses.replace(SMALL, norm_placement=placement)
        names = config.layer_shapes()
        return [name.removesuffix("_layernorm.weight") for name in names if "_layernorm" in name]

    assert norms("pre") == ["input", "post_attention"]
    assert norms("post") == ["post_attention", "post_feedforward"]
    assert norms("both") == ["input", "post_attention", "pre_feedforward", "post_feedforward"]


def test_a_window_bounds_what_a_token_attends_to() -> None:
    windowed = dataclasses.replace(SMALL, sliding_window=16)
    assert windowed.forward_flops(16) == SMALL.forward_flops(16)
    assert windowed.forward_flops(1000) == SMALL.forward_flops(16)
    mixed = dataclasses.replace(SMALL, **WINDOWED)
    near, far = SMALL.forward_flops(16), SMALL.forward_flops(1000)
    assert mixed.forward_flops(1000) == near + (far - near) // 3
    assert [mixed.window_of(layer) for layer in range(3)] == [16, 16, None]


def test_each_layer_has_the_rope_of_its_kind() -> None:
    local = RopeConfig(500.0)
    mixed = dataclasses.replace(SMALL, **WINDOWED, local_rope=local, no_rope_layers=(1,))
    assert [mixed.rope_of(layer) for layer in range(3)] == [local, None, mixed.rope]
    learned = dataclasses.replace(SMALL, position_embedding="learned")
    assert learned.rope_of(0) is None
    assert learned.rotary_dim == 0


def test_variants_name_what_is_not_qwen3() -> None:
    assert dataclasses.replace(SMALL, sliding_window=16, rope=RopeConfig(2e6)).variants == {}
    scaled = dataclasses.replace(SMALL, rope=RopeConfig(rope_type="linear", factor=2.0))
    assert scaled.variants == {"rope_type": "linear"}
    assert set(dataclasses.replace(SMALL, **VARIANTS[3]).variants) == set(VARIANTS[3])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("vocab_size", 1 << 30),
        ("num_key_value_heads", 3),
        ("head_dim", 7),
        ("rms_norm_eps", float("nan")),
        ("rms_norm_eps", 1e-300),
        ("sliding_window", 0),
        ("full_attention_layers", (0,)),  # without a window
        ("local_rope", RopeConfig()),
        ("no_rope_layers", (0, 3)),
        ("no_rope_layers", (1, 0)),
        ("no_rope_layers", (-1,)),
        ("partial_rotary_factor", 0.0),
        ("partial_rotary_factor", 1.5),
        ("partial_rotary_factor", 0.2),  # 3 of 16
        ("qk_norm", "heads"),
        ("norm", "layer"),  # with q/k norm
    ],
)
def test_sizes_that_make_no_model_are_refused(field: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=r"^model\."):
        dataclasses.replace(SMALL, **{field: value})


@pytest.mark.parametrize(
    ("variant", "field"),
    [
        ({**WINDOWED, "full_attention_layers": (0, 1, 2)}, "full_attention_layers"),
        ({"position_embedding": "learned", "no_rope_layers": (0,)}, "no_rope_layers"),
        ({"position_embedding": "learned", "rope": RopeConfig(5e5)}, "rope"),
        (
            {
                "rope": RopeConfig(
                    rope_type="longrope",
                    original_max_position_embeddings=32,
                    short_factor=(1.0,) * 7,
                    long_factor=(1.0,) * 7,
                )
            },
            "rope.short_factor",
        ),
    ],
)
def test_variants_that_contradict_each_other_are_refused(
    variant: dict[str, Any], field: str
) -> None:
    with pytest.raises(RecipeError, match=rf"^model\.{field}:"):
        dataclasses.replace(SMALL, **variant)
