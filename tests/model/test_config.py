from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingot.errors import ArtifactError, RecipeError
from ingot.model import ModelConfig

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


def test_flops_are_two_for_each_parameter_and_more_for_attention() -> None:
    config = qwen3_600m()
    assert config.forward_flops(0) == pytest.approx(2 * config.parameters, rel=1e-3)
    grown = config.forward_flops(1000) - config.forward_flops(0)
    assert grown == 4 * 28 * 16 * 128 * 1000
    assert config.training_flops(1) == 3 * config.forward_flops(1)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_the_sum_of_the_shapes(tied: bool) -> None:
    config = dataclasses.replace(SMALL, tie_word_embeddings=tied)
    sizes = 0
    for shape in config.tensor_shapes().values():
        size = 1
        for length in shape:
            size *= length
        sizes += size
    assert sizes == config.parameters


@pytest.mark.parametrize("window", [None, 16])
def test_hugging_face_round_trip(window: int | None) -> None:
    config = dataclasses.replace(SMALL, sliding_window=window)
    written = config.to_hf(eos_token_id=0, dtype="bfloat16")
    assert ModelConfig.from_hf(written) == config


def test_windows_are_read_as_hugging_face_means_them() -> None:
    layers = SMALL.num_hidden_layers
    plain = SMALL.to_hf(eos_token_id=0, dtype="bfloat16")

    def window(**fields: Any) -> int | None:
        return ModelConfig.from_hf(plain | {"use_sliding_window": True} | fields).sliding_window

    assert window(sliding_window=16, max_window_layers=0) == 16
    assert window(sliding_window=16, layer_types=["sliding_attention"] * layers) == 16
    assert window(sliding_window=16) is None, "no layer has one unless that is said"
    assert window(sliding_window=16, max_window_layers=layers) is None
    assert window(sliding_window=16, use_sliding_window=False, max_window_layers=0) is None
    for mixed in ({"max_window_layers": 1}, {"layer_types": ["sliding_attention", "other"]}):
        with pytest.raises(ArtifactError, match="not supported"):
            window(sliding_window=16, **mixed)
    for wrong in ({"sliding_window": "16"}, {"sliding_window": 16, "max_window_layers": "0"}):
        with pytest.raises(ArtifactError, match="whole number"):
            window(**wrong)


def test_a_window_bounds_what_a_token_attends_to() -> None:
    windowed = dataclasses.replace(SMALL, sliding_window=16)
    assert windowed.forward_flops(16) == SMALL.forward_flops(16)
    assert windowed.forward_flops(1000) == SMALL.forward_flops(16)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("vocab_size", 1 << 30),
        ("num_key_value_heads", 3),
        ("head_dim", 7),
        ("rope_theta", 0.5),
        ("rope_theta", float("inf")),
        ("rope_theta", 1e13),
        ("rms_norm_eps", float("nan")),
        ("rms_norm_eps", 1e-300),
        ("sliding_window", 0),
    ],
)
def test_sizes_that_make_no_model_are_refused(field: str, value: float) -> None:
    with pytest.raises(RecipeError):
        dataclasses.replace(SMALL, **{field: value})


@given(
    field=st.sampled_from([field.name for field in dataclasses.fields(ModelConfig)]),
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2),
)
@example(field="num_hidden_layers", value=1 << 60)
def test_a_hostile_config_is_refused_or_makes_sense(field: str, value: Any) -> None:
    windowed = dataclasses.replace(SMALL, sliding_window=16)
    data = windowed.to_hf(eos_token_id=0, dtype="bfloat16") | {field: value}
    try:
        config = ModelConfig.from_hf(data)
    except ArtifactError:
        return
    assert getattr(config, field) == value
    assert type(getattr(config, field)) is not bool or field == "tie_word_embeddings"


@pytest.mark.parametrize("field", ["rope_theta", "rms_norm_eps"])
@pytest.mark.parametrize("digits", [39, 400])
def test_a_number_too_large_for_a_float_is_refused(field: str, digits: int) -> None:
    """FAULTS B5: a rope_theta of 400 digits was an internal error."""
    plain = SMALL.to_hf(eos_token_id=0, dtype="bfloat16")
    with pytest.raises(ArtifactError, match=field) as caught:
        ModelConfig.from_hf(plain | {field: 10**digits})
    assert len(str(caught.value)) < 200


def test_what_is_repeated_of_a_file_is_short() -> None:
    with pytest.raises(ArtifactError) as caught:
        ModelConfig.from_hf({"architectures": ["a" * 50_000]})
    assert len(str(caught.value)) < 200


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    plain = SMALL.to_hf(eos_token_id=0, dtype="bfloat16")
    assert type(ModelConfig.from_hf(plain | {"rope_theta": 10_000}).rope_theta) is float


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ArtifactError, match="GPT2LMHeadModel"):
        ModelConfig.from_hf({"architectures": ["GPT2LMHeadModel"]})
