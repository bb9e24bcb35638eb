"""A full-precision ingot is a folder that transformers loads as it stands."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ingot.artifact import open_ingot, widen_to_float32
from ingot.model import Tokenizer
from ingot.model.transformer import Transformer

TEXTS = [
    "def area(width, height):\n    return width * height\n",
    "the quick brown fox, 12345 times",
    "  naïve café — 東京 🦊\t\r\n",
    "",
]


@pytest.mark.parametrize("layout", ["pristine", "pristine_sharded"])
def test_transformers_gives_our_logits(layout: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(layout)
    theirs = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with open_ingot(path) as ingot:
        ours = Transformer(ingot.config)
        state = {
            name: torch.from_numpy(widen_to_float32(tensor.array()))
            for name, tensor in ingot.tensors.items()
        }
        ours.load_state_dict(state)
        ids = torch.randint(
            ingot.tokenizer.vocab_size, (2, 40), generator=torch.Generator().manual_seed(0)
        )
    with torch.no_grad():
        expected = theirs(ids).logits
        actual = ours.logits(ours(ids))
    assert expected.std() > 0.3  # logits that could differ
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_transformers_reads_dtype_and_end_of_text(pristine: Path, tokenizer: Tokenizer) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(pristine)
    assert theirs.dtype == torch.bfloat16
    assert theirs.generation_config.eos_token_id == tokenizer.eos_id


def test_transformers_gives_our_tokens(pristine: Path, tokenizer: Tokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(pristine)
    assert theirs.eos_token_id == tokenizer.eos_id
    assert theirs.model_max_length == 64
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == tokenizer.decode(ids) == text
