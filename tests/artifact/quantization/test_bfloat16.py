from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ingot.artifact import round_to_bfloat16, widen_to_float32

# Bit patterns, so that NaNs, infinities, subnormals and exact ties all come up.
patterns = st.integers(0, 2**32 - 1) | st.builds(
    lambda high, low: high << 16 | low,
    st.integers(0, 2**16 - 1),
    st.sampled_from([0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]),
)
float_bits = npst.arrays(np.uint32, npst.array_shapes(min_dims=0, max_dims=3), elements=patterns)


def torch_bfloat16(values: np.ndarray) -> np.ndarray:
    rounded = torch.from_numpy(values.copy()).to(torch.bfloat16)
    return rounded.view(torch.int16).numpy().view(np.uint16)


@given(float_bits)
@settings(max_examples=150, deadline=None)
def test_rounds_as_torch_does(bits: np.ndarray) -> None:
    values = bits.view(np.float32)
    ours, theirs = round_to_bfloat16(values), torch_bfloat16(values)
    nan = np.isnan(values)
    assert ours.shape == values.shape
    np.testing.assert_array_equal(ours[~nan], theirs[~nan])
    assert np.isnan(widen_to_float32(ours)[nan]).all()


def test_every_tie_goes_to_even() -> None:
    high = np.arange(0x7F80, dtype=np.uint32)  # every finite positive bfloat16
    ties = (high << 16 | 0x8000).view(np.float32)
    expected = high + (high & 1)
    np.testing.assert_array_equal(round_to_bfloat16(ties), expected)
    np.testing.assert_array_equal(round_to_bfloat16(-ties), expected | 0x8000)


def test_every_bfloat16_survives_the_round_trip() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    wide = widen_to_float32(every)
    theirs = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(wide, theirs)
    back, nan = round_to_bfloat16(wide), np.isnan(wide)
    np.testing.assert_array_equal(back[~nan], every[~nan])
    assert (back[nan] == 0x7FC0).all()


def test_widens_into_memory_that_is_given() -> None:
    out = np.zeros((2, 3), dtype=np.float32)
    bits = round_to_bfloat16(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert widen_to_float32(bits, out) is out
    np.testing.assert_array_equal(out, np.arange(6).reshape(2, 3))


def test_takes_arrays_that_are_not_contiguous() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(widen_to_float32(round_to_bfloat16(values)), values)
