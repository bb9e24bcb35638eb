"""An open ingot: checked, and mapped into memory that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import checks
from ingot.artifact.format.folder import Folder
from ingot.artifact.format.manifest import CONFIG, MANIFEST, TOKENIZER, Manifest
from ingot.artifact.format.strict_json import parse_object
from ingot.artifact.format.tensor_reader import StoredTensor, TensorFile
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.artifact.quantization.packing import PackedShape, unpack
from ingot.artifact.quantization.quantize import fused_matrices, packed_shapes
from ingot.errors import ArtifactError
from ingot.model.config import ModelConfig
from ingot.model.tokenizer import Tokenizer


@dataclass(eq=False)
class Ingot:
    """A sealed model. Open one with ``open_ingot``; close it, or use it as a context manager."""

    path: Path
    manifest: Manifest
    config: ModelConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, StoredTensor]
    """Every tensor by its name: Hugging Face's, in the order of ``config.tensor_shapes()``; in a
    quantized ingot matrices are packed, by the names of ``ingot.artifact.packed_tensors``."""
    _files: list[TensorFile] = field(repr=False)

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

    def release_pages(self) -> None:
        """Take the files' pages out of this process's memory; reading brings them back."""
        for file in self._files:
            file.release_pages()

    def close(self) -> None:
        """Let go of the weights; arrays still in use keep their own memory valid."""
        self.tensors = {}
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ingot(path: Path, *, verify: bool = True) -> Ingot:
    """Open an ingot for use.

    Config and tokenizer are parsed from the very bytes that were hashed, and the
    weights are hashed through the very mapping that is used afterwards.

    Args:
        path: The folder; a link to it is followed, links inside it are refused.
        verify: Hash the weights too. Without it the manifest, the other files and
            the structure and size of the weights are still checked.

    Raises:
        ArtifactError: it is missing, malformed or fails a digest; the message
            names the first file or tensor concerned.
    """
    path = Path(path)
    with Folder(path) as folder:
        manifest = checks.read_manifest(folder)
        small = checks.read_small_files(folder, manifest)
        config = ModelConfig.from_hf(
            parse_object(small[CONFIG], where=path / CONFIG), where=path / CONFIG
        )
        checks.check_shapes(config, manifest, path / MANIFEST)
        tokenizer = _tokenizer(small[TOKENIZER], config, path / TOKENIZER)
        files = checks.map_weights(folder, manifest)
    joined = checks.join_tensors(files, small, manifest, path)
    if verify:
        checks.check_weights(files, manifest, path)
    order = checks.expected_tensors(config, manifest, path / MANIFEST)
    tensors = {name: joined[name] for name in order}
    return Ingot(path, manifest, config, tokenizer, tensors, list(files.values()))


def _tokenizer(data: bytes, config: ModelConfig, where: Path) -> Tokenizer:
    """Parse the tokenizer and refuse one that has more tokens than the model has rows."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"is not UTF-8 ({error})", where=where) from error
    tokenizer = Tokenizer.from_json(text, where=where)
    if tokenizer.vocab_size > config.vocab_size:
        raise ArtifactError(
            f"has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}", where=where
        )
    return tokenizer
