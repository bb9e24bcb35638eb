"""``ingot.json``: what an ingot holds, its digests, and where it came from."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from ingot.artifact.quantization.packing import GROUPS, LAYOUT, LAYOUT_VERSION, WeightFormat
from ingot.errors import ArtifactError, from_validation
from ingot.model.config_json import Architecture
from ingot.model.tokenizer import MAX_FILE_BYTES
from ingot.strict_json import check_values

MANIFEST = "ingot.json"
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

MAX_BYTES = {
    MANIFEST: 16 << 20,
    CONFIG: 1 << 20,
    GENERATION_CONFIG: 1 << 20,
    TOKENIZER: MAX_FILE_BYTES,
    TOKENIZER_CONFIG: 4 << 20,
    INDEX: 16 << 20,
}
"""Largest size of each file that is read into memory whole, several times what is ever needed."""

REQUIRED_FILES = frozenset({CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG})
_SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Dtype = Literal["bfloat16", "float32"]
StoredDtype = Literal["BF16", "F32", "U8"]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
_Text = Annotated[str, StringConstraints(max_length=1000)]
_MAX_DEPTH = 32
MAX_CURVE = 200
"""Most points of a curve in the provenance."""
Curve = Annotated[
    tuple[tuple[_Count, FiniteFloat], ...], Field(max_length=MAX_CURVE, fail_fast=True)
]
_OPTIONAL = ("origin", "training_curve", "validation_curve")
STORED_DTYPE: dict[Dtype, Literal["BF16", "F32"]] = {"bfloat16": "BF16", "float32": "F32"}
"""What safetensors calls each dtype that an ingot may have."""


def is_weights(name: str) -> bool:
    """Tell whether an ingot's file of this name holds tensors."""
    return name == WEIGHTS or _SHARD.fullmatch(name) is not None


def _check_json(value: JsonValue, depth: int = 0) -> None:
    """Refuse a value that other readers of JSON could not read: too deep, too large a number."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nests more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        for item in value.values():
            _check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError("holds a whole number of more than 64 bits")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorRecord(_Record):
    """One tensor."""

    dtype: StoredDtype
    shape: Annotated[tuple[_Count, ...], Field(max_length=32, fail_fast=True)]
    sha256: Sha256


class FileRecord(_Record):
    """One file beside the manifest."""

    bytes: _Count
    sha256: Sha256


class MatrixRecord(_Record):
    """How one matrix of a quantized ingot is stored."""

    kind: WeightFormat
    group: _Count
    """Inputs that share a scale; 0 for bf16, which has none."""

    @model_validator(mode="after")
    def _scales_where_needed(self) -> Self:
        if self.group not in ((0,) if self.kind == "bf16" else GROUPS):
            raise ValueError(f"{self.kind} cannot have groups of {self.group}")
        return self


class Quantization(_Record):
    """How the matrices of a quantized ingot are packed (``ingot.artifact.quantization.packing``).

    A matrix NAME is the tensors ``NAME.tiles`` and, but for bf16, ``NAME.scales``.
    """

    layout: Literal["tiles16"] = LAYOUT
    layout_version: Literal[1] = LAYOUT_VERSION
    method: Literal["round", "gptq"]
    """Plain rounding, or GPTQ (arXiv:2210.17323)."""
    calibration_tokens: _Count | None = None
    """Tokens of training text that the method looked at."""
    matrices: Annotated[dict[str, MatrixRecord], FailFast()]


class Origin(_Record):
    """The model of another program that an ingot was imported from. What is not known is None."""

    source: _Text
    """Name of the folder or file, or ``hf:ORG/NAME``."""
    family: _Text
    """Its architecture, as transformers' ``model_type``: "llama", "gemma3_text", ..."""
    revision: _Text | None = None
    """Commit of the repository on the hub."""
    license: _Text | None = None
    """What its card says, such as "apache-2.0"."""
    base_model: _Text | None = None
    """The model that it was made from, by its card."""
    files: dict[_Text, FileRecord] = Field(min_length=1, max_length=10_000, fail_fast=True)
    """Size and SHA-256 of every file that was read."""
    adapter: Annotated[dict[_Text, FileRecord], Field(max_length=10, fail_fast=True)] | None = None
    """Those of the adapter that was merged."""


