"""The weights a run begins with: drawn at random, warmed up, or those of an ingot."""

from __future__ import annotations

from pathlib import Path

import torch

from ingot.corpus import TokenStore
from ingot.errors import TrainingError
from ingot.model.transformer import Transformer
from ingot.training.initialization.start import Start, start_from
from ingot.training.initialization.warm_start import warm_start
from ingot.training.run_folder.run import Run


def load_start(run: Run, model: Transformer, *, resumes: bool) -> Start | None:
    """Load the ingot that a run begins from into its model, where its weights are still needed.

    Args:
        run: The run.
        model: Its model.
        resumes: Whether the run has a checkpoint.

    Raises:
        TrainingError: it is another ingot than the run began from, or does not fit the model.
    """
    task = run.recipe.task
    if task.start is None or (resumes and task.kind != "preference"):
        return None
    start = start_from(Path(task.start))
    if start.digest != run.record.parent:
        raise TrainingError(
            "is another ingot than the run began from", where=task.start, fix="put it back"
        )
    start.check_fits(run.model_config, run.tokenizer)
    model.load_state_dict(start.weights)
    return start


def first_weights(
    run: Run, model: Transformer, start: Start | None, text: TokenStore | None
) -> str:
    """Draw a model's first weights unless an ingot gave them; return a line on how.

    Args:
        run: The run.
        model: Its model.
        start: The ingot whose weights it holds already.
        text: What a warm start counts; None where the task has no plain text.
    """
    if start is not None:
        return f"starting from {start.path} ({start.digest[:12]})"
    model.initialise(seeded(run))
    if not run.recipe.run.warm_start or text is None:
        return "random weights"
    return warm_start(model, text)


def seeded(run: Run) -> torch.Generator:
    """Return a generator with the run's seed."""
    return torch.Generator().manual_seed(run.recipe.run.seed)
