"""Greedy answers of every family through the PyTorch executor, against transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ingot.api.importing import import_model
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.sequence import SampledToken
from ingot.model import Tokenizer
from tests.artifact.import_.tiny import FAMILIES, make_checkpoint

TOKENS, PIECE = 64, 13
GREEDY = SamplingRow(SamplingParams(temperature=0), 0, 0)
TIE = 1e-4  # scores nearer than the error of float32 sums have no order
LENGTHS = (40, 7)  # beyond the window of 16 and the original context of 32, and within both


def greedy(executor: TorchExecutor, prompts: list[list[int]]) -> list[list[int]]:
    """Return prompts and answers; a prompt is run in pieces, beside those that decode already."""
    each = executor.num_blocks // len(prompts)
    tables = [range(first, first + each) for first in range(0, executor.num_blocks, each)]
    texts, done = [list(prompt) for prompt in prompts], [0] * len(prompts)
    while any(len(t) < len(p) + TOKENS for t, p in zip(texts, prompts, strict=True)):
        inputs = [
            ModelInput(text[start : start + PIECE], start, table, GREEDY)
            for text, start, table in zip(texts, done, tables, strict=True)
        ]
        for index, sampled in enumerate(executor.step(inputs)):
            assert isinstance(sampled, SampledToken)
            done[index] += len(inputs[index].token_ids)
            if done[index] == len(texts[index]):
                texts[index].append(sampled.token_id)
    return [text[: len(p) + TOKENS] for text, p in zip(texts, prompts, strict=True)]


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_answers_are_those_of_transformers(
    name: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = make_checkpoint(name, tmp_path / "model", tokenizer)
    generator = torch.Generator().manual_seed(1)
    prompts = [
        torch.randint(tokenizer.vocab_size, (length,), generator=generator).tolist()
        for length in LENGTHS
    ]
    with import_model(tmp_path / "model", tmp_path / "out.ingot", dtype="float32") as ingot:
        executor = TorchExecutor(ingot, num_blocks=64, block_size=4)
    for prompt, text in zip(prompts, greedy(executor, prompts), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0, len(prompt) - 1 : -1]
        scores = logits[:, : tokenizer.vocab_size]
        chosen = scores.gather(1, torch.tensor(text[len(prompt) :])[:, None])[:, 0]
        assert len(chosen) == TOKENS
        assert ((scores.max(dim=1).values - chosen) < TIE).all()


def test_longrope_takes_the_list_of_the_context_it_is_opened_with(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """The model's own context takes the long list, its original one the short list."""
    model = make_checkpoint("phi3", tmp_path / "model", tokenizer)
    tokens = torch.randint(tokenizer.vocab_size, (32,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():  # transformers chooses by the length of the text
        expected = model(tokens[None]).logits[0]
    with import_model(tmp_path / "model", tmp_path / "out.ingot", dtype="float32") as ingot:
        for context, same in ((32, True), (None, False)):
            executor = TorchExecutor(ingot, num_blocks=8, block_size=4, context=context)
            with torch.no_grad():
                found = executor._transformer.logits(executor._transformer(tokens[None])[0])
            assert torch.allclose(found, expected, atol=1e-4) == same
