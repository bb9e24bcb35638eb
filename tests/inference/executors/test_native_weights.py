"""Quantized ingots in the core, and what the executor says about its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot, Provenance, Scheme, freeze, open_ingot, round_model
from ingot.errors import UsageError
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor, as_native
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer

ROW = SamplingRow(SamplingParams(temperature=0, logprobs=5), 0, 0)
MIXED = Scheme("int4", 32, (("model.embed_tokens", "int8"), ("*.o_proj", "bf16")))


@pytest.fixture(scope="module", params=["int8", "int4", "mixed", "untied"])
def quantized(
    request: pytest.FixtureRequest,
    config: ModelConfig,
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    rng = np.random.default_rng(0)
    if request.param == "untied":
        config = ModelConfig(**{**vars(config), "tie_word_embeddings": False})
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    scheme = {"int8": Scheme("int8"), "int4": Scheme("int4")}.get(request.param, MIXED)
    out: Path = tmp_path_factory.mktemp("quantized") / "q.ingot"
    freeze(
        weights,
        config,
        tokenizer,
        out,
        provenance=Provenance(),
        quantized=round_model(weights, config, scheme),
    ).close()
    with open_ingot(out) as opened:
        yield opened


def test_both_executors_agree_on_a_quantized_ingot(quantized: Ingot) -> None:
    prompt = np.random.default_rng(1).integers(0, 300, 60).tolist()
    core = NativeExecutor(quantized, num_blocks=4, kv_cache="f32")
    reference = TorchExecutor(quantized, num_blocks=4, threads=1)
    model_input = ModelInput(
        prompt, 0, [0, 1, 2, 3], ROW._replace(params=SamplingParams(logprobs=20))
    )
    mine, other = core.step([model_input])[0], reference.step([model_input])[0]
    scores = core.model.logits([as_native(model_input)])[0, :300]
    assert mine is not None
    assert other is not None
    ours = dict(mine.logprob.top)  # type: ignore[union-attr]
    theirs = dict(other.logprob.top)  # type: ignore[union-attr]
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 17
    # What is left is the rounding of activations to int8.
    errors = [ours[token] - theirs[token] for token in shared]
    assert np.sqrt(np.mean(np.square(errors))) < 0.06 * scores.std()


def test_a_quantized_ingot_is_copied_once_into_sealed_memory(quantized: Ingot) -> None:
    executor = NativeExecutor(quantized, num_blocks=4)
    expected = {name: record.sha256 for name, record in quantized.manifest.tensors.items()}
    assert executor.weight_digests() == expected
    executor.step([ModelInput([1, 2, 3], 0, [0], ROW)])
    assert executor.weight_digests() == expected
    addresses = [
        array.ctypes.data
        for _, tiles, scales in executor._weights._matrices.values()
        for array in (tiles, scales)
        if array.size
    ]
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [[*(int(end, 16) for end in line[0].split("-")), line[1]] for line in lines]
    for address in addresses:
        assert address % 64 == 0
        assert [kind for low, high, kind in ranges if low <= address < high] == ["r--p"]


def test_the_files_pages_are_given_back(quantized: Ingot) -> None:
    def resident() -> int:
        kilobytes = 0
        inside = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split()[0]:
                inside = str(quantized.path) in line
            elif inside and line.startswith("Rss:"):
                kilobytes += int(line.split()[1])
        return kilobytes

    for tensor in quantized.tensors.values():
        bytes(tensor.data)
    assert resident() > 0
    NativeExecutor(quantized, num_blocks=4).close()
    assert resident() == 0


def test_a_quantized_ingot_is_not_rounded_again(quantized: Ingot) -> None:
    with pytest.raises(UsageError, match="quantized already"):
        NativeExecutor(quantized, num_blocks=4, weights="int8")


def test_digests_are_those_of_the_ingot_or_none(ingot: Ingot) -> None:
    expected = {name: record.sha256 for name, record in ingot.manifest.tensors.items()}
    assert NativeExecutor(ingot, num_blocks=2).weight_digests() == expected
    assert NativeExecutor(ingot, num_blocks=2, weights="int8").weight_digests() == {}


def test_a_changed_weight_changes_its_digest(ingot: Ingot, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "model.layers.1.self_attn.k_proj.weight"
    old = ingot.tensors[name]
    data = bytearray(old.data)
    data[7] ^= 1
    changed = type(old)(name, old.dtype, old.shape, memoryview(bytes(data)))
    monkeypatch.setattr(ingot, "tensors", {**ingot.tensors, name: changed})
    digests = NativeExecutor(ingot, num_blocks=2).weight_digests()
    wrong = [key for key, record in ingot.manifest.tensors.items() if digests[key] != record.sha256]
    assert wrong == [name]
