from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingot.artifact import Provenance, freeze
from ingot.errors import UsageError
from ingot.model import ModelConfig, Tokenizer
from ingot.training.loop.update_trace import MOST_TOKENS, trace_updates

TEXT = "def area(width, height):\n    return width * height\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer.train([TEXT * 4], 280)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
    )
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(scale=0.1, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    out = tmp_path_factory.mktemp("trace") / "tiny.ingot"
    freeze(weights, config, tokenizer, out, provenance=Provenance()).close()
    return out


def test_each_update_predicts_compares_and_changes(path: Path) -> None:
    records = list(trace_updates(path, TEXT, 3))
    losses = [record["loss"] for record in records if record["event"] == "predicted"]
    losses.append(records[-1]["loss"])
    assert losses == sorted(losses, reverse=True)
    first = records[1]
    mean = -np.mean([np.log(token["p"]) for token in first["tokens"]])
    assert first["loss"] == pytest.approx(mean, rel=1e-4)
    assert all(token["guess_p"] >= token["p"] for token in first["tokens"])
    digests = [record["digest"] for record in records if "digest" in record]
    assert len(set(digests)) == 4


def test_two_traces_are_the_same(path: Path) -> None:
    def results() -> list[object]:
        return [
            {key: value for key, value in record.items() if key != "seconds"}
            for record in trace_updates(path, TEXT, 2)
        ]

    assert results() == results()


def test_a_long_text_is_cut_and_an_empty_one_refused(path: Path) -> None:
    started = next(trace_updates(path, TEXT * 20, 1))
    assert len(started["tokens"]) == MOST_TOKENS + 1
    with pytest.raises(UsageError):
        next(trace_updates(path, "", 1))