class Provenance(_Record):
    """Where a model came from. What is not known is None."""

    corpus_digest: _Text | None = None
    """Digest of the token shards it was trained on."""
    recipe: dict[str, JsonValue] | None = None
    """The recipe of the run, complete."""
    code_version: _Text | None = None
    seed: _Int64 | None = None
    steps: _Count | None = None
    """Optimizer steps taken."""
    tokens: _Count | None = None
    """Training tokens seen."""
    flops: FiniteFloat | None = None
    """Floating-point operations spent, by the model's formula."""
    wall_seconds: FiniteFloat | None = None
    training_loss: FiniteFloat | None = None
    """Last smoothed training loss, in nats per token."""
    validation_loss: FiniteFloat | None = None
    """Loss on the whole held-out split, in nats per token."""
    bits_per_byte: FiniteFloat | None = None
    """The same loss in bits per byte of held-out text; does not depend on the tokenizer."""
    parent: Sha256 | None = None
    """Digest of the ingot it was made from."""
    origin: Origin | None = None
    """The foreign model that it was imported from; left out of the file where there is none."""
    training_curve: Curve | None = None
    """(step, loss in nats per token) of training; left out of the file where it is unknown."""
    validation_curve: Curve | None = None
    """The same on held-out text."""

    @field_validator("recipe")
    @classmethod
    def _recipe_is_json(cls, recipe: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        _check_json(recipe)
        return recipe


class Manifest(_Record):
    """Everything an ingot holds, and one digest over it all."""

    format_version: Literal[1] = 1
    architecture: Architecture
    dtype: Dtype
    """Number format of every tensor of an ingot that is not quantized."""
    quantization: Quantization | None = None
    """Left out of the file where there is none."""
    tensors: dict[str, TensorRecord] = Field(min_length=1, fail_fast=True)
    files: Annotated[dict[str, FileRecord], FailFast()]
    """Every file but the manifest itself."""
    provenance: Provenance
    digest: Sha256
    """SHA-256 of the canonical JSON of all other fields, so it covers every byte of the ingot."""

    @field_validator("files")
    @classmethod
    def _only_known_files(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        """Hold to the closed list of names: no code, no paths out of the folder."""
        if missing := REQUIRED_FILES - files.keys():
            raise ValueError(f"{min(missing)} is not listed")
        for name in files:
            if name not in REQUIRED_FILES and name != INDEX and not is_weights(name):
                raise ValueError(f"{name[:80]!r} is not a file of an ingot")
        shards = [name for name in files if is_weights(name)]
        if not shards or (shards == [WEIGHTS]) == (INDEX in files):
            raise ValueError(f"weights must be {WEIGHTS} alone, or shards with {INDEX}")
        return files

    @classmethod
    def seal(
        cls,
        *,
        architecture: Architecture,
        dtype: Dtype,
        tensors: dict[str, TensorRecord],
        files: dict[str, FileRecord],
        provenance: Provenance,
        quantization: Quantization | None = None,
    ) -> Self:
        """Make the manifest of these contents and compute its digest."""
        draft = cls(
            architecture=architecture,
            dtype=dtype,
            quantization=quantization,
            tensors=tensors,
            files=files,
            provenance=provenance,
            digest="0" * 64,
        )
        return draft.model_copy(update={"digest": draft._expected_digest()})

    @classmethod
    def parse(cls, data: bytes, *, where: object) -> Self:
        """Read and check an ``ingot.json``.

        Raises:
            ArtifactError: malformed, another format version, or not matching its own digest.
        """
        try:
            check_values(data, where=where)
            manifest = cls.model_validate_json(data)
            # Byte for byte, so that not even a changed space goes unnoticed.
            intact = manifest.to_json() == data
        except ValidationError as error:
            raise from_validation(
                ArtifactError,
                error,
                where=where,
                what="is not a valid manifest",
                fix="make the ingot again, or use the version of Ingot that made it",
            ) from error
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"is not a valid manifest ({error})", where=where) from error
        if manifest.digest != manifest._expected_digest() or not intact:
            raise ArtifactError(
                "does not match its own digest", where=where, fix="fetch or make the ingot again"
            )
        return manifest

    def to_json(self) -> bytes:
        """Return the one text of this manifest: sorted keys, indented by one."""
        text = json.dumps(self._fields(), sort_keys=True, indent=1, allow_nan=False)
        return text.encode() + b"\n"

    def _expected_digest(self) -> str:
        """Hash the canonical JSON (sorted keys, no spaces, ASCII) of all fields but the digest."""
        rest = self._fields()
        del rest["digest"]
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _fields(self) -> dict[str, JsonValue]:
        """Return what is written: what most ingots lack is not mentioned where it is absent."""
        fields = self.model_dump(mode="json")
        if self.quantization is None:
            del fields["quantization"]
        for name in _OPTIONAL:
            if fields["provenance"][name] is None:
                del fields["provenance"][name]
        return fields
