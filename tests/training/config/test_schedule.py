from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.training.config.schedule import ScheduleConfig

SHARES = st.floats(0, 1)


@given(
    shape=st.sampled_from(["linear", "cosine"]),
    warmup=st.floats(0, 0.5),
    decay=st.floats(0, 1),
    floor=SHARES,
    progress=st.floats(-1, 2),
)
def test_the_rate_stays_between_nothing_and_full(
    shape: str, warmup: float, decay: float, floor: float, progress: float
) -> None:
    config = ScheduleConfig(shape=shape, warmup=warmup, decay=decay, floor=floor)  # type: ignore[arg-type]
    assert 0 <= config.lr_scale(progress) <= 1 + 1e-9


def test_linear_rises_holds_and_falls_to_its_floor() -> None:
    config = ScheduleConfig(warmup=0.1, decay=0.5, floor=0.2)
    rates = [config.lr_scale(share) for share in (0.05, 0.1, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


def test_cosine_ends_at_its_floor() -> None:
    config = ScheduleConfig(shape="cosine", warmup=0.0, floor=0.1)
    rates = [config.lr_scale(share) for share in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1.0, 0.55, 0.1])


def test_the_first_update_is_not_wasted() -> None:
    assert ScheduleConfig(warmup=0.5).lr_scale(0.0) > 0
