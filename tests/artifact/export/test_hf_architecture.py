"""Every architecture of Hugging Face computes what the ingot does."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ingot.artifact.export import export_hf
from ingot.artifact.export.hf_architecture import hf_model
from ingot.errors import UsageError
from ingot.model import ModelConfig
from tests.artifact.export.conftest import SIZES, Make
from tests.artifact.export.family_configs import CONFIGS
from tests.artifact.export.test_hugging_face import IDS, our_logits


@pytest.mark.parametrize(("kind", "config"), CONFIGS.values(), ids=CONFIGS)
def test_transformers_gives_our_logits(
    make: Make, tmp_path: Path, kind: str, config: ModelConfig
) -> None:
    with make(config=config, dtype="float32") as ingot:
        export_hf(ingot, tmp_path / "out")
        expected = our_logits(ingot, IDS)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == kind
    theirs, loading = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(loading.values()), loading
    with torch.no_grad():
        found = theirs(IDS).logits
    assert expected.std() > 0.3  # logits that could differ
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "variants",
    [
        {"partial_rotary_factor": 0.5},  # with norms of queries and keys
        {"norm_placement": "post"},
        {"qk_norm": "none", "no_rope_layers": (1,), "partial_rotary_factor": 0.5},
    ],
    ids=str,
)
def test_what_none_computes_is_refused(variants: dict[str, object]) -> None:
    config = ModelConfig(**{**SIZES, **variants})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=next(iter(variants))):
        hf_model(config)
