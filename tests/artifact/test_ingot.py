"""Opening: sound ingots, and ones whose digests all fit but whose contents do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import (
    FileRecord,
    Manifest,
    open_ingot,
    read_tensors,
    write_tensors,
)
from ingot.artifact.format.tensor_writer import RawTensor
from ingot.errors import ArtifactError
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.resealing import reseal

Tensors = dict[str, RawTensor]


def test_holds_what_was_frozen(pristine: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    with open_ingot(pristine) as ingot:
        assert ingot.path == pristine
        assert ingot.config == config
        assert ingot.digest == ingot.manifest.digest
        assert ingot.tokenizer.to_json() == tokenizer.to_json()
        assert {n: t.shape for n, t in ingot.tensors.items()} == config.tensor_shapes()
        assert all(tensor.data.readonly for tensor in ingot.tensors.values())
        array = ingot.tensors["model.norm.weight"].array()
    assert not ingot.tensors
    assert array.shape == (32,)
    assert np.isfinite(array).all()  # still mapped: closing does not pull it from under a user


def test_a_write_into_its_weights_is_fatal(pristine: Path, run_python: Callable[..., Any]) -> None:
    script = (
        "import ctypes, sys\nfrom pathlib import Path\nfrom ingot.artifact import open_ingot\n"
        "ingot = open_ingot(Path(sys.argv[1]))\n"
        "address = ingot.tensors['model.norm.weight'].array().ctypes.data\n"
        "assert 'torch' not in sys.modules\n"
        "print('reached', len(ctypes.string_at(address, 4)), flush=True)\n"
        "ctypes.memset(address, 1, 4)\nprint('written')\n"
    )
    ended = run_python(script, pristine)
    assert (ended.stdout, ended.returncode) == ("reached 4\n", -11)


def test_resealing_alone_changes_nothing(ingot_copy: Path) -> None:
    before = (ingot_copy / "ingot.json").read_bytes()
    reseal(ingot_copy)
    assert (ingot_copy / "ingot.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "config.json: architecture"),
        ({"head_dim": "8"}, "config.json: field 'head_dim'"),
        ({"rope_theta": None}, "config.json: field 'rope_theta'"),
        ({"num_hidden_layers": 1}, "ingot.json: lists other tensors"),
        ({"num_hidden_layers": 1 << 24}, "ingot.json: lists other tensors"),
        ({"tie_word_embeddings": False}, "ingot.json: lists other tensors"),
        ({"intermediate_size": 47}, "ingot.json: tensor 'model.layers.0.mlp"),
        ({"vocab_size": 319}, "ingot.json: tensor 'model.embed_tokens.weight'"),
    ],
)
def test_refuses_a_config_that_the_tensors_do_not_fit(
    ingot_copy: Path, change: dict[str, Any], what: str
) -> None:
    path = ingot_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    reseal(ingot_copy)
    with pytest.raises(ArtifactError) as caught:
        open_ingot(ingot_copy)
    assert str(caught.value).startswith(f"{ingot_copy}/{what}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{}", "is not a tokenizer"),
        (b"\xff\xfe", "is not UTF-8"),
        (
            Tokenizer.train(["many words " + "x".join(map(str, range(900)))], 360)
            .to_json()
            .encode(),
            "tokens, the model only 320",
        ),
    ],
)
def test_refuses_a_tokenizer_that_does_not_fit(ingot_copy: Path, text: bytes, what: str) -> None:
    (ingot_copy / "tokenizer.json").write_bytes(text)
    reseal(ingot_copy)
    with pytest.raises(ArtifactError, match=f"tokenizer.json: .*{what}"):
        open_ingot(ingot_copy)


@pytest.fixture
def stored(pristine: Path) -> Tensors:
    return {
        name: RawTensor(tensor.dtype, tensor.shape, tensor.data)
        for name, tensor in read_tensors(pristine / "model.safetensors").items()
    }


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t.pop("model.norm.weight"), "'model.norm.weight' is missing"),
        (lambda t: t.update(extra=RawTensor("U8", (1,), b"x")), "unexpected tensor 'extra'"),
        (
            lambda t: t.update({"model.norm.weight": RawTensor("F32", (16,), b"x" * 64)}),
            r"'model.norm.weight' is F32 \(16,\)",
        ),
    ],
)
def test_refuses_weights_that_the_manifest_does_not_describe(
    ingot_copy: Path, stored: Tensors, change: Callable[[Tensors], object], what: str
) -> None:
    path = ingot_copy / "model.safetensors"
    change(stored)
    write_tensors(path, stored, {"format": "pt"})
    # The file's size and digest fit, the list of tensors is the old one.
    content = json.loads((ingot_copy / "ingot.json").read_bytes())
    old = Manifest.parse((ingot_copy / "ingot.json").read_bytes(), where="x")
    data = path.read_bytes()
    record = FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    manifest = Manifest.seal(
        architecture=old.architecture,
        dtype=content["dtype"],
        tensors=old.tensors,
        files={**old.files, path.name: record},
        provenance=old.provenance,
    )
    (ingot_copy / "ingot.json").write_bytes(manifest.to_json())
    with pytest.raises(ArtifactError, match=f"model.safetensors: .*{what}"):
        open_ingot(ingot_copy, verify=False)


def test_refuses_a_manifest_of_another_architecture(ingot_copy: Path) -> None:
    path = ingot_copy / "ingot.json"
    old = Manifest.parse(path.read_bytes(), where="x")
    sealed = Manifest.seal(
        architecture="IngotForCausalLM",
        dtype=old.dtype,
        tensors=old.tensors,
        files=old.files,
        provenance=old.provenance,
        quantization=old.quantization,
    )
    path.write_bytes(sealed.to_json())
    with pytest.raises(
        ArtifactError, match=r"says IngotForCausalLM, config\.json Qwen3ForCausalLM"
    ):
        open_ingot(ingot_copy)


def test_refuses_an_index_that_sends_others_elsewhere(damaged_copies: list[Path]) -> None:
    ingot = damaged_copies[1]
    saved = {path: path.read_bytes() for path in ingot.iterdir()}
    path = ingot / "model.safetensors.index.json"
    index = json.loads(path.read_bytes())
    index["weight_map"]["model.norm.weight"] = "../../elsewhere.safetensors"
    path.write_text(json.dumps(index))
    try:
        reseal(ingot)
        with pytest.raises(ArtifactError, match=r"index\.json: does not match the shards"):
            open_ingot(ingot)
    finally:
        for file, data in saved.items():
            file.write_bytes(data)
