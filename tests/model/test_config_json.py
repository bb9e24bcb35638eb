from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingot.errors import ArtifactError
from ingot.model import ModelConfig
from ingot.model.config_json import from_json, to_json
from ingot.model.rope import RopeConfig
from tests.model.test_config import SMALL, VARIANTS

PLAIN = to_json(SMALL, eos_token_id=0, dtype="bfloat16")
_LISTS = {"short_factor": (1.0,) * 8, "long_factor": (2.0,) * 8}
OWN = dataclasses.replace(
    SMALL,
    sliding_window=16,
    full_attention_layers=(1,),
    rope=RopeConfig(5e5, "longrope", 4.0, original_max_position_embeddings=32, **_LISTS),
    local_rope=RopeConfig(),
)


@pytest.mark.parametrize("variant", [*VARIANTS, {"sliding_window": 16}])
def test_round_trip(variant: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, **variant)
    written = json.loads(json.dumps(to_json(config, eos_token_id=0, dtype="bfloat16")))
    assert from_json(written) == config
    assert written["architectures"] == [
        "IngotForCausalLM" if config.variants else "Qwen3ForCausalLM"
    ]


def test_round_trip_of_nested_fields() -> None:
    written = json.loads(json.dumps(to_json(OWN, eos_token_id=[1, 2], dtype="bfloat16")))
    assert from_json(written) == OWN
    assert (written["bos_token_id"], written["eos_token_id"]) == (1, [1, 2])


def test_a_qwen3_model_is_written_as_ever() -> None:
    """Ingots that exist are read, and other engines read new ones."""
    window = to_json(dataclasses.replace(SMALL, sliding_window=16), eos_token_id=5, dtype="float32")
    assert window == {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 300,
        "hidden_size": 48,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 64,
        "rope_theta": 10_000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": True,
        "sliding_window": 16,
        "max_window_layers": 0,
        "bos_token_id": 5,
        "eos_token_id": 5,
        "torch_dtype": "float32",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_scaling": None},
        {"rope_parameters": {"rope_theta": 1e6}},
        {"layer_types": ["full_attention"] * 3},
        {"qk_norm": "none"},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True, "sliding_window": 16},
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
        {"use_sliding_window": True, "sliding_window": "16", "max_window_layers": 0},
        {"use_sliding_window": 1, "sliding_window": 16, "max_window_layers": 0},
    ],
)
def test_what_would_change_a_qwen3_model_is_refused_by_name(changed: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError) as caught:
        from_json(PLAIN | changed)
    assert any(name in str(caught.value) for name in changed) or "window" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"rope_theta": 1e6}, "'rope_theta'"),
        ({"qk_norm": "heads"}, "'qk_norm'.*head, projection, none"),
        ({"gated_mlp": 1}, "'gated_mlp'"),
        ({"full_attention_layers": 1}, "'full_attention_layers'"),
        ({"full_attention_layers": [1.0]}, "'full_attention_layers'"),
        ({"full_attention_layers": [1] * 70_000}, "'full_attention_layers'"),
        ({"full_attention_layers": [7]}, "full_attention_layers"),
        ({"rope": 10_000.0}, "'rope'"),
        ({"rope": {"rope_theta": "1"}}, r"\(rope\).*'rope_theta'"),
        ({"rope": {"theta": 1.0}}, r"\(rope\).*'theta'"),
        ({"rope": {"rope_type": "dynamic"}}, r"\(rope\).*'rope_type'"),
        ({"rope": {"factor": 2.0}}, r"model.rope.factor"),
        ({"local_rope": []}, "'local_rope'"),
    ],
)
def test_what_is_wrong_in_an_ingots_own_config_is_named(
    changed: dict[str, Any], named: str
) -> None:
    data = to_json(OWN, eos_token_id=0, dtype="bfloat16")
    with pytest.raises(ArtifactError, match=named):
        from_json(data | changed)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(
    own=st.booleans(),
    field=st.sampled_from([field.name for field in dataclasses.fields(ModelConfig)]),
    value=_JSON,
)
@example(own=False, field="num_hidden_layers", value=1 << 60)
@example(own=True, field="num_hidden_layers", value=1 << 24)
@example(own=True, field="rope", value={"rope_theta": 10**400})
@example(own=False, field="attention_bias", value=False)
def test_a_hostile_config_is_refused_or_makes_sense(own: bool, field: str, value: Any) -> None:
    windowed = dataclasses.replace(SMALL, sliding_window=16)
    data = to_json(OWN if own else windowed, eos_token_id=0, dtype="bfloat16") | {field: value}
    try:
        config = from_json(data)
    except ArtifactError:
        return
    read = getattr(config, field)
    read = dataclasses.asdict(read) if dataclasses.is_dataclass(read) else read
    if field == "attention_bias" and not own:  # Qwen3 says whether there are any
        assert value is False
        value = "none"
    assert (list(read) if isinstance(read, tuple) else read) == value or "rope" in field
    config.rope.frequencies(config.rotary_dim or 2, config.max_position_embeddings)
    assert config.parameters > 0


@given(
    field=st.sampled_from([field.name for field in dataclasses.fields(RopeConfig)]),
    kind=st.sampled_from(["default", "linear", "llama3", "yarn", "longrope"]),
    value=_JSON,
)
def test_hostile_frequencies_are_refused_or_finite(field: str, kind: str, value: Any) -> None:
    known = {"factor": 4.0, "original_max_position_embeddings": 32, **_LISTS}
    needed = {
        "default": (),
        "linear": ("factor",),
        "llama3": ("factor", "original_max_position_embeddings"),
        "yarn": ("factor", "original_max_position_embeddings"),
        "longrope": tuple(known),
    }[kind]
    rope = {"rope_type": kind, **{name: known[name] for name in needed}, field: value}
    data = to_json(OWN, eos_token_id=0, dtype="bfloat16") | {"rope": rope}
    try:
        config = from_json(data)
    except ArtifactError:
        return
    frequencies, factor = config.rope.frequencies(config.rotary_dim, 64)
    assert ((frequencies >= 0) & (frequencies < 1e7)).all()
    assert 0 < factor < 1e7


@pytest.mark.parametrize("field", ["rope_theta", "rms_norm_eps"])
@pytest.mark.parametrize("digits", [39, 400])
def test_a_number_too_large_for_a_float_is_refused(field: str, digits: int) -> None:
    """FAULTS B5: a rope_theta of 400 digits was an internal error."""
    with pytest.raises(ArtifactError, match=field) as caught:
        from_json(PLAIN | {field: 10**digits})
    assert len(str(caught.value)) < 200


def test_what_is_repeated_of_a_file_is_short() -> None:
    for data in ({"architectures": ["a" * 50_000]}, PLAIN | {"b" * 50_000: 1}):
        with pytest.raises(ArtifactError) as caught:
            from_json(data)
        assert len(str(caught.value)) < 200


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    assert type(from_json(PLAIN | {"rope_theta": 10_000}).rope.rope_theta) is float


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"GPT2LMHeadModel.*ingot import"):
        from_json({"architectures": ["GPT2LMHeadModel"]})
