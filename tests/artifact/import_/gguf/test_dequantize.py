"""Every block type against the ``gguf`` package, which is llama.cpp's own."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from ingot.artifact.import_.gguf.block_types import OTHERS, TYPES
from ingot.artifact.import_.gguf.dequantize import dequantize


@pytest.mark.parametrize("number", TYPES)
def test_values_are_those_of_the_gguf_package(number: int) -> None:
    kind = TYPES[number]
    # Random bytes hold every code; as scales they are of all sizes, infinite and NaN among them.
    raw = np.random.default_rng(number).integers(0, 256, 6_000 * kind.nbytes, dtype=np.uint8)

    ours = dequantize(memoryview(raw), kind)
    with np.errstate(all="ignore"):
        theirs = gguf.quants.dequantize(
            raw.reshape(-1, kind.nbytes), GGMLQuantizationType(number)
        ).reshape(-1)

    assert ours.dtype == np.float32
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(np.isfinite(ours), finite)
    np.testing.assert_array_equal(ours[finite].view(np.uint32), theirs[finite].view(np.uint32))


def test_pieces_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = TYPES[12]
    raw = np.random.default_rng(0).integers(0, 60, 37 * kind.nbytes, dtype=np.uint8)
    whole = dequantize(memoryview(raw), kind)
    monkeypatch.setattr("ingot.artifact.import_.gguf.dequantize._PIECE", 10 * kind.values)

    np.testing.assert_array_equal(dequantize(memoryview(raw), kind), whole)


def test_sizes_and_names_are_those_of_ggml() -> None:
    for number, kind in TYPES.items():
        theirs = GGMLQuantizationType(number)
        assert (kind.name, kind.values, kind.nbytes) == (theirs.name, *GGML_QUANT_SIZES[theirs])
    for number, name in OTHERS.items():
        assert GGMLQuantizationType(number).name == name
