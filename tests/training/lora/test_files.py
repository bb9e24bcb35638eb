from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ingot.artifact import write_tensors
from ingot.errors import ArtifactError, RecipeError
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.config.lora import LoraConfig
from ingot.training.lora import files
from ingot.training.lora.adapter import adapted, attach
from ingot.training.lora.files import adapter_tensors, begin_adapter, load_adapter, save_adapter

CONFIG = ModelConfig(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=32,
)
LORA = LoraConfig(rank=4, alpha=10, targets=("q_proj", "v_proj", "up_proj"))
IDS = torch.arange(20)[None]


@pytest.fixture
def plain() -> Transformer:
    generator = torch.Generator().manual_seed(5)
    model = Transformer(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


@pytest.fixture
def trained(plain: Transformer) -> Transformer:
    generator = torch.Generator().manual_seed(6)
    model = copy.deepcopy(plain)
    attach(model, LORA, generator)
    for _, layer in adapted(model):
        torch.nn.init.normal_(layer.lora_B.weight, std=0.1, generator=generator)
    return model


@pytest.fixture
def folder(trained: Transformer, tmp_path: Path) -> Path:
    save_adapter(trained, LORA, tmp_path / "adapter", base="small.ingot")
    return tmp_path / "adapter"


def test_a_saved_adapter_is_loaded(plain: Transformer, trained: Transformer, folder: Path) -> None:
    assert load_adapter(plain, folder) == LORA
    assert torch.equal(plain(IDS), trained(IDS))


def test_names_are_those_that_peft_publishes(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    expected = {}
    for layer in (0, 1):
        for target, outputs, inputs in (
            ("self_attn.q_proj", 32, 32),
            ("self_attn.v_proj", 16, 32),
            ("mlp.up_proj", 64, 32),
        ):
            name = f"base_model.model.model.layers.{layer}.{target}"
            expected[f"{name}.lora_A.weight"] = (4, inputs)
            expected[f"{name}.lora_B.weight"] = (outputs, 4)
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"
    assert (config["r"], config["lora_alpha"]) == (4, 10)
    assert config["target_modules"] == ["q_proj", "v_proj", "up_proj"]
    assert config["base_model_name_or_path"] == "small.ingot"


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_is_widened(
    dtype: str, plain: Transformer, trained: Transformer, folder: Path
) -> None:
    half = torch.float16 if dtype == "F16" else torch.bfloat16
    path = folder / "adapter_model.safetensors"
    from safetensors.torch import save_file as save  # noqa: PLC0415

    tensors = {name: tensor.to(half) for name, tensor in adapter_tensors(trained).items()}
    save(tensors, path)
    load_adapter(plain, folder)
    for name, tensor in adapter_tensors(plain).items():
        assert tensor.dtype is torch.float32
        assert torch.equal(tensor, tensors[name].float())


def test_saving_again_replaces(trained: Transformer, plain: Transformer, folder: Path) -> None:
    for _, layer in adapted(trained):
        torch.nn.init.ones_(layer.lora_B.weight)
    save_adapter(trained, LORA, folder, base="small.ingot")
    load_adapter(plain, folder)
    assert torch.equal(plain(IDS), trained(IDS))
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"peft_type": "IA3"}, "is of type 'IA3', not LORA"),
        ({"use_dora": True}, "uses 'use_dora', which is not supported"),
        ({"use_rslora": True}, "uses 'use_rslora'"),
        ({"rank_pattern": {"q_proj": 8}}, "uses 'rank_pattern'"),
        ({"bias": "all"}, "uses 'bias'"),
        ({"r": 0}, "r must be at least 1, got 0; raise it"),
        ({"r": "many"}, 'r must be a valid integer, got "many"'),
        ({"lora_alpha": None}, "lora_alpha must be a valid number"),
        ({"target_modules": "all-linear"}, "target_modules must be a valid tuple"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "target_modules[1] must be 'q_proj'"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    changed: dict[str, Any], problem: str, plain: Transformer, folder: Path
) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ArtifactError) as caught:
        load_adapter(plain, folder)
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"r": 1, "r": 2}'])
def test_a_damaged_config_is_refused(data: bytes, plain: Transformer, folder: Path) -> None:
    (folder / "adapter_config.json").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"adapter_config\.json"):
        load_adapter(plain, folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(name: str, plain: Transformer, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: cannot be"):
        load_adapter(plain, folder)


def test_tensors_that_do_not_fit_are_refused(plain: Transformer, folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    for changed, problem in (
        ({k: v for k, v in tensors.items() if k != name}, f"has no tensor '{name}'"),
        (tensors | {"extra": tensors[name]}, "has an unknown tensor 'extra'"),
        (tensors | {name: tensors[name][:, :-1].copy()}, f"tensor '{name}' has shape"),
    ):
        save_file(changed, path)
        with pytest.raises(ArtifactError, match=problem):
            load_adapter(copy.deepcopy(plain), folder)
    write_tensors(path, tensors | {name: tensors[name].astype(np.int64)})
    with pytest.raises(ArtifactError, match="is I64, not floats"):
        load_adapter(plain, folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_pipe_is_refused_at_once(name: str, plain: Transformer, folder: Path) -> None:
    """FAULTS B4: opening a pipe would wait for a writer."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ArtifactError, match="regular file"):
        load_adapter(plain, folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_is_replaced_while_it_is_read_is_refused(
    name: str, plain: Transformer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS B: the sizes are of the matrices that they are read with."""
    read = files.read_tensors

    def replaced(path: Path) -> Any:
        tensors = read(path)
        (folder / "new").write_bytes((folder / name).read_bytes())
        (folder / "new").replace(folder / name)
        return tensors

    monkeypatch.setattr(files, "read_tensors", replaced)
    with pytest.raises(ArtifactError, match="changes while it is read"):
        load_adapter(plain, folder)


def test_an_adapter_is_continued(plain: Transformer, trained: Transformer, folder: Path) -> None:
    config = LORA.model_copy(update={"start": str(folder)})
    begin_adapter(plain, config, torch.Generator())
    assert torch.equal(plain(IDS), trained(IDS))


def test_an_adapter_of_other_sizes_than_the_recipes_is_refused(
    plain: Transformer, folder: Path
) -> None:
    other = LoraConfig(rank=5, alpha=10, targets=LORA.targets, start=str(folder))
    with pytest.raises(RecipeError, match=r"lora\.rank: is 5 .* but 4 .*--set 'lora.rank=4'"):
        begin_adapter(plain, other, torch.Generator())
