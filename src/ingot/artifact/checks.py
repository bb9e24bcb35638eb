"""What must hold of an ingot before anyone uses it; each refusal names the culprit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ingot.artifact.format.folder import Folder, check_size
from ingot.artifact.format.manifest import (
    INDEX,
    MANIFEST,
    MAX_BYTES,
    STORED_DTYPE,
    Manifest,
    StoredDtype,
    is_weights,
)
from ingot.artifact.format.tensor_reader import LoadedTensors, TensorFile
from ingot.artifact.quantization.quantize import fused_matrices, packed_tensors
from ingot.errors import ArtifactError
from ingot.model.config import ModelConfig
from ingot.model.config_json import architecture_of
from ingot.strict_json import parse_object

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
    manifest = Manifest.parse(folder.read(MANIFEST, max_bytes=MAX_BYTES[MANIFEST]), where=where)
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
        data = folder.read(name, max_bytes=MAX_BYTES[name], size=record.bytes)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ArtifactError("does not match its digest", where=folder.path / name, fix=_AGAIN)
        contents[name] = data
    return contents


def open_weights(folder: Folder, manifest: Manifest, root: Path) -> dict[str, TensorFile]:
    """Open every file of tensors, its size and structure checked; ``root`` names them in errors."""
    files: dict[str, TensorFile] = {}
    try:
        for name, record in sorted(manifest.files.items()):
            if is_weights(name):
                handle, size = folder.open(name)
                files[name] = TensorFile(handle, where=root / name)
                check_size(root / name, size, record.bytes)
    except BaseException:
        for file in files.values():
            file.close()
        raise
    return files


def check_shapes(config: ModelConfig, manifest: Manifest, where: Path) -> None:
    """Refuse a manifest whose architecture or tensors are not exactly those of the config."""
    if manifest.architecture != (named := architecture_of(config)):
        raise ArtifactError(
            f"says {manifest.architecture}, config.json {named}", where=where, fix=_AGAIN
        )
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


def check_entries(
    files: Mapping[str, TensorFile], small: Mapping[str, bytes], manifest: Manifest, root: Path
) -> None:
    """Refuse files whose headers do not list exactly the manifest's tensors."""
    weight_map: dict[str, str] = {}
    for file, opened in files.items():
        for name, entry in opened.entries.items():
            record = manifest.tensors.get(name)
            if record is None or name in weight_map:
                raise ArtifactError(f"has an unexpected tensor {name[:200]!r}", where=root / file)
            if (entry.dtype, entry.shape) != (record.dtype, record.shape):
                raise ArtifactError(
                    f"tensor {name!r} is {entry.dtype} {entry.shape}, "
                    f"the manifest says {record.dtype} {record.shape}",
                    where=root / file,
                )
            weight_map[name] = file
    for name in manifest.tensors:
        if name not in weight_map:
            raise ArtifactError(f"tensor {name[:200]!r} is missing", where=root / min(files))
    if INDEX in small:
        index = parse_object(small[INDEX], where=root / INDEX)
        if index.get("weight_map") != weight_map:
            raise ArtifactError("does not match the shards", where=root / INDEX, fix=_AGAIN)


def check_weights(
    files: Mapping[str, TensorFile | LoadedTensors],
    manifest: Manifest,
    root: Path,
    *,
    digests: bool = True,
) -> None:
    """Hash every byte of every file of tensors; name the first tensor or file that is refused.

    Tensors and whole files are hashed side by side: hashing releases the GIL.

    Args:
        files: Files that are read for this alone, or memory that is used afterwards.
        manifest: What the digests must be.
        root: The ingot, for errors.
        digests: Compare digests; otherwise only look for values that are not finite.

    Raises:
        ArtifactError: a digest differs, or a value is not finite.
    """
    parts = [
        _Part(root / name, name, file, tensor, entry.start, entry.stop, entry.dtype)
        for name, file in files.items()
        for tensor, entry in file.entries.items()
    ]
    if digests:
        parts += [
            _Part(root / name, name, file, None, 0, manifest.files[name].bytes, "")
            for name, file in files.items()
        ]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for part, found in zip(
            parts, pool.map(lambda part: part.look(digests), parts), strict=True
        ):
            fault = part.fault(manifest, *found)
            if fault is not None:
                pool.shutdown(cancel_futures=True)
                raise fault


class _Part(NamedTuple):
    """One tensor, or one whole file, to be hashed."""

    where: Path
    file: str
    source: TensorFile | LoadedTensors
    tensor: str | None
    start: int
    stop: int
    dtype: str

    def look(self, digests: bool) -> tuple[str, bool]:
        """Return the digest, empty if it is not wanted, and whether all values are finite."""
        digest, finite = hashlib.sha256(), True
        for chunk in self.source.chunks(self.start, self.stop):
            if digests:
                digest.update(chunk)
            finite = finite and _finite(chunk, self.dtype)
        return digest.hexdigest() if digests else "", finite

    def fault(self, manifest: Manifest, digest: str, finite: bool) -> ArtifactError | None:
        """Return the error for a digest that differs or values that are not finite."""
        subject = f"tensor {self.tensor!r} does" if self.tensor else "does"
        record = manifest.tensors[self.tensor] if self.tensor else manifest.files[self.file]
        if digest and digest != record.sha256:
            return ArtifactError(f"{subject} not match its digest", where=self.where, fix=_AGAIN)
        if not finite:
            return ArtifactError(
                f"tensor {self.tensor!r} holds values that are not finite",
                where=self.where,
                fix="make the ingot again from an earlier checkpoint",
            )
        return None


def _finite(chunk: memoryview, dtype: str) -> bool:
    """Tell whether all values are finite; of dtypes without such values they are."""
    if dtype == "BF16":
        bits = np.frombuffer(chunk, dtype="<u2")
        return bool(((bits & 0x7F80) != 0x7F80).all())  # the exponent of infinity and NaN
    return dtype != "F32" or bool(np.isfinite(np.frombuffer(chunk, dtype="<f4")).all())
