from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ingot.errors import RecipeError
from ingot.model.rope import RopeConfig

HEAD, CONTEXT = 64, 4096
LLAMA3: dict[str, Any] = {"factor": 8.0, "original_max_position_embeddings": 512}
LISTS: dict[str, Any] = {
    "short_factor": tuple(1 + pair / 64 for pair in range(HEAD // 2)),
    "long_factor": tuple(1 + pair / 2 for pair in range(HEAD // 2)),
}


def theirs(rope: RopeConfig, seq_len: int | None = None) -> tuple[Any, float]:
    """Frequencies and factor as transformers computes them."""
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(rope).items()
        if value not in (None, ())
    }
    kind = Phi3Config if rope.rope_type == "longrope" else LlamaConfig
    config = kind(
        hidden_size=2 * HEAD,
        num_attention_heads=2,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT,
        pad_token_id=0,
        rope_parameters=given,
        **(
            {"original_max_position_embeddings": rope.original_max_position_embeddings}
            if rope.rope_type == "longrope"
            else {}
        ),
    )
    found, factor = ROPE_INIT_FUNCTIONS[rope.rope_type](config, seq_len=seq_len)
    return found.numpy(), factor


@pytest.mark.parametrize("theta", [1e4, 5e5])
@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 8.0},
        {"rope_type": "llama3", **LLAMA3},
        {"rope_type": "llama3", **LLAMA3, "low_freq_factor": 2.0, "high_freq_factor": 8.0},
        {"rope_type": "yarn", **LLAMA3},
        {"rope_type": "yarn", **LLAMA3, "attention_factor": 1.5, "beta_fast": 16.0},
        {"rope_type": "yarn", **LLAMA3, "truncate": False},
        {"rope_type": "longrope", **LLAMA3, **LISTS},
        {"rope_type": "longrope", **LLAMA3, **LISTS, "attention_factor": 1.25},
    ],
)
@pytest.mark.parametrize("context", [512, 513])
def test_frequencies_are_those_of_transformers(
    theta: float, scaling: dict[str, Any], context: int
) -> None:
    rope = RopeConfig(theta, **scaling)
    expected, factor = theirs(rope, context)
    found, own_factor = rope.frequencies(HEAD, context)
    # PyTorch's power is off by one place in a few of a hundred values; each step adds as much.
    np.testing.assert_allclose(found, expected, rtol=5e-7)
    assert own_factor == pytest.approx(factor, rel=1e-12)


def test_plain_frequencies_are_powers_of_theta() -> None:
    found, factor = RopeConfig(5e5).frequencies(8, 100)
    np.testing.assert_allclose(found, 5e5 ** -(np.arange(4) / 4), rtol=2e-7)
    assert factor == 1.0
    assert (found == found.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": 1e13}, "rope_theta"),
        ({"rope_type": "dynamic"}, "rope_type"),
        ({"factor": 2.0}, "factor"),
        ({"rope_type": "linear", "factor": 0.0}, "factor"),
        ({"rope_type": "linear", "beta_fast": 8.0}, "beta_fast"),
        ({"rope_type": "llama3", "factor": 8.0}, "original_max_position_embeddings"),
        ({"rope_type": "llama3", **LLAMA3, "low_freq_factor": 4.0}, "low_freq_factor"),
        ({"rope_type": "yarn", **LLAMA3, "beta_slow": 32.0}, "beta_slow"),
        ({"rope_type": "yarn", **LLAMA3, "attention_factor": float("nan")}, "attention_factor"),
        ({"rope_type": "longrope", **LLAMA3}, "short_factor"),
        ({"rope_type": "longrope", **LLAMA3, **LISTS, "long_factor": (0.0,)}, "long_factor"),
    ],
)
def test_what_makes_no_frequencies_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError, match=rf"^model\.rope\.{named}:"):
        RopeConfig(**fields)
