from __future__ import annotations

from pathlib import Path

import pytest

from ingot.artifact import Provenance, freeze, parse_scheme, round_model
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.conftest import Weights


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
