"""Q4_K, read by the ``gguf`` package."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from ingot.artifact.export.gguf.blocks import encode


def read(values: np.ndarray) -> np.ndarray:
    data = encode("Q4_K", values)
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType.Q4_K).reshape(values.shape)


def q4_1(values: np.ndarray) -> np.ndarray:
    """The same number of codes with plain limits: smallest and largest value."""
    data = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType.Q4_1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_errs_less_than_plain_limits(scale: float) -> None:
    values = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32) * scale
    error = np.square(read(values) - values).mean()
    assert error < 0.95 * np.square(q4_1(values) - values).mean()


def test_zeros_and_equal_values() -> None:
    values = np.zeros((3, 256), dtype=np.float32)
    values[1] = -0.5
    values[2, :32] = 3.0
    found = read(values)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1:], values[1:], rtol=1e-2)


def test_positive_values_have_no_minimum() -> None:
    values = np.abs(np.random.default_rng(1).standard_normal((8, 256))).astype(np.float32) + 1
    found = read(values)
    assert np.abs(found - values).max() < 0.3
