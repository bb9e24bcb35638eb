"""Weights are read once, hashed where they are used, and stay what they were."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.artifact import Ingot, Provenance, freeze, open_ingot, verify
from ingot.errors import ArtifactError
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.resealing import copy_writable, reseal

Weights = dict[str, NDArray[np.float32]]

LOADS = 200


@contextlib.contextmanager
def beside(work: Callable[[Random], None]) -> Iterator[None]:
    """Repeat ``work`` in a thread for as long as the block runs."""
    stop = threading.Event()

    def run() -> None:
        random = Random(1)
        while not stop.is_set():
            work(random)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def digests(ingot: Ingot) -> dict[str, str]:
    return {name: hashlib.sha256(tensor.data).hexdigest() for name, tensor in ingot.tensors.items()}


def test_loads_beside_a_writer_hold_the_sealed_weights_or_are_refused(
    pristine: Path, tmp_path: Path
) -> None:
    """FAULTS B3: 32 of 209 such loads were verified and held other weights."""
    path = copy_writable(pristine, tmp_path / "edited.ingot")
    weights = path / "model.safetensors"
    whole = weights.read_bytes()
    sealed = {name: record.sha256 for name, record in verify(pristine).tensors.items()}

    def edit(random: Random) -> None:
        offset = random.randrange(len(whole))
        kind = random.randrange(3)
        if kind == 0:  # in place, and back again
            with weights.open("r+b") as file:
                for byte in (whole[offset] ^ 1, whole[offset]):
                    file.seek(offset)
                    file.write(bytes([byte]))
                    file.flush()
        elif kind == 1:
            os.truncate(weights, offset)
            weights.write_bytes(whole)
        else:  # another file under the same name
            other = path.parent / "other"
            other.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
            other.replace(weights)
            weights.write_bytes(whole)

    loaded = 0
    with beside(edit):
        for _ in range(LOADS):
            with contextlib.suppress(ArtifactError), open_ingot(path) as ingot:
                tensors = digests(ingot)
                assert tensors == sealed
                loaded += 1
    with open_ingot(path) as ingot:
        assert digests(ingot) == sealed


def test_what_was_loaded_stays_what_it_was(pristine: Path, tmp_path: Path) -> None:
    """FAULTS B2: editing the file changed answers at once; truncating it ended the process."""
    path = copy_writable(pristine, tmp_path / "served.ingot")
    weights = path / "model.safetensors"
    with open_ingot(path) as ingot:
        before = digests(ingot)
        weights.write_bytes(bytes(weights.stat().st_size))
        assert digests(ingot) == before
        os.truncate(weights, 0)
        assert digests(ingot) == before
        ingot.release_weights()
        with pytest.raises(ArtifactError, match="cut short"):
            _ = ingot.tensors


def test_weights_can_be_read_again(pristine: Path) -> None:
    with open_ingot(pristine) as ingot:
        before = digests(ingot)
        ingot.release_weights()
        assert digests(ingot) == before
        loaded = ingot.load()
        loaded.discard("model.norm.weight")
        assert "model.norm.weight" not in loaded
        assert digests(ingot) == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
    dtype: str,
    value: float,
) -> None:
    """FAULTS A9: an ingot with one NaN row passed ``verify`` and ended the engine."""
    path = tmp_path / "damaged.ingot"
    freeze(weights, config, tokenizer, path, provenance=Provenance(), dtype=dtype).close()  # type: ignore[arg-type]
    name = "model.layers.1.mlp.down_proj.weight"
    with open_ingot(path) as ingot:
        entry = ingot._files["model.safetensors"].entries[name]
    file = path / "model.safetensors"
    file.chmod(0o644)
    with file.open("r+b") as opened:
        width = 2 if dtype == "bfloat16" else 4
        opened.seek(entry.stop - width)  # the last value
        opened.write(np.array([value], "<f4").tobytes()[4 - width :])
    reseal(path)
    wanted = f"{file}: tensor '{name}' holds values that are not finite"
    with pytest.raises(ArtifactError, match=wanted):
        verify(path)
    for checked in (True, False):
        with open_ingot(path, verify=checked) as ingot, pytest.raises(ArtifactError, match=wanted):
            ingot.load()
