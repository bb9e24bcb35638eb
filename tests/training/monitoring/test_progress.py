from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.training.config.recipe import RunRecipe
from ingot.training.monitoring.progress import Progress

Advance = Callable[[float], None]


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Replace the clock by one that stands still until it is advanced."""
    clock = [0.0]

    def by(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    return by


def budget(seconds: float) -> RunRecipe:
    return RunRecipe(budget_seconds=seconds)


def test_the_shares_of_a_budget_begin_when_set_up_is_over(advance: Advance) -> None:
    """FAULTS D11: a warm-up of the learning rate that set-up outlasts would never happen."""
    progress = Progress(budget(100.0), lambda: 0.0)
    advance(60.0)
    assert progress.share(0) == 0.0
    progress.count(1.0, 10)
    assert progress.share(10) == 0.0
    advance(20.0)
    assert progress.share(10) == pytest.approx(0.5)
    advance(20.0)
    assert progress.share(10) == pytest.approx(1.0)
    assert progress.seconds_left(10) == pytest.approx(0.0)


def test_a_resumed_run_takes_up_its_share(advance: Advance) -> None:
    before = Progress(budget(100.0), lambda: 0.0)
    advance(20.0)
    before.count(1.0, 10)
    advance(40.0)
    after = Progress(
        budget(100.0), lambda: 0.0, elapsed_before=before.elapsed, setup_s=before.setup_s
    )
    assert after.share(10) == pytest.approx(before.share(10)) == pytest.approx(0.5)
    after.count(5.0, 10)
    assert after.setup_s == 20.0


@given(setup=st.floats(0, 1e4), update=st.floats(1e-3, 1e3), seconds=st.floats(1, 1e3))
def test_every_budget_makes_a_few_updates_and_ends(
    setup: float, update: float, seconds: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = [0.0]
        patch.setattr("time.perf_counter", lambda: clock[0])
        progress, step, shares = Progress(budget(seconds), lambda: 0.0), 0, [0.0]
        clock[0] = setup
        while shares[-1] < 1 and step < 100:
            clock[0] += update
            step += 1
            progress.count(update, 10)
            shares.append(progress.share(step))
    assert shares == sorted(shares)
    assert step >= 8
    assert step == 100 or clock[0] >= seconds or step == 8


def test_what_is_not_training_keeps_to_a_part_of_the_time(advance: Advance) -> None:
    progress = Progress(budget(100.0), lambda: 0.0)
    progress.count(1.0, 10)
    advance(10.0)
    assert progress.allows_aside(1.0)
    progress.count_aside(1.0)
    assert not progress.allows_aside(1.0)
    advance(10.0)
    assert progress.allows_aside(1.0)
    assert Progress(RunRecipe(steps=3), lambda: 0.0).allows_aside(1e9)


def test_the_time_left_of_counted_updates_leaves_out_set_up(advance: Advance) -> None:
    progress = Progress(RunRecipe(steps=10), lambda: 0.0)
    advance(50.0)
    progress.count(1.0, 10)
    advance(10.0)
    assert progress.seconds_left(5) == pytest.approx(10.0)
