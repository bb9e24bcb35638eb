"""An open ingot: checked, its weights in memory that cannot be written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import checks
from ingot.artifact.format.folder import Folder
from ingot.artifact.format.manifest import (
    CONFIG,
    GENERATION_CONFIG,
    MANIFEST,
    Manifest,
)
from ingot.artifact.format.tensor_reader import LoadedTensors, StoredTensor, TensorFile
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.artifact.quantization.packing import PackedShape, unpack
from ingot.artifact.quantization.quantize import fused_matrices, packed_shapes
from ingot.artifact.signing.signature import TrustedKeys, check_signature
from ingot.errors import ArtifactError
from ingot.model.config import ModelConfig
from ingot.model.config_json import from_json
from ingot.model.generation_config import GenerationDefaults
from ingot.model.tokenizer import Tokenizer
from ingot.model.tokenizer_files import read_tokenizer
from ingot.strict_json import parse_object


@dataclass(eq=False)
class Ingot:
    """A sealed model. Open one with ``open_ingot``; close it, or use it as a context manager."""

    path: Path
    manifest: Manifest
    config: ModelConfig
    tokenizer: Tokenizer
    generation: GenerationDefaults
    """How to sample where a request does not say."""
    _files: Mapping[str, TensorFile] = field(repr=False)
    _verify: bool = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 that covers every byte of the ingot, in hexadecimal."""
        return self.manifest.digest

    @property
    def packed_shapes(self) -> dict[str, PackedShape]:
        """Sizes of every packed matrix by name; empty where the ingot is not quantized."""
        quantization = self.manifest.quantization
        if quantization is None:
            return {}
        kinds = {name: (each.kind, each.group) for name, each in quantization.matrices.items()}
        return packed_shapes(self.config, kinds)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors as they are stored."""
        entries = (entry for file in self._files.values() for entry in file.entries.values())
        return sum(entry.stop - entry.start for entry in entries)

    @cached_property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """Every tensor by its name, read and checked when this is first asked for.

        The names are Hugging Face's, in the order of ``config.tensor_shapes()``; in a quantized
        ingot matrices are packed, by the names of ``ingot.artifact.packed_tensors``.

        Raises:
            ArtifactError: as ``load``.
        """
        return self.load()

    def load(self) -> LoadedWeights:
        """Read every tensor into sealed memory of the caller's own, and check it there.

        Each byte is read once: what was hashed is what is used, whatever happens to the files.

        Raises:
            ArtifactError: a digest differs, a value is not finite, or a file was cut short.
            ResourceError: there is not enough memory.
        """
        files = {name: file.load() for name, file in self._files.items()}
        checks.check_weights(files, self.manifest, self.path, digests=self._verify)
        order = checks.expected_tensors(self.config, self.manifest, self.path / MANIFEST)
        tensors = {name: tensor for file in files.values() for name, tensor in file.items()}
        return LoadedWeights({name: tensors[name] for name in order}, files.values())

    def read(self, name: str) -> NDArray[Any]:
        """Return a copy of one stored tensor in ordinary memory; BF16 comes as its ``uint16`` bits.

        Args:
            name: A name of ``manifest.tensors``.

        Raises:
            ArtifactError: it does not match its digest, or the file was cut short.
        """
        file = next(file for file in self._files.values() if name in file.entries)
        array = file.read(name)
        digest = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
        if digest != self.manifest.tensors[name].sha256:
            raise ArtifactError(
                f"tensor {name!r} does not match its digest",
                where=self.path,
                fix="fetch or make the ingot again",
            )
        return array

    def verify_files(self) -> None:
        """Check every byte of the weights where they are stored, without keeping any of it.

        Raises:
            ArtifactError: a digest differs, or a value is not finite.
        """
        checks.check_weights(self._files, self.manifest, self.path)

    def float32(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield every tensor of ``config.tensor_shapes()`` as float32, one at a time.

        Of a quantized ingot: what its codes stand for, which is what the core multiplies with.
        """
        fused = fused_matrices(self.config)
        for name, shape in self.packed_shapes.items():
            tiles = self.tensors[f"{name}.tiles"].array()
            scales = self.tensors.get(f"{name}.scales")
            whole = unpack(shape, tiles, scales.array() if scales else np.empty((0, 0, 0), "<f4"))
            first = 0
            for part in fused[name]:
                outputs = self.config.tensor_shapes()[part][0]
                yield part, whole[first : first + outputs]
                first += outputs
        for name in self.tensors.keys() & self.config.tensor_shapes().keys():
            values = self.tensors[name].array()
            bits = self.tensors[name].dtype == "BF16"
            yield name, widen_to_float32(values) if bits else values

    def release_weights(self) -> None:
        """Free the weights that were read; those in use stay, and the next use reads again."""
        self.__dict__.pop("tensors", None)

    def close(self) -> None:
        """Let go of weights and files; arrays still in use keep their own memory valid."""
        self.__dict__["tensors"] = {}
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LoadedWeights(dict[str, StoredTensor]):
    """The tensors of an ingot in sealed memory, by name.

    Args:
        tensors: The tensors, in the order of their names.
        files: The memory that they lie in.
    """

    def __init__(
        self, tensors: Mapping[str, StoredTensor], files: Iterable[LoadedTensors] = ()
    ) -> None:
        super().__init__(tensors)
        self._files = list(files)

    def discard(self, name: str) -> None:
        """Free the memory of one tensor, which nobody may read any more."""
        del self[name]
        for file in self._files:
            if name in file:
                file.discard(name)


def open_ingot(path: Path, *, verify: bool = True, trusted: TrustedKeys | None = None) -> Ingot:
    """Open an ingot for use.

    Config and tokenizer are parsed from the very bytes that were hashed. Weights are read when
    they are first used, into sealed memory in which they are hashed.

    Args:
        path: The folder; a link to it is followed, links inside it are refused.
        verify: Hash the weights when they are read. Without it the manifest, the other files,
            and the structure and size of the weights are still checked.
        trusted: Keys of which one must have signed the ingot; None requires no signature. It is
            checked before any file but the manifest is read.

    Raises:
        ArtifactError: it is missing or malformed, is not signed as required, or a file other than
            weights fails its digest; the message names the first file or tensor concerned.
    """
    path = Path(path)
    with Folder(path) as folder:
        manifest = checks.read_manifest(folder)
        if trusted is not None:
            check_signature(path, manifest, trusted)
        small = checks.read_small_files(folder, manifest)
        config = from_json(parse_object(small[CONFIG], where=path / CONFIG), where=path / CONFIG)
        checks.check_shapes(config, manifest, path / MANIFEST)
        tokenizer = read_tokenizer(small, rows=config.vocab_size, where=path)
        generation = GenerationDefaults.parse(
            small[GENERATION_CONFIG], where=path / GENERATION_CONFIG
        )
        files = checks.open_weights(folder, manifest, path)
    try:
        checks.check_entries(files, small, manifest, path)
    except BaseException:
        for file in files.values():
            file.close()
        raise
    return Ingot(path, manifest, config, tokenizer, generation, files, verify)
