"""Export from Python: an ingot in, another engine's files out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ingot.artifact import Ingot, open_ingot
from ingot.artifact.export import (
    ExportDtype,
    Exported,
    GgufType,
    Progress,
    export_compressed,
    export_gguf,
    export_hf,
    export_modelfile,
)
from ingot.errors import UsageError
from ingot.files import read_regular

PathLike = str | os.PathLike[str]
ExportTarget = Literal["hf", "gguf", "compressed-tensors", "modelfile"]

_LONGEST_LICENSE = 1 << 20
_FOLDERS = ("hf", "compressed-tensors")
_LLAMA = ("gguf", "modelfile")
_MEANT_FOR: dict[str, tuple[str, ...]] = {
    "--dtype": _FOLDERS,
    "--shard-bytes": _FOLDERS,
    "--type": _LLAMA,
    "--text": ("compressed-tensors",),
    "--system": ("modelfile",),
    "--license": ("modelfile",),
}


@dataclass(frozen=True)
class ExportOptions:
    """What may be asked of an export; each option is for some targets."""

    dtype: ExportDtype | None = None
    """hf, compressed-tensors: number format of what is not quantized."""
    type: GgufType | None = None
    """gguf, modelfile: number format of the matrices."""
    shard_bytes: int | None = None
    """hf, compressed-tensors: largest file of weights."""
    texts: Sequence[Path] = ()
    """compressed-tensors: texts on which the cost of rounding int8 again is measured."""
    system: str | None = None
    """modelfile: system message of conversations that have none."""
    license: Path | None = None
    """modelfile: a file with the licence."""

    def check(self, to: str) -> None:
        """Refuse an option that means nothing for a target.

        Raises:
            UsageError: names the option, or the target if there is none such.
        """
        if to not in get_args(ExportTarget):
            raise UsageError(
                f"{to!r} is not a format to export to",
                where="--to",
                fix=f"use {', '.join(get_args(ExportTarget))}",
            )
        given = {
            "--dtype": self.dtype,
            "--type": self.type,
            "--shard-bytes": self.shard_bytes,
            "--text": self.texts or None,
            "--system": self.system,
            "--license": self.license,
        }
        for option, value in given.items():
            if value is not None and to not in _MEANT_FOR[option]:
                raise UsageError(
                    f"has no meaning for {to}",
                    where=option,
                    fix=f"leave it out, or export to {' or '.join(_MEANT_FOR[option])}",
                )
        if self.shard_bytes is not None and self.shard_bytes < 1:
            raise UsageError("must be above 0", where="--shard-bytes")


@dataclass(frozen=True)
class ExportCost:
    """What rounding again costs, both measured on the same text by the same arithmetic."""

    bits_per_byte: float
    """Of the exported model."""
    before: float
    """Of the ingot."""
    bytes: int
    """UTF-8 bytes of the text."""


@dataclass(frozen=True)
class ExportResult:
    """An export that was made."""

    path: Path
    to: ExportTarget
    kind: str
    """Number format of its matrices, such as "Q8_0"."""
    bytes: int
    """Bytes of its weights."""
    digest: str
    """Digest of the ingot."""
    notes: tuple[str, ...]
    """What differs from the ingot."""
    cost: ExportCost | None = None


def export(
    ingot: PathLike,
    out: PathLike,
    *,
    to: ExportTarget,
    options: ExportOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportResult:
    """Write an ingot in another engine's format, whole or not at all.

    Args:
        ingot: The ingot; every byte is checked.
        out: The folder to make; for "gguf" the file.
        to: "hf": what transformers, vLLM and SGLang load; "gguf": llama.cpp; "compressed-tensors":
            int8 and int4 for vLLM; "modelfile": a folder for ``ollama create``.
        options: Further wishes.
        overwrite: Replace an earlier export of this kind.
        progress: Called with the bytes written so far and all bytes.

    Raises:
        UsageError: the target does not compute this model, an option is not for it, or ``out``
            is taken.
        ArtifactError: the ingot is damaged, or a weight too large for the number format.
        ResourceError: the disk is full.
    """
    options = options or ExportOptions()
    options.check(to)
    with open_ingot(Path(ingot)) as opened:
        made = _export(opened, Path(out), to, options, overwrite, progress)
        digest = opened.digest
    cost = None
    if options.texts and made.kind == "W8A8":  # W4A16 holds the ingot's own numbers
        from ingot.api.export_cost import cost_of_w8a8  # noqa: PLC0415 (it needs PyTorch)

        cost = cost_of_w8a8(Path(ingot), options.texts)
    return ExportResult(made.path, to, made.kind, made.bytes, digest, made.notes, cost)


def _export(
    ingot: Ingot,
    out: Path,
    to: ExportTarget,
    options: ExportOptions,
    overwrite: bool,
    progress: Progress | None,
) -> Exported:
    sizes = {} if options.shard_bytes is None else {"shard_bytes": options.shard_bytes}
    match to:
        case "hf" | "compressed-tensors":
            write = export_hf if to == "hf" else export_compressed
            return write(
                ingot, out, dtype=options.dtype, overwrite=overwrite, progress=progress, **sizes
            )
        case "gguf":
            return export_gguf(
                ingot, out, kind=options.type, overwrite=overwrite, progress=progress
            )
        case "modelfile":
            return export_modelfile(
                ingot,
                out,
                kind=options.type,
                system=options.system,
                license_text=_license(options.license),
                overwrite=overwrite,
                progress=progress,
            )


def _license(path: Path | None) -> str | None:
    if path is None:
        return None
    data = read_regular(path, UsageError, max_bytes=_LONGEST_LICENSE)
    return data.decode(errors="replace").strip()
