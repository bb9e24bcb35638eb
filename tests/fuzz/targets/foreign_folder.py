"""Foreign folders and adapters: headers, index, codes and pairs of matrices of strangers.

An input is a zip of a folder with a small Llama, whole, sharded or quantized; in a folder within
it lies an adapter. Every tensor is computed, and nothing is sealed.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ingot.artifact.format.tensor_writer import write_tensors
from ingot.artifact.import_ import open_folder
from ingot.artifact.import_.families import read_family
from ingot.model import Tokenizer
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json

_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_WEIGHTS = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 16}
_QUANTIZED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": _WEIGHTS}},
}
_ADAPTER = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
_ADAPTED = "base_model.model.model.layers.0.self_attn.q_proj"


@functools.cache
def examples() -> Sequence[bytes]:
    tokenizer = Tokenizer.train(["words and 123 numbers, in lines\n" * 9], 290)
    random = np.random.default_rng(0)
    model = read_family(_CONFIG, where="config.json")
    tensors: dict[str, Any] = {
        name: random.normal(size=shape).astype(np.float16)
        for name, shape in model.config.tensor_shapes().items()
    }
    made = []
    for kind in ("whole", "sharded", "packed"):
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            (folder / "adapter").mkdir()
            (folder / "tokenizer.json").write_text(tokenizer.to_json())
            config = _CONFIG | {"eos_token_id": tokenizer.eos_id}
            config |= {"quantization_config": _QUANTIZED} if kind == "packed" else {}
            (folder / "config.json").write_text(json.dumps(config))
            if kind == "sharded":
                _write_shards(folder, tensors)
            else:
                stored = tensors if kind == "whole" else _packed(tensors)
                write_tensors(folder / "model.safetensors", stored)
            _write_adapter(folder / "adapter")
            made.append(_zipped(folder))
    return made


def _write_shards(folder: Path, tensors: dict[str, Any]) -> None:
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        write_tensors(folder / file, {name: tensors[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _packed(tensors: dict[str, Any]) -> dict[str, Any]:
    stored = {}
    for name, values in tensors.items():
        if "_proj" not in name:
            stored[name] = values
            continue
        outputs, inputs = values.shape
        stored[f"{name}_packed"] = np.ones((outputs, inputs // 8), dtype=np.int32)
        stored[f"{name}_scale"] = np.ones((outputs, inputs // 16), dtype=np.float16)
        stored[f"{name}_zero_point"] = np.ones((outputs // 8, inputs // 16), dtype=np.int32)
        stored[f"{name}_shape"] = np.array([outputs, inputs])
    return stored


def _write_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(_ADAPTER))
    pair = {
        f"{_ADAPTED}.lora_A.weight": np.ones((2, 32), dtype=np.float32),
        f"{_ADAPTED}.lora_B.weight": np.ones((32, 2), dtype=np.float32),
    }
    write_tensors(folder / "adapter_model.safetensors", pair)


def make(random: Random) -> bytes:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        _unzip(random.choice(examples()), folder)
        names = (
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "config.json",
            "model.safetensors.index.json",
            "model*.safetensors",
        )
        changed = random.choice(
            sorted(folder.glob(random.choice(names))) or [folder / "config.json"]
        )
        whole = changed.read_bytes()
        if random.random() < 0.2:
            data = mutate_bytes(random, whole)
        elif changed.suffix == ".json":
            data = dump(mutate_json(random, json.loads(whole)))
        else:
            start = 8 + int.from_bytes(whole[:8], "little")
            header = dump(mutate_json(random, json.loads(whole[8:start])))
            data = len(header).to_bytes(8, "little") + header + whole[start:]
        changed.write_bytes(data)
        return _zipped(folder)


def attempt(data: bytes) -> None:
    folder = Path("foreign")
    shutil.rmtree(folder, ignore_errors=True)
    _unzip(data, folder)
    with open_folder(folder, adapter=folder / "adapter") as opened, np.errstate(all="ignore"):
        for values in opened.tensors.values():
            values.sum()
        opened.confirm()


def _zipped(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.writestr(str(path.relative_to(folder)), path.read_bytes())
    return memory.getvalue()


def _unzip(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
