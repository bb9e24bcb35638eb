from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import ingot
from ingot.artifact import QuantizedModel, Scheme, fused_matrices, round_model
from ingot.errors import CorpusError, UsageError
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.calibration import calibrate

Weights = dict[str, np.ndarray]
CONFIG = ModelConfig(
    vocab_size=384,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    max_position_embeddings=64,
    tie_word_embeddings=False,
)


class Text:
    """Token ids, read as a corpus is."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int) -> np.ndarray:
        return self.ids[start : start + count].astype(np.int64)


@pytest.fixture(scope="module")
def text() -> np.ndarray:
    """Token ids of some of Ingot's own source."""
    files = sorted(Path(ingot.__file__).parent.rglob("*.py"))[:40]
    source = "\n".join(path.read_text() for path in files)
    tokenizer = Tokenizer.train([source[:100_000]], CONFIG.vocab_size)
    return np.array(tokenizer.encode(source[:200_000]))


@pytest.fixture(scope="module")
def weights(text: np.ndarray) -> Weights:
    """A model trained for a few seconds on all but the last tenth."""
    model = Transformer(CONFIG)
    model.initialise(torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        starts = rng.integers(0, len(text) * 9 // 10 - 65, 8)
        sequences = torch.from_numpy(np.stack([text[start : start + 65] for start in starts]))
        loss_of(model, sequences).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: value.detach().numpy() for name, value in model.named_parameters()}


def loss_of(model: Transformer, sequences: torch.Tensor) -> torch.Tensor:
    logits = model.logits(model(sequences[:, :-1]))
    return functional.cross_entropy(logits.flatten(0, 1), sequences[:, 1:].flatten())


@torch.inference_mode()
def held_out(weights: Weights, text: np.ndarray) -> tuple[torch.Tensor, float]:
    """Return the scores on the last tenth of the text, and the loss."""
    model = Transformer(CONFIG)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    rest = text[len(text) * 9 // 10 :]
    count = len(rest) // 65
    sequences = torch.from_numpy(rest[: count * 65].reshape(count, 65))
    return model.logits(model(sequences[:, :-1])), loss_of(model, sequences).item()


def restored(model: QuantizedModel, weights: Weights) -> Weights:
    found = dict(weights)
    for name, parts in fused_matrices(CONFIG).items():
        ends = np.cumsum([len(weights[part]) for part in parts])[:-1]
        pieces = np.split(model.matrices[name].dequantized(), ends)
        found |= dict(zip(parts, pieces, strict=True))
    return found


def test_calibrated_int4_is_closer_than_rounded(weights: Weights, text: np.ndarray) -> None:
    exact, loss = held_out(weights, text)
    assert loss < 4.5  # it has learned something: guessing would be 5.95
    calibration = Text(text[: len(text) * 9 // 10])
    scheme = Scheme("int4", 64)
    careful = calibrate(weights, CONFIG, calibration, scheme, tokens=8192)
    assert (careful.method, careful.calibration_tokens) == ("gptq", 8192)
    assert list(careful.matrices) == list(fused_matrices(CONFIG))

    def error(model: QuantizedModel) -> float:
        scores, _ = held_out(restored(model, weights), text)
        return (scores - exact).square().mean().item()

    # Of the scores: a model that learned so little may lose or gain by any change of its weights.
    # What it means for the loss of a trained one: benchmarks.quality.
    assert 0 < error(careful) < 0.9 * error(round_model(weights, CONFIG, scheme))


def test_int8_loses_almost_nothing(weights: Weights, text: np.ndarray) -> None:
    _, exact = held_out(weights, text)
    model = round_model(weights, CONFIG, Scheme("int8"))
    _, loss = held_out(restored(model, weights), text)
    assert abs(loss / exact - 1) < 0.003


def test_patterns_and_tied_heads_are_heeded(weights: Weights, text: np.ndarray) -> None:
    tied = dataclasses.replace(CONFIG, tie_word_embeddings=True)
    fewer = {name: value for name, value in weights.items() if name != "lm_head.weight"}
    scheme = Scheme("int4", 32, (("*.0.mlp.*", "bf16"), ("model.embed_tokens", "int8")))
    model = calibrate(fewer, tied, Text(text), scheme, tokens=256)
    kinds = {name: matrix.kind for name, matrix in model.matrices.items()}
    assert kinds["model.layers.0.mlp.down_proj"] == "bf16"
    assert kinds["model.embed_tokens"] == "int8"
    assert kinds["model.layers.1.mlp.down_proj"] == "int4"
    assert "lm_head" not in kinds


def test_what_cannot_be_calibrated_is_refused(weights: Weights, text: np.ndarray) -> None:
    with pytest.raises(CorpusError, match="63 tokens"):
        calibrate(weights, CONFIG, Text(text[:63]), Scheme())
    with pytest.raises(UsageError, match="lm_haed"):
        calibrate(weights, CONFIG, Text(text), Scheme(patterns=(("lm_haed", "bf16"),)))
