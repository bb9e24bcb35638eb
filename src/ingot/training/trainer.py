"""The training loop: predict the next token, compare, update, repeat; lose nothing.

State lives in ``RunState`` (counters), the weights and the optimizer; together
they are a checkpoint, and a run that is stopped anywhere goes on from its last.
"""

from __future__ import annotations

import math
import os
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.corpus import Sampler
from ingot.errors import Interrupted, RecipeError, TrainingError
from ingot.model.transformer import Transformer
from ingot.training import checkpoint
from ingot.training.checkpoint import RunState
from ingot.training.evaluate import evaluate
from ingot.training.events import (
    Checkpointed,
    Evaluated,
    Event,
    Observer,
    Sampled,
    Skipped,
    Started,
    Stepped,
)
from ingot.training.guard import give_up, is_finite, is_sound
from ingot.training.metrics import Metrics
from ingot.training.optimizer import Optimizer
from ingot.training.precision import Precision
from ingot.training.progress import Progress
from ingot.training.run import Run
from ingot.training.sample import sample
from ingot.training.warm_start import warm_start

_SMOOTHING = 0.95  # of the training loss that is reported
_PROMPT_TOKENS, _SAMPLE_TOKENS, _SAMPLES = 12, 48, 10
_EVALUATION_COST = 2 / 3  # of a training token: a forward pass over half-overlapping windows
_EVALUATION_SLACK = 1.25


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    steps: int
    tokens: int
    flops: float
    seconds: float
    training_loss: float
    validation_loss: float
    bits_per_byte: float
    tokens_per_second: float
    """Median over the updates of this sitting."""
    share_of_peak: float | None
    """Median over the updates of this sitting; None where the peak was not measured."""


