"""Export to a GGUF file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.gguf.architecture import GgufModel, gguf_model
from ingot.artifact.export.gguf.blocks import FORMATS, BlockName, encode, pass_through
from ingot.artifact.export.gguf.vocabulary import vocabulary
from ingot.artifact.export.gguf.writer import GgufTensor, MetadataValue, write_gguf
from ingot.artifact.export.hf_tensors import ExportedTensor
from ingot.artifact.export.model_card import base_model_of, origin_of
from ingot.artifact.export.small_files import SmallFiles, read_small_files
from ingot.artifact.export.source import TensorSource
from ingot.artifact.export.target import Counter, Exported, Progress, new_file
from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.packing import QuantizedMatrix
from ingot.errors import ArtifactError, UsageError

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k"]
MAGIC = b"GGUF"
_FILE_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q4_k": 14, "bf16": 32}
_DEFAULT = {"bf16": "bf16", "int8": "q8_0", "int4": "q4_0"}
_ROWS_AT_ONCE = 1 << 20  # values that are rounded at a time
_NARROW = "Q5_0"  # of rows that Q4_K's blocks of 256 do not divide, as llama.cpp does


def export_gguf(
    ingot: Ingot,
    out: Path,
    *,
    kind: GgufType | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write an ingot as one GGUF file, version 3.

    Args:
        ingot: The ingot. int4 codes are written as they are into Q4_0; everything else is
            rounded from the float32 values.
        out: The file to make.
        kind: Number format of the matrices; by default the one nearest to the ingot's.
        overwrite: Replace a GGUF file that is there.
        progress: Called while it is written.

    Raises:
        UsageError: llama.cpp does not compute this model, or ``out`` is taken.
        ArtifactError: a digest differs, or a weight is too large for the number format.
        ResourceError: the disk is full.
    """
    plan = GgufPlan(ingot, kind)
    with new_file(out, overwrite=overwrite, magic=MAGIC) as file:
        return plan.write(file, out, progress)


