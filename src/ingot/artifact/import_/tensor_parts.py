"""What each tensor of an ingot is made of: a part of a foreign one, and constants folded in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

ReadTensor = Callable[[str, tuple[int, int] | None], NDArray[np.float32]]
"""Returns a foreign tensor, or the rows of it from the first number up to the second."""


@dataclass(frozen=True)
class TensorPart:
    """One tensor of an ingot as made of one foreign tensor: ``(part + plus) * times``.

    Computed in float32, before anything is rounded or quantized.
    """

    source: str
    """Name of the foreign tensor."""
    rows: tuple[int, int] | None = None
    """First and last (exclusive) index of the outputs that it takes; None takes all."""
    transposed: bool = False
    """The foreign matrix is stored as (inputs, outputs)."""
    plus: float = 0.0
    """Added to every value."""
    times: float = 1.0
    """Multiplied with every value, after ``plus``."""

    def read(self, read: ReadTensor) -> NDArray[np.float32]:
        """Return the part's values, float32 and contiguous."""
        if self.transposed:
            values = read(self.source, None).T
            values = values if self.rows is None else values[slice(*self.rows)]
        else:
            values = read(self.source, self.rows)
        if self.plus:
            values = values + np.float32(self.plus)
        if self.times != 1.0:
            values = values * np.float32(self.times)
        return np.ascontiguousarray(values, dtype=np.float32)

    def shape_in(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the part's shape where the foreign tensor has ``shape``.

        Empty axes stand where the foreign tensor is too small for it.
        """
        if self.transposed:
            shape = shape[::-1]
        if self.rows is None or not shape:
            return shape
        first, last = self.rows
        return (max(0, min(last, shape[0]) - first), *shape[1:])

    def outputs(self, size: int) -> int:
        """Return how many outputs a foreign tensor needs for this part of ``size`` outputs."""
        return size if self.rows is None else self.rows[1]


Parts = Mapping[str, TensorPart]
"""Every tensor of an ingot by its name."""


class LazyTensors(Mapping[str, NDArray[np.float32]]):
    """The tensors of an ingot, each read and computed when it is asked for and not kept.

    Args:
        parts: What each is made of, in the order of ``ModelConfig.tensor_shapes()``.
        read: Reads foreign tensors.
    """

    def __init__(self, parts: Parts, read: ReadTensor) -> None:
        self._parts = parts
        self._read = read

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._parts[name].read(self._read)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def check_parts(
    parts: Parts,
    wanted: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    where: object,
) -> None:
    """Refuse a model whose tensors are not exactly those that its config asks for.

    Args:
        parts: What each tensor of the ingot is made of.
        wanted: Shapes of the tensors of the ingot.
        shapes: Shapes of the foreign tensors.
        where: What to call the model in an error.

    Raises:
        ArtifactError: names the first tensor that is missing, unexpected or of the wrong shape.
    """
    taken: dict[str, int] = {}
    for name, shape in wanted.items():
        part = parts[name]
        if part.source not in shapes:
            raise ArtifactError(
                f"tensor {part.source!r} is missing", where=where, fix="fetch the model again"
            )
        actual = shapes[part.source]
        if part.shape_in(actual) != shape:
            raise ArtifactError(
                f"tensor {part.source!r} has shape {actual}, which the config does not ask for "
                f"(for {name}: {shape})",
                where=where,
            )
        taken[part.source] = max(taken.get(part.source, 0), part.outputs(shape[0]))
    for name in sorted(shapes.keys() - taken.keys()):
        raise ArtifactError(
            f"tensor {name[:200]!r} is not part of the model that the config describes",
            where=where,
        )
    for part in parts.values():
        shape = shapes[part.source][::-1] if part.transposed else shapes[part.source]
        if shape[0] != taken[part.source]:
            raise ArtifactError(
                f"tensor {part.source!r} has {shape[0]} outputs, the config asks for "
                f"{taken[part.source]}",
                where=where,
            )
