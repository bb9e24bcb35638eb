"""PEFT adapters, merged into the model that they are for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from ingot.errors import ArtifactError
from tests.artifact.import_.conftest import Maker

CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "Org/Base",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.05,
    "bias": "none",
    "use_dora": False,
    "use_rslora": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "megatron_core": "megatron.core",
    "peft_version": "0.21.2",
    "kasa_config": None,
    "loftq_config": {},
    "target_modules": ["q_proj", "gate_up_proj"],
}
Tensors = dict[str, torch.Tensor]


def write_adapter(folder: Path, shapes: dict[str, tuple[int, int]], **changes: Any) -> Tensors:
    """Write an adapter of rank 4; return what it adds to each matrix before scaling, B A."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    generator = torch.Generator().manual_seed(3)
    tensors, added = {}, {}
    for name, (outputs, inputs) in shapes.items():
        down = torch.randn(4, inputs, generator=generator)
        up = torch.randn(outputs, 4, generator=generator)
        tensors[f"base_model.model.{name}.lora_A.weight"] = down
        tensors[f"base_model.model.{name}.lora_B.weight"] = up
        added[name] = up @ down
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return added


def weights_of(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with open_ingot(path) as ingot:
        return {name: np.array(values) for name, values in ingot.float32()}


@pytest.mark.parametrize("by_root", [False, True])
def test_merged_into_its_matrices_alone(by_root: bool, checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    target = "model.layers.1.self_attn.q_proj"
    added = write_adapter(tmp_path / "adapter", {target: (32, 32)}, use_rslora=by_root)
    import_model(folder, tmp_path / "plain.ingot", dtype="float32").close()
    with import_model(
        folder, tmp_path / "merged.ingot", dtype="float32", adapter=tmp_path / "adapter"
    ) as ingot:
        origin = ingot.manifest.provenance.origin
    assert origin is not None
    assert set(origin.adapter or ()) == {"adapter_config.json", "adapter_model.safetensors"}
    plain, merged = weights_of(tmp_path / "plain.ingot"), weights_of(tmp_path / "merged.ingot")
    scale = 8 / (math.sqrt(4) if by_root else 4)
    for name, values in plain.items():
        difference = merged[name] - values
        if name == f"{target}.weight":
            np.testing.assert_allclose(difference, scale * added[target].numpy(), atol=1e-5)
        else:
            assert not difference.any()


def test_merged_into_a_part_of_a_fused_matrix(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("phi3")
    target = "model.layers.0.self_attn.qkv_proj"  # 32 outputs of queries, 16 of keys, 16 of values
    added = write_adapter(tmp_path / "adapter", {target: (64, 32)})
    import_model(folder, tmp_path / "plain.ingot", dtype="float32").close()
    import_model(
        folder, tmp_path / "merged.ingot", dtype="float32", adapter=tmp_path / "adapter"
    ).close()
    plain, merged = weights_of(tmp_path / "plain.ingot"), weights_of(tmp_path / "merged.ingot")
    name = "model.layers.0.self_attn.k_proj.weight"
    expected = 2 * added[target][32:48].numpy()
    np.testing.assert_allclose(merged[name] - plain[name], expected, atol=1e-5)


def test_merged_into_a_transposed_matrix(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("gpt2")
    target = "transformer.h.0.mlp.c_fc"
    added = write_adapter(tmp_path / "adapter", {target: (128, 32)}, fan_in_fan_out=True)
    import_model(folder, tmp_path / "plain.ingot", dtype="float32").close()
    import_model(
        folder, tmp_path / "merged.ingot", dtype="float32", adapter=tmp_path / "adapter"
    ).close()
    plain, merged = weights_of(tmp_path / "plain.ingot"), weights_of(tmp_path / "merged.ingot")
    name = "model.layers.0.mlp.up_proj.weight"
    np.testing.assert_allclose(merged[name] - plain[name], 2 * added[target].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"bias": "all"}, "bias"),
        ({"new_idea": 1}, "'new_idea' is not understood"),
        ({"r": 8}, "r is 8, and a matrix of the adapter has rank 4"),
        ({"r": 0}, "r 0 is not"),
        ({"lora_alpha": "8"}, "lora_alpha"),
    ],
)
def test_a_config_that_is_not_understood_is_refused(
    changes: dict[str, Any], message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    write_adapter(tmp_path / "adapter", {"model.layers.1.self_attn.q_proj": (32, 32)}, **changes)
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot", adapter=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("model.layers.9.self_attn.q_proj", (32, 32), "which the model does not have"),
        ("model.layers.1.self_attn.q_proj", (32, 16), r"of shape \(32, 16\), the model's has"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    name: str, shape: tuple[int, int], message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    write_adapter(tmp_path / "adapter", {name: shape})
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot", adapter=tmp_path / "adapter")


def test_a_tensor_without_its_pair_is_refused(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    write_adapter(tmp_path / "adapter", {})
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({f"{name}.lora_A.weight": torch.ones(4, 32)}, path)
    with pytest.raises(ArtifactError, match="one matrix of a pair alone"):
        import_model(folder, tmp_path / "out.ingot", adapter=tmp_path / "adapter")
    save_file({f"{name}.lora_embedding_A": torch.ones(4, 32)}, path)
    with pytest.raises(ArtifactError, match="lora_embedding_A' is not a pair"):
        import_model(folder, tmp_path / "out.ingot", adapter=tmp_path / "adapter")
