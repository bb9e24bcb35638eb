"""compressed-tensors checkpoints of whole numbers, dequantized when they are imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from ingot.artifact.import_.compressed import unpack
from ingot.errors import ArtifactError
from tests.artifact.import_.conftest import Maker

Tensors = dict[str, torch.Tensor]
GROUP = 16


def quantization(kind: str, **weights: Any) -> dict[str, Any]:
    """Return a ``quantization_config`` as llm-compressor writes it."""
    packed = kind == "pack-quantized"
    arguments = {
        "num_bits": 4 if packed else 8,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if packed else "channel",
        "group_size": GROUP if packed else None,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
        "observer": "minmax",
        "observer_kwargs": {},
        **weights,
    }
    activations = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True}
    return {
        "quant_method": "compressed-tensors",
        "format": kind,
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "moe_sparsity_config": None,
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": arguments,
                "input_activations": None if packed else activations,
                "output_activations": None,
            }
        },
    }


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack signed codes (rows, columns) into int32 words along the columns, low bits first."""
    unsigned = (codes.to(torch.int64) + (1 << (bits - 1))).numpy()
    per_word = 32 // bits
    padded = np.pad(unsigned, ((0, 0), (0, -unsigned.shape[1] % per_word)))
    words = padded.reshape(len(padded), -1, per_word) << (bits * np.arange(per_word))
    return torch.from_numpy(words.sum(-1).astype(np.uint32).view(np.int32))


def compress(folder: Path, config: dict[str, Any], *, symmetric: bool = True) -> Tensors:
    """Quantize the projections of a folder; return what their weights now stand for."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))
    packed = config["format"] == "pack-quantized"
    bits = config["config_groups"]["group_0"]["weights"]["num_bits"]
    generator = torch.Generator().manual_seed(5)
    stored: Tensors = {}
    meant: Tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if "_proj.weight" not in name:
            stored[name] = tensor
            continue
        outputs, inputs = tensor.shape
        group = GROUP if packed else inputs
        grouped = tensor.reshape(outputs, -1, group)
        most = (1 << (bits - 1)) - 1
        scale = grouped.abs().amax(-1) / most
        zero = torch.zeros(outputs, inputs // group, dtype=torch.int64)
        if not symmetric:
            zero = torch.randint(-2, 3, zero.shape, generator=generator)
        codes = (grouped / scale[..., None]).round().to(torch.int64) + zero[..., None]
        codes = codes.clamp(-most - 1, most)
        meant[name] = ((codes - zero[..., None]) * scale[..., None]).reshape(outputs, inputs)
        codes = codes.reshape(outputs, inputs)
        stored[f"{name}_scale"] = scale
        if packed:
            stored[f"{name}_packed"] = pack(codes, bits)
            stored[f"{name}_shape"] = torch.tensor([outputs, inputs])
        else:
            stored[name] = codes.to(torch.int8)
        if not symmetric:
            points = pack(zero.T.contiguous(), bits).T if packed else zero.to(torch.int8)
            stored[f"{name}_zero_point"] = points.contiguous()
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return meant


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("int-quantized", {}),
        ("int-quantized", {"symmetric": False}),
        ("pack-quantized", {}),
        ("pack-quantized", {"symmetric": False}),
        ("pack-quantized", {"num_bits": 8}),
    ],
)
@pytest.mark.parametrize("name", ["llama2", "phi3"])
def test_weights_are_what_the_codes_stand_for(
    kind: str, weights: dict[str, Any], name: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint(name)
    config = quantization(kind, **weights)
    meant = compress(folder, config, symmetric=weights.get("symmetric", True))
    import_model(folder, tmp_path / "out.ingot", dtype="float32").close()
    with open_ingot(tmp_path / "out.ingot") as ingot:
        ours = dict(ingot.float32())
        attention = "model.layers.2.self_attn"
        if name == "phi3":
            fused = [ours[f"{attention}.{part}_proj.weight"] for part in "qkv"]
            ours[f"{attention}.qkv_proj.weight"] = np.concatenate(fused)
        checked = meant.keys() & ours.keys()
        assert checked
        for each in checked:
            np.testing.assert_allclose(ours[each], meant[each].numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bits", [4, 8])
def test_unpacking_undoes_packing(bits: int) -> None:
    most = 1 << (bits - 1)
    codes = torch.randint(-most, most, (5, 19), generator=torch.Generator().manual_seed(1))
    unpacked = unpack(pack(codes, bits).numpy(), bits, 19)
    np.testing.assert_array_equal(unpacked, codes.numpy())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": "gptq", "bits": 4}, "quant_method is 'gptq'"),
        (quantization("pack-quantized") | {"format": "float-quantized"}, "format"),
        (quantization("pack-quantized") | {"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        (quantization("pack-quantized") | {"new_idea": 1}, "'new_idea' is not understood"),
        (quantization("pack-quantized", actorder="group"), "actorder"),
        (quantization("pack-quantized", num_bits=3), "num_bits"),
        (quantization("pack-quantized", type="float"), "type"),
        (quantization("pack-quantized", group_size=None), "group_size"),
        (quantization("pack-quantized", new_idea=1), "'new_idea' is not understood"),
        ("int8", "quantization_config is not an object"),
    ],
)
def test_another_quantization_is_refused_by_name(
    config: Any, message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot")


@pytest.mark.parametrize(
    ("suffix", "value", "message"),
    [
        ("_shape", torch.tensor([32, 40]), "weight"),
        ("_shape", torch.tensor([-1, 32]), r"has shape \(-1, 32\)"),
        ("_shape", torch.tensor([32.0, 32.0]), "is not two sizes"),
        ("_scale", torch.ones(32, 3), "_scale' is F32"),
        ("_packed", torch.ones(32, 3, dtype=torch.int32), "_packed' is I32"),
        ("_g_idx", torch.ones(32, dtype=torch.int32), "_g_idx' is not part of the model"),
        ("_zero_point", torch.ones(4, 2, dtype=torch.int32), "_zero_point' is unexpected"),
    ],
)
def test_parts_that_do_not_fit_are_named(
    suffix: str, value: torch.Tensor, message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    compress(folder, quantization("pack-quantized"))
    tensors = load_file(folder / "model.safetensors")
    tensors[f"model.layers.0.self_attn.q_proj.weight{suffix}"] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot")
