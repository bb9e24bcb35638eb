"""Models out of GGUF give the logits of the models of transformers that the files were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ingot.artifact.import_.gguf.container import GgufFile
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.model import GgufModel
from ingot.model.transformer import Transformer
from tests.artifact.import_.gguf.converting import FAMILIES, Family, convert

POSITIONS = 100
"""Past every window and every original context of the families here."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_logits_are_those_of_transformers(family: Family, tmp_path: Path) -> None:
    original = family.make()
    convert(original, family.architecture, tmp_path / "model.gguf", {})
    ids = torch.tensor(np.random.default_rng(0).integers(2, 300, (1, POSITIONS)))

    file = GgufFile(tmp_path / "model.gguf")
    ours = GgufModel(file, Metadata(file.metadata, file.path))
    model = Transformer(ours.config).eval()
    weights = {name: torch.from_numpy(values) for name, values in ours.tensors.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)

    assert not unexpected
    assert ours.config.tie_word_embeddings or not missing
    with torch.no_grad():
        difference = (model.logits(model(ids)) - original(ids).logits).abs().max()
    assert difference < 1e-4
