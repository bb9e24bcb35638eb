"""SmolLM2 out of its GGUF file, against llama.cpp on the same weights in F32.

``smollm2_llama.json`` is what ``record_llama.py`` wrote.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from ingot.api import inference
from ingot.api.importing import import_model
from ingot.inference.request.params import SamplingParams
from ingot.model.transformer import Transformer
from tests.artifact.import_.gguf.smollm2 import fetched

pytestmark = pytest.mark.long

LLAMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("smollm2_llama.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inference.Model]:
    out = tmp_path_factory.mktemp("smollm2") / "smollm2.ingot"
    import_model(fetched(), out, dtype="float32").close()
    with inference.load(out, executor="torch") as loaded:
        yield loaded


def test_texts_become_the_tokens_of_llama_cpp(model: inference.Model) -> None:
    for text, ids in zip(LLAMA["texts"], LLAMA["tokens"], strict=True):
        assert model.ingot.tokenizer.encode(text) == ids
        assert model.ingot.tokenizer.decode(ids) == text


def test_the_template_makes_the_prompts_of_llama_cpp(model: inference.Model) -> None:
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    assert model.encode_chat(asked) == LLAMA["prompts"][12]


def test_stop_tokens_and_licence(model: inference.Model) -> None:
    origin = model.ingot.manifest.provenance.origin
    assert origin is not None
    assert origin.license == "apache-2.0"
    texts = {model.ingot.tokenizer.special_texts[each] for each in model.ingot.tokenizer.stop_ids}
    assert texts == {"<|im_end|>", "<|endoftext|>"}


def test_greedy_continuations_are_those_of_llama_cpp(model: inference.Model) -> None:
    """The two best logits are never closer than 6e-4 here, which float32 rounding is far below."""
    params = SamplingParams(max_tokens=64, temperature=0.0, ignore_eos=True)

    def continued(ids: list[int]) -> list[int]:
        return [token for each in model.loop.stream(ids, params, 1200) for token in each.token_ids]

    with ThreadPoolExecutor(len(LLAMA["prompts"])) as pool:
        ours = list(pool.map(continued, LLAMA["prompts"]))

    assert ours == LLAMA["greedy"]


def test_perplexity_is_that_of_llama_cpp(model: inference.Model) -> None:
    reference = Transformer(model.ingot.config).eval()
    weights = {name: torch.tensor(stored.array()) for name, stored in model.ingot.load().items()}
    reference.load_state_dict(weights, strict=False)

    for ids, theirs in zip(LLAMA["windows"], LLAMA["losses"], strict=True):
        batch = torch.tensor([ids])
        with torch.inference_mode():
            logits = reference.logits(reference(batch))[0, :-1].double()
        ours = torch.nn.functional.cross_entropy(logits, batch[0, 1:]).item()
        assert math.exp(ours - theirs) == pytest.approx(1, abs=0.002)
