from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.events import Stepped
from ingot.training.monitoring.run_reporter import RunReporter
from ingot.training.run_folder.run import Run
from ingot.training.run_folder.run_state import RunState

PEAK = 1e12
COST = {"watts": 200, "price_per_kwh": 0.3, "price_per_hour": 1.0}


@pytest.mark.parametrize("devices", [1, 4])
def test_speed_is_told_as_a_share_of_every_devices_peak_and_time_as_money(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], devices: int
) -> None:
    run = new_run(recipe(cost=COST))
    run = dataclasses.replace(run, record=run.record.model_copy(update={"peak_flops": PEAK}))
    told: list[Any] = []
    reporter = RunReporter(run, told.append, 2.0, is_main=True, devices=devices)
    reporter.count(5000.0, 32)
    reporter.stepped(RunState(step=3, tokens=96), 4.0, 0.5, 1.0, 0.25, (1800.0, 5400.0))
    (step,) = told
    assert isinstance(step, Stepped)
    share = 5000.0 * run.model_config.training_flops(32) / PEAK / devices
    assert step.share_of_peak == pytest.approx(share)
    assert step.bits_per_byte == pytest.approx(4.0 / math.log(2) / 2.0)
    assert step.energy_kwh == pytest.approx(0.1)
    assert step.money == pytest.approx(0.5 + 0.1 * 0.3)
    result = reporter.result(RunState(step=3, tokens=96, elapsed=3600.0))
    assert result.share_of_peak == pytest.approx(share)
    assert (result.energy_kwh, result.money) == (pytest.approx(0.2), pytest.approx(1.06))


def test_a_process_that_does_not_lead_is_silent(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run]
) -> None:
    told: list[Any] = []
    reporter = RunReporter(new_run(recipe()), told.append, None, is_main=False)
    reporter.count(1.0, 32)
    with reporter.recording(from_step=0):
        reporter.stepped(RunState(step=1), 4.0, 0.5, 1.0, 0.25, (1.0, 1.0))
    assert told == []
