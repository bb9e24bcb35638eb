from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ingot.model import rotary
from ingot.model.rope import RopeConfig
from ingot.model.rotary import Rotary, rotate
from tests.model.test_config import SMALL

LISTS = {"short_factor": (1.0,) * 8, "long_factor": (2.0,) * 8}
LONG = RopeConfig(1e4, "longrope", 4.0, original_max_position_embeddings=32, **LISTS)


def test_a_table_and_what_is_computed_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = torch.randint(0, 64, (3, 21), generator=torch.Generator().manual_seed(0))
    config = dataclasses.replace(SMALL, rope=LONG)
    ((cos, sin),) = Rotary(config)(positions)
    monkeypatch.setattr(rotary, "_MOST_ROWS", 63)
    model = Rotary(config)
    assert sum(buffer.numel() for buffer in model.buffers()) == 8
    ((computed_cos, computed_sin),) = model(positions)
    assert torch.equal(cos, computed_cos)
    assert torch.equal(sin, computed_sin)


def test_memory_does_not_grow_with_the_longest_context() -> None:
    config = dataclasses.replace(SMALL, max_position_embeddings=1 << 24)
    ((cos, _),) = Rotary(config)(torch.tensor([1 << 23]))
    assert cos.shape == (1, 1, 8)


def test_angles_are_position_times_frequency() -> None:
    frequencies, factor = LONG.frequencies(16, 64)
    config = dataclasses.replace(SMALL, rope=LONG)
    ((cos, sin),) = Rotary(config)(torch.arange(64))
    angles = np.arange(64)[:, None] * frequencies
    np.testing.assert_allclose(cos[:, 0], factor * np.cos(angles), atol=1e-5)
    np.testing.assert_allclose(sin[:, 0], factor * np.sin(angles), atol=1e-5)


def test_the_context_chooses_longropes_list() -> None:
    config = dataclasses.replace(SMALL, rope=LONG)
    positions = torch.arange(8)
    ((short, _),), ((long, _),) = (Rotary(config, size)(positions) for size in (32, 33))
    assert not torch.equal(short, long)
    assert torch.equal(long, Rotary(config)(positions)[0][0])


def test_each_kind_of_layer_has_its_angles() -> None:
    local = RopeConfig(500.0)
    windowed = {"sliding_window": 4, "full_attention_layers": (2,), "local_rope": local}
    config = dataclasses.replace(SMALL, **windowed)
    angles = Rotary(config)(torch.arange(8))
    assert len(angles) == 2
    ((own, _),) = Rotary(dataclasses.replace(SMALL, rope=local))(torch.arange(8))
    assert torch.equal(angles[config.ropes.index(local)][0], own)
    assert Rotary(dataclasses.replace(SMALL, position_embedding="learned"))(torch.arange(8)) == ()


def test_dimensions_beyond_the_rotated_ones_pass() -> None:
    x = torch.randn(5, 2, 16, generator=torch.Generator().manual_seed(0))
    angles = Rotary(dataclasses.replace(SMALL, partial_rotary_factor=0.5))(torch.arange(5))[0]
    turned = rotate(x, *angles)
    assert torch.equal(turned[..., 8:], x[..., 8:])
    assert torch.equal(turned[..., :8], rotate(x[..., :8], *angles))
    assert not torch.equal(turned[1:, :, :8], x[1:, :, :8])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
