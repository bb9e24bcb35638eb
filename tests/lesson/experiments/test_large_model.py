from __future__ import annotations

import pytest

from ingot.lesson.experiments.large_model import LargeModel


def test_work_grows_with_weights_times_tokens() -> None:
    model = LargeModel("one", parameters=1e9, tokens=2e10)
    year = 365.25 * 86_400
    assert model.training_years(6 * 1e9 * 2e10 / year) == pytest.approx(1)
    assert model.seconds_per_token(1e12) == pytest.approx(0.002)
