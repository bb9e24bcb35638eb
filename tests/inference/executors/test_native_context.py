"""Long contexts, sliding windows and hidden states of the core, against the PyTorch module."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.artifact import Ingot, open_ingot
from ingot.inference import SamplingParams
from ingot.inference.executors.base import HiddenStates, ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.native import kernels
from tests.random_model import freeze_random

LONG = 131_072
ROW = SamplingRow(SamplingParams(temperature=0), 0, 0)


@pytest.fixture(scope="module", autouse=True)
def float32_activations() -> Iterator[None]:
    """The best kernels that leave activations in float32, so that scores compare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGOT_ISA", next(name for name in kernels() if name != "avx512bf16"))
        yield


def frozen(config: ModelConfig, tokenizer: Tokenizer, folder: Path) -> Path:
    """Seal a model of random weights."""
    freeze_random(folder / "model.ingot", config, tokenizer)
    return folder / "model.ingot"


@pytest.fixture(scope="module")
def long_ingot(
    config: ModelConfig, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A model of one layer with a context of 128k."""
    config = dataclasses.replace(config, max_position_embeddings=LONG, num_hidden_layers=1)
    with open_ingot(frozen(config, tokenizer, tmp_path_factory.mktemp("long"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def windowed_ingot(
    config: ModelConfig, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A model whose tokens attend to the last 21."""
    config = dataclasses.replace(config, sliding_window=21)
    with open_ingot(frozen(config, tokenizer, tmp_path_factory.mktemp("window"))) as opened:
        yield opened


def with_window(ingot: Ingot, window: int) -> Ingot:
    """The same weights, each token of which attends to the last ``window``."""
    config = dataclasses.replace(ingot.config, sliding_window=window)
    return dataclasses.replace(ingot, config=config)


def module_of(ingot: Ingot) -> Transformer:
    module = Transformer(ingot.config)
    module.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in ingot.float32()})
    return module.eval()


def windowed(window: int) -> Any:
    """Attention in which each token sees itself and ``window - 1`` before it."""

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        positions = torch.arange(q.shape[1])
        distance = positions[:, None] - positions[None, :]
        mask = (distance >= 0) & (distance < window)
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=mask,
            enable_gqa=True,
        )
        return mixed.transpose(1, 2)

    return attend


@pytest.mark.parametrize("window", [1, 7, 64, 100, 1000])
@pytest.mark.parametrize(("kv_cache", "allowed"), [("f32", 1e-4), ("int8", 0.02)])
def test_a_sliding_window_hides_what_lies_before_it(
    ingot: Ingot, window: int, kv_cache: Any, allowed: float
) -> None:
    tokens = np.random.default_rng(1).integers(0, 300, 128).tolist()
    with torch.inference_mode():
        module = module_of(ingot)
        states = module(torch.tensor([tokens]), attend=windowed(window))
        expected = module.logits(states)[0].numpy()
    executor = NativeExecutor(with_window(ingot, window), num_blocks=8, kv_cache=kv_cache)
    table = list(range(8))
    for start, end in ((0, 90), (90, 91), (91, 128)):
        model_input = ModelInput(tokens[start:end], start, table, ROW, (ROW,) * (end - start - 1))
        scores = executor.model.logits([model_input])
        error = np.sqrt(np.mean((scores - expected[start:end]) ** 2)) / expected.std()
        assert error < allowed


@pytest.mark.parametrize("name", ["native", "torch"])
def test_a_models_own_window_is_kept_however_it_is_scheduled(
    windowed_ingot: Ingot, name: str
) -> None:
    asked = SamplingRow(SamplingParams(temperature=0, logprobs=20), 0, 0)
    executor: Any = (
        NativeExecutor(windowed_ingot, num_blocks=32, kv_cache="f32")
        if name == "native"
        else TorchExecutor(windowed_ingot, num_blocks=32)
    )
    module = module_of(windowed_ingot)
    tokens = np.random.default_rng(6).integers(0, 300, (2, 100)).tolist()
    tables = [list(range(8)), list(range(8, 16))]
    # Fresh prompts, inputs after them, and decodes of sequences of unlike length in one step.
    for spans in (
        ((0, 50), (0, 10)),
        ((50, 90), (10, 11)),
        ((90, 91), (11, 12)),
        ((91, 100), None),
    ):
        inputs, wanted = [], []
        for ids, table, span in zip(tokens, tables, spans, strict=True):
            if span is None:
                continue
            inputs.append(ModelInput(ids[span[0] : span[1]], span[0], table, asked))
            with torch.inference_mode():
                states = module(torch.tensor([ids[: span[1]]]), attend=windowed(21))
                scores = module.logits(states)[0, -1, : windowed_ingot.tokenizer.vocab_size]
                wanted.append(scores.log_softmax(-1))
        for drawn, scores in zip(executor.step(inputs), wanted, strict=True):
            for token, logprob in drawn.logprob.top:
                assert logprob == pytest.approx(scores[token].item(), abs=2e-3)
    executor.close()


