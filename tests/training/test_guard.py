from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingot.training import Recipe, Run, Trainer, checkpoint
from ingot.training.events import Event, Skipped, Stepped
from ingot.training.guard import GuardConfig


def test_a_jump_is_a_spike_and_a_wobble_is_none() -> None:
    guard = GuardConfig(spike_window=8, spike_score=6)
    before = [3.0, 3.1, 2.9, 3.0, 3.05, 2.95, 3.0, 3.0]
    assert not guard.is_spike(3.2, before)
    assert guard.is_spike(3.6, before)
    assert not guard.is_spike(1.0, before)  # falling is what it is there for
    assert not guard.is_spike(99.0, before[1:])  # too few to say
    assert not GuardConfig(spike_window=8, spike_score=None).is_spike(99.0, before)


@given(st.lists(st.floats(0.01, 20), min_size=8, max_size=80))
def test_what_was_seen_before_is_no_spike(losses: list[float]) -> None:
    guard = GuardConfig(spike_window=8)
    before: list[float] = []
    for loss in losses:
        before = guard.remember(loss, before)
    assert len(before) == 8
    assert not guard.is_spike(max(before), before)


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
                stored = checkpoint.read_weights(run.path / "checkpoints" / "step-00000010")
                assert torch.equal(gain, stored["model.norm.weight"])

    watched.on_event = damage
    result = trainer.train()
    assert [(event.step, event.why) for event in watched.of(Skipped)] == [(13, "spike")]
    assert result.validation_loss < 6
    state = checkpoint.read_state(checkpoint.latest(run.path))
    assert (state.skipped, state.skipped_in_a_row, len(state.recent_losses)) == (1, 0, 8)
