from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ingot.artifact import Scheme
from ingot.artifact.export import export_compressed, per_channel
from ingot.artifact.export.source import TensorSource
from ingot.errors import UsageError
from tests.artifact.export.conftest import Make

STEM = "model.layers.0.mlp.up_proj"


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found["quantization_config"]  # type: ignore[no-any-return]


def unpacked(words: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Codes of ``pack-quantized``, by its definition: the first of eight in the lowest bits."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    nibbles = bits.reshape(*shape, 4) @ np.array([1, 2, 4, 8])
    return nibbles.astype(np.int8) - 8


@pytest.mark.parametrize("group", [32, 64])
def test_int4_is_w4a16_bit_for_bit(make: Make, tmp_path: Path, group: int) -> None:
    with make(Scheme("int4", group)) as ingot:
        made = export_compressed(ingot, tmp_path / "out")
        source = TensorSource(ingot)
        tensors = load_file(made.path / "model.safetensors")
        for name in ingot.config.tensor_shapes():
            if "_proj" not in name:
                continue
            stem, codes = name.removesuffix(".weight"), source.codes(name)
            assert codes is not None
            shape = tensors[f"{stem}.weight_shape"]
            np.testing.assert_array_equal(
                unpacked(tensors[f"{stem}.weight_packed"], shape), codes.codes
            )
            np.testing.assert_array_equal(tensors[f"{stem}.weight_scale"], codes.scales)
    assert made.kind == "W4A16"
    assert tensors["model.embed_tokens.weight"].dtype == np.float16
    about = config_of(made.path)
    assert about["format"] == "pack-quantized"
    weights = about["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["group_size"], weights["strategy"]) == (4, group, "group")
    assert about["config_groups"]["group_0"]["input_activations"] is None


def test_int8_is_rounded_by_channel(make: Make, tmp_path: Path) -> None:
    with make(Scheme("int8")) as ingot:
        made = export_compressed(ingot, tmp_path / "out", dtype="float32")
        weights = TensorSource(ingot).float32(f"{STEM}.weight")
    tensors = load_file(made.path / "model.safetensors")
    codes, scales = tensors[f"{STEM}.weight"], tensors[f"{STEM}.weight_scale"]
    assert (codes.dtype, scales.dtype, scales.shape) == (np.int8, np.float32, (256, 1))
    np.testing.assert_array_equal(np.abs(codes.astype(int)).max(axis=1), 127)
    assert (np.abs(codes * scales - weights) <= 0.5001 * scales).all()
    about = config_of(made.path)
    assert about["format"] == "int-quantized"
    activations = about["config_groups"]["group_0"]["input_activations"]
    assert (activations["strategy"], activations["dynamic"]) == ("token", True)


def test_an_output_of_zeros_stays_zero() -> None:
    codes, scales = per_channel(np.zeros((2, 32), dtype=np.float32))
    assert not codes.any()
    assert np.isfinite(scales).all()


def test_other_matrices_are_left_as_they_are(make: Make, tmp_path: Path) -> None:
    with make(Scheme("int4", 32, (("*.0.mlp.gate_up_proj", "bf16"),))) as ingot:
        made = export_compressed(ingot, tmp_path / "out")
    tensors = load_file(made.path / "model.safetensors")
    assert tensors[f"{STEM}.weight"].dtype == np.float16
    ignored = config_of(made.path)["ignore"]
    assert ignored == ["lm_head", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"]
    assert made.notes[-1] == "2 matrices of another format are float16."


def test_what_it_cannot_say_is_refused(make: Make, tmp_path: Path) -> None:
    with make() as ingot, pytest.raises(UsageError, match="not quantized"):
        export_compressed(ingot, tmp_path / "out")


def test_groups_that_do_not_divide_the_inputs_are_refused(make: Make, tmp_path: Path) -> None:
    with make(Scheme("int4", 128)) as ingot, pytest.raises(UsageError, match="64 inputs"):
        export_compressed(ingot, tmp_path / "out")
    assert not (tmp_path / "out").exists()
