"""The blocks of every format against the ``gguf`` package, llama.cpp's own."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact.export.gguf.blocks import FORMATS, BlockName, encode, pass_through, row_bytes
from ingot.artifact.quantization.packing import round_to_nearest

QUANTIZED: list[BlockName] = ["Q8_0", "Q5_0", "Q4_0"]


def rows(seed: int, width: int = 256, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((7, width)).astype(np.float32) * np.float32(scale)
    values[1] = 0
    values[2, :40] = 0.25
    values[3] = np.abs(values[3])
    values[4] = -np.abs(values[4])
    return values


def theirs(name: BlockName) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType[name]


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_and_sizes_are_those_of_ggml(name: BlockName) -> None:
    form = FORMATS[name]
    assert form.number == theirs(name).value
    assert (form.values, form.bytes) == gguf.GGML_QUANT_SIZES[theirs(name)]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(QUANTIZED), st.integers(0, 99), st.sampled_from([1e-6, 0.02, 1.0, 300.0]))
def test_bytes_are_those_of_the_package(name: BlockName, seed: int, scale: float) -> None:
    values = rows(seed, scale=scale)
    expected = gguf.quants.quantize(values, theirs(name)).reshape(-1)
    np.testing.assert_array_equal(encode(name, values).reshape(-1), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_the_package_reads_what_is_written(name: BlockName) -> None:
    values = rows(1)
    data = encode(name, values).reshape(-1).view(np.uint8).reshape(7, row_bytes(name, 256))
    read = gguf.quants.dequantize(data, theirs(name)).reshape(values.shape)
    most = {"F32": 0, "F16": 1e-3, "BF16": 8e-3, "Q8_0": 5e-3, "Q5_0": 0.08, "Q4_0": 0.16}
    bound = most.get(name, 0.09) * np.abs(values).max()
    assert np.abs(read - values).max() <= bound


@pytest.mark.parametrize("group", [32, 64, 128])
def test_int4_codes_pass_through(group: int) -> None:
    matrix = round_to_nearest(rows(2, 384), "int4", group)
    data = pass_through(matrix).reshape(7, row_bytes("Q4_0", 384))
    read = gguf.quants.dequantize(data, theirs("Q4_0"))
    np.testing.assert_array_equal(read, matrix.dequantized())
