"""What an ingot holds: sizes, number formats, tokenizer, files, provenance; weights unread."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ingot.artifact.chat_template import chat_template_source
from ingot.artifact.format.tensor_reader import DTYPES
from ingot.artifact.ingot import Ingot
from ingot.artifact.inspection.parts import PARTS, Part, kind_of, part_of
from ingot.artifact.inspection.weights import format_of
from ingot.artifact.inspection.words import flat
from ingot.artifact.signing import bundle
from ingot.artifact.signing.signature import signature_path
from ingot.errors import ArtifactError
from ingot.files import read_regular
from ingot.model.config import ModelConfig
from ingot.model.rope import PLAIN_ROPE

_ALWAYS = {"rope.rope_theta", "rms_norm_eps", "tie_word_embeddings"}


@dataclass(frozen=True)
class KindSummary:
    """The matrices or vectors that do the same work in every layer, such as ``mlp.down_proj``."""

    kind: str
    part: Part
    count: int
    """Of them in the model."""
    parameters: int
    nbytes: int
    """Bytes as stored, scales included."""
    bits_per_weight: float
    formats: tuple[str, ...]
    """Number formats, such as ``BF16`` or ``int4 (32)``: inputs that share a scale."""


@dataclass(frozen=True)
class PartSummary:
    """All tensors of one part of the model."""

    part: Part
    parameters: int
    nbytes: int
    bits_per_weight: float
    formats: tuple[str, ...]


@dataclass(frozen=True)
class FileSummary:
    """One file of the folder but the manifest."""

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class SignatureSummary:
    """A signature file that lies beside the ingot. It is not checked: that needs a key."""

    path: str
    key: str | None
    """What it names its key by; None where it does not."""
    problem: str | None
    """What is wrong with the file, if it is malformed."""


@dataclass(frozen=True)
class Summary:
    """What an ingot holds."""

    path: str
    digest: str
    architecture: str
    parameters: int
    weight_bytes: int
    folder_bytes: int
    """Bytes of all files but the manifest."""
    bits_per_weight: float
    method: str | None
    """How the matrices were quantized; None where they are not."""
    config: dict[str, Any]
    """Fields of the model's config."""
    tokens: int
    """Tokens of the tokenizer; the config's ``vocab_size`` may be larger."""
    chat_template: str
    parts: tuple[PartSummary, ...]
    kinds: tuple[KindSummary, ...]
    files: tuple[FileSummary, ...]
    provenance: dict[str, Any]
    signature: SignatureSummary | None

    @property
    def settings(self) -> list[tuple[str, Any]]:
        """Fields of the config by their paths, without those that are as in most models."""
        usual = {
            field.name: field.default
            for field in dataclasses.fields(ModelConfig)
            if field.default is not dataclasses.MISSING
        }
        usual["rope"] = dataclasses.asdict(PLAIN_ROPE)
        common = dict(flat(usual))
        return [
            (name, value)
            for name, value in flat(self.config)
            if name in _ALWAYS or name not in common or value != common[name]
        ]


def summarise(ingot: Ingot) -> Summary:
    """Return what an open ingot holds.

    Raises:
        ArtifactError: its chat template is malformed.
    """
    manifest = ingot.manifest
    kinds = _kinds(ingot)
    parameters = sum(kind.parameters for kind in kinds)
    return Summary(
        path=str(ingot.path),
        digest=ingot.digest,
        architecture=manifest.architecture,
        parameters=parameters,
        weight_bytes=ingot.weight_bytes,
        folder_bytes=sum(record.bytes for record in manifest.files.values()),
        bits_per_weight=8 * ingot.weight_bytes / parameters,
        method=manifest.quantization.method if manifest.quantization else None,
        config=dataclasses.asdict(ingot.config),
        tokens=ingot.tokenizer.vocab_size,
        chat_template=chat_template_source(ingot),
        parts=_parts(kinds),
        kinds=kinds,
        files=tuple(
            FileSummary(name, record.bytes, record.sha256)
            for name, record in sorted(manifest.files.items())
        ),
        provenance=manifest.provenance.model_dump(mode="json"),
        signature=_signature(ingot),
    )


def _kinds(ingot: Ingot) -> tuple[KindSummary, ...]:
    """Sum up the stored tensors by what they do."""
    packed = ingot.packed_shapes
    found: dict[str, list[tuple[str, int, int]]] = {}  # (format, parameters, bytes)
    for name, record in ingot.manifest.tensors.items():
        base, _, ending = name.rpartition(".")
        nbytes = DTYPES[record.dtype].itemsize * math.prod(record.shape)
        entries = found.setdefault(kind_of(name), [])
        if base not in packed:
            entries.append((record.dtype, math.prod(record.shape), nbytes))
        elif ending == "tiles":
            shape = packed[base]
            entries.append((format_of(ingot, base), shape.outputs * shape.inputs, nbytes))
        else:
            entries.append(("", 0, nbytes))  # the scales of a matrix
    kinds = [_kind(kind, entries) for kind, entries in found.items()]
    return tuple(sorted(kinds, key=lambda each: PARTS.index(each.part)))


def _kind(kind: str, entries: list[tuple[str, int, int]]) -> KindSummary:
    parameters = sum(count for _, count, _ in entries)
    nbytes = sum(size for *_, size in entries)
    return KindSummary(
        kind=kind,
        part=part_of(kind),
        count=sum(1 for name, *_ in entries if name),
        parameters=parameters,
        nbytes=nbytes,
        bits_per_weight=8 * nbytes / parameters,
        formats=tuple(sorted({name for name, *_ in entries if name})),
    )


def _parts(kinds: tuple[KindSummary, ...]) -> tuple[PartSummary, ...]:
    parts = []
    for part in PARTS:
        own = [kind for kind in kinds if kind.part == part]
        if own:
            parameters = sum(kind.parameters for kind in own)
            nbytes = sum(kind.nbytes for kind in own)
            formats = sorted({name for kind in own for name in kind.formats})
            parts.append(
                PartSummary(part, parameters, nbytes, 8 * nbytes / parameters, tuple(formats))
            )
    return tuple(parts)


def _signature(ingot: Ingot) -> SignatureSummary | None:
    """Describe the signature that lies beside, unchecked."""
    path = signature_path(ingot.path)
    if not path.exists():
        return None
    try:
        data = read_regular(path, ArtifactError, max_bytes=bundle.MAX_BYTES)
        return SignatureSummary(str(path), bundle.parse(data, where=path).hint, None)
    except ArtifactError as error:
        return SignatureSummary(str(path), None, error.what)
