"""What an importer needs of foreign weights, however they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.families.foreign_model import EMBEDDING, HEAD, ForeignModel
from ingot.artifact.import_.tensor_parts import LazyTensors, check_parts
from ingot.errors import ArtifactError

_ROWS = 4096  # compared at a time


class ForeignWeights(Protocol):
    """Foreign tensors by name, read when they are asked for."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor."""

    def float32(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor, or the rows of it from the first number up to the second."""


def tensors_of(model: ForeignModel, weights: ForeignWeights, where: object) -> LazyTensors:
    """Return the ingot's tensors, each computed when it is asked for.

    Raises:
        ArtifactError: a foreign tensor is missing, unexpected or of the wrong shape.
    """
    names = _by_plain_names(model, weights.shapes)
    # First by number: a hostile layer count would make a list too long to hold.
    if model.config.num_hidden_layers * model.tensors_per_layer > len(names):
        raise ArtifactError(
            f"has {len(names)} tensors, fewer than config.json asks for with "
            f"{model.config.num_hidden_layers} layers",
            where=where,
            fix="fetch the model again",
        )
    if model.config.tie_word_embeddings and HEAD in names and HEAD not in model.others:
        _check_tied(model, weights, names, where)
        del names[HEAD]
    parts = model.parts()
    shapes = {plain: weights.shapes[name] for plain, name in names.items()}
    check_parts(parts, model.config.tensor_shapes(), shapes, where)
    return LazyTensors(parts, lambda name, rows: weights.float32(names[name], rows))


def _by_plain_names(model: ForeignModel, given: Iterable[str]) -> dict[str, str]:
    """Map names without the family's optional prefix to the given ones; leave out buffers."""
    names = list(given)
    outer = model.outer
    if not any(name.startswith(outer) for name in names):
        outer = ""
    return {name.removeprefix(outer): name for name in names if not name.endswith(model.buffers)}


def _check_tied(
    model: ForeignModel, weights: ForeignWeights, names: Mapping[str, str], where: object
) -> None:
    """Refuse an output head beside a tied embedding, unless it is the same matrix."""
    embedding, head = names.get(model.others[EMBEDDING].source, ""), names[HEAD]
    same = weights.shapes.get(embedding) == weights.shapes[head]
    rows = weights.shapes[head][0] if same and weights.shapes[head] else 0
    for first in range(0, rows, _ROWS):
        part = (first, min(first + _ROWS, rows))
        same = same and np.array_equal(
            weights.float32(embedding, part), weights.float32(head, part), equal_nan=True
        )
    if not same:
        raise ArtifactError(
            f"tensor {HEAD!r} is not the embedding, though config.json ties them",
            where=where,
            fix="set tie_word_embeddings to false if the model has a head of its own",
        )
