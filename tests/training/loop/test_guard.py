from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ingot.training.config.guard import GuardConfig
from ingot.training.config.recipe import Recipe
from ingot.training.loop.guard import Guard
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.events import Event, Skipped, Stepped
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import Run


def spikes(guard: GuardConfig, losses: list[float]) -> bool:
    """Whether the last of these losses is a spike."""
    judge = Guard(guard, losses[:-1], "cpu").judge
    return bool(judge(torch.tensor(losses[-1]), torch.tensor(1.0)).spike)


def test_a_jump_is_a_spike_and_a_wobble_is_none() -> None:
    guard = GuardConfig(spike_window=8, spike_score=6)
    before = [3.0, 3.1, 2.9, 3.0, 3.05, 2.95, 3.0, 3.0]
    assert not spikes(guard, [*before, 3.2])
    assert spikes(guard, [*before, 3.6])
    assert not spikes(guard, [*before, 1.0])  # falling is what it is there for
    assert not spikes(guard, [*before[1:], 99.0])  # too few to say
    assert not spikes(GuardConfig(spike_window=8, spike_score=None), [*before, 99.0])
    wide = [2.0, 4.0] * 4  # of mean 3 and deviation 1
    assert not spikes(guard, [*wide, 8.9])
    assert spikes(guard, [*wide, 9.1])


@given(
    st.lists(st.floats(0.0078125, 20, width=32), min_size=8, max_size=80),
    st.floats(0.125, 20, width=32),
    st.integers(8, 40),
)
def test_a_spike_is_what_statistics_call_one(losses: list[float], new: float, window: int) -> None:
    guard = GuardConfig(spike_window=window, spike_score=3)
    recent = losses[-window:]
    mean = statistics.fmean(recent)
    limit = mean + 3 * max(statistics.pstdev(recent), 1e-3 * mean)
    assume(abs(new - limit) > 1e-5)
    assert spikes(guard, [*losses, new]) == (len(losses) >= window and new > limit)


@given(st.lists(st.floats(0.0078125, 20, width=32), min_size=8, max_size=80))
def test_what_was_seen_before_is_no_spike(losses: list[float]) -> None:
    guard = Guard(GuardConfig(spike_window=8), [], "cpu")
    for loss in losses:
        guard.judge(torch.tensor(loss), torch.tensor(1.0))
    assert guard.losses() == losses[-8:]
    assert not guard.judge(torch.tensor(max(losses[-8:])), torch.tensor(1.0)).spike


@pytest.mark.parametrize("nonfinite", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_and_not_remembered(nonfinite: float) -> None:
    guard = Guard(GuardConfig(), [2.0, 3.0], "cpu")
    bad, good = torch.tensor(nonfinite), torch.tensor(1.0)
    for loss, norm in ((bad, good), (good, bad)):
        verdict = guard.judge(loss, norm)
        assert not verdict.finite
        assert not verdict.spike
        assert not verdict.accepted
    assert guard.losses() == [2.0, 3.0]
    assert guard.judge(good, good).accepted
    assert guard.losses() == [2.0, 3.0, 1.0]


@pytest.mark.parametrize("on_spike", ["skip", "roll_back"])
def test_a_spike_is_left_out(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watched: Any, on_spike: str
) -> None:
    guard = {"spike_window": 8, "spike_score": 20.0, "on_spike": on_spike}
    run = new_run(recipe(guard=guard, run={"steps": 20, "evaluations": 4}))
    trainer = Trainer(run, watched.observe, watched.interrupted)
    gain = trainer._model.model.norm.weight.data
    kept: list[torch.Tensor] = []

    def damage(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 12:
            kept.append(gain.clone())
            gain.mul_(-30)
        elif isinstance(event, Skipped):
            if on_spike == "skip":
                assert torch.equal(gain, kept[0] * -30)
                gain.copy_(kept[0])
            else:
                assert event.back_to == 10
                stored = checkpoint_tensors.read_weights(run.path / "checkpoints" / "step-00000010")
                assert torch.equal(gain, stored["model.norm.weight"])

    watched.on_event = damage
    result = trainer.train()
    assert [(event.step, event.why) for event in watched.of(Skipped)] == [(13, "spike")]
    assert result.validation_loss < 6
    state = checkpoint.read_state(checkpoint.latest(run.path))
    assert (state.skipped, state.skipped_in_a_row, len(state.recent_losses)) == (1, 0, 8)
