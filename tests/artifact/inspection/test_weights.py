from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingot.artifact import open_ingot
from ingot.artifact.inspection.weights import WeightReader
from ingot.errors import ArtifactError
from tests.artifact.resealing import copy_writable, reseal


@pytest.mark.parametrize("which", ["pristine", "pristine_sharded", "quantized"])
def test_each_tensor_is_what_the_ingot_gives(which: str, request: pytest.FixtureRequest) -> None:
    with open_ingot(request.getfixturevalue(which)) as ingot:
        weights = WeightReader(ingot)
        expected = dict(ingot.float32())
        assert list(weights) == list(ingot.config.tensor_shapes())
        assert weights.keys() == expected.keys()
        for name, values in weights.items():
            np.testing.assert_array_equal(values, expected[name])


def test_number_formats(pristine: Path, quantized: Path) -> None:
    with open_ingot(pristine) as plain, open_ingot(quantized) as small:
        stored = WeightReader(plain), WeightReader(small)
        for name, *formats in (
            ("model.layers.0.self_attn.q_proj.weight", "BF16", "int4 (32)"),
            ("model.layers.1.mlp.down_proj.weight", "BF16", "int8 (32)"),
            ("model.layers.1.self_attn.o_proj.weight", "BF16", "bf16"),
            ("model.norm.weight", "BF16", "F32"),
        ):
            assert [each.stored_as(name) for each in stored] == formats


@pytest.mark.parametrize("which", ["pristine", "quantized"])
def test_progress_ends_with_every_byte(which: str, request: pytest.FixtureRequest) -> None:
    seen: list[tuple[int, int]] = []
    with open_ingot(request.getfixturevalue(which)) as ingot:
        for _ in WeightReader(ingot, lambda done, total: seen.append((done, total))).values():
            pass
        assert seen == sorted(seen)
        assert seen[-1] == (ingot.weight_bytes, ingot.weight_bytes)


def test_a_flipped_bit_is_named(pristine: Path, tmp_path: Path) -> None:
    path = copy_writable(pristine, tmp_path / "x.ingot")
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with (
        open_ingot(path) as ingot,
        pytest.raises(ArtifactError, match=f"^{path}: tensor '.*' does not match its digest"),
    ):
        list(WeightReader(ingot).values())


def test_values_that_are_not_finite_are_named(pristine: Path, tmp_path: Path) -> None:
    path = copy_writable(pristine, tmp_path / "x.ingot")
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2:] = b"\xc0\x7f"  # NaN in bfloat16
    file.write_bytes(data)
    reseal(path)
    with open_ingot(path) as ingot, pytest.raises(ArtifactError, match="are not finite"):
        list(WeightReader(ingot).values())
