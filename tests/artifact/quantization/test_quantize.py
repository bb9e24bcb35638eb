from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import (
    Provenance,
    Scheme,
    freeze,
    fused_matrices,
    open_ingot,
    parse_scheme,
    round_model,
    verify,
)
from ingot.errors import ArtifactError, UsageError
from ingot.model import ModelConfig, Tokenizer

Weights = dict[str, np.ndarray]
SCHEME = Scheme("int4", 64, (("model.embed_tokens", "int8"), ("*.1.mlp.*", "bf16")))


@pytest.fixture(scope="module")
def quantized(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> Path:
    out = tmp_path_factory.mktemp("quantized") / "small.ingot"
    model = round_model(weights, config, SCHEME)
    freeze(weights, config, tokenizer, out, provenance=provenance, quantized=model).close()
    return out


def test_holds_the_codes_of_every_matrix(
    quantized: Path, weights: Weights, config: ModelConfig
) -> None:
    model = round_model(weights, config, SCHEME)
    with open_ingot(quantized) as ingot:
        assert verify(quantized) == ingot.manifest
        values = dict(ingot.float32())
        assert values.keys() == config.tensor_shapes().keys()
        for name, parts in fused_matrices(config).items():
            whole = np.concatenate([values[part] for part in parts])
            np.testing.assert_array_equal(whole, model.matrices[name].dequantized())
        norm = "model.norm.weight"
        np.testing.assert_array_equal(values[norm], weights[norm])
        assert all(tensor.data.readonly for tensor in ingot.tensors.values())


def test_the_manifest_names_layout_method_and_kinds(quantized: Path, pristine: Path) -> None:
    content = json.loads((quantized / "ingot.json").read_bytes())["quantization"]
    assert (content["layout"], content["layout_version"]) == ("tiles16", 1)
    assert (content["method"], content["calibration_tokens"]) == ("round", None)
    assert content["matrices"]["model.embed_tokens"] == {"kind": "int8", "group": 64}
    assert content["matrices"]["model.layers.1.mlp.down_proj"] == {"kind": "bf16", "group": 0}
    assert content["matrices"]["model.layers.0.mlp.down_proj"] == {"kind": "int4", "group": 64}
    config = json.loads((quantized / "config.json").read_bytes())
    assert config["quantization_config"] == {"quant_method": "ingot-tiles16-v1"}
    assert "quantization" not in json.loads((pristine / "ingot.json").read_bytes())
    size = (quantized / "model.safetensors").stat().st_size
    assert size < 0.7 * (pristine / "model.safetensors").stat().st_size


def test_same_weights_same_digest_and_shards_too(
    quantized: Path,
    tmp_path: Path,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> None:
    again = tmp_path / "again.ingot"
    sharded = tmp_path / "sharded.ingot"
    for out, size in ((again, 1 << 30), (sharded, 10_000)):
        freeze(
            weights,
            config,
            tokenizer,
            out,
            provenance=provenance,
            quantized=round_model(weights, config, SCHEME),
            shard_bytes=size,
        ).close()
    assert verify(again).digest == verify(quantized).digest
    assert len(list(sharded.glob("model-*"))) > 2
    assert verify(sharded).tensors == verify(quantized).tensors


def test_one_changed_code_is_named(
    quantized: Path, tmp_path: Path, resealed: Callable[..., Path]
) -> None:
    broken = resealed(quantized, tmp_path / "broken.ingot")
    with open_ingot(quantized) as ingot:
        first = bytes(ingot.tensors["model.layers.0.mlp.down_proj.tiles"].data)
    path = broken / "model.safetensors"
    data = path.read_bytes()
    offset = data.index(first)
    path.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
    with pytest.raises(ArtifactError, match=r"down_proj\.tiles"):
        verify(broken)


BAD: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda q: q.update(layout="tiles32"), "layout"),
    (lambda q: q.update(layout_version=2), "layout_version"),
    (lambda q: q["matrices"].pop("model.embed_tokens"), "other matrices"),
    (lambda q: q["matrices"].update(lm_head={"kind": "int8", "group": 64}), "other matrices"),
    (lambda q: q["matrices"]["model.embed_tokens"].update(group=48), "groups of 48"),
    (lambda q: q["matrices"]["model.embed_tokens"].update(kind="bf16"), "groups of 64"),
    (lambda q: q["matrices"]["model.embed_tokens"].update(kind="int4"), "has shape"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_manifest_that_says_otherwise_is_refused(
    quantized: Path,
    tmp_path: Path,
    resealed: Callable[..., Path],
    change: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    def edit(content: dict[str, Any]) -> None:
        change(content["quantization"])

    broken = resealed(quantized, tmp_path / "broken.ingot", edit)
    with pytest.raises(ArtifactError, match=message):
        open_ingot(broken)


def test_weights_that_are_not_finite_are_refused(weights: Weights, config: ModelConfig) -> None:
    name = "model.layers.1.self_attn.k_proj.weight"
    broken = weights[name].copy()
    broken[3, 5] = np.nan
    with pytest.raises(ArtifactError, match=r"1\.self_attn\.k_proj"):
        round_model({**weights, name: broken}, config, Scheme())


def test_what_is_asked_for_is_checked(weights: Weights, config: ModelConfig) -> None:
    assert parse_scheme(None, None, []) is None
    scheme = parse_scheme("int4", None, ["*.down_proj=bf16", "*=int8"])
    assert scheme is not None
    assert scheme.kind_of("model.layers.0.mlp.down_proj") == "bf16"
    assert scheme.kind_of("model.embed_tokens") == "int8"
    assert (scheme.group_of("int8"), scheme.group_of("int4")) == (128, 32)
    for kind, group, patterns, message in (
        ("int5", None, [], "int5"),
        ("int8", 48, [], "48"),
        ("int8", None, ["down_proj"], "PATTERN=KIND"),
        ("int8", None, ["x=fp8"], "fp8"),
        (None, 32, [], "--quantize"),
        (None, None, ["*=bf16"], "--quantize"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_scheme(kind, group, patterns)
    with pytest.raises(UsageError, match="donw_proj"):
        round_model(weights, config, Scheme(patterns=(("donw_proj", "bf16"),)))
