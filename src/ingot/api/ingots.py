"""What one does with a sealed ingot, without running it: look into it, compare it, sign it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingot.artifact import (
    open_ingot,
    read_private_key,
    signature_path,
    verify,
    write_signature,
)
from ingot.artifact.bill_of_materials import bill_of_materials
from ingot.artifact.inspection.difference import Difference, compare
from ingot.artifact.inspection.model_card import model_card
from ingot.artifact.inspection.statistics import WeightStatistics, measure
from ingot.artifact.inspection.summary import Summary, summarise
from ingot.artifact.inspection.weights import Progress, WeightReader
from ingot.errors import UsageError
from ingot.files import write_atomic

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Inspection:
    """What an ingot holds."""

    summary: Summary
    weights: WeightStatistics | None
    """Figures of every tensor, where they were asked for."""


def inspect(
    path: PathLike, *, weights: bool = False, progress: Progress | None = None
) -> Inspection:
    """Look into an ingot.

    All files but the weights are checked against their digests; the weights too, if they are read.

    Args:
        path: The ingot.
        weights: Read every tensor, one at a time, and describe its values.
        progress: Receives how many bytes of the weights were read, and how many there are.

    Raises:
        ArtifactError: the ingot is missing, malformed, or fails a digest.
    """
    with open_ingot(Path(path)) as ingot:
        measured = measure(WeightReader(ingot, progress)) if weights else None
        return Inspection(summarise(ingot), measured)


def write_model_card(inspection: Inspection, out: PathLike) -> None:
    """Write one HTML page about an ingot: figures and charts, no script, nothing from elsewhere.

    Args:
        inspection: From ``inspect(path, weights=True)``.
        out: The file; one that is there is replaced.

    Raises:
        UsageError: the weights were not read, or the file cannot be written.
    """
    if inspection.weights is None:
        raise UsageError("needs the weights", where="model card", fix="inspect(..., weights=True)")
    page = model_card(inspection.summary, inspection.weights, _name(inspection.summary.path))
    _write(Path(out), page.encode())


def write_bill_of_materials(path: PathLike, out: PathLike) -> dict[str, Any]:
    """Write an ingot's bill of materials: CycloneDX 1.7, in JSON.

    Args:
        path: The ingot. Its files but the weights are checked against their digests.
        out: The file; one that is there is replaced.

    Returns:
        What was written.

    Raises:
        ArtifactError: the ingot is missing, malformed, or fails a digest.
        UsageError: the file cannot be written.
    """
    with open_ingot(Path(path)) as ingot:
        bill = bill_of_materials(ingot, _name(path))
    _write(Path(out), json.dumps(bill, indent=2).encode() + b"\n")
    return bill


def diff(a: PathLike, b: PathLike, *, progress: Progress | None = None) -> Difference:
    """Compare two ingots: config, tokenizer, provenance, files, and the distance of each tensor.

    Tensors whose stored bytes are the same are not read; of the others two are in memory at a time.

    Args:
        a: An ingot.
        b: Another one.
        progress: Receives how many bytes of both weights were read, and how many there are.

    Raises:
        ArtifactError: an ingot is missing, malformed, or fails a digest.
    """
    with open_ingot(Path(a)) as first, open_ingot(Path(b)) as second:
        total = first.weight_bytes + second.weight_bytes
        done = [0, 0]

        def counted(which: int) -> Progress:
            def count(read: int, _: int) -> None:
                done[which] = read
                if progress is not None:
                    progress(sum(done), total)

            return count

        return compare(
            first, second, WeightReader(first, counted(0)), WeightReader(second, counted(1))
        )


def sign(
    path: PathLike, key: PathLike, *, signature: PathLike | None = None, overwrite: bool = False
) -> Path:
    """Check every digest of an ingot, then sign it (OpenSSF Model Signing 1.0).

    Args:
        path: The ingot.
        key: PEM file of a private key on P-256, P-384 or P-521; the password of an encrypted one is
            in the environment variable ``INGOT_KEY_PASSWORD``.
        signature: The signature file to write; ``PATH.sig`` beside the ingot by default.
        overwrite: Replace a signature that is there.

    Returns:
        The signature file.

    Raises:
        ArtifactError: the ingot is damaged.
        UsageError: the key cannot sign, or the signature exists already or lies in the ingot.
    """
    path = Path(path)
    out = signature_path(path) if signature is None else Path(signature)
    private = read_private_key(Path(key))  # before minutes of hashing
    write_signature(path, verify(path), private, out, overwrite=overwrite)
    return out


def _name(path: PathLike) -> str:
    """Return what to call an ingot: the name of its folder."""
    name = Path(os.path.realpath(path)).name
    return os.fsencode(name).decode(errors="replace").removesuffix(".ingot") or "ingot"


def _write(out: Path, data: bytes) -> None:
    try:
        write_atomic(out, data)
    except OSError as error:
        raise UsageError(
            f"cannot be written ({error.strerror})", where=out, fix="choose another folder"
        ) from error