class Trainer:
    """Trains one run to its end, from its last checkpoint if there is one."""

    def __init__(self, run: Run, observe: Observer, interrupted: threading.Event) -> None:
        """Prepare a run.

        Args:
            run: The run.
            observe: Called with each event, from the training thread.
            interrupted: Once set, the run checkpoints after the current update and stops.
        """
        self._run, self._recipe = run, run.recipe
        self._watcher, self._interrupted = observe, interrupted
        self._corpus = run.corpus
        self._precision = Precision.choose(run.recipe.run.precision)
        self._config = run.model_config
        self._model = Transformer(self._config).to(self._precision.device)
        self._optimizer = Optimizer(self._model, run.recipe.optimizer)
        self._sampler = Sampler(
            self._corpus.train,
            context=run.recipe.batch.context,
            batch=run.recipe.batch.sequences,
            seed=run.recipe.run.seed,
        )
        self._state = RunState(corpus_digest=self._corpus.manifest.digest)
        self._windows: list[NDArray[np.int64]] = []
        """Of the update being made, one entry for each pass."""
        self._speeds: list[float] = []
        self._checkpointed = time.perf_counter()

    def train(self) -> TrainingResult:
        """Train to the end of the recipe.

        Raises:
            Interrupted: asked to stop; a checkpoint was written.
            RecipeError: the budget does not allow one update.
            TrainingError: the loss is no number any more, or a checkpoint is damaged.
        """
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # an engine may have taken fewer
        torch.set_flush_denormal(True)
        try:
            return self._train()
        finally:
            torch.set_flush_denormal(False)  # whoever called keeps their arithmetic

    def _train(self) -> TrainingResult:
        found = checkpoint.folders(self._run.path)
        if found:
            self._restore(found[-1])
        self._progress = Progress(self._recipe.run, elapsed_before=self._state.elapsed)
        with Metrics(self._run.path, from_step=self._state.step) as self._metrics:
            note = str(self._precision) if found else self._initialise()
            self._emit(
                Started(self._config.parameters, self._config.vocab_size, self._state.step, note)
            )
            while not self._state.finished and self._progress.share(self._state.step) < 1:
                self._advance()
            if not self._state.finished:
                self._finish()
        return self._result()

    def _initialise(self) -> str:
        """Draw the first weights; return a line on how."""
        self._model.initialise(torch.Generator().manual_seed(self._recipe.run.seed))
        if not self._recipe.run.warm_start:
            return f"{self._precision}, random weights"
        return f"{self._precision}, {warm_start(self._model, self._corpus.train)}"

    def _restore(self, folder: Path) -> None:
        self._state = checkpoint.read_state(folder)
        try:
            self._model.load_state_dict(checkpoint.read_weights(folder))
        except RuntimeError as error:
            raise TrainingError(
                "does not fit the recipe's model", where=folder, fix="start a new run"
            ) from error
        self._optimizer.load_state_tensors(checkpoint.read_optimizer(folder))
        self._sampler.restore(self._state.sampler)

    def _advance(self) -> None:
        """Make one update and whatever is due after it."""
        share_before = self._progress.share(self._state.step)
        started = time.perf_counter()
        rate = self._recipe.schedule.multiplier(share_before)
        loss, norm = self._gradients()
        sound = is_sound(loss, norm)
        if sound:
            self._optimizer.step(rate)
        self._optimizer.zero_grad()
        seconds = time.perf_counter() - started
        self._keep_to_budget(seconds)
        tokens = self._recipe.batch.tokens
        self._state = self._state.model_copy(
            update={
                "step": self._state.step + 1,
                "tokens": self._state.tokens + tokens,
                "flops": self._state.flops
                + tokens * self._config.training_flops(self._recipe.batch.context),
                "sampler": self._sampler.state(),
            }
        )
        self._speeds.append(self._progress.count(seconds, tokens))
        if sound:
            self._made(loss, norm, rate)
        else:
            self._left_out(loss, norm)
        self._after_update(share_before)

    def _gradients(self) -> tuple[float, float]:
        """Run forward and backward; return the loss and the gradient norm."""
        self._windows.clear()
        accumulation = self._recipe.batch.accumulation
        total = torch.zeros((), device=self._precision.device)
        for _ in range(accumulation):
            loss = self._loss() / accumulation
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total.item(), self._optimizer.clip().item()

    def _loss(self) -> Tensor:
        self._windows.append(self._sampler.next_batch())
        windows = torch.from_numpy(self._windows[-1]).to(self._precision.device)
        with self._precision.autocast():
            logits = self._model.logits(self._model(windows[:, :-1]))
        return functional.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())

    def _made(self, loss: float, norm: float, rate: float) -> None:
        """Record an update that was made."""
        smoothed = self._state.training_loss
        smoothed = loss if smoothed is None else _SMOOTHING * smoothed + (1 - _SMOOTHING) * loss
        self._state = self._state.model_copy(
            update={"training_loss": smoothed, "skipped_in_a_row": 0}
        )
        self._report(loss, norm, rate)

    def _left_out(self, loss: float, norm: float) -> None:
        """Record an update that touched no weight; after too many in a row end the run."""
        in_a_row, total = self._state.skipped_in_a_row + 1, self._state.skipped + 1
        self._state = self._state.model_copy(
            update={"skipped_in_a_row": in_a_row, "skipped": total}
        )
        self._emit(Skipped(self._state.step, loss, norm, in_a_row, total))
        if in_a_row >= self._recipe.run.max_skipped:
            self._give_up(f"loss or gradient was no finite number {in_a_row} updates in a row")

    def _give_up(self, problem: str) -> NoReturn:
        give_up(self._run.path, problem, self._state.step, self._windows)

    def _keep_to_budget(self, update_seconds: float) -> None:
        """Refuse a budget that one update outlasts; keep time for the last evaluation."""
        budget = self._recipe.run.budget_seconds
        if budget is None:
            return
        if self._state.step == 0 and update_seconds > budget:
            raise RecipeError(
                f"{budget:.3g} s is too small: one update takes {update_seconds:.2g} s",
                where="budget",
                fix=f"give at least {math.ceil(10 * update_seconds)} s or a smaller model",
            )
        if self._speeds:  # the first update also sets things up, so it tells nothing
            wanted = len(self._corpus.validation) / self._speeds[-1] * _EVALUATION_COST
            self._progress.reserve = min(wanted * _EVALUATION_SLACK, 0.5 * budget)

    def _after_update(self, share_before: float) -> None:
        """Sample, evaluate, checkpoint and stop where due, unless a weight is no number."""
        share = self._progress.share(self._state.step)
        sample = _crossed(share_before, share, _SAMPLES)
        evaluate_now = share < 1 and _crossed(share_before, share, self._recipe.run.evaluations)
        late = time.perf_counter() - self._checkpointed > self._recipe.run.checkpoint_seconds
        stop = self._interrupted.is_set() and share < 1
        if not (sample or evaluate_now or late or stop) or not is_finite(self._model.parameters()):
            return
        if sample:
            self._sample()
        if evaluate_now:
            self._evaluate()
        if evaluate_now or late or stop:
            self._checkpoint()
        if stop:
            raise Interrupted(
                f"stopped after {self._state.step} updates, checkpoint written",
                where=self._run.path,
                fix=f"continue with: ingot resume {self._run.path}",
            )

    def _finish(self) -> None:
        if self._state.step == 0:
            raise RecipeError(
                "the budget was spent before the first update", where="budget", fix="give more"
            )
        if not is_finite(self._model.parameters()):
            self._give_up("a weight was no finite number at the end")
        self._evaluate()
        self._state = self._state.model_copy(update={"finished": True})
        self._checkpoint()

    def _evaluate(self) -> None:
        scored = evaluate(
            self._model,
            self._corpus.validation,
            self._corpus.manifest.validation.bytes,
            precision=self._precision,
        )
        best = self._state.best_loss is None or scored.loss < self._state.best_loss
        update: dict[str, object] = {
            "validation_loss": scored.loss,
            "bits_per_byte": scored.bits_per_byte,
        }
        if best:
            update |= {"best_loss": scored.loss, "best_step": self._state.step}
        self._state = self._state.model_copy(update=update)
        self._emit(
            Evaluated(self._state.step, scored.loss, scored.bits_per_byte, scored.seconds, best)
        )

    def _sample(self) -> None:
        ids = self._corpus.validation.read(1, min(_PROMPT_TOKENS, len(self._corpus.validation) - 1))
        prompt = self._run.tokenizer.decode(ids.tolist())
        text = sample(
            self._model,
            self._run.tokenizer,
            prompt,
            tokens=_SAMPLE_TOKENS,
            precision=self._precision,
            seed=self._recipe.run.seed,
        )
        self._emit(Sampled(self._state.step, prompt, text))

    def _checkpoint(self) -> None:
        self._state = self._state.model_copy(update={"elapsed": self._progress.elapsed})
        folder = checkpoint.save(
            self._run.path,
            self._state,
            self._model.state_dict(),
            self._optimizer.state_tensors(),
        )
        checkpoint.prune(
            self._run.path,
            keep=self._recipe.run.keep_checkpoints,
            best_step=self._state.best_step,
        )
        self._checkpointed = time.perf_counter()
        self._emit(Checkpointed(self._state.step, str(folder)))

    def _report(self, loss: float, norm: float, rate: float) -> None:
        speed = self._speeds[-1]
        flops = speed * self._config.training_flops(self._recipe.batch.context)
        peak = self._run.record.peak_flops
        self._emit(
            Stepped(
                step=self._state.step,
                progress=min(self._progress.share(self._state.step), 1.0),
                loss=loss,
                bits_per_byte=loss / math.log(2) / self._run.record.bytes_per_token,
                learning_rate=rate,
                gradient_norm=norm,
                tokens=self._state.tokens,
                tokens_per_second=speed,
                flops_per_second=flops,
                share_of_peak=flops / peak if peak else None,
                seconds_left=self._progress.seconds_left(self._state.step),
            )
        )

    def _emit(self, event: Event) -> None:
        self._metrics(event)
        self._watcher(event)

    def _result(self) -> TrainingResult:
        state, peak = self._state, self._run.record.peak_flops
        speed = statistics.median(self._speeds) if self._speeds else 0.0
        flops = speed * self._config.training_flops(self._recipe.batch.context)
        return TrainingResult(
            steps=state.step,
            tokens=state.tokens,
            flops=state.flops,
            seconds=state.elapsed,
            training_loss=state.training_loss or 0.0,
            validation_loss=state.validation_loss or 0.0,
            bits_per_byte=state.bits_per_byte or 0.0,
            tokens_per_second=speed,
            share_of_peak=flops / peak if peak else None,
        )


def _crossed(before: float, after: float, parts: int) -> bool:
    """Tell whether a boundary between equal parts of the run lies between two shares."""
    return math.floor(before * parts) < math.floor(min(after, 1.0) * parts)
