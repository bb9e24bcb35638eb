"""A run's model trained a little further, to measure what training takes; nothing is saved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import torch
from torch import Tensor

from ingot.corpus import Sampler
from ingot.lesson.experiments.full_size import load_training_model
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder.run import PretrainingRun

_TRIALS = 3


class TrainingBench:
    """Makes real updates of a copy of the run's best checkpoint.

    Args:
        run: The run; its folder is only read.
    """

    def __init__(self, run: PretrainingRun) -> None:
        self._run = run
        self._corpus = run.open_corpus()
        self._precision = Precision.choose(run.recipe.run.precision)
        self.model = load_training_model(run).to(self._precision.device)
        fuse(self.model, self._precision)
        self._optimizer = Optimizer(self.model, run.recipe.optimizer, self._precision.dtype)

    def update(self, batch: int) -> float:
        """Read ``batch`` sequences, predict, compare, update; return the loss in nats per token."""
        loss = self._loss(self._sequences(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step(self._run.recipe.schedule.floor)
        self._optimizer.zero_grad()
        return loss.item()

    def seconds_per_update(self, batch: int) -> float:
        """Return the median time of an update, after one that sets things up."""
        self.update(batch)
        times = []
        for _ in range(_TRIALS):
            started = time.perf_counter()
            self.update(batch)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def memory(self) -> tuple[int, int, int, int]:
        """Return the bytes of weights, gradients, optimizer and activations for one sequence.

        Activations are what the forward pass keeps for the backward pass, each
        storage counted once, weights left out.
        """
        own = {p.untyped_storage().data_ptr() for p in self.model.state_dict().values()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self._loss(self._sequences(1))
        loss.backward()  # type: ignore[no-untyped-call]
        weights = _bytes(self.model.state_dict().values())
        gradients = _bytes(p.grad for p in self.model.parameters() if p.grad is not None)
        self._optimizer.step(self._run.recipe.schedule.floor)
        self._optimizer.zero_grad()
        optimizer = _bytes(self._optimizer.state_tensors().values())
        return weights, gradients, optimizer, sum(kept.values())

    def _sequences(self, batch: int) -> Batch:
        sampler = Sampler(
            self._corpus.train, context=self._run.recipe.batch.context, batch=batch, seed=0
        )
        return Batch(sampler.next_batch(), None, None)

    def _loss(self, batch: Batch) -> Tensor:
        with self._precision.autocast():
            summed = next_token_loss(self.model, batch, self._precision.device)
        return summed / batch.weight


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
