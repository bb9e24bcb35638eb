from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from ingot.artifact import Provenance, Scheme, freeze, open_ingot, round_model
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from tests.random_model import random_weights

ROW = SamplingRow(SamplingParams(temperature=0, logprobs=5), 0, 1)


@pytest.mark.parametrize("computed", ["bfloat16", "float32"])
@pytest.mark.parametrize("stored", ["bfloat16", "float32", "int8"])
def test_every_weight_lies_in_sealed_memory(
    stored: str,
    computed: Literal["bfloat16", "float32"],
    config: ModelConfig,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FAULTS B2: weights were read where the file was mapped, so that editing it edited answers."""
    monkeypatch.setattr(
        "ingot.inference.executors.torch_weights.computes_bfloat16",
        lambda _: computed == "bfloat16",
    )
    weights = random_weights(config)
    path = tmp_path / "a.ingot"
    freeze(
        weights,
        config,
        tokenizer,
        path,
        provenance=Provenance(),
        dtype="float32" if stored == "float32" else "bfloat16",
        quantized=round_model(weights, config, Scheme("int8")) if stored == "int8" else None,
    ).close()
    with open_ingot(path) as ingot:
        executor = TorchExecutor(ingot, num_blocks=4)
    asked = [ModelInput([1, 2, 3], 0, [0], ROW)]
    before = executor.step(asked)
    file = path / "model.safetensors"
    file.chmod(0o644)
    whole = file.read_bytes()
    file.write_bytes(b"\xff" * len(whole))
    assert executor.step(asked) == before
    os.truncate(file, 0)
    assert executor.step(asked) == before
    other = tmp_path / "other"
    other.write_bytes(whole[::-1])
    other.replace(file)
    assert executor.step(asked) == before
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [[*(int(end, 16) for end in line[0].split("-")), line[1]] for line in lines]
    for weight in executor._transformer.parameters():
        address = weight.data_ptr()
        assert [kind for low, high, kind in ranges if low <= address < high] == ["r--p"]
