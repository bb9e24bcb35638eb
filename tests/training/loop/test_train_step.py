"""A training step queues its work and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ingot.training.config.recipe import Recipe
from ingot.training.run_folder.run import Run

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., Run]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch": {"sequences": 2, "accumulation": 2}, "optimizer": {"clip_norm": 0.5}},
        {"optimizer": {"method": "adamw", "weight_decay": 0.1}},
        {"task": {"separate_documents": True}, "batch": {"recompute": True}},
    ],
)
def test_an_update_waits_for_no_value(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, waits: Any, settings: dict[str, Any]
) -> None:
    assert watched.train(new_run(recipe(**settings))).steps == 12
    assert not waits.seen


def test_what_waits_is_seen(waits: Any) -> None:
    values = torch.arange(3.0)
    with waits:
        values[0].item()
        values[values > 1]
        values.nonzero()
        bool(values[0])
        values[torch.tensor([0, 2])]
    assert len(waits.seen) == 4
