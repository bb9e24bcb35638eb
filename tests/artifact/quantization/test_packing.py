from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import (
    PackedShape,
    QuantizedMatrix,
    WeightFormat,
    pack,
    round_to_nearest,
    unpack,
    unpack_codes,
)

KINDS: tuple[WeightFormat, ...] = ("bf16", "int8", "int4")


def drawn(outputs: int, inputs: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((outputs, inputs)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 200),
    st.sampled_from(KINDS),
    st.sampled_from([32, 64, 128]),
    st.integers(0, 99),
)
def test_unpacking_gives_back_what_was_packed(
    outputs: int, inputs: int, kind: WeightFormat, group: int, seed: int
) -> None:
    matrix = round_to_nearest(drawn(outputs, inputs, seed), kind, group)
    shape = PackedShape(kind, matrix.group, outputs, inputs)
    tiles, scales = pack(matrix)
    assert tiles.shape == shape.tiles
    assert kind == "bf16" or scales.shape == shape.scales
    np.testing.assert_array_equal(unpack(shape, tiles, scales), matrix.dequantized())
    found = unpack_codes(shape, tiles, scales)
    np.testing.assert_array_equal(found.codes, matrix.codes)
    np.testing.assert_array_equal(found.scales.ravel(), matrix.scales.ravel())


def test_scales_of_int4_are_float16_numbers_but_for_the_smallest() -> None:
    weights = drawn(8, 64, 3)
    weights[0, :32] *= 1e-6
    scales = round_to_nearest(weights, "int4", 32).scales
    half = scales.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(half[1:], scales[1:])
    assert half[0, 0] != scales[0, 0] != 0


@pytest.mark.parametrize(("kind", "step"), [("int8", 1 / 127), ("int4", 1 / 7)])
def test_no_weight_is_further_than_half_a_step(kind: WeightFormat, step: float) -> None:
    weights = drawn(9, 130, 1)
    matrix = round_to_nearest(weights, kind, 32)
    codes = matrix.codes.astype(int)
    limit = {"int8": (-127, 127), "int4": (-8, 7)}[kind]
    assert codes.min() >= limit[0]
    assert codes.max() <= limit[1]
    error = np.abs(matrix.dequantized() - weights)
    clipped = (codes == limit[0]) | (codes == limit[1])
    steps = np.repeat(np.abs(matrix.scales), 32, axis=1)[:, :130]
    assert (error <= 0.5001 * steps)[~clipped].all()
    assert error.max() < step * np.abs(weights).max()


def test_int4_errs_less_than_with_the_largest_weight_as_limit() -> None:
    weights = drawn(64, 256, 2)
    groups = weights.reshape(64, -1, 32)
    plain = np.abs(groups).max(axis=2, keepdims=True) / 7
    error = np.square(np.rint(groups / plain) * plain - groups).sum()
    better = np.square(round_to_nearest(weights, "int4", 32).dequantized() - weights).sum()
    assert better < 0.9 * error


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_zeros_and_tiny_weights_are_zero(kind: WeightFormat) -> None:
    weights = np.array([[0.0] * 40, [1e-35] * 40], dtype=np.float32)
    matrix = round_to_nearest(weights, kind, 32)
    assert not matrix.scales.any()
    assert not matrix.dequantized().any()


def test_the_bytes_lie_where_the_layout_says() -> None:
    codes = np.zeros((17, 40), dtype=np.int8)
    codes[16, 37] = 5
    scales = np.arange(17 * 2, dtype=np.float32).reshape(17, 2)
    tiles, packed_scales = pack(QuantizedMatrix("int8", 32, codes, scales))
    assert tiles[1, 9, 0, 1] == 128 + 5
    assert np.count_nonzero(tiles != 128) == 1
    assert packed_scales[1, 1, 0] == scales[16, 1]
    tiles, _ = pack(QuantizedMatrix("int4", 32, codes, scales))
    assert tiles[1, 4, 0, 1] == 8 + (8 + 5) * 16  # input 37 = 4 * 8 + 5: the upper four, second
    assert np.count_nonzero(tiles != 0x88) == 1
