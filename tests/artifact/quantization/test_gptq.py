from __future__ import annotations

import numpy as np
import pytest

from ingot.artifact import WeightFormat, gptq, round_to_nearest


def correlated(rows: int, inputs: int, seed: int) -> np.ndarray:
    """Inputs that lie near a few directions, as those of a trained layer do."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((inputs // 4, inputs))
    return rng.standard_normal((rows, inputs // 4)) @ mixing + 0.1 * rng.standard_normal(
        (rows, inputs)
    )


@pytest.mark.parametrize(("kind", "gain"), [("int4", 0.7), ("int8", 0.8)])
@pytest.mark.parametrize("inputs", [128, 150])
def test_outputs_err_less_than_after_rounding(kind: WeightFormat, gain: float, inputs: int) -> None:
    x = correlated(2000, inputs, 0)
    weights = np.random.default_rng(1).standard_normal((40, inputs)).astype(np.float32)

    def error(values: np.ndarray) -> float:
        return float(np.square(x @ (values - weights).T).mean())

    careful = gptq(weights, x.T @ x, kind, 64)
    plain = round_to_nearest(weights, kind, 64)
    assert careful.codes.shape == plain.codes.shape
    assert careful.scales.shape == plain.scales.shape
    assert error(careful.dequantized()) < gain * error(plain.dequantized())


def test_inputs_that_are_unrelated_are_rounded_one_by_one() -> None:
    weights = np.random.default_rng(2).standard_normal((8, 64)).astype(np.float32)
    careful, plain = gptq(weights, np.eye(64), "int8", 32), round_to_nearest(weights, "int8", 32)
    np.testing.assert_array_equal(careful.codes, plain.codes)


def test_an_input_that_never_came_gets_no_weight() -> None:
    x = correlated(200, 64, 3)
    x[:, 17] = 0
    weights = np.random.default_rng(4).standard_normal((8, 64)).astype(np.float32)
    assert not gptq(weights, x.T @ x, "int4", 32).codes[:, 17].any()
    nothing = gptq(weights, np.zeros((64, 64)), "int4", 32)
    assert np.isfinite(nothing.dequantized()).all()


def test_bf16_is_plainly_rounded() -> None:
    weights = np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)
    careful = gptq(weights, np.eye(64), "bf16", 32)
    np.testing.assert_array_equal(careful.codes, round_to_nearest(weights, "bf16", 32).codes)
