"""Quantized ingots in the core, and what the executor says about its weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot, LoadedWeights, Provenance, Scheme, freeze, open_ingot, round_model
from ingot.errors import UsageError
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.resealing import copy_writable, reseal
from tests.random_model import random_weights

ROW = SamplingRow(SamplingParams(temperature=0, logprobs=5), 0, 0)
MIXED = Scheme("int4", 32, (("model.embed_tokens", "int8"), ("*.o_proj", "bf16")))


@pytest.fixture(scope="module", params=["int8", "int4", "mixed", "untied"])
def quantized(
    request: pytest.FixtureRequest,
    config: ModelConfig,
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    if request.param == "untied":
        config = ModelConfig(**{**vars(config), "tie_word_embeddings": False})
    weights = random_weights(config)
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
    scores = core.model.logits([model_input])[0, :300]
    assert mine is not None
    assert other is not None
    ours = dict(mine.logprob.top)  # type: ignore[union-attr]
    theirs = dict(other.logprob.top)  # type: ignore[union-attr]
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 17
    # What is left is the rounding of activations to int8.
    errors = [ours[token] - theirs[token] for token in shared]
    assert np.sqrt(np.mean(np.square(errors))) < 0.06 * scores.std()


def test_a_quantized_ingots_weights_are_used_where_they_were_hashed(quantized: Ingot) -> None:
    executor = NativeExecutor(quantized, num_blocks=4)
    expected = {name: record.sha256 for name, record in quantized.manifest.tensors.items()}
    assert executor.weight_digests() == expected
    executor.step([ModelInput([1, 2, 3], 0, [0], ROW)])
    assert executor.weight_digests() == expected


@pytest.mark.parametrize("stored", ["bfloat16", "float32", "int8"])
def test_every_weight_lies_in_sealed_memory(
    stored: str, config: ModelConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """FAULTS B2: norms were read where the file was mapped, or lay on the heap."""
    weights = random_weights(config)
    freeze(
        weights,
        config,
        tokenizer,
        tmp_path / "a.ingot",
        provenance=Provenance(),
        dtype="float32" if stored == "float32" else "bfloat16",
        quantized=round_model(weights, config, Scheme("int8")) if stored == "int8" else None,
    ).close()
    with open_ingot(tmp_path / "a.ingot") as ingot:
        executor = NativeExecutor(ingot, num_blocks=4)
        file = tmp_path / "a.ingot" / "model.safetensors"
        before = executor.step([ModelInput([1, 2, 3], 0, [0], ROW)])
        file.chmod(0o644)
        file.write_bytes(b"\xff" * file.stat().st_size)
        os.truncate(file, 0)
        assert executor.step([ModelInput([1, 2, 3], 0, [0], ROW)]) == before
    held = executor._weights
    arrays = [array for _, *both in held._matrices.values() for array in both if array.size]
    arrays += held._vectors.values()
    assert len(held._vectors) == 4 * config.num_hidden_layers + 1
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [[*(int(end, 16) for end in line[0].split("-")), line[1]] for line in lines]
    for array in arrays:
        address = array.ctypes.data
        assert [kind for low, high, kind in ranges if low <= address < high] == ["r--p"]


def test_weights_that_are_not_aligned_are_copied(quantized: Ingot, tmp_path: Path) -> None:
    """Another writer of safetensors may begin the data anywhere."""
    path = copy_writable(quantized.path, tmp_path / "shifted.ingot")
    file = path / "model.safetensors"
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    shifted = (length + 4).to_bytes(8, "little") + whole[8 : 8 + length] + b"    "
    file.write_bytes(shifted + whole[8 + length :])
    reseal(path)
    with open_ingot(path) as ingot:
        executor = NativeExecutor(ingot, num_blocks=4)
    expected = {name: record.sha256 for name, record in quantized.manifest.tensors.items()}
    assert executor.weight_digests() == expected
    for _, tiles, scales in executor._weights._matrices.values():
        assert tiles.ctypes.data % 64 == 0
        assert not scales.size or scales.ctypes.data % 64 == 0


def test_loading_takes_no_second_copy_of_the_model(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Each tensor is freed when it is packed, so that the peak is one model and one matrix."""
    config = ModelConfig(2048, 512, 2048, 12, 4, 4, 128, 64)
    weights = {name: np.full(shape, 0.5, "f4") for name, shape in config.tensor_shapes().items()}
    path = tmp_path / "large.ingot"
    freeze(weights, config, tokenizer, path, provenance=Provenance()).close()
    size = (path / "model.safetensors").stat().st_size
    assert size > 90 << 20
    script = (
        "import sys\nfrom pathlib import Path\nfrom ingot.artifact import open_ingot\n"
        "from ingot.inference.executors.native_weights import NativeWeights\n"
        "ingot = open_ingot(Path(sys.argv[1]))\n"
        "def peak(): return int(Path('/proc/self/status').read_text()"
        ".partition('VmHWM:')[2].split()[0]) << 10\n"
        "before = peak()\nkept = NativeWeights(ingot, 'stored')\nprint(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1.5 * size


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
    loaded = {**ingot.tensors, name: changed}
    monkeypatch.setattr(ingot, "load", lambda: LoadedWeights(loaded))
    digests = NativeExecutor(ingot, num_blocks=2).weight_digests()
    wrong = [key for key, record in ingot.manifest.tensors.items() if digests[key] != record.sha256]
    assert wrong == [name]