def test_windows_reach_to_the_end_of_a_long_context(long_ingot: Ingot) -> None:
    tokens = np.random.default_rng(2).integers(0, 300, LONG)
    window = 100
    executor = NativeExecutor(
        with_window(long_ingot, window), num_blocks=LONG // 16, kv_cache="f32"
    )
    table = np.random.default_rng(3).permutation(LONG // 16).tolist()
    for start in range(0, LONG, 4096):
        model_input = ModelInput(tokens[start : start + 4096].tolist(), start, table, ROW)
        scores = executor.model.logits([model_input])[0]
    with torch.inference_mode():
        module = module_of(long_ingot)
        positions = torch.arange(LONG - window, LONG)
        last = module(torch.from_numpy(tokens[-window:].copy())[None], positions[None])
        expected = module.logits(last)[0, -1].numpy()
    assert np.sqrt(np.mean((scores - expected) ** 2)) < 1e-3 * expected.std()


@pytest.mark.parametrize(("kv_cache", "allowed"), [("f32", 1e-3), ("bf16", 0.02), ("int8", 0.02)])
def test_every_block_of_a_long_context_is_seen(
    long_ingot: Ingot, kv_cache: Any, allowed: float
) -> None:
    """Two blocks stand for 8192: the table names the first 8191 times."""
    rng = np.random.default_rng(4)
    first, last = rng.integers(0, 300, 16).tolist(), rng.integers(0, 300, 16).tolist()
    executor = NativeExecutor(long_ingot, num_blocks=4, kv_cache=kv_cache)
    executor.step([ModelInput(first, 0, [2], None)])
    table = [2] * (LONG // 16 - 1) + [1]
    scores = executor.model.logits([ModelInput(last, LONG - 16, table, ROW)])[0]

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """From the last token to 8191 times the first 16 and to the last 16."""
        repeats = LONG // 16 - 1
        seen_k = torch.cat((k[:, :16].repeat(1, repeats, 1, 1), k[:, 16:]), dim=1)
        seen_v = torch.cat((v[:, :16].repeat(1, repeats, 1, 1), v[:, 16:]), dim=1)
        mixed = functional.scaled_dot_product_attention(
            q[:, -1:].transpose(1, 2),
            seen_k.transpose(1, 2),
            seen_v.transpose(1, 2),
            enable_gqa=True,
        )
        return mixed.transpose(1, 2).expand(-1, q.shape[1], -1, -1)

    with torch.inference_mode():
        module = module_of(long_ingot)
        positions = torch.tensor([*range(16), *range(LONG - 16, LONG)])
        states = module(torch.tensor([first + last]), positions[None], attend)
        expected = module.logits(states)[0, -1].numpy()
    assert np.sqrt(np.mean((scores - expected) ** 2)) < allowed * expected.std()


def test_hidden_states_are_those_after_the_last_norm(ingot: Ingot) -> None:
    tokens = np.random.default_rng(5).integers(0, 300, 60).tolist()
    with torch.inference_mode():
        expected = module_of(ingot)(torch.tensor([tokens]))[0].numpy()
    executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32")
    table = [0, 1, 2, 3]
    cut = [ModelInput(tokens[:50], 0, table, None, hidden=True)]
    rest = [ModelInput([7], 0, [9], ROW), ModelInput(tokens[50:], 50, table, None, hidden=True)]
    before, after = executor.step(cut)[0], executor.step(rest)[1]
    assert isinstance(before, HiddenStates)
    assert isinstance(after, HiddenStates)
    states = np.concatenate((before.states, after.states))
    assert states.dtype == np.float32
    np.testing.assert_allclose(states, expected, atol=1e-3)
