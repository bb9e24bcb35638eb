"""Statistics of weights: moments, extremes, and distributions that are exact to bfloat16."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.inspection.parts import PARTS, Part, layer_of, part_of
from ingot.artifact.inspection.weights import WeightReader

_PIECE = 1 << 20  # values at a time, so that a large matrix needs no further copy of its size
_CODES = 1 << 16


def _sorted_codes() -> NDArray[np.int64]:
    """Return all codes of bfloat16 in the order of their values; NaN last, never counted."""
    values = _values_of(np.arange(_CODES))
    return np.argsort(values, kind="stable")


def _values_of(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    return (codes.astype(np.uint32) << 16).view(np.float32)


_ORDER = _sorted_codes()
_VALUES = _values_of(_ORDER)


class Distribution:
    """How often each value of bfloat16 occurs; other values count as the next one towards zero."""

    def __init__(self) -> None:
        self._counts = np.zeros(_CODES, dtype=np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values."""
        flat = np.ascontiguousarray(values).reshape(-1)
        for start in range(0, flat.size, _PIECE):
            codes = flat[start : start + _PIECE].view(np.uint32) >> 16
            self._counts += np.bincount(codes, minlength=_CODES)

    def merge(self, other: Distribution) -> None:
        """Count what another distribution has counted."""
        self._counts += other._counts

    @property
    def count(self) -> int:
        """How many values were counted."""
        return int(self._counts.sum())

    def quantiles(self, shares: tuple[float, ...]) -> tuple[float, ...]:
        """Return the values that these shares of all lie at or below. Empty: zeros."""
        running = np.cumsum(self._counts[_ORDER])
        if not running[-1]:
            return (0.0,) * len(shares)
        wanted = np.ceil(np.array(shares) * running[-1]).clip(1)
        return tuple(float(_VALUES[at]) for at in np.searchsorted(running, wanted))

    def histogram(self, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many values lie between consecutive edges; those outside are left out."""
        running = np.concatenate([[0], np.cumsum(self._counts[_ORDER])])
        finite = np.nan_to_num(_VALUES, nan=np.inf)
        return np.diff(running[np.searchsorted(finite, edges)])


@dataclass(frozen=True)
class TensorStatistics:
    """Figures of one tensor."""

    name: str
    part: Part
    layer: int | None
    shape: tuple[int, ...]
    stored_as: str
    mean: float
    rms: float
    """Root of the mean square."""
    minimum: float
    maximum: float
    zeros: float
    """Share of values that are exactly zero."""
    outliers: float
    """Share of values beyond six times the RMS; a normal distribution has 2e-9."""
    quantiles: tuple[float, ...]
    """At ``QUANTILES``, exact to bfloat16."""


QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Shares at which distributions are described."""


@dataclass(frozen=True)
class LayerStatistics:
    """Figures of all tensors that one part of the model has in one layer."""

    part: Part
    layer: int | None
    count: int
    """Values in them."""
    rms: float
    minimum: float
    maximum: float
    outliers: float
    """Share of values beyond six times the RMS of their tensor."""
    quantiles: tuple[float, ...]
    """At ``QUANTILES``, exact to bfloat16."""
    distribution: Distribution


@dataclass(frozen=True)
class WeightStatistics:
    """Figures of all weights."""

    tensors: tuple[TensorStatistics, ...]
    layers: tuple[LayerStatistics, ...]
    """By part, then by layer."""


def measure(weights: WeightReader) -> WeightStatistics:
    """Read every tensor once and describe it.

    Raises:
        ArtifactError: a tensor does not match its digest, or holds a value that is not finite.
    """
    tensors: list[TensorStatistics] = []
    found: dict[tuple[Part, int | None], Distribution] = {}
    for name, values in weights.items():
        distribution = Distribution()
        distribution.add(values)
        found.setdefault((part_of(name), layer_of(name)), Distribution()).merge(distribution)
        tensors.append(_described(name, weights.stored_as(name), values, distribution))
    layers = [
        _together([each for each in tensors if (each.part, each.layer) == key], distribution)
        for key, distribution in found.items()
    ]
    layers.sort(key=lambda each: (PARTS.index(each.part), -1 if each.layer is None else each.layer))
    return WeightStatistics(tuple(tensors), tuple(layers))


def _together(tensors: list[TensorStatistics], distribution: Distribution) -> LayerStatistics:
    """Join the figures of tensors."""
    counts = [math.prod(each.shape) for each in tensors]
    total = sum(counts)
    squares = sum(count * each.rms**2 for count, each in zip(counts, tensors, strict=True))
    outliers = sum(count * each.outliers for count, each in zip(counts, tensors, strict=True))
    return LayerStatistics(
        part=tensors[0].part,
        layer=tensors[0].layer,
        count=total,
        rms=(squares / total) ** 0.5,
        minimum=min(each.minimum for each in tensors),
        maximum=max(each.maximum for each in tensors),
        outliers=outliers / total,
        quantiles=distribution.quantiles(QUANTILES),
        distribution=distribution,
    )


def _described(
    name: str, stored_as: str, values: NDArray[np.float32], distribution: Distribution
) -> TensorStatistics:
    total = squares = 0.0
    zeros = outliers = 0
    flat = values.reshape(-1)
    pieces = [flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE)]
    for piece in pieces:
        wide = piece.astype(np.float64)
        total += float(wide.sum())
        squares += float(np.dot(wide, wide))
        zeros += int(np.count_nonzero(piece == 0))
    rms = (squares / flat.size) ** 0.5
    for piece in pieces:
        outliers += int(np.count_nonzero(np.abs(piece) > 6 * rms))
    return TensorStatistics(
        name=name,
        part=part_of(name),
        layer=layer_of(name),
        shape=values.shape,
        stored_as=stored_as,
        mean=total / flat.size,
        rms=rms,
        minimum=float(flat.min()),
        maximum=float(flat.max()),
        zeros=zeros / flat.size,
        outliers=outliers / flat.size,
        quantiles=distribution.quantiles(QUANTILES),
    )
