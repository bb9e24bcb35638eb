"""Every family: transformers' logits from the ingot that its checkpoint becomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from tests.artifact.import_.conftest import Maker
from tests.artifact.import_.tiny import FAMILIES, VOCABULARY, logits_of_ingot

LENGTH = 128  # past the window of 16, and past the original context of 32 where there is one
IDS = torch.randint(VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(0))
Config = dict[str, Any]


def theirs(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(IDS).logits
    assert logits.std() > 0.02  # logits that could differ
    return logits


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_transformers(name: str, checkpoint: Maker, tmp_path: Path) -> None:
    folder, model = checkpoint(name)
    out = tmp_path / "out.ingot"
    import_model(folder, out, dtype="float32").close()
    ours = logits_of_ingot(out, IDS)
    torch.testing.assert_close(ours, theirs(model), atol=1e-4, rtol=0)


def older_rope(config: Config) -> None:
    """Rewrite rotary embedding as transformers 4 wrote it."""
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}


def older_olmo3(config: Config) -> None:
    older_rope(config)
    del config["rope_local_base_freq"], config["layer_types"]  # OLMo 3 has one base for all


def older_gemma3(config: Config) -> None:
    older_rope(config)
    del config["layer_types"]
    config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
    config["cache_implementation"] = "hybrid"


def older_smollm3(config: Config) -> None:
    older_rope(config)
    del config["layer_types"]
    del config["no_rope_layers"]


def older_granite(config: Config) -> None:
    older_rope(config)
    config["layer_types"] = ["attention"] * config["num_hidden_layers"]


OLDER: Mapping[str, Callable[[Config], None]] = {
    "llama2": older_rope,
    "llama3": older_rope,
    "llama-linear": older_rope,
    "mistral": older_rope,
    "qwen2": older_rope,
    "qwen3": older_rope,
    "smollm3": older_smollm3,
    "granite": older_rope,
    "granite-hybrid": older_granite,
    "phi3": older_rope,
    "olmo2": older_rope,
    "olmo3": older_olmo3,
    "gemma3": older_gemma3,
}


@pytest.mark.parametrize("name", OLDER)
def test_older_spellings_give_the_same_config(name: str, checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint(name)
    import_model(folder, tmp_path / "new.ingot").close()
    path = folder / "config.json"
    config = json.loads(path.read_text())
    OLDER[name](config)
    config["torch_dtype"] = config.pop("dtype")
    config["eos_token_id"] = [0, 1]
    path.write_text(json.dumps(config))
    import_model(folder, tmp_path / "old.ingot").close()
    with open_ingot(tmp_path / "new.ingot") as new, open_ingot(tmp_path / "old.ingot") as old:
        assert old.config == new.config
        assert old.manifest.tensors == new.manifest.tensors


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_read_exactly(dtype: str, checkpoint: Maker, tmp_path: Path) -> None:
    folder, model = checkpoint("llama3", dtype=dtype)
    import_model(folder, tmp_path / "out.ingot", dtype="float32").close()
    ours = logits_of_ingot(tmp_path / "out.ingot", IDS)
    torch.testing.assert_close(ours, theirs(model.float()), atol=1e-4, rtol=0)


def test_a_quantized_import_is_what_freezing_gives(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("qwen3")
    with (
        import_model(folder, tmp_path / "whole.ingot", dtype="float32") as whole,
        import_model(folder, tmp_path / "int8.ingot", quantize="int8") as int8,
    ):
        exact, rounded = dict(whole.float32()), dict(int8.float32())
    for name, values in exact.items():
        assert abs(rounded[name] - values).max() <= abs(values).max() / 127
    assert int8.manifest.quantization is not None


def test_gpt2_of_the_hub_has_no_prefix_and_masks(checkpoint: Maker, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    folder, model = checkpoint("gpt2")
    weights = folder / "model.safetensors"
    stored = {key.removeprefix("transformer."): value for key, value in load_file(weights).items()}
    stored["h.0.attn.bias"] = torch.ones(1, 1, 128, 128).tril()
    save_file(stored, weights, {"format": "pt"})
    import_model(folder, tmp_path / "out.ingot", dtype="float32").close()
    ours = logits_of_ingot(tmp_path / "out.ingot", IDS)
    torch.testing.assert_close(ours, theirs(model), atol=1e-4, rtol=0)
