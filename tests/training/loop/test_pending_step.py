from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ingot.training.data.batch import Batch
from ingot.training.loop.guard import Verdict
from ingot.training.loop.pending_step import PendingStep
from ingot.training.run_folder.run_state import RunState

BATCH = Batch(np.zeros((2, 5), np.int64), None, None)


@pytest.mark.parametrize("loss", [2.25, 1 / 3, math.inf, math.nan])
@pytest.mark.parametrize(("finite", "spike"), [(True, False), (True, True), (False, False)])
def test_an_outcome_is_what_the_device_computed(loss: float, finite: bool, spike: bool) -> None:
    verdict = Verdict(torch.tensor(finite), torch.tensor(spike))
    on_device = torch.tensor(loss, dtype=torch.float32)
    step = PendingStep(RunState(step=7), 0.5, BATCH, on_device, torch.tensor(3.0), verdict)
    on_device.fill_(-1.0)  # the device continues; the outcome is a copy
    outcome = step.wait()
    assert outcome.loss == pytest.approx(torch.tensor(loss).item(), rel=0, nan_ok=True)
    assert (outcome.gradient_norm, outcome.finite, outcome.spike) == (3.0, finite, spike)
    assert (step.state.step, step.lr_scale, step.batch) == (7, 0.5, BATCH)
