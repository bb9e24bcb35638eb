from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ingot.artifact import open_ingot
from ingot.artifact.inspection import statistics
from ingot.artifact.inspection.statistics import QUANTILES, Distribution, measure
from ingot.artifact.inspection.weights import WeightReader

FLOATS = arrays(
    np.float32,
    st.integers(1, 50),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def towards_zero(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


@given(values=FLOATS, shares=st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_those_of_the_values(
    values: NDArray[np.float32], shares: list[float]
) -> None:
    distribution = Distribution()
    distribution.add(values)
    expected = np.quantile(towards_zero(values), shares, method="inverted_cdf")
    assert distribution.quantiles(tuple(shares)) == tuple(expected.tolist())
    assert distribution.count == values.size


def test_histograms_count_the_values_between_the_edges() -> None:
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    distribution = Distribution()
    for half in np.split(values, 2):
        another = Distribution()
        another.add(half)
        distribution.merge(another)
    edges = np.linspace(-1.03, 1.03, 21)
    counts, _ = np.histogram(towards_zero(values), edges)
    assert distribution.histogram(edges).tolist() == counts.tolist()


def test_nothing_counted_is_no_error() -> None:
    assert Distribution().quantiles((0.0, 0.5)) == (0.0, 0.0)
    assert Distribution().histogram(np.linspace(-1, 1, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("which", ["pristine", "quantized"])
def test_figures_of_tensors_and_layers(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_PIECE", 100)  # several pieces for each matrix
    with open_ingot(request.getfixturevalue(which)) as ingot:
        weights = WeightReader(ingot)
        found = measure(weights)
        assert [each.name for each in found.tensors] == list(weights)
        for each in found.tensors:
            values = weights[each.name].astype(np.float64)
            assert each.shape == values.shape
            assert each.mean == pytest.approx(values.mean(), abs=1e-12)
            assert each.rms == pytest.approx(np.sqrt((values**2).mean()))
            assert (each.minimum, each.maximum) == (values.min(), values.max())
            assert each.zeros == pytest.approx((values == 0).mean())
            assert each.outliers == pytest.approx((np.abs(values) > 6 * each.rms).mean())
            assert len(each.quantiles) == len(QUANTILES)
        for layer in found.layers:
            own = [
                weights[each.name].reshape(-1)
                for each in found.tensors
                if (each.part, each.layer) == (layer.part, layer.layer)
            ]
            joint = np.concatenate(own)
            assert layer.count == joint.size == layer.distribution.count
            assert layer.rms == pytest.approx(np.sqrt((joint.astype(np.float64) ** 2).mean()))
            assert (layer.minimum, layer.maximum) == (joint.min(), joint.max())
        assert sum(layer.count for layer in found.layers) == ingot.config.parameters


def test_outliers_are_counted(pristine: Path) -> None:
    values = np.ones((10, 100), np.float32)
    values[0, 0] = 1000
    described = statistics._described("model.norm.weight", "F32", values, Distribution())
    assert described.outliers == 1 / 1000
    assert described.zeros == 0
