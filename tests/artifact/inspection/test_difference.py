from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingot.api.ingots import diff
from ingot.artifact import Provenance, freeze
from ingot.artifact.inspection import difference
from ingot.artifact.inspection.difference import Difference, _figures
from ingot.errors import ArtifactError
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.conftest import Weights
from tests.artifact.resealing import copy_writable

Make = Callable[..., Path]


@pytest.fixture
def make(
    tmp_path: Path,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> Make:
    """Freeze the model of ``pristine`` with changes."""

    def run(
        weights: Weights = weights,
        config: ModelConfig = config,
        tokenizer: Tokenizer = tokenizer,
        provenance: Provenance = provenance,
    ) -> Path:
        out = tmp_path / "other.ingot"
        freeze(weights, config, tokenizer, out, provenance=provenance).close()
        return out

    return run


def changes(found: tuple[difference.Change, ...]) -> dict[str, tuple[object, object]]:
    return {each.field: (each.a, each.b) for each in found}


def changed_tensors(found: Difference) -> set[str]:
    return {each.name for each in found.tensors if each.relative}


def test_an_ingot_and_itself(pristine: Path, tmp_path: Path) -> None:
    found = diff(pristine, copy_writable(pristine, tmp_path / "copy.ingot"))
    assert found.identical
    assert found.config + found.format + found.provenance + found.files == ()
    assert found.tokenizer.identical
    assert {(each.relative, each.largest, each.cosine) for each in found.tensors} == {(0, 0, 1)}


def test_one_changed_tensor(
    pristine: Path, make: Make, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difference, "_PIECE", 100)
    name = "model.layers.1.mlp.up_proj.weight"
    read: list[int] = []
    other = make(weights | {name: weights[name] * np.float32(2)})
    found = diff(pristine, other, progress=lambda done, _: read.append(done))
    assert not found.identical
    assert changed_tensors(found) == {name}
    (tensor,) = (each for each in found.tensors if each.name == name)
    assert tensor.relative == pytest.approx(1)
    assert tensor.cosine == pytest.approx(1)
    assert tensor.largest == pytest.approx(np.abs(weights[name]).max(), rel=0.01)
    assert (tensor.part, tensor.layer) == ("feed-forward", 1)
    assert set(changes(found.files)) == {"model.safetensors"}
    # Tensors whose bytes are the same are not read.
    assert read[-1] == 2 * 2 * weights[name].size


def test_quantized_and_not(pristine: Path, quantized: Path, weights: Weights) -> None:
    found = diff(pristine, quantized)
    formats = changes(found.format)
    assert formats["method"] == (None, "round")
    assert formats["model.layers.0.mlp.down_proj"] == (None, "int8 (32)")
    by_name = {each.name: each for each in found.tensors}
    int4 = by_name["model.layers.0.self_attn.q_proj.weight"]
    int8 = by_name["model.layers.0.mlp.down_proj.weight"]
    bf16 = by_name["model.layers.0.self_attn.o_proj.weight"]
    assert (int4.stored_a, int4.stored_b) == ("BF16", "int4 (32)")
    assert 0.05 < int4.relative < 0.15
    assert 0.002 < int8.relative < 0.01
    assert bf16.relative == 0
    assert found.bytes_b < 0.6 * found.bytes_a


def test_other_shapes(pristine: Path, make: Make, weights: Weights, config: ModelConfig) -> None:
    wide = dataclasses.replace(config, intermediate_size=64)
    grown = {
        name: np.zeros(shape, np.float32) + np.float32(0.1)
        for name, shape in wide.tensor_shapes().items()
    }
    found = diff(pristine, make(grown, wide))
    assert changes(found.config) == {"intermediate_size": (48, 64)}
    shapes = changes(found.other_shapes)
    assert shapes["model.layers.0.mlp.up_proj.weight"] == ((48, 32), (64, 32))
    assert len(shapes) == 6
    assert "model.layers.0.mlp.up_proj.weight" not in {each.name for each in found.tensors}


def test_other_tokenizers(pristine: Path, make: Make) -> None:
    other = Tokenizer.train(["sphinx of black quartz, judge my vow " * 9], 290)
    found = diff(pristine, make(tokenizer=other)).tokenizer
    assert not found.identical
    assert (found.tokens_a, found.tokens_b) == (300, other.vocab_size)
    assert found.only_a - found.only_b == 300 - other.vocab_size
    assert found.only_b > 5
    assert not found.same_merges
    assert found.same_chat_template
    assert len(found.examples_only_a) == 10


def test_provenance(pristine: Path, make: Make, provenance: Provenance) -> None:
    recipe = {"model": {"layers": 2}, "optimizer": {"lr": 1e-3, "betas": [0.9, 0.95]}}
    edited = provenance.model_copy(update={"recipe": recipe, "seed": None})
    found = changes(diff(pristine, make(provenance=edited)).provenance)
    assert found == {"recipe.optimizer.lr": (3e-4, 1e-3), "seed": (7, None)}


def test_distances_of_zeros() -> None:
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    assert _figures(zeros, zeros) == (0.0, 0.0, 1.0)
    assert _figures(zeros, ones) == (float("inf"), 1.0, 0.0)
    assert _figures(ones, zeros) == (1.0, 1.0, 0.0)
    assert _figures(ones, -ones) == (2.0, 2.0, -1.0)


def test_damage_is_named(pristine: Path, make: Make, weights: Weights) -> None:
    other = make({name: array + np.float32(1) for name, array in weights.items()})
    file = other / "model.safetensors"
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"^{other}: tensor '.*' does not match its digest"):
        diff(pristine, other)
