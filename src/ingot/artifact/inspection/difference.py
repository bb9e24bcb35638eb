"""How two ingots differ: config, tokenizer, provenance, files, and the distance of each tensor."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.chat_template import chat_template_source
from ingot.artifact.ingot import Ingot
from ingot.artifact.inspection.parts import Part, layer_of, part_of
from ingot.artifact.inspection.weights import WeightReader
from ingot.artifact.inspection.words import flat

_PIECE = 1 << 20
_EXAMPLES = 10
_ABSENT = None


@dataclass(frozen=True)
class Change:
    """A field whose value differs; None stands for one that is absent."""

    field: str
    a: Any
    b: Any


@dataclass(frozen=True)
class TokenizerDifference:
    """How the tokenizers differ."""

    identical: bool
    """Whether their files are the same, byte for byte."""
    tokens_a: int
    tokens_b: int
    only_a: int
    """Tokens that B has under no id."""
    only_b: int
    moved: int
    """Tokens of both with different ids."""
    examples_only_a: tuple[str, ...]
    examples_only_b: tuple[str, ...]
    same_merges: bool
    same_chat_template: bool


@dataclass(frozen=True)
class TensorDistance:
    """How far a tensor of B is from that of A, both as float32."""

    name: str
    part: Part
    layer: int | None
    stored_a: str
    stored_b: str
    relative: float
    """Length of the difference over the length of A's tensor; infinite where that is zero."""
    largest: float
    """Largest absolute difference of two values."""
    cosine: float
    """Cosine of the angle between them; 1 where both are zero."""


@dataclass(frozen=True)
class Difference:
    """How two ingots differ."""

    a: str
    b: str
    identical: bool
    """Whether their digests are the same."""
    digest_a: str
    digest_b: str
    bytes_a: int
    """Bytes of the weights as stored."""
    bytes_b: int
    config: tuple[Change, ...]
    format: tuple[Change, ...]
    """Number formats: of the ingot, and of each matrix where they are quantized differently."""
    tokenizer: TokenizerDifference
    provenance: tuple[Change, ...]
    files: tuple[Change, ...]
    """SHA-256 of files that differ."""
    tensors: tuple[TensorDistance, ...]
    """Of all tensors that both have in the same shape."""
    other_shapes: tuple[Change, ...]
    """Shapes of tensors that only one has, or that differ in shape."""


def compare(a: Ingot, b: Ingot, weights_a: WeightReader, weights_b: WeightReader) -> Difference:
    """Compare two open ingots; tensors whose stored bytes are the same are not read.

    Raises:
        ArtifactError: a tensor does not match its digest, or another part is malformed.
    """
    shapes_a, shapes_b = a.config.tensor_shapes(), b.config.tensor_shapes()
    both = [name for name in shapes_a if shapes_b.get(name) == shapes_a[name]]
    return Difference(
        a=str(a.path),
        b=str(b.path),
        identical=a.digest == b.digest,
        digest_a=a.digest,
        digest_b=b.digest,
        bytes_a=a.weight_bytes,
        bytes_b=b.weight_bytes,
        config=_changes(dataclasses.asdict(a.config), dataclasses.asdict(b.config)),
        format=_changes(_format(a), _format(b)),
        tokenizer=_tokenizers(a, b),
        provenance=_changes(
            a.manifest.provenance.model_dump(mode="json"),
            b.manifest.provenance.model_dump(mode="json"),
        ),
        files=_changes(_digests(a), _digests(b)),
        tensors=tuple(_distance(name, weights_a, weights_b) for name in both),
        other_shapes=_changes(
            {name: shape for name, shape in shapes_a.items() if shapes_b.get(name) != shape},
            {name: shape for name, shape in shapes_b.items() if shapes_a.get(name) != shape},
        ),
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the fields that differ, those of nested objects by their paths."""
    flat_a, flat_b = dict(flat(a)), dict(flat(b))
    names = [*flat_a, *(name for name in flat_b if name not in flat_a)]
    return tuple(
        Change(name, flat_a.get(name, _ABSENT), flat_b.get(name, _ABSENT))
        for name in names
        if flat_a.get(name, _ABSENT) != flat_b.get(name, _ABSENT)
    )


def _format(ingot: Ingot) -> dict[str, Any]:
    quantization = ingot.manifest.quantization
    described: dict[str, Any] = {"dtype": ingot.manifest.dtype}
    if quantization is not None:
        described["method"] = quantization.method
        described["calibration_tokens"] = quantization.calibration_tokens
        for name, record in quantization.matrices.items():
            described[name] = f"{record.kind} ({record.group})" if record.group else record.kind
    return described


def _digests(ingot: Ingot) -> dict[str, str]:
    return {name: record.sha256 for name, record in sorted(ingot.manifest.files.items())}


def _tokenizers(a: Ingot, b: Ingot) -> TokenizerDifference:
    text_a, text_b = a.tokenizer.to_json(), b.tokenizer.to_json()
    model_a, model_b = _vocabulary(text_a), _vocabulary(text_b)
    tokens_a, tokens_b = model_a[0], model_b[0]
    only_a = [token for token in tokens_a if token not in tokens_b]
    only_b = [token for token in tokens_b if token not in tokens_a]
    return TokenizerDifference(
        identical=text_a == text_b,
        tokens_a=len(tokens_a),
        tokens_b=len(tokens_b),
        only_a=len(only_a),
        only_b=len(only_b),
        moved=sum(tokens_b.get(token, number) != number for token, number in tokens_a.items()),
        examples_only_a=tuple(only_a[:_EXAMPLES]),
        examples_only_b=tuple(only_b[:_EXAMPLES]),
        same_merges=model_a[1] == model_b[1],
        same_chat_template=chat_template_source(a) == chat_template_source(b),
    )


def _vocabulary(text: str) -> tuple[dict[str, int], Any]:
    """Return the ids of all tokens, added ones included, and the merges."""
    content = json.loads(text)
    tokens = dict(content["model"]["vocab"])
    tokens |= {added["content"]: added["id"] for added in content.get("added_tokens", [])}
    return tokens, content["model"].get("merges")


def _distance(name: str, a: WeightReader, b: WeightReader) -> TensorDistance:
    same = a.records(name) == b.records(name) and a.stored_as(name) == b.stored_as(name)
    figures = (0.0, 0.0, 1.0) if same else _figures(a[name], b[name])
    return TensorDistance(
        name, part_of(name), layer_of(name), a.stored_as(name), b.stored_as(name), *figures
    )


def _figures(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return relative distance, largest difference and cosine, summed in float64."""
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    squares_a = squares_b = product = distance = largest = 0.0
    for start in range(0, flat_a.size, _PIECE):
        x = flat_a[start : start + _PIECE].astype(np.float64)
        y = flat_b[start : start + _PIECE].astype(np.float64)
        difference = x - y
        squares_a += float(np.dot(x, x))
        squares_b += float(np.dot(y, y))
        product += float(np.dot(x, y))
        distance += float(np.dot(difference, difference))
        largest = max(largest, float(np.abs(difference).max()))
    if not distance:
        return 0.0, 0.0, 1.0
    relative = (distance / squares_a) ** 0.5 if squares_a else float("inf")
    lengths = (squares_a * squares_b) ** 0.5
    return relative, largest, product / lengths if lengths else 0.0
