from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ingot.errors import Interrupted, RecipeError, ResourceError
from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.events import Started, Stepped
from ingot.training.run_folder.checkpoint import latest
from ingot.training.run_folder.checkpoint_tensors import read_weights
from ingot.training.run_folder.run import Run, open_run

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., Run]


def losses(run: Run) -> list[float]:
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    return [step["loss"] for step in steps if step["event"] == "stepped"]


def test_a_compiler_that_is_not_there_is_named(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    run = new_run(recipe(run={"compile": True}))
    with pytest.raises(ResourceError, match=r"no-such-compiler is not installed; .*compile=false"):
        watched.train(run)


def test_cut_weights_are_not_compiled(recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=r"run\.compile.*run\.shard"):
        recipe(run={"compile": True, "shard": True})


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"task": {"separate_documents": True}, "batch": {"accumulation": 2}},
        {"batch": {"recompute": True}},
    ],
    ids=["plain", "documents", "recomputed"],
)
def test_a_compiled_run_learns_the_same_and_continues_to_the_bit(
    recipe: MakeRecipe, new_run: NewRun, watch: Any, sections: dict[str, dict[str, Any]]
) -> None:
    eager = new_run(recipe(**sections), "eager")
    watch().train(eager)
    sections = sections | {"run": {"compile": True}}
    whole, halted = new_run(recipe(**sections), "whole"), new_run(recipe(**sections), "halted")
    first = watch()
    first.train(whole)
    assert "compiled" in first.of(Started)[0].note
    assert losses(whole) == pytest.approx(losses(eager), rel=2e-3)  # bfloat16 rounds elsewhere
    watched = watch()
    watched.on_event = lambda event: (
        watched.interrupted.set() if isinstance(event, Stepped) and event.step == 5 else None
    )
    with pytest.raises(Interrupted, match="checkpoint written"):
        watched.train(halted)
    watch().train(open_run(halted.path))
    assert losses(halted) == losses(whole)
    weights, others = (read_weights(latest(run.path)) for run in (whole, halted))
    assert all(torch.equal(weights[name], others[name]) for name in weights)
