"""The parts of one training run that its loop, its reports and its checkpoints share."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import torch

from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.distributed.data_parallel import Workers
from ingot.training.loop.guard import Guard
from ingot.training.loop.pending_step import PendingStep
from ingot.training.loop.task import Task
from ingot.training.monitoring.progress import Progress
from ingot.training.monitoring.run_reporter import RunReporter
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder.async_checkpoint import Saver
from ingot.training.run_folder.run import Run
from ingot.training.run_folder.run_state import RunState


@dataclass(eq=False)
class Session:
    """One sitting of a run, from its start or a checkpoint to its end or an interruption."""

    run: Run
    workers: Workers
    precision: Precision
    model: Transformer
    """Its parameters are updated; evaluation and sampling run it."""
    compiled_model: Transformer
    """The same weights as a training step runs them: compiled, or ``model`` itself."""
    task: Task
    optimizer: Optimizer
    guard: Guard
    progress: Progress
    saver: Saver
    reporter: RunReporter
    sharded: bool
    """Whether weights, gradients and moments are sharded among processes (FSDP2)."""
    interrupted: threading.Event
    """Set when the run is to stop."""
    state: RunState
    """Replaced by each event of the run."""
    save_recipe: bool = False
    """Whether ``recipe.toml`` is to be rewritten once a checkpoint was made by the recipe."""
    pending: deque[PendingStep] = field(default_factory=deque)
    """Steps whose outcome has not been read, earliest first."""

    def stop(self) -> bool:
        """Tell whether an evaluation or a sample is to end early.

        Where weights are sharded it is not: the processes compute it together, and each would
        notice at another moment.
        """
        return self.interrupted.is_set() and not self.sharded

    @property
    def takes_part(self) -> bool:
        """Whether this process evaluates, samples and saves.

        The main process alone does, except where weights are sharded: then each holds a part.
        """
        return self.workers.is_main or self.sharded


def outcome_lag(device: torch.device) -> int:
    """Return how many steps are queued before the outcome of an earlier one is read.

    With one step queued ahead a GPU never idles while Python reads; a CPU has finished anyway.
    """
    return 1 if device.type == "cuda" else 0
