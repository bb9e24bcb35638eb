from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.artifact import Provenance, freeze, parse_scheme, round_model
from ingot.model import ModelConfig, Tokenizer
from ingot.model.rope import RopeConfig
from tests.artifact.resealing import Edit, copy_writable, write_manifest
from tests.random_model import random_weights, small_config

Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return small_config(rope=RopeConfig(50_000.0))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [
        "def area(width, height):\n    return width * height\n" * 4,
        "the quick brown fox " * 8,
    ]
    return Tokenizer.train(texts, 300)


@pytest.fixture(scope="session")
def weights(config: ModelConfig) -> Weights:
    return random_weights(config)


@pytest.fixture(scope="session")
def provenance() -> Provenance:
    return Provenance(
        corpus_digest="c" * 64,
        recipe={"model": {"layers": 2}, "optimizer": {"lr": 3e-4, "betas": [0.9, 0.95]}},
        code_version="0.1.0",
        seed=7,
        steps=100,
        tokens=6_400,
        flops=1.5e12,
        wall_seconds=3.25,
        training_loss=2.5,
        validation_loss=2.625,
        bits_per_byte=1.125,
    )


@pytest.fixture(scope="session")
def pristine(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> Path:
    """A frozen ingot in one file of weights that no test may change."""
    out = tmp_path_factory.mktemp("pristine") / "tiny.ingot"
    freeze(weights, config, tokenizer, out, provenance=provenance).close()
    return out


@pytest.fixture(scope="session")
def pristine_sharded(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> Path:
    """The same model in several shards."""
    out = tmp_path_factory.mktemp("sharded") / "tiny.ingot"
    freeze(weights, config, tokenizer, out, provenance=provenance, shard_bytes=20_000).close()
    return out


@pytest.fixture(scope="session")
def quantized(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    provenance: Provenance,
) -> Path:
    """The model of ``pristine`` in int4, with one matrix of each layer in int8 and one in bf16."""
    scheme = parse_scheme("int4", 32, ["*.down_proj=int8", "*.o_proj=bf16"])
    assert scheme is not None
    out = tmp_path_factory.mktemp("quantized") / "small.ingot"
    rounded = round_model(weights, config, scheme)
    freeze(weights, config, tokenizer, out, provenance=provenance, quantized=rounded).close()
    return out


@pytest.fixture
def ingot_copy(pristine: Path, tmp_path: Path) -> Path:
    """A frozen ingot to damage, its files writable."""
    return copy_writable(pristine, tmp_path / "copy.ingot")


@pytest.fixture(scope="session")
def damaged_copies(
    tmp_path_factory: pytest.TempPathFactory, pristine: Path, pristine_sharded: Path
) -> list[Path]:
    """Writable copies, whole and sharded, for tests that put back every byte they change."""
    root = tmp_path_factory.mktemp("damaged")
    return [
        copy_writable(pristine, root / "whole.ingot"),
        copy_writable(pristine_sharded, root / "sharded.ingot"),
    ]


@pytest.fixture
def resealed() -> Callable[..., Path]:
    """Copy an ingot, writable, its manifest changed and sealed again with the right digest."""

    def run(source: Path, target: Path, edit: Edit = lambda _: None) -> Path:
        copy_writable(source, target)
        content = json.loads((target / "ingot.json").read_bytes())
        edit(content)
        write_manifest(target, content)
        return target

    return run
