"""Sealing trained weights into an ingot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.checks import open_weights
from ingot.artifact.format.folder import Folder
from ingot.artifact.format.manifest import (
    CONFIG,
    GENERATION_CONFIG,
    INDEX,
    MANIFEST,
    REQUIRED_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Dtype,
    Manifest,
    Provenance,
    TensorRecord,
    is_weights,
)
from ingot.artifact.format.publish import publish, temporary_beside
from ingot.artifact.format.shards import (
    SHARD_BYTES,
    json_bytes,
    write_new,
    write_small,
    write_weights,
)
from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.packing import LAYOUT, LAYOUT_VERSION
from ingot.artifact.quantization.quantize import QuantizedModel
from ingot.artifact.stored_weights import plain_tensors, quantization_of, quantized_tensors
from ingot.errors import ArtifactError, UsageError
from ingot.files import full_disk_named, sync_folder
from ingot.model.config import ModelConfig
from ingot.model.config_json import architecture_of, to_json
from ingot.model.generation_config import GenerationDefaults, generation_config
from ingot.model.tokenizer import Tokenizer


def freeze(  # noqa: PLR0913 (all but four have defaults)
    tensors: Mapping[str, NDArray[np.float32]],
    config: ModelConfig,
    tokenizer: Tokenizer,
    out: Path,
    *,
    provenance: Provenance,
    dtype: Dtype = "bfloat16",
    quantized: QuantizedModel | None = None,
    generation: GenerationDefaults | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    confirm: Callable[[], None] = lambda: None,
) -> Ingot:
    """Seal a model: write and digest it in one pass, and only then put it at ``out``.

    The same inputs give the same digest. A crash or an error leaves what was at
    ``out`` before.

    Args:
        tensors: float32 weights, by the names and shapes of ``config.tensor_shapes()``; each is
            looked up once, when it is written.
        config: Sizes of the model.
        tokenizer: At most ``config.vocab_size`` tokens.
        out: The folder to make; its parent must exist.
        provenance: Where the weights came from.
        dtype: Number format to store; bfloat16 rounds to nearest even.
        quantized: The matrices as codes and scales, which are then stored instead, packed.
        generation: How to sample where a request does not say.
        overwrite: Replace an ingot that is at ``out`` already.
        shard_bytes: Largest file of weights; past it they are split.
        confirm: Called when all is written; nothing is put at ``out`` if it raises.

    Returns:
        The new ingot, open.

    Raises:
        ArtifactError: weights that are not finite, missing or of the wrong shape.
        UsageError: ``out`` exists already, or its parent does not.
        ResourceError: the disk is full.
    """
    out = Path(out)
    _check_inputs(tensors, config, tokenizer)
    check_target(out, overwrite=overwrite)
    if quantized is None:
        stored = plain_tensors(tensors, config, dtype)
    else:
        stored = quantized_tensors(tensors, config, quantized)
    generation = generation or GenerationDefaults()
    small = _texts(config, tokenizer, generation, dtype, quantized)
    try:
        with full_disk_named(out), temporary_beside(out) as folder:
            files, digests = write_weights(stored, folder, shard_bytes)
            for name, text in small.items():
                files[name] = write_small(folder / name, text)
            manifest = Manifest.seal(
                architecture=architecture_of(config),
                dtype=dtype,
                quantization=quantization_of(quantized) if quantized else None,
                tensors={
                    name: TensorRecord(
                        dtype=raw.dtype,  # type: ignore[arg-type]  # checked by the model
                        shape=tuple(raw.shape),
                        sha256=digests[name],
                    )
                    for name, raw in stored.items()
                },
                files=files,
                provenance=provenance,
            )
            _finish(folder, manifest)
            with Folder(folder) as written:
                weights = open_weights(written, manifest, out)
            confirm()
            publish(folder, out)
    except OSError as error:
        raise UsageError(
            f"cannot be written ({error.strerror})", where=out, fix="choose another folder"
        ) from error
    # Digests were made while writing; the weights are hashed once more where they are used.
    return Ingot(out, manifest, config, tokenizer, generation, weights, True)


def _check_inputs(
    tensors: Mapping[str, NDArray[np.float32]], config: ModelConfig, tokenizer: Tokenizer
) -> None:
    """Refuse weights or a tokenizer that do not fit the config."""
    shapes = config.tensor_shapes()
    for name in sorted(tensors.keys() - shapes.keys()):
        raise ArtifactError("is not a tensor of this model", where=name)
    for name in sorted(shapes.keys() - tensors.keys()):
        raise ArtifactError("is missing from the weights", where=name)
    if tokenizer.vocab_size > config.vocab_size:
        raise ArtifactError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}",
            fix="use the tokenizer that the model was trained with",
        )


def check_target(out: Path, *, overwrite: bool) -> None:
    """Check that an ingot may be made at ``out``.

    Raises:
        UsageError: the folder to put it in does not exist, or something is at ``out`` that is
            not an ingot, or not one to be replaced.
    """
    if not out.parent.is_dir():
        raise UsageError("the folder to put it in does not exist", where=out, fix="make it first")
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise UsageError("exists already", where=out, fix="choose another name, or add --overwrite")
    if out.is_symlink() or not (out / MANIFEST).is_file():
        raise UsageError(
            "is not an ingot, so it is not overwritten", where=out, fix="choose another name"
        )
    known = REQUIRED_FILES | {MANIFEST, INDEX}
    others = sorted(path.name for path in out.iterdir() if path.name not in known)
    for name in (name for name in others if not is_weights(name)):
        raise UsageError(
            f"holds {name[:80]!r}, which is not part of an ingot, so it is not overwritten",
            where=out,
            fix="move that away, or choose another name",
        )


def _finish(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, last of all, and make every file read-only."""
    write_new(folder / MANIFEST, manifest.to_json())
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o755)
    sync_folder(folder)


def _texts(
    config: ModelConfig,
    tokenizer: Tokenizer,
    generation: GenerationDefaults,
    dtype: Dtype,
    quantized: QuantizedModel | None,
) -> dict[str, bytes]:
    """Return the files that go beside the weights, as Hugging Face lays them out."""
    described = to_json(config, eos_token_id=tokenizer.eos_id, dtype=dtype)
    if quantized is not None:  # so that other programs say what they cannot read
        described["quantization_config"] = {"quant_method": f"ingot-{LAYOUT}-v{LAYOUT_VERSION}"}
    return {
        CONFIG: json_bytes(described),
        GENERATION_CONFIG: generation_config(generation, tokenizer),
        TOKENIZER: tokenizer.to_json().encode(),
        TOKENIZER_CONFIG: tokenizer.hf_config(config.max_position_embeddings).encode(),
    }
