"""What must hold of an ingot before anyone uses it; each refusal names the culprit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingot.artifact.format.folder import Folder, check_size
from ingot.artifact.format.manifest import (
    INDEX,
    MANIFEST,
    STORED_DTYPE,
    Manifest,
    StoredDtype,
    is_weights,
)
from ingot.artifact.format.strict_json import parse_object
from ingot.artifact.format.tensor_reader import StoredTensor, TensorFile, map_tensors
from ingot.artifact.quantization.quantize import fused_matrices, packed_tensors
from ingot.errors import ArtifactError
from ingot.model.config import ModelConfig

_AGAIN = "fetch or make the ingot again"
_OTHER_FOLDERS = {
    "run.json": ("run", "seal it first: ingot freeze {} --out my.ingot"),
    "corpus.json": ("corpus", "train on it first: ingot train {}"),
}
"""Other folders that Ingot makes, by a file that each holds; what they are, and what to do."""


def read_manifest(folder: Folder) -> Manifest:
    """Read ``ingot.json``, check it against itself and the folder's list of names against it."""
    where, names = folder.path / MANIFEST, folder.names()
    for mark, (what, fix) in _OTHER_FOLDERS.items():
        if mark in names and MANIFEST not in names:
            raise ArtifactError(
                f"is a {what}, not an ingot", where=folder.path, fix=fix.format(folder.path)
            )
    manifest = Manifest.parse(folder.read(MANIFEST), where=where)
    for name in sorted(names - manifest.files.keys() - {MANIFEST}):
        raise ArtifactError("is not part of the ingot", where=folder.path / name, fix="remove it")
    return manifest


def read_small_files(folder: Folder, manifest: Manifest) -> dict[str, bytes]:
    """Return the bytes of every file that holds no tensors, each checked against its digest.

    What is parsed later is these bytes, not the files again, so nothing can
    change between the check and the use.
    """
    contents = {}
    for name, record in sorted(manifest.files.items()):
        if is_weights(name):
            continue
        data = folder.read(name, record.bytes)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ArtifactError("does not match its digest", where=folder.path / name, fix=_AGAIN)
        contents[name] = data
    return contents


def map_weights(folder: Folder, manifest: Manifest) -> dict[str, TensorFile]:
    """Map every file of tensors read-only, its size and structure checked."""
    files = {}
    for name, record in sorted(manifest.files.items()):
        if is_weights(name):
            handle, size = folder.open(name)
            try:
                check_size(folder.path / name, size, record.bytes)
                files[name] = map_tensors(handle, where=folder.path / name)
            finally:
                os.close(handle)
    return files


def check_shapes(config: ModelConfig, manifest: Manifest, where: Path) -> None:
    """Refuse a manifest whose tensors are not exactly those of the config."""
    # First by number: a hostile layer count would make a list too long to hold.
    if config.num_hidden_layers >= len(manifest.tensors):
        raise ArtifactError("lists other tensors than config.json asks for", where=where)
    expected = expected_tensors(config, manifest, where)
    if expected.keys() != manifest.tensors.keys():
        raise ArtifactError("lists other tensors than config.json asks for", where=where)
    for name, record in manifest.tensors.items():
        dtype, shape = expected[name]
        if record.shape != shape:
            raise ArtifactError(
                f"tensor {name!r} has shape {record.shape}, config.json says {shape}", where=where
            )
        if record.dtype != dtype:
            raise ArtifactError(
                f"tensor {name!r} is {record.dtype} where {dtype} is expected", where=where
            )


def expected_tensors(
    config: ModelConfig, manifest: Manifest, where: Path
) -> dict[str, tuple[StoredDtype, tuple[int, ...]]]:
    """Return the dtype and shape of every tensor that the ingot must have, in order."""
    if manifest.quantization is None:
        dtype = STORED_DTYPE[manifest.dtype]
        return {name: (dtype, shape) for name, shape in config.tensor_shapes().items()}
    kinds = {
        name: (record.kind, record.group) for name, record in manifest.quantization.matrices.items()
    }
    if kinds.keys() != fused_matrices(config).keys():
        raise ArtifactError("quantizes other matrices than config.json asks for", where=where)
    return packed_tensors(config, kinds)


def join_tensors(
    files: Mapping[str, TensorFile], small: Mapping[str, bytes], manifest: Manifest, root: Path
) -> dict[str, StoredTensor]:
    """Return the tensors of all files by name, in the manifest's order, checked against it."""
    found: dict[str, StoredTensor] = {}
    weight_map: dict[str, str] = {}
    for file, tensors in files.items():
        for name, tensor in tensors.items():
            record = manifest.tensors.get(name)
            if record is None or name in found:
                raise ArtifactError(f"has an unexpected tensor {name!r}", where=root / file)
            if (tensor.dtype, tensor.shape) != (record.dtype, record.shape):
                raise ArtifactError(
                    f"tensor {name!r} is {tensor.dtype} {tensor.shape}, "
                    f"the manifest says {record.dtype} {record.shape}",
                    where=root / file,
                )
            found[name], weight_map[name] = tensor, file
    for name in manifest.tensors:
        if name not in found:
            raise ArtifactError(f"tensor {name!r} is missing", where=root / min(files))
    if INDEX in small:
        index = parse_object(small[INDEX], where=root / INDEX)
        if index.get("weight_map") != weight_map:
            raise ArtifactError("does not match the shards", where=root / INDEX, fix=_AGAIN)
    return {name: found[name] for name in manifest.tensors}


def check_weights(files: Mapping[str, TensorFile], manifest: Manifest, root: Path) -> None:
    """Hash every byte of every file of tensors; name the first tensor or file that differs.

    Tensors and whole files are hashed side by side: hashing releases the GIL.
    """

    def parts() -> Iterator[tuple[Path, str, memoryview, str]]:
        for file, tensors in files.items():
            for name, tensor in tensors.items():
                expected = manifest.tensors[name].sha256
                yield root / file, f"tensor {name!r} does", tensor.data, expected
        for file, tensors in files.items():
            yield root / file, "does", tensors.contents, manifest.files[file].sha256

    def sha256(part: tuple[Path, str, memoryview, str]) -> str:
        return hashlib.sha256(part[2]).hexdigest()

    work = list(parts())
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for (where, subject, _, expected), actual in zip(work, pool.map(sha256, work), strict=True):
            if actual != expected:
                pool.shutdown(cancel_futures=True)
                raise ArtifactError(f"{subject} not match its digest", where=where, fix=_AGAIN)
