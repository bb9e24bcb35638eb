from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ingot.artifact import Provenance, freeze
from ingot.errors import ArtifactError, CorpusError, RecipeError
from ingot.model import Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.data.batch import Batch
from ingot.training.initialization.start import start_from
from ingot.training.objectives.next_token import next_token_loss

NewModel = Callable[..., Transformer]
CPU = torch.device("cpu")


@pytest.fixture
def seal(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., Path]:
    def seal(model: Transformer, dtype: str = "float32") -> Path:
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        path = tmp_path / "start.ingot"
        freeze(weights, model.config, tokenizer, path, provenance=Provenance(), dtype=dtype).close()
        return path

    return seal


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("bfloat16", 2**-8)])
def test_the_sealed_weights_are_taken_up(
    dtype: str, tolerance: float, new_model: NewModel, seal: Callable[..., Path]
) -> None:
    model = new_model()
    start = start_from(seal(model, dtype))
    assert start.config == model.config
    for name, tensor in model.state_dict().items():
        assert start.weights[name].dtype is torch.float32
        torch.testing.assert_close(start.weights[name], tensor, rtol=tolerance, atol=0)


def test_training_resumes(new_model: NewModel, seal: Callable[..., Path]) -> None:
    ids = np.arange(120).reshape(4, 30)
    batch = Batch(ids, None, None)

    def train(model: Transformer) -> list[float]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
        losses = []
        for _ in range(10):
            loss = next_token_loss(model, batch, CPU) / batch.weight
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return losses

    model = new_model()
    before = train(model)
    start = start_from(seal(model))
    again = Transformer(start.config)
    again.load_state_dict(start.weights)
    after = train(again)
    assert after[0] < before[-1]
    assert after[-1] < after[0]


def test_the_right_model_and_tokenizer_fit(
    new_model: NewModel, seal: Callable[..., Path], tokenizer: Tokenizer
) -> None:
    model = new_model()
    start = start_from(seal(model))
    longer = dataclasses.replace(model.config, max_position_embeddings=4096)
    start.check_fits(longer, Tokenizer.from_json(tokenizer.to_json()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 64), ("num_hidden_layers", 3), ("tie_word_embeddings", True)],
)
def test_a_model_of_other_sizes_is_refused(
    name: str, value: object, new_model: NewModel, seal: Callable[..., Path], tokenizer: Tokenizer
) -> None:
    start = start_from(seal(new_model()))
    other = dataclasses.replace(start.config, **{name: value})
    with pytest.raises(RecipeError) as caught:
        start.check_fits(other, tokenizer)
    assert str(caught.value).startswith(
        f"model.{name}: is {value} in the recipe, but {getattr(start.config, name)} in "
    )


def test_another_tokenizer_is_refused(new_model: NewModel, seal: Callable[..., Path]) -> None:
    start = start_from(seal(new_model()))
    other = Tokenizer.train(["other text " * 20], 320)
    with pytest.raises(CorpusError, match="encoded by another tokenizer"):
        start.check_fits(start.config, other)


def test_a_damaged_ingot_is_refused(new_model: NewModel, seal: Callable[..., Path]) -> None:
    path = seal(new_model())
    weights = path / "model.safetensors"
    weights.chmod(0o644)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"start\.ingot"):
        start_from(path)