class GgufPlan:
    """What a GGUF file will hold; everything that can be refused is refused when it is made.

    Args:
        ingot: The ingot, open until the file is written.
        kind: Number format of the matrices.
    """

    def __init__(self, ingot: Ingot, kind: GgufType | None = None) -> None:
        self.kind = kind or default_type(ingot)
        if self.kind not in get_args(GgufType):
            raise UsageError(
                f"{kind!r} is not a number format of matrices",
                where="--type",
                fix=f"use {', '.join(get_args(GgufType))}",
            )
        self.small = read_small_files(ingot)
        self._ingot, self._source = ingot, TensorSource(ingot)
        self._model = gguf_model(ingot.config)
        keys, notes = vocabulary(self.small, ingot.config.vocab_size)
        self._changed_scales = 0
        self._formats: dict[str, BlockName] = {}
        tensors = {name: self._tensor(name, each) for name, each in self._model.tensors.items()}
        tensors |= {
            name: GgufTensor(values.shape, "F32", partial(_whole, values))
            for name, values in self._model.constants.items()
        }
        self._tensors = tensors
        self._notes = (*notes, *self._kept())
        self._metadata = self._general() | self._model.metadata | keys

    def write(self, file: BinaryIO, out: Path, progress: Progress | None) -> Exported:
        """Write the file; ``out`` names it in errors."""
        total = sum(tensor.nbytes for tensor in self._tensors.values())
        write_gguf(file, self._metadata, self._tensors, Counter(total, progress))
        notes = self._notes
        if self._changed_scales:
            notes += (f"{self._changed_scales:,} scales of int4 were rounded to float16.",)
        return Exported(out, self.kind.upper(), total, notes)

    def _general(self) -> dict[str, MetadataValue]:
        ingot = self._ingot
        keys: dict[str, MetadataValue] = {
            "general.architecture": self._model.architecture,
            "general.type": "model",
            "general.name": ingot.path.stem,
            "general.alignment": 32,
            "general.file_type": _FILE_TYPE[self.kind],
            "general.quantization_version": 2,
            "general.description": f"Exported by Ingot from the ingot {ingot.digest}. "
            + " ".join(self._notes),
            "ingot.digest": ingot.digest,
        }
        origin = origin_of(ingot)
        if "license" in origin:
            keys["general.license"] = origin["license"]
        if base := base_model_of(ingot):
            organization, _, name = base.rpartition("/")
            keys |= {"general.base_model.count": 1, "general.base_model.0.name": name}
            if organization:
                keys["general.base_model.0.organization"] = organization
                keys["general.base_model.0.repo_url"] = f"https://huggingface.co/{base}"
        if ingot.manifest.provenance.corpus_digest:
            keys["ingot.corpus_digest"] = ingot.manifest.provenance.corpus_digest
        return keys

    def _tensor(self, name: str, tensor: ExportedTensor) -> GgufTensor:
        """Choose a tensor's number format."""
        form: BlockName = "F32"
        codes = None
        if len(tensor.shape) > 1 and name != "position_embd.weight":
            codes = self._stored_kind(tensor)
            form = self._format(tensor.shape[-1], codes)
            self._formats[name] = form
        exact = form == "Q4_0" and codes == "int4" and tensor.moves_rows
        data = partial(self._codes if exact else self._rounded, name, tensor, form)
        return GgufTensor(tensor.shape, form, data)

    def _stored_kind(self, tensor: ExportedTensor) -> str | None:
        """Return what the ingot stores a matrix as, None if it does not quantize it."""
        quantization = self._ingot.manifest.quantization
        if quantization is None:
            return None
        kinds = {self._source.stored_kind(part) for part in tensor.sources}
        return kinds.pop() if len(kinds) == 1 else None

    def _format(self, width: int, stored: str | None) -> BlockName:
        """Return the format of a matrix: the one that was asked for, or one that fits its rows.

        What a quantized ingot keeps in more bits is not rounded to fewer by Q4_0.
        """
        form: Any = self.kind.upper()
        if form == "Q4_0" and stored in ("bf16", "int8"):
            form = _DEFAULT[stored].upper()
        if form == "Q4_K" and width % FORMATS[form].values:
            form = _NARROW
        if width % FORMATS[form].values:
            form = "F16"
        return form  # type: ignore[no-any-return]

    def _kept(self) -> tuple[str, ...]:
        """Say which matrices have another format than the one that was asked for."""
        others = sorted(set(self._formats.values()) - {self.kind.upper()})
        counts = {form: list(self._formats.values()).count(form) for form in others}
        notes = tuple(f"{count} matrices are {form}." for form, count in counts.items())
        if self._ingot.manifest.quantization is not None and self.kind not in ("q4_0", "f32"):
            notes += ("Matrices were rounded from what the ingot's codes stand for.",)
        return notes

    def _rounded(
        self, name: str, tensor: ExportedTensor, form: BlockName
    ) -> Iterator[NDArray[Any]]:
        """Yield a tensor rounded to a format, some rows at a time."""
        parts = [self._source.float32(part) for part in tensor.sources]
        values = parts[0] if tensor.transform is None else tensor.transform(parts)
        rows = values.reshape(-1, values.shape[-1])
        step = max(1, _ROWS_AT_ONCE // rows.shape[1])
        for start in range(0, len(rows), step):
            piece = rows[start : start + step]
            encoded = encode(form, piece)
            if form in ("F16", "Q8_0", "Q4_0", "Q5_0", "Q4_K") and (
                np.abs(piece).max(initial=0) > np.finfo(np.float16).max
            ):
                raise ArtifactError(
                    f"has values too large for {form}", where=name, fix="export it with --type f32"
                )
            yield encoded

    def _codes(
        self, _name: str, tensor: ExportedTensor, _form: BlockName
    ) -> Iterator[NDArray[Any]]:
        """Yield an int4 matrix with the codes that it has."""
        parts = [self._source.codes(part) for part in tensor.sources]
        matrix = _rearranged([part for part in parts if part is not None], tensor.transform)
        half = matrix.scales.astype(np.float16).astype(np.float32)
        self._changed_scales += int(np.count_nonzero(half != matrix.scales))
        yield pass_through(matrix)


def default_type(ingot: Ingot) -> GgufType:
    """Return the format nearest to an ingot's own: that of most of its matrices."""
    quantization = ingot.manifest.quantization
    if quantization is None:
        return "f32" if ingot.manifest.dtype == "float32" else "bf16"
    kinds = [each.kind for each in quantization.matrices.values()]
    return _DEFAULT[max(set(kinds), key=kinds.count)]  # type: ignore[return-value]


def _rearranged(
    parts: list[QuantizedMatrix], transform: Callable[..., NDArray[Any]] | None
) -> QuantizedMatrix:
    """Return codes and scales after a transform that only moves rows."""
    first = parts[0]
    if transform is None:
        return first
    return QuantizedMatrix(
        first.kind,
        first.group,
        transform([part.codes for part in parts]),
        transform([part.scales for part in parts]),
    )


def _whole(values: NDArray[np.float32]) -> Iterator[NDArray[Any]]:
    yield values


__all__ = [
    "MAGIC",
    "GgufModel",
    "GgufPlan",
    "GgufType",
    "SmallFiles",
    "default_type",
    "export_gguf",
]
