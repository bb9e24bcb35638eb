from __future__ import annotations

import dataclasses
from pathlib import Path

import orjson
import pytest

from ingot.artifact import open_ingot, signature_path
from ingot.artifact.inspection.parts import PARTS, kind_of, layer_of, part_of
from ingot.artifact.inspection.summary import summarise
from ingot.model import ModelConfig
from tests.artifact.resealing import copy_writable


@pytest.mark.parametrize(
    ("name", "kind", "part", "layer"),
    [
        ("model.embed_tokens.weight", "embed_tokens", "embedding", None),
        ("model.position_embeddings.weight", "position_embeddings", "embedding", None),
        ("model.layers.11.self_attn.q_proj.weight", "self_attn.q_proj", "attention", 11),
        ("model.layers.0.self_attn.q_proj.bias", "self_attn.q_proj.bias", "attention", 0),
        ("model.layers.0.self_attn.qkv_proj.tiles", "self_attn.qkv_proj", "attention", 0),
        ("model.layers.3.self_attn.q_norm.weight", "self_attn.q_norm", "norms", 3),
        ("model.layers.3.mlp.down_proj.scales", "mlp.down_proj", "feed-forward", 3),
        ("model.layers.3.input_layernorm.weight", "input_layernorm", "norms", 3),
        ("model.norm.weight", "norm", "norms", None),
        ("lm_head.weight", "lm_head", "output head", None),
        ("something.else", "something.else", "other", None),
    ],
)
def test_names(name: str, kind: str, part: str, layer: int | None) -> None:
    assert (kind_of(name), part_of(name), layer_of(name)) == (kind, part, layer)
    assert part_of(kind) == part


@pytest.mark.parametrize("which", ["pristine", "pristine_sharded", "quantized"])
def test_sums(which: str, request: pytest.FixtureRequest, config: ModelConfig) -> None:
    with open_ingot(request.getfixturevalue(which)) as ingot:
        found = summarise(ingot)
        assert found.parameters == config.parameters
        for groups in (found.parts, found.kinds):
            assert sum(each.parameters for each in groups) == config.parameters
            assert sum(each.nbytes for each in groups) == ingot.weight_bytes
        assert [part.part for part in found.parts] == [
            part for part in PARTS if part in {each.part for each in found.parts}
        ]
        assert {file.name for file in found.files} == set(ingot.manifest.files)
        assert found.provenance["seed"] == 7
        orjson.dumps(dataclasses.asdict(found))


def test_bits_and_formats(pristine: Path, quantized: Path) -> None:
    with open_ingot(pristine) as ingot:
        plain = summarise(ingot)
        assert plain.bits_per_weight == 16
        assert plain.method is None
        assert {each.formats for each in plain.kinds} == {("BF16",)}
        assert {each.count for each in plain.kinds if each.part == "attention"} == {2}
    with open_ingot(quantized) as ingot:
        small = summarise(ingot)
        kinds = {each.kind: each for each in small.kinds}
        assert small.method == "round"
        assert 5 < small.bits_per_weight < 16
        assert kinds["self_attn.qkv_proj"].formats == ("int4 (32)",)
        assert kinds["self_attn.qkv_proj"].bits_per_weight == 5  # four, and a float32 for 32
        assert kinds["self_attn.o_proj"].formats == ("bf16",)
        assert kinds["mlp.down_proj"].count == 2


def test_settings_leave_out_what_is_as_usual(pristine: Path) -> None:
    with open_ingot(pristine) as ingot:
        shown = dict(summarise(ingot).settings)
    assert shown["num_hidden_layers"] == 2
    assert shown["rope.rope_theta"] == 50_000
    assert "sliding_window" not in shown
    assert "norm" not in shown


def test_a_signature_is_named_and_not_checked(pristine: Path, tmp_path: Path) -> None:
    path = copy_writable(pristine, tmp_path / "x.ingot")
    with open_ingot(path) as ingot:
        assert summarise(ingot).signature is None
        signature_path(path).write_text("{}")
        broken = summarise(ingot).signature
        assert broken is not None
        assert broken.problem is not None
        assert "mediaType is missing" in broken.problem
